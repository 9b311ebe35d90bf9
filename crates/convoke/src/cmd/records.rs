//! The records of embedded jobs: old ones go when another job begins, quickly and without a word.
//!
//! What can be gone on with stays, and so does what a process holds. What is in a record it does not know.

use std::time::{SystemTime, UNIX_EPOCH};

use convoke_node::collector::FINISHED_AGE_MAX;
use convoke_node::record::Record;

use crate::failure::Failure;
use crate::place;

/// How many records stay, however young they are.
const RECORDS_MAX: usize = 1_000;
/// How many records are looked into at a time, for it takes a while to find that one has to stay.
const LOOKED_MAX: usize = 32;

/// Removes the records of jobs that ended long ago, and of more than [`RECORDS_MAX`] the oldest. What cannot be removed
/// is left to a later time.
pub fn tidy() {
    drop(try_to_tidy());
}

fn try_to_tidy() -> Result<(), Failure> {
    let mut records = Vec::new();
    for job in place::embedded_jobs()? {
        let state = place::embedded_state(job)?;
        records.extend(Record::changed(&state).map(|changed| (changed, state)));
    }
    records.sort_unstable_by(|one, other| other.cmp(one));
    let now = SystemTime::now();
    let is_old = |changed: SystemTime| now.duration_since(changed).is_ok_and(|age| age > FINISHED_AGE_MAX);
    let old = records.iter().enumerate().filter(|(place, (changed, _))| *place >= RECORDS_MAX || is_old(*changed));
    let mut old: Vec<_> = old.map(|(_, (_, state))| state).collect();
    // Another beginning each time, so that old records which have to stay do not hide the others for ever.
    let moment = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos() as usize);
    let middle = moment % old.len().max(1);
    old.rotate_left(middle);
    for state in old.into_iter().take(LOOKED_MAX) {
        // One that cannot be read, or is held, hides no other.
        drop(Record::remove(state));
    }
    place::remove_what_is_gone()
}
