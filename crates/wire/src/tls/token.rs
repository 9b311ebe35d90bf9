//! A join token: what one machine shows another to be let in, and by what it knows that it is the right one.
//!
//! `cvk1` and 80 characters of base64 (RFC 4648, URL-safe, unpadded) of: the token's id (8 bytes, big-endian), its secret
//! (16), the digest of the authority's certificate (32), and the first four bytes of the BLAKE3 of all that, so that a slip
//! in copying is found at once.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use convoke_core::{Digest, TokenId};

const PREFIX: &str = "cvk1";
const BODY_BYTES: usize = 8 + SECRET_BYTES + 32;
const CHECK_BYTES: usize = 4;
const SECRET_BYTES: usize = 16;

/// A join token. It shows its secret to whoever prints it, and not when it is debugged.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Which one it is, in the coordinator's books.
    pub id: TokenId,
    /// What only its holders know.
    pub secret: Secret,
    /// The authority of the cluster that it is for.
    pub authority: Digest,
}

/// A token's secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; SECRET_BYTES]);

/// It is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else.
    #[error("it is no join token: one begins with `{PREFIX}`")]
    Foreign,
    /// A token of another version of this program.
    #[error("it is a join token of another version: this one knows `{PREFIX}`")]
    Version,
    /// A part is missing, or a character is another.
    #[error("it is not a whole join token: copy all of it again")]
    Spoiled,
}

impl Secret {
    /// What the coordinator keeps of it.
    pub fn hash(&self) -> Digest {
        Digest(blake3::derive_key("convoke 2026-11 join token secret", &self.0))
    }
}

impl JoinToken {
    fn body(&self) -> [u8; BODY_BYTES] {
        let mut body = [0; BODY_BYTES];
        body[..8].copy_from_slice(&self.id.bits().to_be_bytes());
        body[8..8 + SECRET_BYTES].copy_from_slice(&self.secret.0);
        body[8 + SECRET_BYTES..].copy_from_slice(&self.authority.0);
        body
    }
}

fn check_of(body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&blake3::hash(body).as_bytes()[..CHECK_BYTES]);
    check
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body();
        let whole = [&body[..], &check_of(&body)].concat();
        write!(f, "{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(whole))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.id)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(if text.starts_with("cvk") { TokenError::Version } else { TokenError::Foreign });
        };
        let whole = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Spoiled)?;
        let (body, check) = whole.split_at_checked(BODY_BYTES).ok_or(TokenError::Spoiled)?;
        if check != check_of(body) {
            return Err(TokenError::Spoiled);
        }
        let (id, rest) = body.split_first_chunk().ok_or(TokenError::Spoiled)?;
        let (secret, authority) = rest.split_first_chunk().ok_or(TokenError::Spoiled)?;
        let authority = authority.try_into().map_err(|_| TokenError::Spoiled)?;
        Ok(Self {
            id: TokenId::from_bits(u64::from_be_bytes(*id)),
            secret: Secret(*secret),
            authority: Digest(authority),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken { id: TokenId::from_bits(7), secret: Secret([3; 16]), authority: Digest([5; 32]) }
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        let text = token().to_string();
        assert_eq!(text.len(), 84);
        assert_eq!(text.parse(), Ok(token()));
        assert_eq!(format!(" {text}\n").parse(), Ok(token()));
        assert!(!format!("{:?}", token()).contains(&text[15..30]));
    }

    #[test]
    fn a_slip_in_copying_is_found() {
        let text = token().to_string();
        let parse = |text: &str| text.parse::<JoinToken>().unwrap_err();
        for place in 4..text.len() {
            let other = if &text[place..=place] == "A" { "B" } else { "A" };
            let spoiled = format!("{}{other}{}", &text[..place], &text[place + 1..]);
            assert_eq!(parse(&spoiled), TokenError::Spoiled, "{place}");
            assert_eq!(parse(&text[..place]), TokenError::Spoiled);
        }
        assert_eq!(parse(&format!("{text}A")), TokenError::Spoiled);
        assert_eq!(
            (parse("hello"), parse(""), parse("cvk2abc")),
            (TokenError::Foreign, TokenError::Foreign, TokenError::Version)
        );
    }
}
