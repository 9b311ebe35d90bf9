//! The commands, one file each. They gather what the other modules know; none of them knows another.

pub mod cancel;
pub mod completions;
pub mod coordinator;
pub mod data;
pub mod drain;
pub mod evaluate;
pub mod job;
pub mod jobs;
pub mod man;
pub mod predict;
pub mod result;
pub mod resume;
pub mod train;
pub mod worker;
pub mod workers;

mod conclude;
mod embedded;
mod follow;
mod records;
mod signals;
