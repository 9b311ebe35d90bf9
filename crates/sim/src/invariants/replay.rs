//! Invariant 4: the journal, decoded and folded, gives the durable state of the process that wrote it.
//!
//! Where it was trimmed, it is folded from a snapshot on. What that process had decided but could not append is folded on
//! top, since it lived with it. It does not know which of them is right when they differ.

use std::fmt::Debug;

use convoke_core::Event;
use convoke_core::coordinator::durable::Durable;
use convoke_core::snapshot::Snapshot;

/// What the journal folds to, and what the machine lives with.
pub fn check(mut replayed: Durable, vanished: &[Event], live: &Durable) -> Result<(), String> {
    for event in vanished {
        replayed.apply(event).map_err(|misfit| format!("(4) {misfit}"))?;
    }
    same("the replayed state", &replayed, "the live one", live)
}

/// What the journal folds to, from its newest snapshot perhaps, and all that was ever journaled.
pub fn check_whole(replayed: &Snapshot, record: &Snapshot) -> Result<(), String> {
    same("the replayed record", replayed, "the whole one", record)
}

fn same<T: Debug + PartialEq>(one: &str, replayed: &T, other: &str, live: &T) -> Result<(), String> {
    if replayed == live {
        return Ok(());
    }
    let (replayed, live) = (format!("{replayed:#?}"), format!("{live:#?}"));
    let differs = replayed.lines().zip(live.lines()).find(|(one, other)| one != other);
    let (replayed, live) = differs.unwrap_or(("its end", "its end"));
    Err(format!("(4) {one} has `{}` where {other} has `{}`", replayed.trim(), live.trim()))
}
