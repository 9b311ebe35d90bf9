//! The decider over a journal whose disk fails: what is told, when, and what is in the journal then.
//!
//! What follows from an input is the machine's; here it is only that it becomes durable before it is told.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use convoke_core::{
    Ability, Attempts, JobSpec, Needs, Payload, Plan, Resources, Rounds, Split, TokenId, Work, WorkerId,
};
use convoke_store::DiskError;
use convoke_store::blobs::MemoryBlobs;
use convoke_store::holds::Times;
use convoke_store::journal::{JournalReader, MemoryJournal, StoreError, Tail};

use super::*;

/// How an append fails that does.
#[derive(Clone, Copy)]
enum Fate {
    /// The frame is not there.
    Lost,
    /// It is there, and nobody was told so.
    Kept,
}

/// A journal with so many failures ahead.
#[derive(Clone, Default)]
struct Failing {
    journal: MemoryJournal,
    fates: Arc<Mutex<VecDeque<Fate>>>,
}

impl Journal for Failing {
    fn append(&mut self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        let fate = self.fates.lock().unwrap().pop_front();
        if !matches!(fate, Some(Fate::Lost)) {
            self.journal.append(at, frame)?;
        }
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = || DiskError { doing: "write", path: "journal".into(), source: full() };
        fate.map_or(Ok(()), |_| Err(StoreError::Disk(error()).into()))
    }

    fn tail(&self) -> Tail {
        self.journal.tail()
    }

    fn trim(&mut self, through: Position) -> Result<(), StoreError> {
        self.journal.trim(through)
    }

    fn reader(&self) -> Box<dyn JournalReader> {
        self.journal.reader()
    }
}

/// A decider that runs, and what it is spoken to with.
struct Running {
    journal: Failing,
    commands: mpsc::Sender<Command>,
    stop: oneshot::Sender<()>,
    stalled: watch::Receiver<Option<String>>,
    end: tokio::task::JoinHandle<Result<(), DecideError>>,
}

/// A decider over a journal and nothing else.
fn start(journal: &Failing, patience: Patience) -> (Decider, watch::Receiver<Option<String>>) {
    let (stalled, stalls) = watch::channel(None);
    let outlets = Outlets {
        combines: mpsc::channel(1).0,
        notices: broadcast::channel(1).0,
        position: watch::channel(Position(0)).0,
        stalled,
        holds: Holds::new(Arc::new(MemoryBlobs::default()), None, Times::default()),
        credentials: watch::channel(Arc::default()).0,
    };
    let history = History::new(journal.reader(), Box::new(|_, _| Ok(None)));
    let decider = Decider::start(Config::default(), Box::new(journal.clone()), &history, outlets, patience);
    (decider.unwrap(), stalls)
}

fn run(patience: Patience) -> Running {
    let journal = Failing::default();
    let (decider, stalls) = start(&journal, patience);
    let (commands, waiting) = mpsc::channel(COMMANDS_MAX);
    let (stop, stopped) = oneshot::channel();
    Running { journal, commands, stop, stalled: stalls, end: tokio::spawn(decider.run(waiting, stopped)) }
}

impl Running {
    fn fail(&self, fates: &[Fate]) {
        self.journal.fates.lock().unwrap().extend(fates);
    }

    /// Submits a job, which is a frame of its own.
    fn submit(&self) -> oneshot::Receiver<Reply> {
        let payload = || Payload::inline(b"").unwrap();
        let train = Work {
            ability: Ability::new("train").unwrap(),
            program: payload(),
            input: payload(),
            split: Split::Entries,
            count: 1,
            combine: payload(),
            needs: Needs::default(),
        };
        let spec = JobSpec {
            name: "letters".to_owned(),
            plan: Plan::Rounds(Rounds { rounds: 1, base: payload(), prepare: None, train, evaluate: None }),
            policy: None,
            seed: 0,
            attempts: Attempts::default(),
            deadline_ms: None,
            priority: 0,
        };
        let (reply, answer) = oneshot::channel();
        let (job, submitter) = (JobId::from_bits(1), "kim".to_owned());
        let call = Call::Submit { job, spec: Box::new(spec), submitter, owner: TokenId::LOCAL, missing: Vec::new() };
        self.commands.try_send(Command::Call { call, reply }).ok().unwrap();
        answer
    }

    /// Waits until the decider waits.
    async fn stalls(&mut self) -> String {
        self.stalled.wait_for(Option::is_some).await.unwrap().clone().unwrap()
    }

    fn frames(&self) -> usize {
        self.journal.reader().read(Position(1), 100).unwrap().len()
    }
}

#[tokio::test]
async fn a_frame_waits_for_the_disk_and_is_told_and_there_once() {
    let mut running = run(None);
    running.fail(&[Fate::Lost, Fate::Kept]);
    let mut answer = running.submit();
    assert_eq!(running.stalls().await, "cannot write journal: no storage space");
    assert!(answer.try_recv().is_err(), "nothing is told that is not durable");
    assert_eq!(answer.await.unwrap(), Reply::Submitted);
    assert_eq!((running.stalled.borrow().clone(), running.frames()), (None, 2));
}

#[tokio::test]
async fn who_stops_it_does_not_wait_for_the_disk() {
    let mut running = run(None);
    running.fail(&[Fate::Lost; 100]);
    let answer = running.submit();
    running.stalls().await;
    drop(running.stop);
    running.end.await.unwrap().unwrap();
    assert!(answer.await.is_err());
    assert_eq!(running.journal.tail().position, Position(1));
}

#[tokio::test]
async fn patience_ends_and_another_owner_ends_it_at_once() {
    let impatient = run(Some(Duration::ZERO));
    impatient.fail(&[Fate::Lost]);
    drop(impatient.submit());
    assert!(matches!(impatient.end.await.unwrap(), Err(DecideError::Append(AppendError::Store(_)))));

    let mut overtaken = run(None);
    overtaken.fail(&[Fate::Lost]);
    drop(overtaken.submit());
    overtaken.stalls().await;
    let (mut journal, tail) = (overtaken.journal.journal.clone(), overtaken.journal.tail());
    let events = [Event::TermOpened { term: convoke_core::Term(2) }];
    let frame = Frame::encode(tail.hash, convoke_core::Term(2), 0, &events).unwrap();
    journal.append(tail.position.next(), &frame).unwrap();
    assert!(matches!(overtaken.end.await.unwrap(), Err(DecideError::Append(AppendError::Conflict { .. }))));
}

#[tokio::test]
async fn workers_hear_that_it_is_there_while_it_waits_and_nothing_else() {
    let mut running = run(None);
    let hello = Hello {
        worker: WorkerId(1),
        name: "ann".to_owned(),
        slots: 1,
        abilities: vec![Ability::new("train").unwrap()],
        profile: String::new(),
        hardware: String::new(),
        holding: Vec::new(),
        draining: false,
        resources: Resources::default(),
    };
    let (outbox, mut messages) = mpsc::channel(OUTBOX_MAX);
    running
        .commands
        .try_send(Command::Connected { session: SessionId(1), hello, identity: None, outbox })
        .ok()
        .unwrap();
    assert!(matches!(messages.recv().await, Some(ToWorker::Welcome { .. })));
    running.fail(&[Fate::Lost; 2]);
    let answer = running.submit();
    running.stalls().await;
    assert_eq!(messages.recv().await, Some(ToWorker::Heartbeat));
    assert_eq!(answer.await.unwrap(), Reply::Submitted);
    while let Some(message) = messages.recv().await {
        match message {
            ToWorker::Heartbeat => {}
            ToWorker::Assign(_) => return,
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_journal_whose_snapshot_is_missing_is_not_trimmed_for_it() {
    let mut journal = Failing::default();
    drop(start(&journal, None));
    let taken = Event::SnapshotTaken { through: Position(1), state: convoke_core::Digest([7; 32]) };
    let frame = Frame::encode(journal.tail().hash, Term(1), 1, &[taken]).unwrap();
    journal.append(Position(2), &frame).unwrap();
    for starts in 1..=2 {
        drop(start(&journal, None));
        assert_eq!(journal.reader().read(Position(1), 100).unwrap().len(), 2 + starts);
    }
}
