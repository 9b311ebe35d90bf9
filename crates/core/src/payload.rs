//! Payloads: the one form of every program, input and result, either bytes in place or a blob's digest.
//!
//! Nothing here hashes or stores: a digest is compared and shown, never computed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The most bytes that a payload carries in place.
pub const INLINE_BYTES_MAX: usize = 32 * 1024;

/// The BLAKE3 digest that names a blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    /// The first four bytes: enough to tell blobs apart in a trace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: 64 hexadecimal digits are expected")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseDigestError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| ParseDigestError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ParseDigestError)?;
        }
        Ok(Self(bytes))
    }
}

/// Inline bytes, at most [`INLINE_BYTES_MAX`], or a blob's digest. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payload(Form);

/// Where a payload's bytes are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Form {
    /// In place.
    Inline(Arc<[u8]>),
    /// In the blob of that digest.
    Blob(Digest),
}

/// Bytes do not fit in place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes do not fit in a payload, which holds {INLINE_BYTES_MAX}: store them as a blob")]
pub struct PayloadTooLarge {
    bytes: usize,
}

impl Payload {
    /// Bytes in place.
    pub fn inline(bytes: &[u8]) -> Result<Self, PayloadTooLarge> {
        if bytes.len() > INLINE_BYTES_MAX {
            return Err(PayloadTooLarge { bytes: bytes.len() });
        }
        Ok(Self(Form::Inline(bytes.into())))
    }

    /// A blob by its digest.
    pub const fn blob(digest: Digest) -> Self {
        Self(Form::Blob(digest))
    }

    /// Where the bytes are.
    pub const fn form(&self) -> &Form {
        &self.0
    }

    /// The bytes, where they are in place.
    pub fn as_inline(&self) -> Option<&[u8]> {
        match &self.0 {
            Form::Inline(bytes) => Some(bytes),
            Form::Blob(_) => None,
        }
    }

    /// The digest, where a blob holds the bytes.
    pub fn as_blob(&self) -> Option<Digest> {
        match self.0 {
            Form::Inline(_) => None,
            Form::Blob(digest) => Some(digest),
        }
    }
}

impl Default for Payload {
    /// No bytes, in place.
    fn default() -> Self {
        Self(Form::Inline(Arc::new([])))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Inline(bytes) => write!(f, "{} bytes", bytes.len()),
            Form::Blob(digest) => write!(f, "blob {digest:?}"),
        }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_as_it_prints() {
        let digest = Digest(std::array::from_fn(|place| place as u8 * 7));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("0".repeat(63).parse::<Digest>().is_err());
        assert!("é".repeat(32).parse::<Digest>().is_err());
    }

    #[test]
    fn a_payload_holds_up_to_its_limit() {
        assert!(Payload::inline(&[0; INLINE_BYTES_MAX]).is_ok());
        assert!(Payload::inline(&[0; INLINE_BYTES_MAX + 1]).is_err());
    }
}
