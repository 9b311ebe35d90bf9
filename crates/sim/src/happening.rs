//! What can happen at an instant of the virtual clock.
//!
//! What belongs to one life of the coordinator names it, and is nothing to a later one. It does not know who handles what.

use convoke_core::coordinator::roots::Roots;
use convoke_core::coordinator::{Combine, Input, Reply};
use convoke_core::worker::Run;
use convoke_core::{Digest, Millis, Position, RequestId, SessionId};

use crate::clients::Call;
use crate::network::Way;

/// Something that happens at an instant.
pub enum Happening {
    CoordinatorStarts,
    /// A frame that the disk did not take is appended again.
    AppendAgain {
        life: u64,
    },
    /// What the coordinator was to decide on while it could not append.
    Waited {
        life: u64,
        input: Box<Input>,
    },
    DiskHasRoom,
    /// The history looks what has come since the last time.
    Remembers {
        life: u64,
    },
    /// A snapshot is encoded, and goes to the disk.
    StoresSnapshot {
        life: u64,
        through: Position,
        bytes: Vec<u8>,
    },
    SnapshotStored {
        life: u64,
        through: Position,
        state: Digest,
    },
    CollectorTurns {
        life: u64,
    },
    /// The collector, at its own time, has asked the decider what is needed.
    RootsAsked {
        life: u64,
        at: Millis,
    },
    Collects {
        life: u64,
        at: Millis,
        roots: Roots,
    },
    CoordinatorWakes {
        life: u64,
        at: Millis,
    },
    GoneForCoordinator {
        life: u64,
        session: SessionId,
    },
    CombineEnds {
        life: u64,
        combine: Combine,
    },
    CallArrives {
        request: RequestId,
    },
    ReplyArrives {
        request: RequestId,
        reply: Reply,
    },
    Calls(Call),
    Moves {
        session: SessionId,
        way: Way,
    },
    WorkerStarts {
        host: usize,
    },
    WorkerWakes {
        process: u64,
        at: Millis,
    },
    DialEnds {
        process: u64,
        session: SessionId,
    },
    GoneForWorker {
        process: u64,
        session: SessionId,
    },
    ExecutorEnds {
        process: u64,
        run: Run,
    },
    Poisoned {
        process: u64,
        run: Run,
    },
    /// Whoever looks at the clock on the wall tells the coordinator, until the job has ended.
    DeadlinePasses {
        place: usize,
    },
    Fault,
}
