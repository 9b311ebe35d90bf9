//! What may be wrong with a message, and the checks that conversions share.
//!
//! The limits are core's: nothing here knows why a name or a list is as long as it may be.

use convoke_core::{Digest, JobId, PayloadTooLarge, SpecError, TokenId};

/// A message does not stand for a value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no message of that kind.
    #[error("no message `{message}`: {source}")]
    Malformed {
        /// The message that was expected.
        message: &'static str,
        /// What protobuf says.
        source: prost::DecodeError,
    },
    /// A part is not there, or is of a kind that only a newer build knows.
    #[error("{field} is missing or of an unknown kind")]
    Missing {
        /// The message and its field.
        field: &'static str,
    },
    /// An enum's number means nothing.
    #[error("{field}: {value} is not a known value")]
    Unknown {
        /// The message and its field.
        field: &'static str,
        /// The number.
        value: i32,
    },
    /// A text is longer than it may be.
    #[error("{field}: {bytes} bytes, at most {bytes_max} are allowed")]
    TooLong {
        /// The message and its field.
        field: &'static str,
        /// As given.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A list is longer than it may be.
    #[error("{field}: {count} entries, at most {count_max} are allowed")]
    TooMany {
        /// The message and its field.
        field: &'static str,
        /// As given.
        count: usize,
        /// The limit.
        count_max: usize,
    },
    /// A number is larger than it may be.
    #[error("{field}: {value} is more than {value_max}")]
    TooLarge {
        /// The message and its field.
        field: &'static str,
        /// As given.
        value: u32,
        /// The limit.
        value_max: u32,
    },
    /// A job's id has more than 40 bits.
    #[error("{field}: {value:#x} is not a job id of 40 bits")]
    JobId {
        /// The message and its field.
        field: &'static str,
        /// As given.
        value: u64,
    },
    /// A token's id has more than 40 bits.
    #[error("{field}: {value:#x} is not a token's id of 40 bits")]
    TokenId {
        /// The message and its field.
        field: &'static str,
        /// As given.
        value: u64,
    },
    /// A digest is not 32 bytes.
    #[error("{field}: a digest has 32 bytes, not {bytes}")]
    Digest {
        /// The message and its field.
        field: &'static str,
        /// As given.
        bytes: usize,
    },
    /// A metric is infinite or not a number.
    #[error("Metric.value: `{name}` is {value}, not a finite number")]
    NotFinite {
        /// The metric.
        name: String,
        /// Its value, as text: one that is not a number equals nothing.
        value: String,
    },
    /// Metrics are not in the one order that they may have, or one comes twice.
    #[error("Metric.name: `{name}` does not come after `{before}`")]
    Disorder {
        /// The metric.
        name: String,
        /// The one before it.
        before: String,
    },
    /// The parts of a message contradict each other.
    #[error("the parts of a message `{message}` contradict each other")]
    Contradiction {
        /// The message.
        message: &'static str,
    },
    /// An inline payload is too large.
    #[error("Payload.inline: {0}")]
    Payload(#[from] PayloadTooLarge),
    /// A name or a count is not what core allows.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

/// A part that has to be there, as a value.
pub fn required<M, V: TryFrom<M, Error = DecodeError>>(field: &'static str, part: Option<M>) -> Result<V, DecodeError> {
    part.ok_or(DecodeError::Missing { field })?.try_into()
}

/// Refuses a list of more than `count_max` entries.
pub fn at_most(field: &'static str, count: usize, count_max: usize) -> Result<(), DecodeError> {
    if count > count_max { Err(DecodeError::TooMany { field, count, count_max }) } else { Ok(()) }
}

/// Refuses a number of more than `value_max`.
pub(crate) fn at_most_number(field: &'static str, value: u32, value_max: u32) -> Result<u32, DecodeError> {
    if value > value_max { Err(DecodeError::TooLarge { field, value, value_max }) } else { Ok(value) }
}

/// Refuses a text of more than `bytes_max` bytes.
pub fn bounded_text(field: &'static str, text: String, bytes_max: usize) -> Result<String, DecodeError> {
    if text.len() > bytes_max {
        return Err(DecodeError::TooLong { field, bytes: text.len(), bytes_max });
    }
    Ok(text)
}

/// A job's id from its bits, of which there are 40.
pub fn job_id(field: &'static str, bits: u64) -> Result<JobId, DecodeError> {
    let id = JobId::from_bits(bits);
    if id.bits() == bits { Ok(id) } else { Err(DecodeError::JobId { field, value: bits }) }
}

/// A token's id from its bits, of which there are 40.
pub fn token_id(field: &'static str, bits: u64) -> Result<TokenId, DecodeError> {
    let id = TokenId::from_bits(bits);
    if id.bits() == bits { Ok(id) } else { Err(DecodeError::TokenId { field, value: bits }) }
}

/// A digest from its bytes, of which there are 32.
pub fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, DecodeError> {
    let digest = bytes.try_into().map_err(|_| DecodeError::Digest { field, bytes: bytes.len() })?;
    Ok(Digest(digest))
}

/// A name, checked by core's rule.
pub(crate) fn name(what: &'static str, text: String) -> Result<String, DecodeError> {
    convoke_core::check_name(what, &text)?;
    Ok(text)
}
