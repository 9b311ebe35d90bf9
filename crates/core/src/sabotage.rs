//! Deliberate bugs, which the simulator has to catch: so we know that its invariants can fail.
//!
//! Without the feature `sabotage`, which no product is built with, every question is answered `false` by the compiler.
//! This file does not know what a bug breaks: it is asked where the right thing is done.

/// A mistake that is made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A lease that is revoked stays in the books, and its result counts.
    AcceptRevokedLease,
    /// A report counts whoever brings it.
    AcceptAnothersLease,
    /// A lease of an earlier term counts as the one that has its number now.
    ForgetTerm,
    /// A returning worker's new leases have the number of the next one.
    ReuseLeaseNumber,
    /// A worker that drains still gets tasks.
    PlaceOnDraining,
    /// The last task of a stage is not waited for.
    CloseStageEarly,
    /// A returning worker's task is wanted even if it is done.
    CountReturnedTaskTwice,
    /// A worker that lost its session while it reported a failure reports it again.
    CountFailureTwice,
    /// A task that was given back waits for nobody.
    LoseReturnedTask,
    /// A failed attempt is folded in, and not journaled.
    KeepFailureFromJournal,
    /// Every round trains from version 0.
    TrainFromFirstVersion,
    /// The first round trains from the spec's base, whatever was made of it before.
    TrainUnprepared,
    /// A task may cost any number of workers.
    NeverCallTaskDeadly,
    /// One failure less than allowed fails a job.
    FailJobTooSoon,
    /// The shell performs outputs, then appends the events.
    TellBeforeAppend,
    /// An event is left out when the journal is folded.
    SkipEventInReplay,
    /// The shell does not sync a new model version.
    LeaveVersionUnsynced,
    /// The disk says that it synced a file's bytes, and did not.
    LeaveBytesUnsynced,
    /// The disk says that it synced a frame of the journal, and did not.
    LeaveFramesUnsynced,
    /// The shell does not sync a snapshot, and trims all the same.
    LeaveSnapshotUnsynced,
    /// The shell trims the journal once a snapshot is stored, before that is on record.
    TrimBeforeRecord,
    /// A snapshot says that it reaches one frame further than it does.
    OverstateSnapshot,
    /// A snapshot leaves out the results of stages that are open.
    LeaveResultsOutOfSnapshot,
    /// The collector takes what a client has uploaded and not yet submitted.
    CollectUpload,
    /// The shards of a live job's manifest are no roots.
    ForgetShards,
    /// The best version is no root.
    ForgetBest,
    /// The newest snapshot is no root.
    ForgetSnapshot,
    /// What a job started from stays a root once it has ended.
    KeepFinished,
    /// The collector goes by roots however old they are.
    BelieveOldRoots,
    /// The shell tells what it could not append.
    TellAfterFailedAppend,
    /// The shell combines results in the order in which they came.
    CombineInOrderOfArrival,
    /// The shell lists a stage's results from the last to the first.
    ReduceOutOfOrder,
    /// A task of several slots is placed as if it took one.
    PlaceBeyondResources,
    /// A worker counts what runs as one slot each.
    RunBeyondSlots,
    /// A lost worker's task goes to another even if it must not run twice.
    RetryLiveTask,
    /// A worker that cannot hear its coordinator goes on with what must not run twice.
    KeepOrphans,
    /// What must not run twice goes on at once after a restart.
    ForgetOrphans,
    /// A task that failed for good is not counted.
    ForgetDeadTask,
    /// A deadline ends nothing.
    IgnoreDeadline,
    /// What waits at a worker goes to an idle one even if it must not run twice.
    TakeOverLiveTask,
    /// What must not run twice, and takes too long, goes to another as soon as its worker was told.
    BelieveRevocation,
}

impl Bug {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::AcceptRevokedLease,
        Self::AcceptAnothersLease,
        Self::ForgetTerm,
        Self::ReuseLeaseNumber,
        Self::PlaceOnDraining,
        Self::CloseStageEarly,
        Self::CountReturnedTaskTwice,
        Self::CountFailureTwice,
        Self::LoseReturnedTask,
        Self::KeepFailureFromJournal,
        Self::TrainFromFirstVersion,
        Self::TrainUnprepared,
        Self::NeverCallTaskDeadly,
        Self::FailJobTooSoon,
        Self::TellBeforeAppend,
        Self::SkipEventInReplay,
        Self::LeaveVersionUnsynced,
        Self::LeaveBytesUnsynced,
        Self::LeaveFramesUnsynced,
        Self::LeaveSnapshotUnsynced,
        Self::TrimBeforeRecord,
        Self::OverstateSnapshot,
        Self::LeaveResultsOutOfSnapshot,
        Self::CollectUpload,
        Self::ForgetShards,
        Self::ForgetBest,
        Self::ForgetSnapshot,
        Self::KeepFinished,
        Self::BelieveOldRoots,
        Self::TellAfterFailedAppend,
        Self::CombineInOrderOfArrival,
        Self::ReduceOutOfOrder,
        Self::PlaceBeyondResources,
        Self::RunBeyondSlots,
        Self::RetryLiveTask,
        Self::KeepOrphans,
        Self::ForgetOrphans,
        Self::ForgetDeadTask,
        Self::IgnoreDeadline,
        Self::TakeOverLiveTask,
        Self::BelieveRevocation,
    ];
}

#[cfg(feature = "sabotage")]
mod planted {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug in this thread, or takes out the one that is.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether the bug is planted.
    pub fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "sabotage")]
pub use planted::{is, plant};

/// Whether the bug is planted: never.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}
