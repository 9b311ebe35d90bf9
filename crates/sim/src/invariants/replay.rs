//! Invariant 4: the journal, decoded and folded, gives the durable state of the process that wrote it.
//!
//! What that process had decided but could not append is folded on top, since it lived with it. It does not know which
//! of them is right when they differ.

use convoke_core::Event;
use convoke_core::coordinator::durable::Durable;

pub fn check(mut replayed: Durable, vanished: &[Event], live: &Durable) -> Result<(), String> {
    for event in vanished {
        replayed.apply(event).map_err(|misfit| format!("(4) {misfit}"))?;
    }
    if &replayed == live {
        return Ok(());
    }
    let (replayed, live) = (format!("{replayed:#?}"), format!("{live:#?}"));
    let differs = replayed.lines().zip(live.lines()).find(|(one, other)| one != other);
    let (replayed, live) = differs.unwrap_or(("its end", "its end"));
    Err(format!("(4) the replayed state has `{}` where the live one has `{}`", replayed.trim(), live.trim()))
}
