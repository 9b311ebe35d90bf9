//! Convoke's shells: what the machines decide is carried out here, and what happens is fed to them.
//!
//! The coordinator's side is `coordinator` (its parts put together), `decider` (the loop around the machine, with its
//! `clock`; `stall` says how a failing disk is waited for), `accept` (the one port), `dial` (workers that listen),
//! `session`, `blob_service`, `client_service`, `waiting`, `history`, `snapshots`, `combine` and `collector`,
//! with `record` for when none runs; the worker's is `worker` (the loop around its machine), `link`, `runs`, `cache`, `executor` and `compute`, with
//! `process` for what runs as a process of its own. Nothing here decides.
//! with `record` for when none runs; the worker's is `worker` (the loop around its machine), `link`, `runs`, `cache`, `devices`, `executor` and `compute`. Nothing here decides.

mod clock;
pub mod authority;
mod stall;
mod disk;
mod decider;
mod denials;
mod peer;
mod strangers;
mod accept;
mod trouble;
mod rollback;
pub mod dial;
pub mod listen;
mod grants;
mod session;
mod blob_service;
mod calls;
mod tokens;
mod enrolment_service;
mod waiting;
mod client_service;
mod history;
mod snapshots;
mod combine;
mod lists;
pub mod collector;
mod log;
pub mod record;
pub mod coordinator;
mod cache;
mod counts;
mod compute;
mod wasm;
mod metrics;
pub mod process;
pub mod devices;
pub mod executor;
pub mod membership;
pub mod link;
mod reports;
mod runs;
pub mod worker;

pub use coordinator::{Coordinator, StartError};
pub use worker::{Worker, WorkerError};
