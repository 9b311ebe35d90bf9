//! A restart: how long a coordinator takes to serve again after many finished tasks.
//!
//! The journal is written by the machine that writes any other, with a worker that is done at once. Then a coordinator is
//! started on it, once with all of it to fold and again after its snapshot. It does not know what takes the time.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use convoke_store::StateDir;
use convoke_store::journal::{Frame, Journal};
use convoke_wire::Client;
use convoke_wire::core::coordinator::durable::Durable;
use convoke_wire::core::coordinator::{CombineOutcome, Config, Coordinator, Input, Output};
use convoke_wire::core::event::{Combined, Completion, Metrics, Timing};
use convoke_wire::core::message::{FromWorker, Hello, SLOTS_MAX, ToWorker};
use convoke_wire::core::{
    Ability, Attempts, Digest, JobId, JobSpec, Needs, Payload, Plan, RequestId, Resources, Rounds, SessionId, Split,
    TokenId, Work, WorkerId,
};
use serde::Serialize;

use crate::binary::{self, Running};
use crate::cluster::{command, folder_in, target};
use crate::figures::{Table, milliseconds};

/// How many inputs share a frame.
const TURN_MAX: usize = 256;
const SESSION: SessionId = SessionId(1);

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many rounds are done
    #[arg(long, default_value_t = 1_000)]
    rounds: u32,
    /// How many tasks each has
    #[arg(long, default_value_t = 100)]
    tasks: u32,
    /// How often a coordinator is started after the snapshot
    #[arg(long, default_value_t = 5)]
    restarts: usize,
    /// The folder for the state [default: this program's]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    finished_tasks: u64,
    journal_bytes: u64,
    /// From the start of the process until it has listed its jobs, with the whole journal to fold.
    whole_ms: f64,
    /// With a snapshot and what came after it.
    snapshot_ms: Vec<f64>,
    journal_bytes_after: u64,
    blob_bytes_after: u64,
}

/// Writes the state, and starts coordinators on it.
pub async fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    let folder = folder_in(arguments.dir.as_deref())?;
    let state = folder.path().join("state");
    write(&state, arguments)?;
    let journal_bytes = size(&state, "journal.sqlite")?;
    let (mut coordinator, whole_ms) = start(&state, arguments.rounds).await?;
    coordinator.says("taken through position")?;
    let mut snapshot_ms = Vec::new();
    for _ in 0..arguments.restarts {
        coordinator.kill()?;
        drop(coordinator);
        let (next, took_ms) = start(&state, arguments.rounds).await?;
        coordinator = next;
        snapshot_ms.push(took_ms);
    }
    Ok(Figures {
        finished_tasks: u64::from(arguments.rounds) * u64::from(arguments.tasks),
        journal_bytes,
        whole_ms,
        snapshot_ms,
        journal_bytes_after: size(&state, "journal.sqlite")?,
        blob_bytes_after: size(&state, "blobs.sqlite")? + size(&state, "blobs")?,
    })
}

/// Starts a coordinator, and says how long it took until it has listed its jobs.
async fn start(state: &Path, rounds: u32) -> anyhow::Result<(Running, f64)> {
    let folder = state.parent().context("the state is in a folder")?;
    let mut command = command(&binary::find()?, folder);
    command.args(["coordinator", "--verbose", "--bind", "127.0.0.1:0", "--state"]).arg(state);
    let began = Instant::now();
    let coordinator = Running::start(command)?;
    let line = coordinator.says("coordinator on ")?;
    let address = line.trim_start_matches("coordinator on ").split(',').next().unwrap_or_default().to_owned();
    let jobs = Client::connect(&target(&address, folder)?).await?.jobs().await?;
    let took_ms = milliseconds(began.elapsed());
    ensure!(jobs.len() == 1 && jobs[0].rounds_done == rounds, "the record is another: {jobs:?}");
    Ok((coordinator, took_ms))
}

fn write(state: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let state = StateDir::open(state)?;
    let mut journal = state.journal()?;
    let (mut machine, first) = Coordinator::start(0, Config::default(), Durable::default());
    let (mut inputs, mut turn, mut rounds) = (VecDeque::new(), vec![first], 0);
    let submit = Input::Submit {
        request: RequestId(1),
        job: JobId::from_bits(1),
        spec: spec(arguments)?,
        submitter: "bench".into(),
        owner: TokenId::LOCAL,
        missing: Vec::new(),
    };
    inputs.extend([Input::Connected { session: SESSION, hello: hello()?, identity: None }, submit]);
    while rounds < arguments.rounds {
        ensure!(!inputs.is_empty(), "the job stands still after round {rounds}");
        turn.extend(inputs.drain(..inputs.len().min(TURN_MAX)).map(|input| machine.decide(0, input)));
        let events: Vec<_> = turn.iter_mut().flat_map(|decision| std::mem::take(&mut decision.events)).collect();
        if !events.is_empty() {
            let tail = journal.tail();
            journal.append(tail.position.next(), &Frame::encode(tail.hash, machine.term(), 0, &events)?)?;
        }
        for output in turn.drain(..).flat_map(|decision| decision.outputs) {
            match output {
                Output::Send { message: ToWorker::Assign(assignment), .. } => {
                    let completion = completion(assignment.task.index);
                    let message = FromWorker::Done { lease: assignment.lease, completion };
                    inputs.push_back(Input::Received { session: SESSION, message });
                }
                Output::Combine(combine) => {
                    rounds += 1;
                    let (metrics, refused) = (Metrics::default(), Vec::new());
                    let combined = Combined { result: blob(rounds), metrics, refused };
                    let outcome = CombineOutcome::Combined(combined);
                    inputs.push_front(Input::Combined { job: combine.job, stage: combine.stage, outcome });
                }
                _ => {}
            }
        }
    }
    // The last round's version.
    let last = inputs.pop_front().context("a combine was ordered")?;
    let events = machine.decide(0, last).events;
    let tail = journal.tail();
    Ok(journal.append(tail.position.next(), &Frame::encode(tail.hash, machine.term(), 0, &events)?)?)
}

fn blob(number: u32) -> Payload {
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&number.to_le_bytes());
    Payload::blob(Digest(digest))
}

fn completion(index: u32) -> Completion {
    let metrics = Metrics::from_iter([("train_error", 0.25), ("train_loss", 0.5), ("training_epochs", 75.0)]);
    let timing = Timing { queued_us: 100, fetch_us: 200, compute_us: 30_000, report_us: 400 };
    Completion { result: blob(index), samples: 1_500, metrics, timing, ..Completion::default() }
}

fn hello() -> anyhow::Result<Hello> {
    let (profile, hardware) = ("bench/profile".to_owned(), "bench".to_owned());
    let (worker, name, abilities) = (WorkerId(1), "worker-of-the-bench".to_owned(), vec![Ability::new("train")?]);
    Ok(Hello {
        worker,
        name,
        slots: SLOTS_MAX,
        abilities,
        profile,
        hardware,
        holding: Vec::new(),
        draining: false,
        resources: Resources::default(),
    })
}

fn spec(arguments: &Arguments) -> anyhow::Result<JobSpec> {
    let (program, combine) = (Payload::inline(b"program")?, Payload::inline(b"rule")?);
    let (ability, input) = (Ability::new("train")?, blob(0));
    let train = Work {
        ability,
        program,
        input,
        split: Split::Entries,
        count: arguments.tasks,
        combine,
        needs: Needs::default(),
    };
    // One more than is done, so that there is something to go on with.
    let plan =
        Plan::Rounds(Rounds { rounds: arguments.rounds + 1, base: blob(0), prepare: None, train, evaluate: None });
    Ok(JobSpec {
        name: "restart".to_owned(),
        plan,
        policy: None,
        seed: 1,
        attempts: Attempts::default(),
        deadline_ms: None,
        priority: 0,
    })
}

/// How large a file and its log are, or all files in a folder.
fn size(state: &Path, name: &str) -> anyhow::Result<u64> {
    let path = state.join(name);
    if path.is_dir() {
        let names = std::fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name()));
        let names: Vec<_> = names.collect::<std::io::Result<_>>()?;
        return names.iter().map(|name| size(&path, &name.to_string_lossy())).sum();
    }
    let log = state.join(format!("{name}-wal"));
    let sizes = [path, log].map(|file| file.metadata().map_or(0, |file| file.len()));
    Ok(sizes.iter().sum())
}

impl Table for Figures {
    fn table(&self) -> String {
        let spread: Vec<_> = self.snapshot_ms.iter().map(|took| format!("{took:.0}")).collect();
        [
            format!("finished tasks          {}", self.finished_tasks),
            format!("whole journal           {:.0} ms, {} bytes", self.whole_ms, self.journal_bytes),
            format!("from the snapshot       {} ms", spread.join(", ")),
            format!(
                "files after             journal {} bytes, blobs {} bytes",
                self.journal_bytes_after, self.blob_bytes_after
            ),
        ]
        .join("\n")
    }
}
