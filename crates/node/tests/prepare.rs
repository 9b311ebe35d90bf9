//! A job whose base is standardised before its first round, on a coordinator and workers in this process.
//!
//! The arithmetic is `convoke-ml`'s, and so is what is expected of it.

use std::time::Duration;

use convoke_core::event::Outcome;
use convoke_core::worker::Load;
use convoke_core::{Attempts, JobId, JobSpec, Payload, Plan, Policy, Rounds};
use convoke_ml::{Dataset, Mlp, Moments};
use convoke_node::Coordinator;
use convoke_node::coordinator::{Options, SNAPSHOT_EVERY_BYTES};
use convoke_node::devices::Devices;
use convoke_node::executor::WasmLimits;
use convoke_node::link::Way;
use convoke_node::worker::{self, Worker};
use convoke_wire::Client;
use convoke_wire::job::{self, MOMENTS, Program, TRAIN};
use convoke_wire::program::{self, FullBatch, Train};

const ROUNDS: u32 = 3;
const WIDTH: usize = 40;

fn start_worker(coordinator: &Coordinator, name: &str) {
    let options = worker::Options {
        way: Way::Dial { target: coordinator.target(), wait: Duration::ZERO },
        name: name.to_owned(),
        slots: 1,
        devices: Devices::default(),
        load: Load { probability: 0.0, delay_ms: 0, seed: 0 },
        cache_bytes: 1 << 20,
        commands: None,
        wasm: WasmLimits::default(),
        membership: None,
    };
    let worker = Worker::new(options).unwrap();
    tokio::spawn(async move { drop(worker.run(std::future::pending()).await) });
}

/// Features far from zero, each of another scale.
fn shard(number: usize) -> Dataset {
    let feature = |place: usize| {
        let (row, column) = (place / WIDTH + 5 * number, place % WIDTH);
        1_000.0 + column as f32 * ((row * 7 + column) % 13) as f32
    };
    let rows = 20 + number;
    let labels = (0..rows as u32).map(|row| row % 2).collect();
    Dataset::new((0..rows * WIDTH).map(feature).collect(), labels, WIDTH).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_is_standardised_before_the_first_round() {
    let folder =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700)).tempdir().unwrap();
    let options = Options {
        state: folder.path().to_owned(),
        bind: None,
        nodes: Vec::new(),
        policy: Policy::default(),
        patience: None,
        snapshot_every_bytes: SNAPSHOT_EVERY_BYTES,
        state_max: None,
    };
    let coordinator = Coordinator::start(options).await.unwrap();
    ["ann", "bob"].iter().for_each(|name| start_worker(&coordinator, name));
    let mut client = Client::connect(&coordinator.target()).await.unwrap();

    let shards: Vec<_> = (0..4).map(shard).collect();
    let stored = shards.iter().map(|shard| (shard.to_safetensors().into(), shard.samples() as u64));
    let input = client.store_shards(stored).await.unwrap();
    let base = Mlp::uniform_start(&[WIDTH, 3, 2], vec!["no".to_owned(), "yes".to_owned()], 1).unwrap();
    let base_blob = client.blobs().put(base.to_safetensors().into(), true).await.unwrap();
    let full_batch = FullBatch { training_epochs: 1, eta: 1e-4, early_stop: None };
    let train = Train { kind: Some(program::v1::train::Kind::FullBatch(full_batch)) };
    let plan = Plan::Rounds(Rounds {
        rounds: ROUNDS,
        base: Payload::blob(base_blob),
        prepare: Some(job::work(Program::new(MOMENTS, Payload::default()), input.clone(), &job::standardize())),
        train: job::work(Program::new(TRAIN, program::inline(&train)), input, &job::merge()),
        evaluate: None,
    });
    let id = JobId::from_bits(1);
    let spec = JobSpec { attempts: Attempts::default(), ..job::spec("standardised", plan) };
    client.submit(id, &spec, "kim").await.unwrap();
    let history = client.wait(id).await.unwrap();

    assert_eq!(history.outcome, Some(Outcome::Succeeded));
    assert_eq!(history.rounds.iter().map(|row| row.round).collect::<Vec<_>>(), [1, 2, 3]);
    let mut total = Moments::default();
    shards.iter().for_each(|shard| total.merge(&Moments::of(shard)).unwrap());
    let mut prepared = base.clone();
    prepared.standardize(&total).unwrap();
    let (round, last) = history.version().unwrap();
    let last = Mlp::from_safetensors(&client.bytes_of(last, 1 << 20).await.unwrap()).unwrap();
    assert_eq!((round, last.features()), (ROUNDS, prepared.features()));
    assert_ne!(last, prepared, "it was trained");
    coordinator.stop().await;
}
