//! Every deliberate bug is caught: so the invariants can fail, and the faults reach what they are about.
//!
//! It does not know which invariant should catch which bug, only that one does, and soon.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use convoke_core::sabotage::{Bug, plant};

use crate::run;

/// Within so many seeds each is caught.
const SEEDS: u64 = 500;

#[test]
fn every_deliberate_bug_is_caught() {
    // A bug may end in an assertion: that is caught as well, and no news.
    std::panic::set_hook(Box::new(|_| ()));
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut caught: Vec<(usize, Option<(u64, String)>)> = std::thread::scope(|scope| {
        let work = || {
            let take = || next.fetch_add(1, Ordering::Relaxed);
            let numbers = std::iter::repeat_with(take).take_while(|number| *number < Bug::ALL.len());
            numbers.map(|number| (number, first_catch(Bug::ALL[number]))).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    drop(std::panic::take_hook());
    caught.sort_by_key(|(number, _)| *number);
    for (number, catch) in &caught {
        match catch {
            Some((seed, why)) => println!("{:?}: caught by seed {seed}: {why}", Bug::ALL[*number]),
            None => println!("{:?}: NOT CAUGHT within {SEEDS} seeds", Bug::ALL[*number]),
        }
    }
    assert!(caught.iter().all(|(_, catch)| catch.is_some()), "some deliberate bugs went unseen: see above");
}

/// The first seed that catches the bug, and how.
fn first_catch(bug: Bug) -> Option<(u64, String)> {
    plant(Some(bug));
    let caught = (0..SEEDS).find_map(|seed| match catch_unwind(|| run(seed, false).outcome) {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some((seed, violation.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
            Some((seed, format!("an assertion: {text}")))
        }
    });
    plant(None);
    caught
}
