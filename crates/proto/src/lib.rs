//! Encodes: core's vocabulary as protobuf, the one encoding that the journal and the wire share.
//!
//! [`v1`] holds the messages of `proto/convoke.proto`, from which other crates' `.proto` files may import
//! (`extern_path(".convoke.v1", "::convoke_proto::v1")`, with this crate's folder `proto` among the includes). Values turn
//! into messages by `From`, and back by `TryFrom`, where everything that someone else may have got wrong is checked.
//! The crate knows neither frames nor streams: how messages are kept or sent is for `convoke-store` and `convoke-wire`.

mod check;
mod id;
mod job;
mod result;
mod event;
mod message;
mod history;
mod credentials;
mod snapshot;

pub use check::{DecodeError, at_most, bounded_text, digest, job_id, required, token_id};
pub use credentials::role;
pub use event::{decode_event, encode_event};
pub use job::{resources_message, resources_value};
pub use snapshot::{decode_snapshot, encode_snapshot};

/// The messages of `convoke.proto`, `history.proto` and `snapshot.proto`, as generated: their comments are there.
#[allow(missing_docs, reason = "generated")]
#[allow(clippy::all, reason = "generated")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/convoke.v1.rs"));
}
