//! Enrolling, for the commands that take a token.

use std::sync::Arc;
use std::time::Duration;

use convoke_wire::channel::Target;
use convoke_wire::tls::handshake::Trust;
use convoke_wire::tls::verify::Expected;
use convoke_wire::tls::{Credentials, JoinToken, Key};
use convoke_wire::{CallError, enrolment};

use crate::failure::Failure;
use crate::place;

/// How often a token is shown to a coordinator that is lost before it answers.
pub const TRIES_MAX: usize = 4;
/// How long to wait between two times.
pub const PAUSE: Duration = Duration::from_millis(250);

/// A token as it was typed.
pub fn parse(text: &str) -> Result<JoinToken, Failure> {
    text.parse().map_err(|error| {
        Failure::bad_input(error)
            .hint("a coordinator prints one when it starts, and `convoke token create` makes others")
    })
}

/// Credentials by a token, of the coordinator at an address.
pub async fn by_token(address: &str, token: &JoinToken, name: &str, wait: Duration) -> Result<Credentials, Failure> {
    let trust = Arc::new(Trust::new(Expected::Authority(token.authority), Vec::new()));
    let target = Target::Address { address: address.to_owned(), trust };
    let client = place::reach(&target, wait).await?;
    let key = Key::generate().map_err(Failure::failed)?;
    let mut tries = 1;
    loop {
        match enrolment::enrol(client.channel(), token, name, &key).await {
            // The same key takes no other use of the token.
            Err(CallError::Lost(_) | CallError::Disk(_)) if tries < TRIES_MAX => {
                tokio::time::sleep(PAUSE).await;
                drop(place::reach(&target, wait).await?);
                tries += 1;
            }
            enrolled => return Ok(enrolled?),
        }
    }
}
