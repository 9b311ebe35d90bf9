//! What a certificate says of whoever shows it: a URI among its alternative names.
//!
//! `convoke://worker/0123456789abcdef/42/gpu%20box`: what it is, the token that it joined by, its number, its name. A
//! client that may run commands is a `client+command`.

use std::fmt;
use std::str::FromStr;

use convoke_core::{Identity, TokenId, check_name};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

const SCHEME: &str = "convoke://";
const COORDINATOR: &str = "coordinator";
/// What follows the role of whoever may run commands.
const COMMANDS: &str = "+command";

/// Whoever shows a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Whoever holds the authority's key.
    Coordinator,
    /// Somebody whom that let in.
    Member(Identity),
}

/// A certificate does not say who shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate does not say whose it is")]
pub struct Nameless;

impl Subject {
    /// What a certificate says. Whether it is to be believed, the authority's signature says.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, Nameless> {
        let certificate = EndEntityCert::try_from(certificate).map_err(|_| Nameless)?;
        let mut names = certificate.valid_uri_names();
        match (names.next(), names.next()) {
            (Some(name), None) => name.parse(),
            _ => Err(Nameless),
        }
    }

    /// What it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Coordinator => COORDINATOR,
            Self::Member(identity) => identity.role.as_str(),
        }
    }
}

/// As the URI.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.kind())?;
        let Self::Member(Identity { commands, token, serial, name, .. }) = self else { return Ok(()) };
        let right = if *commands { COMMANDS } else { "" };
        write!(f, "{right}/{:016x}/{serial}/", token.bits())?;
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Subject {
    type Err = Nameless;

    fn from_str(text: &str) -> Result<Self, Nameless> {
        let text = text.strip_prefix(SCHEME).ok_or(Nameless)?;
        if text == COORDINATOR {
            return Ok(Self::Coordinator);
        }
        let parts: Vec<_> = text.split('/').collect();
        let [role, token, serial, name] = parts[..] else { return Err(Nameless) };
        let (role, commands) = role.strip_suffix(COMMANDS).map_or((role, false), |role| (role, true));
        let identity = Identity {
            role: role.parse().map_err(|_| Nameless)?,
            commands,
            token: TokenId::from_bits(u64::from_str_radix(token, 16).map_err(|_| Nameless)?),
            serial: serial.parse().map_err(|_| Nameless)?,
            name: unescape(name).ok_or(Nameless)?,
        };
        check_name("name", &identity.name).map_err(|_| Nameless)?;
        if commands && !identity.role.takes_commands() {
            return Err(Nameless);
        }
        Ok(Self::Member(identity))
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(16 * high + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use convoke_core::Role;

    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        for name in ["gpu-box", "Anns Gerät 3", "a/b%20?#", "."] {
            for (role, commands, begins) in [
                (Role::Worker, false, "convoke://worker/00000000000000ab/9/"),
                (Role::Client, false, "convoke://client/00000000000000ab/9/"),
                (Role::Client, true, "convoke://client+command/00000000000000ab/9/"),
                (Role::Admin, false, "convoke://admin/00000000000000ab/9/"),
            ] {
                let (token, name) = (TokenId::from_bits(0xab), name.to_owned());
                let subject = Subject::Member(Identity { role, commands, token, serial: 9, name });
                let text = subject.to_string();
                assert!(text.is_ascii() && text.starts_with(begins), "{text}");
                assert_eq!(text.parse(), Ok(subject));
            }
        }
        assert_eq!("convoke://coordinator".parse(), Ok(Subject::Coordinator));
    }

    #[test]
    fn what_is_not_written_so_is_refused() {
        for text in [
            "https://example.org/a/b/c/d",
            "convoke://worker/1/2",
            "convoke://worker/1/2/",
            "convoke://king/1/2/ann",
            "convoke://client+king/1/2/ann",
            "convoke://client+command+command/1/2/ann",
            "convoke://worker+command/1/2/ann",
            "convoke://admin+command/1/2/ann",
            "convoke://coordinator+command",
            "convoke://worker/x/2/ann",
            "convoke://worker/1/-2/ann",
            "convoke://worker/1/2/%zz",
            "convoke://worker/1/2/%0A",
            "convoke://worker/1/2/a/b",
        ] {
            assert_eq!(text.parse::<Subject>(), Err(Nameless), "{text}");
        }
    }
}
