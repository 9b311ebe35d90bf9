//! End to end: real processes of the binary, real sockets, real signals.
//!
//! Nothing here waits for time to pass, only for what a process says or for its end. What the machines decide in
//! detail is tested in `convoke-core` and `convoke-sim`; here it is that the parts are put together.

mod process;
mod cluster;
mod front;
mod dataset;
mod job;
mod embedded;
mod same_bits;
mod rejections;
mod leaving;
mod drain;
mod interrupts;
mod records;
mod snapshots;
mod collection;
mod python;
mod steps;
mod learning;
mod predictions;
mod nodes;
mod offers;
mod full_disk;
mod syncs;
mod damage;
mod fixtures;
mod refusals;
mod access;
mod impostors;
mod rights;
mod hostile;
mod letters;
mod data;
mod divisible;
mod chaos;
