//! Convoke's deciding half: the coordinator's and the worker's state machines.
//!
//! Everything here is pure: no IO, no clock, no randomness of its own, no dependence on hash order. The shell in
//! `convoke-node` hands in what happened and the time, and carries out what is decided; the simulator does the same
//! with a virtual clock. The crate knows nothing of training: programs, inputs and results are payloads to it.
//!
//! Read `event` first, then `coordinator`, then `worker`.

mod counted;
mod id;
mod payload;
mod job;
mod credentials;
pub mod event;
pub mod message;
mod timer;
pub mod sabotage;
pub mod coordinator;
pub mod worker;
pub mod history;
pub mod snapshot;

pub use counted::Counted;
pub use credentials::{Caller, Identity, NewToken, ParseRoleError, Role};
pub use event::Event;
pub use id::{
    JobId, LeaseId, Millis, ParseJobIdError, ParseTokenIdError, Position, RequestId, SessionId, StageNumber, TaskId,
    Term, TokenId, WorkerId,
};
pub use job::{
    Ability, Attempts, FAN_IN_MAX, JobSpec, MapReduce, NAME_BYTES_MAX, Needs, PRIORITY_MAX, Plan, Policy,
    RESOURCES_MAX, RETRIES_MAX, Reduce, Resources, Rounds, SpecError, Split, TASKS_MAX, Work, check_name, check_uses,
};
pub use payload::{Digest, Form, INLINE_BYTES_MAX, ParseDigestError, Payload, PayloadTooLarge};
