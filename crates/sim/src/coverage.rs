//! What can happen in a run, by name, and how often it did.
//!
//! All names stand here, so that what never happens is seen as well. It does not know who counts.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};

/// Every name, in order. What is counted under another is a mistake of the simulator's.
const NAMES: &[&str] = &[
    "client.uploads",
    "collector.looked-through-all",
    "collector.removed-a-blob",
    "collector.roots-too-old",
    "disk.folder-sync-failed",
    "disk.frame-in-doubt-gone",
    "disk.frame-in-doubt-there",
    "disk.full",
    "disk.journal-sync-failed",
    "disk.removed-name-back",
    "disk.short-read",
    "disk.sync-failed",
    "disk.trim-failed",
    "disk.trim-in-doubt-done",
    "disk.unsynced-bytes-cut-short",
    "disk.unsynced-bytes-lost",
    "disk.unsynced-bytes-spoiled",
    "disk.unsynced-name-lost",
    "event.attempt-failed.error",
    "event.attempt-failed.timed-out",
    "event.attempt-failed.worker-lost",
    "event.enrolled",
    "event.identity-removed",
    "event.job-finished.cancelled",
    "event.job-finished.failed",
    "event.job-finished.succeeded",
    "event.job-forgotten",
    "event.job-submitted",
    "event.results-lost",
    "event.snapshot-taken",
    "event.stage-closed",
    "event.stage-combined",
    "event.stage-opened",
    "event.stage-opened.prepare",
    "event.task-done",
    "event.task-failed",
    "event.term-opened",
    "event.token-created",
    "event.token-revoked",
    "fault.append-kills",
    "fault.call-duplicated",
    "fault.call-late",
    "fault.call-lost",
    "fault.coordinator-stops",
    "fault.crash",
    "fault.crash-after-a-snapshot-is-stored",
    "fault.crash-before-append",
    "fault.crash-in-a-trim",
    "fault.crash-in-an-append",
    "fault.disk-full",
    "fault.doomed-task",
    "fault.kill",
    "fault.partition",
    "fault.partition-down",
    "fault.partition-up",
    "fault.poison",
    "fault.power-cut",
    "fault.reply-lost",
    "fault.session-breaks",
    "fault.silence-down",
    "fault.silence-up",
    "fault.stall-both-ways",
    "fault.stray-report",
    "fault.stuck-task",
    "fault.syncs-fail",
    "fault.task-error",
    "fault.task-in-time",
    "fault.worker-stops",
    "input.cancel",
    "input.combined",
    "input.combined.failed",
    "input.combined.results-lost",
    "input.connected",
    "input.create-token",
    "input.deadline-passed",
    "input.disconnected",
    "input.drain",
    "input.enrol",
    "input.forget",
    "input.inspect",
    "input.received",
    "input.remove-identity",
    "input.revoke-token",
    "input.snapshot-stored",
    "input.submit",
    "input.tick",
    "input.tokens",
    "message.down.accepted",
    "message.down.assign",
    "message.down.drain",
    "message.down.heartbeat",
    "message.down.revoke",
    "message.down.welcome",
    "message.up.done",
    "message.up.failed",
    "message.up.heartbeat",
    "message.up.hello",
    "message.up.leaving",
    "message.up.rejected",
    "network.closed-by-the-coordinator",
    "network.late-for-the-coordinator",
    "network.late-for-the-worker",
    "network.session-ended-for-the-disk",
    "notice.assigned",
    "notice.assigned-again",
    "notice.rejected",
    "notice.waiting.all-drain",
    "notice.waiting.all-reject",
    "notice.waiting.no-ability",
    "notice.waiting.no-workers",
    "notice.waiting.not-enough",
    "notice.waiting.orphans",
    "notice.worker-back-with-work",
    "notice.worker-draining",
    "notice.worker-joined",
    "notice.worker-left",
    "notice.worker-lost",
    "operator.drains",
    "operator.stops-a-worker",
    "reply.disk-failed",
    "reply.draining",
    "reply.ended",
    "reply.enrolled",
    "reply.identity-removed",
    "reply.missing",
    "reply.refused",
    "reply.submitted",
    "reply.token-created",
    "reply.token-revoked",
    "reply.tokens",
    "reply.workers",
    "transition.append-failed",
    "transition.append-succeeded-later",
    "transition.combine-of-an-ended-job",
    "transition.combine-taken-up",
    "transition.combine-waits-for-the-disk",
    "transition.job-taken-up",
    "transition.other-attempt-revoked",
    "transition.restored-from-a-snapshot",
    "transition.second-attempt-beside-the-first",
    "transition.session-replaced",
    "transition.silent-worker-given-up",
    "transition.snapshot-not-stored",
    "transition.stale-report-fenced",
    "transition.start-refused-by-the-disk",
    "transition.taken-over-from-a-queue",
    "transition.trim-failed",
    "worker.aborted",
    "worker.delayed",
    "worker.drained",
    "worker.draining",
    "worker.finds-a-blob-gone",
    "worker.joined",
    "worker.leaving",
    "worker.lost-the-coordinator",
    "worker.orphaned",
    "worker.rejected",
    "worker.waits-for-a-blob",
];

/// How often each thing happened, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    /// Counts one.
    pub fn count(&mut self, what: &'static str) {
        assert!(NAMES.binary_search(&what).is_ok(), "`{what}` is not among the names of what can happen");
        *self.0.entry(what).or_default() += 1;
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| *self.0.entry(what).or_default() += times);
    }

    /// How often something happened.
    pub fn times(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// What did not happen.
    pub fn never(&self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().copied().filter(|what| self.times(what) == 0)
    }
}

/// A table of everything, a paragraph for each kind; what did not happen is marked.
impl Display for Coverage {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let kind = |what: &'static str| what.split('.').next();
        for (place, what) in NAMES.iter().enumerate() {
            if place > 0 && kind(what) != kind(NAMES[place - 1]) {
                writeln!(f)?;
            }
            match self.times(what) {
                0 => writeln!(f, "{:>10}  {what}  (never)", 0)?,
                times => writeln!(f, "{times:>10}  {what}")?,
            }
        }
        let never = self.never().count();
        write!(f, "\n{} of {} things happened", NAMES.len() - never, NAMES.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found() {
        assert!(NAMES.is_sorted(), "the names are looked up by halving");
    }

    #[test]
    fn what_never_happened_is_marked() {
        let mut coverage = Coverage::default();
        coverage.count("event.task-done");
        let table = coverage.to_string();
        assert!(table.contains("         1  event.task-done\n"), "{table}");
        assert!(table.contains("         0  event.term-opened  (never)\n"), "{table}");
        assert!(table.ends_with(&format!("1 of {} things happened", NAMES.len())), "{table}");
    }
}
