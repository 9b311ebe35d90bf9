//! Convoke's protocol: the services of `proto/wire.proto`, the conversions of their frames, and the client's handle.
//!
//! It says what is said, and checks what it hears; who listens and what follows from it is for `convoke-node`.

pub mod protocol;
pub mod denial;
pub mod seen;
pub mod session;
pub mod client_view;
pub mod program;
mod descent;
pub use descent::TRAINING_EPOCHS_MAX;
pub mod items;
pub mod job;
pub mod tls;
pub mod channel;
pub mod enrolment;
pub mod following;
pub mod results;
pub mod result_list;
mod blob_client;
mod blob_reader;
mod call_error;
mod client;
mod followed;

pub use blob_client::BlobClient;
pub use blob_reader::BlobReader;
pub use call_error::{CallError, SubmitError};
pub use client::{Client, RECONNECT, TokenTerms};
pub use client_view::JobSummary;
pub use followed::Followed;
pub use following::{Following, Heard};
pub use results::{Results, ResultsError, TaskResult};

/// The vocabulary, as the client's handle speaks it.
pub use convoke_core as core;

/// The messages and services of `wire.proto`, as generated: their comments are there.
#[allow(missing_docs, reason = "generated")]
#[allow(clippy::all, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("convoke.wire.v1");
}
