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
    loop {
        match enrolment::enrol(client.channel(), token, name, &key).await {
            // The same key takes no other use of the token.
            Err(CallError::Lost(_)) => drop(place::reach(&target, wait).await?),
            enrolled => return enrolled.map_err(refused),
        }
    }
}

/// Why there are no credentials.
pub fn refused(error: CallError) -> Failure {
    match error {
        CallError::Denied(_) => Failure::no_coordinator(error)
            .hint("ask whoever runs the coordinator for another: `convoke token create --role …` there"),
        error => error.into(),
    }
}
