//! Collections beside jobs, uploads and each other, on a real disk.
//!
//! Only what can be waited for is: nothing here depends on how fast a machine is.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use convoke_core::worker::Load;
use convoke_core::{
    Ability, Attempts, Digest, Event, JobSpec, Millis, Needs, Payload, Plan, Policy, Rounds, Split, Work,
};
use convoke_ml::{Dataset, Mlp};
use convoke_store::blobs::{Blobs, Durability, LayeredBlobs, MemoryBlobs};
use convoke_store::digest_of;
use convoke_store::holds::Times;
use convoke_wire::program::{self, Combine, Entry, FullBatch, Manifest, Mean, Merge, Train};
use convoke_wire::{CallError, Client, Followed};
use tokio_stream::StreamExt;

use super::*;
use crate::client_service::unpinned;
use crate::coordinator::{Coordinator, Options};
use crate::devices::Devices;
use crate::executor::TRAIN;
use crate::link::Way;
use crate::worker::{self, Worker};

const HOUR: Millis = 3_600_000;
/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(90);
/// With turns that are due at once. Holds last as long as ever.
const QUICK: Times = Times { hold_ms: HOUR, grace_ms: 100, turn_ms: 10, sweep_ms: 50 };

/// A job of so many tiny rounds over two shards, and what it starts from.
fn tiny(rounds: u32, seed: u64) -> (JobSpec, Vec<(Digest, Bytes)>) {
    let base = Mlp::uniform_start(&[4, 3, 2], vec!["no".to_owned(), "yes".to_owned()], seed).unwrap();
    let shard = |number: u32| {
        let features = (0..80).map(|place| ((place * 7 + number * 3 + seed as u32) % 11) as f32 / 11.0).collect();
        let labels = (0..20).map(|row| (row + number) % 2).collect();
        Bytes::from(Dataset::new(features, labels, 4).unwrap().to_safetensors())
    };
    let shards = [1, 2].map(shard);
    let entry = |shard: &Bytes| Entry {
        name: "shard".to_owned(),
        digest: digest_of(shard).0.to_vec(),
        samples: 20,
        ..Default::default()
    };
    let manifest =
        Bytes::from(program::encode(&Manifest { entries: shards.iter().map(entry).collect(), ..Default::default() }));
    let full_batch = FullBatch { training_epochs: 1, eta: 0.01, early_stop: None };
    let train = Train { kind: Some(program::v1::train::Kind::FullBatch(full_batch)) };
    let merge = Merge { rule: Some(program::v1::merge::Rule::Mean(Mean {})) };
    let work = Work {
        ability: Ability::new(TRAIN).unwrap(),
        program: program::inline(&train),
        input: Payload::blob(digest_of(&manifest)),
        split: Split::Entries,
        count: 2,
        combine: program::inline(&Combine { kind: Some(program::v1::combine::Kind::Merge(merge)) }),
        needs: Needs::default(),
    };
    let base = Bytes::from(base.to_safetensors());
    let plan = Plan::Rounds(Rounds {
        rounds,
        base: Payload::blob(digest_of(&base)),
        prepare: None,
        train: work,
        evaluate: None,
    });
    let (name, policy, attempts) = ("tiny".to_owned(), None, Attempts::default());
    let blobs = [base, manifest].into_iter().chain(shards).map(|bytes| (digest_of(&bytes), bytes)).collect();
    (JobSpec { name, plan, policy, seed, attempts, deadline_ms: None, priority: 0 }, blobs)
}

/// A coordinator that takes a snapshot now and then in even a short job.
async fn coordinator(state: &Path, state_max: Option<u64>, times: Times) -> Coordinator {
    let options = Options {
        state: state.to_owned(),
        bind: None,
        nodes: Vec::new(),
        policy: Policy::default(),
        patience: None,
        snapshot_every_bytes: 64 * 1024,
        state_max,
    };
    Coordinator::start_timed(options, times, |state| Ok(Box::new(state.journal()?))).await.unwrap()
}

fn work_for(coordinator: &Coordinator) -> tokio::task::JoinHandle<()> {
    let options = worker::Options {
        way: Way::Dial { target: coordinator.target(), wait: Duration::ZERO },
        name: "ann".to_owned(),
        slots: 2,
        devices: Devices::default(),
        load: Load { probability: 0.0, delay_ms: 0, seed: 0 },
        cache_bytes: 1 << 20,
        commands: None,
        wasm: crate::executor::WasmLimits::default(),
        membership: None,
    };
    let worker = Worker::new(options).unwrap();
    tokio::spawn(async move { drop(worker.run(std::future::pending()).await) })
}

/// Stores what the coordinator has not.
async fn upload(client: &mut Client, blobs: &[(Digest, Bytes)]) -> Result<(), CallError> {
    let digests: Vec<_> = blobs.iter().map(|(digest, _)| *digest).collect();
    let missing = client.blobs().missing(&digests).await?;
    for (digest, bytes) in blobs.iter().filter(|(digest, _)| missing.contains(digest)) {
        client.blobs().put_as(*digest, bytes.clone(), true).await?;
    }
    Ok(())
}

async fn submit(client: &mut Client, job: JobId, (spec, blobs): &(JobSpec, Vec<(Digest, Bytes)>)) {
    upload(client, blobs).await.unwrap();
    client.submit(job, spec, "kim").await.unwrap();
}

async fn finish(client: &mut Client, job: JobId, mut look: impl FnMut()) {
    let mut events = client.follow(job, convoke_core::Position(0), true).await.unwrap();
    while let Some(event) = events.next().await {
        if let Followed::Recorded { event: Event::StageCombined { .. }, .. } = event.unwrap() {
            look();
        }
    }
}

/// As a state directory has to be.
fn private_folder() -> tempfile::TempDir {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().permissions(mode).tempdir().unwrap()
}

fn all(blobs: &dyn Blobs) -> Vec<(Digest, u64)> {
    blobs.list(None, usize::MAX >> 1).unwrap()
}

/// Waits until so many blobs are left.
async fn until_left(blobs: &dyn Blobs, count: usize) {
    let began = Instant::now();
    while all(blobs).len() != count {
        assert!(began.elapsed() < DEADLINE, "{} blobs are there, not {count}", all(blobs).len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_fast_job_stays_flat() {
    const ROUNDS: u32 = 3_000;
    let folder = private_folder();
    let coordinator = coordinator(folder.path(), None, QUICK).await;
    let worker = work_for(&coordinator);
    let mut client = Client::connect(&coordinator.target()).await.unwrap();
    let job = JobId::from_bits(1);
    submit(&mut client, job, &tiny(ROUNDS, 1)).await;
    let blobs = LayeredBlobs::open(&folder.path().join("blobs.sqlite"), &folder.path().join("blobs")).unwrap();
    let file_bytes = || folder.path().join("blobs.sqlite").metadata().unwrap().len();
    let (mut combined, mut counts, mut sizes) = (0, Vec::new(), Vec::new());
    let look = || {
        combined += 1;
        if combined % 100 == 0 {
            counts.push(all(&blobs).len());
            sizes.push(file_bytes());
        }
    };
    finish(&mut client, job, look).await;
    // The last version, 100 before it, what was uploaded (two shards, their manifest, and version 0), and a snapshot.
    until_left(&blobs, 1 + 100 + 4 + 1).await;
    println!("blobs: {counts:?}; bytes: {sizes:?}");
    let made = 3 * ROUNDS as usize;
    assert!(counts.iter().all(|count| *count < made / 4), "{counts:?} of {made}");
    let (early, last) = (sizes[..10].iter().max().unwrap(), file_bytes());
    assert!(last <= early * 2, "{sizes:?}");
    worker.abort();
    coordinator.stop().await;
    let again = self::coordinator(folder.path(), None, QUICK).await;
    let mut client = Client::connect(&again.target()).await.unwrap();
    assert_eq!(client.jobs().await.unwrap()[0].rounds_done, ROUNDS);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_room_is_short_the_oldest_jobs_are_forgotten_and_then_uploads_are_refused() {
    let folder = private_folder();
    let limit = 12_000;
    let coordinator = coordinator(folder.path(), Some(limit), Times { hold_ms: 1_000, ..QUICK }).await;
    let worker = work_for(&coordinator);
    let mut client = Client::connect(&coordinator.target()).await.unwrap();
    let jobs = [1, 2, 3].map(JobId::from_bits);
    for (job, seed) in jobs.into_iter().zip(1..) {
        let began = Instant::now();
        let prepared = tiny(10, seed);
        loop {
            match upload(&mut client, &prepared.1).await {
                Ok(()) if client.submit(job, &prepared.0, "kim").await.is_ok() => break,
                // A slow machine may take longer than the short holds here last.
                Ok(()) => {}
                Err(refused) => {
                    let refused = refused.to_string();
                    assert_eq!(refused, "the blobs have reached their limit of 12000 bytes (--state-max)");
                }
            }
            assert!(began.elapsed() < DEADLINE);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        finish(&mut client, job, || {}).await;
    }
    let blobs = LayeredBlobs::open(&folder.path().join("blobs.sqlite"), &folder.path().join("blobs")).unwrap();
    let began = Instant::now();
    loop {
        let on_record: Vec<_> = client.jobs().await.unwrap().into_iter().map(|job| job.job).collect();
        let bytes: u64 = all(&blobs).iter().map(|(_, bytes)| bytes).sum();
        assert!(jobs.ends_with(&on_record) && on_record.contains(&jobs[2]), "{on_record:?}");
        if bytes <= limit && on_record.len() < 3 {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{bytes} bytes, {on_record:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let large = Bytes::from(vec![0; limit as usize + 1]);
    let on_record = client.jobs().await.unwrap().len();
    upload(&mut client, &[(digest_of(&large), large)]).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(5 * QUICK.sweep_ms)).await;
    assert_eq!(client.jobs().await.unwrap().len(), on_record, "for what never fits nobody makes room");
    worker.abort();
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_jobs_shards_stay_and_go_once_it_has_ended() {
    let folder = private_folder();
    let coordinator = coordinator(folder.path(), None, Times { hold_ms: 1_000, ..QUICK }).await;
    let mut client = Client::connect(&coordinator.target()).await.unwrap();
    let (job, prepared) = (JobId::from_bits(1), tiny(1, 1));
    // A slow machine may take longer than the short holds here last.
    while upload(&mut client, &prepared.1).await.is_err() || client.submit(job, &prepared.0, "kim").await.is_err() {}
    let garbage = Bytes::from_static(b"named by nothing");
    upload(&mut client, &[(digest_of(&garbage), garbage)]).await.unwrap();
    let blobs = LayeredBlobs::open(&folder.path().join("blobs.sqlite"), &folder.path().join("blobs")).unwrap();
    // Its hold began later than theirs.
    until_left(&blobs, 4).await;
    assert!(prepared.1.iter().all(|(digest, _)| blobs.has(*digest).unwrap()));
    client.cancel(job).await.unwrap();
    until_left(&blobs, 2).await;
    assert!(prepared.1[..2].iter().all(|(digest, _)| blobs.has(*digest).unwrap()), "version 0 and the names");
    coordinator.stop().await;
}

#[test]
fn an_upload_never_loses_a_blob_between_its_steps() {
    let time = Arc::new(AtomicU64::new(2 * HOUR));
    let clock = time.clone();
    let clock = Box::new(move || clock.load(Ordering::Relaxed));
    let holds = Holds::with_clock(Arc::new(MemoryBlobs::new()), None, Times::default(), clock);
    time.fetch_add(HOUR, Ordering::Relaxed);
    let uploads = holds.for_uploads();
    let prepared: Vec<_> = (0..4).map(|seed| tiny(1, seed)).collect();
    let (over, removed) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let at = holds.now();
                let digests: Vec<_> = all(holds.blobs()).into_iter().map(|(digest, _)| digest).collect();
                let gone = holds.remove(&digests, false, at, |_| false).unwrap().gone;
                removed.fetch_add(gone.len() as u64, Ordering::Relaxed);
            }
        });
        for turn in 0..2_000 {
            let (spec, blobs) = &prepared[turn % prepared.len()];
            for (digest, bytes) in blobs {
                if !uploads.has(*digest).unwrap() {
                    uploads.put(bytes, Durability::Synced).unwrap();
                }
            }
            let missing = unpinned(&*uploads, spec).unwrap();
            if !missing.is_empty() {
                over.store(true, Ordering::Relaxed);
            }
            assert_eq!(missing, [], "turn {turn}");
            // Everything may go; some of it does before it is looked for again.
            time.fetch_add(HOUR, Ordering::Relaxed);
            if turn % 3 == 0 {
                std::thread::yield_now();
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(removed.load(Ordering::Relaxed) > 0, "nothing was ever removed, so nothing was shown");
}

#[test]
fn a_missing_shard_is_named_once_the_manifest_is_there() {
    let blobs = MemoryBlobs::new();
    let (spec, pieces) = tiny(1, 1);
    let mut missing = unpinned(&blobs, &spec).unwrap();
    let mut expected = vec![pieces[0].0, pieces[1].0];
    expected.sort();
    assert_eq!(missing, expected, "base and manifest");
    for (_, bytes) in &pieces[..3] {
        blobs.put(bytes, Durability::Unsynced).unwrap();
    }
    missing = unpinned(&blobs, &spec).unwrap();
    assert_eq!(missing, [pieces[3].0]);
    blobs.put(&pieces[3].1, Durability::Unsynced).unwrap();
    assert_eq!(unpinned(&blobs, &spec).unwrap(), []);
    blobs.lose_unsynced();
    assert_eq!(all(&blobs).len(), 4, "all of it was made durable");
}

#[test]
fn a_clock_that_jumps_and_is_put_right_makes_nothing_forgotten() {
    let (mut old, began, job) = (Old::default(), Instant::now(), JobId::from_bits(1));
    let mut look = |found: &[JobId], hours: u32| old.look(found, began + hours * Duration::from_secs(60 * 60));
    assert_eq!([look(&[job], 0), look(&[job], 5), look(&[], 6), look(&[job], 7)], [const { Vec::new() }; 4]);
    assert_eq!([look(&[job], 12), look(&[job], 13)], [vec![], vec![job]]);
}
