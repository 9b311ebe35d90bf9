//! A worker whose tasks are done at once: the product's machine over a session of the product's protocol, in a thread.
//!
//! It counts what the coordinator has accepted, which is durable by then. What is measured with it it does not know.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use convoke_wire::channel::Target;
use convoke_wire::core::event::{Completion, Metrics, Timing};
use convoke_wire::core::message::{Hello, ToWorker};
use convoke_wire::core::worker::{Config, Input, Load, Output, Worker};
use convoke_wire::core::{Ability, Resources, WorkerId};
use convoke_wire::program::{self, Count};
use convoke_wire::protocol::SayVersion;
use convoke_wire::seen::Seen;
use convoke_wire::session::{CoordinatorFrame, WorkerFrame};
use convoke_wire::tls::handshake::Trust;
use convoke_wire::tls::verify::Expected;
use convoke_wire::tls::{JoinToken, Key};
use convoke_wire::v1::sessions_client::SessionsClient;
use convoke_wire::{enrolment, v1};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

/// What these workers can do.
pub const ABILITY: &str = "noop";
/// How many frames may wait to be sent, as in the product's link.
const FRAMES_MAX: usize = 4_096;

/// How far all workers have come together.
pub struct Progress {
    accepted: AtomicU64,
    /// From how many accepted tasks on time is taken, and until how many.
    pub counted: std::ops::Range<u64>,
    pub began: OnceLock<Instant>,
    pub ended: OnceLock<Instant>,
}

impl Progress {
    pub fn new(counted: std::ops::Range<u64>) -> Self {
        Self { accepted: AtomicU64::new(0), counted, began: OnceLock::new(), ended: OnceLock::new() }
    }

    fn accept(&self) {
        let accepted = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        if accepted == self.counted.start {
            self.began.get_or_init(Instant::now);
        }
        if accepted == self.counted.end {
            self.ended.get_or_init(Instant::now);
        }
    }
}

/// Joins a coordinator by a token, as a worker's process does; how the worker then reaches it.
pub async fn join(address: &str, token: &JoinToken, number: u64) -> anyhow::Result<Target> {
    let at = |credentials| {
        let trust = Arc::new(Trust::new(Expected::Authority(token.authority), credentials));
        Target::Address { address: address.to_owned(), trust }
    };
    let channel = at(Vec::new()).connect().await?;
    Ok(at(vec![enrolment::enrol(channel, token, &name(number), &Key::generate()?).await?]))
}

fn name(number: u64) -> String {
    format!("noop-{number}")
}

/// Works until `stop` is dropped; on one thread, as a worker's process does.
pub fn work(
    target: &Target,
    number: u64,
    slots: u32,
    progress: &Progress,
    stop: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            ended = serve(target, number, slots, progress) => ended,
            _ = stop => Ok(()),
        }
    })
}

async fn serve(target: &Target, number: u64, slots: u32, progress: &Progress) -> anyhow::Result<()> {
    let (frames, outbound) = mpsc::channel(FRAMES_MAX);
    let mut shell = Shell { started: Instant::now(), frames, machine: Worker::new(0, config(number, slots)?) };
    shell.handle(Input::Tick)?;
    let mut sessions = SessionsClient::with_interceptor(target.connect().await?, SayVersion);
    shell.handle(Input::Connected)?;
    let mut inbound = sessions.open(ReceiverStream::new(outbound)).await?.into_inner();
    loop {
        let due = shell.machine.poll_timeout().map(|at| shell.started + Duration::from_millis(at));
        let wake = due.context("a worker in a session always has a timer")?;
        let frame = tokio::select! {
            frame = inbound.message() => frame?.context("the session ended")?,
            () = tokio::time::sleep_until(wake.into()) => {
                shell.handle(Input::Tick)?;
                continue;
            }
        };
        if let CoordinatorFrame::Message(message) = CoordinatorFrame::try_from(frame)? {
            if let ToWorker::Accepted { .. } = message {
                progress.accept();
            }
            shell.handle(Input::Received(message))?;
        }
    }
}

struct Shell {
    started: Instant,
    machine: Worker,
    frames: mpsc::Sender<v1::WorkerFrame>,
}

impl Shell {
    fn handle(&mut self, input: Input) -> anyhow::Result<()> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.started.elapsed().as_millis() as u64;
            for output in self.machine.handle(now, input) {
                match output {
                    Output::Dial | Output::Notice(_) | Output::Abort(_) => {}
                    Output::Greet(hello) => self.send(WorkerFrame::Hello(hello, Seen::default()))?,
                    Output::Send(message) => self.send(WorkerFrame::Message(message))?,
                    Output::Start { run, queued_ms, .. } => {
                        inputs.push_back(Input::Finished { run, outcome: Ok(completion(queued_ms)) });
                    }
                    Output::HangUp | Output::End => bail!("a worker gave up"),
                }
            }
        }
        Ok(())
    }

    fn send(&self, frame: WorkerFrame) -> anyhow::Result<()> {
        self.frames.try_send(frame.into()).context("the coordinator does not keep up with a worker")
    }
}

fn completion(queued_ms: u64) -> Completion {
    let timing = Timing { queued_us: queued_ms * 1_000, fetch_us: 1, compute_us: 1, report_us: 1 };
    let result = program::inline(&Count { samples: 1, ..Count::default() });
    Completion { result, samples: 1, metrics: Metrics::default(), timing, ..Completion::default() }
}

fn config(number: u64, slots: u32) -> anyhow::Result<Config> {
    let hello = Hello {
        worker: WorkerId(number),
        name: name(number),
        slots,
        abilities: vec![Ability::new(ABILITY)?],
        profile: "bench/profile".to_owned(),
        hardware: "bench".to_owned(),
        holding: Vec::new(),
        draining: false,
        resources: Resources::default(),
    };
    Ok(Config { hello, load: Load::default(), ahead: 0 })
}
