//! A seeded cluster: both machines, the journal's encoding and the blobs, under one virtual clock with faults.
//!
//! A seed is the whole input: the same seed gives the same run, to the byte of its trace. Everything that could differ
//! between two runs (threads, hash order, real time) is absent. It knows no socket, and its disk is simulated.
//!
//! Read `scenario` (what a seed draws), then `world` (the loop), then `invariants`.

mod dice;
mod coverage;
mod scenario;
mod compute;
mod divisible;
mod reference;
mod queue;
mod clock;
mod disk;
mod blobs;
mod network;
mod observer;
mod happening;
mod coordinator;
mod snapshots;
mod collecting;
mod worker;
mod clients;
mod faults;
mod world;
mod invariants;
mod journal_check;
mod size;
#[cfg(all(test, feature = "sabotage"))]
mod sabotage;

pub use coverage::Coverage;
pub use invariants::Violation;
pub use journal_check::{Checked, JournalCheck, JournalViolation};
pub use size::{Measured, Size, measure};
pub use world::{Report, run};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_seed_breaks_an_invariant() {
        for seed in 0..40 {
            let report = run(seed, false);
            if let Err(violation) = report.outcome {
                panic!("{violation}\nreplay it with: cargo run -p convoke-sim -- --seed {seed}");
            }
        }
    }

    #[test]
    fn a_seed_replays_to_the_byte() {
        let (one, other) = (run(7, true), run(7, true));
        assert!(one.trace.lines().count() > 100);
        assert!(one.trace == other.trace);
    }
}
