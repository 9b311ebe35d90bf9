//! The names of things: jobs, stages, tasks, leases, workers, sessions, tokens, terms and positions.
//!
//! They are plain values that order and print; none of them knows what it names.

use std::fmt;
use std::str::FromStr;

/// Monotonic milliseconds, from an origin that only the shell knows.
pub type Millis = u64;

/// The id of a job, made by the client that submits it: 40 random bits, shown as eight characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

/// The id of a join token, made by the coordinator's shell: 40 random bits, shown as eight characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(u64);

/// Crockford's base 32: no letter that is easily taken for another.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_CHARACTERS: usize = 8;
const ID_BITS: u64 = 0xff_ffff_ffff;

impl JobId {
    /// The id made of the low 40 bits of `bits`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & ID_BITS)
    }

    /// The 40 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl TokenId {
    /// No token's: it stands for the credentials that the coordinator gives to the user who starts it.
    pub const LOCAL: Self = Self(0);

    /// The id made of the low 40 bits of `bits`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & ID_BITS)
    }

    /// The 40 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// A text is no job id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a job id: eight letters and digits, such as 7k3q9x2m")]
pub struct ParseJobIdError(String);

/// A text is no token's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a token's id: eight letters and digits, such as 7k3q9x2m")]
pub struct ParseTokenIdError(String);

impl FromStr for JobId {
    type Err = ParseJobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).ok_or_else(|| ParseJobIdError(text.chars().take(64).collect()))
    }
}

impl FromStr for TokenId {
    type Err = ParseTokenIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).ok_or_else(|| ParseTokenIdError(text.chars().take(64).collect()))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, f)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn parse(text: &str) -> Option<u64> {
    if text.len() != ID_CHARACTERS {
        return None;
    }
    text.bytes().try_fold(0, |bits, byte| {
        let digit = ALPHABET.iter().position(|letter| *letter == byte.to_ascii_lowercase())?;
        Some(bits << 5 | digit as u64)
    })
}

fn show(bits: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for place in (0..ID_CHARACTERS).rev() {
        let digit = (bits >> (5 * place)) & 31;
        write!(f, "{}", ALPHABET[digit as usize] as char)?;
    }
    Ok(())
}

/// A number with a meaning of its own.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl $name {
            /// The one after.
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

number! {
    /// A stage of a job, counted from 1 in the order of opening.
    StageNumber(u32)
}
number! {
    /// Grows each time a coordinator takes a journal over; what comes from a stale term is refused.
    Term(u64)
}
number! {
    /// A frame's place in the journal; the first is 1. As a length it says how many frames there are.
    Position(u64)
}
number! {
    /// One process of a worker, by a random number that it made when it started.
    WorkerId(u64)
}
number! {
    /// One connection of a worker, numbered by the coordinator's shell.
    SessionId(u64)
}
number! {
    /// A client's call that waits for its reply, numbered by the coordinator's shell.
    RequestId(u64)
}

/// A task by its place: the `index`-th of a stage of a job, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The job.
    pub job: JobId,
    /// Its stage.
    pub stage: StageNumber,
    /// The place in the stage, which is also the order of combining.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.job, self.stage, self.index)
    }
}

/// The right to one attempt of one task. The number is used once in a term, so it fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId {
    /// The term in which it was granted.
    pub term: Term,
    /// Its number in that term.
    pub number: u64,
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_prints() {
        for bits in [0, 1, 31, 32, 0xff_ffff_ffff, 0x12_3456_789a] {
            let id = JobId::from_bits(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
            let id = TokenId::from_bits(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(JobId::from_bits(33).to_string(), "00000011");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "1234567", "123456789", "abcdefgu", "äääa", "1234 678"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
            assert!(text.parse::<TokenId>().is_err(), "{text}");
        }
    }
}
