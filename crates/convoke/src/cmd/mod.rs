//! The commands, one file each. They gather what the other modules know; none of them knows another.

pub mod cancel;
pub mod completions;
pub mod coordinator;
pub mod data;
pub mod drain;
pub mod evaluate;
pub mod guard;
pub mod job;
pub mod jobs;
pub mod login;
pub mod man;
pub mod map;
pub mod predict;
pub mod remove;
pub mod result;
pub mod resume;
pub mod run;
pub mod token;
pub mod train;
pub mod worker;
pub mod workers;

mod attendance;
mod conclude;
mod divide;
mod embedded;
mod failures;
mod files;
mod enrol;
mod follow;
mod records;
mod results;
mod signals;
mod standing;
mod task_results;
mod wanted;
