//! The contract of journals, on the simulated disk.

#[macro_use]
#[path = "../../../../store/tests/conformance/journal.rs"]
mod conformance;

use super::*;

journals_conform!(on_the_disk, on_the_disk);

fn on_the_disk(check: &dyn Fn(conformance::Open)) {
    let journal = SimulatedJournal::new(Disk::new(1));
    check(&mut || Box::new(journal.clone()));
}
