//! A worker's standing with a cluster: the credentials that were kept on this machine, or new ones.
//!
//! New ones come by a token; at a coordinator of the user's own, by one that is made on the spot.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use convoke_node::link::LinkError;
use convoke_node::listen::Listener;
use convoke_node::membership::{self, Membership};
use convoke_wire::channel::Target;
use convoke_wire::core::{Digest, Role};
use convoke_wire::tls::handshake::Trust;
use convoke_wire::tls::verify::Expected;
use convoke_wire::tls::{Credentials, JoinToken, Key};
use convoke_wire::{CallError, TokenTerms};

use super::enrol;
use crate::failure::Failure;
use crate::{access, place};

/// For how long a token is good that is made to be used at once.
const AT_ONCE: Duration = Duration::from_secs(5 * 60);

/// What a worker shows, and what it is called.
pub struct Standing {
    pub trust: Arc<Trust>,
    pub membership: Membership,
    pub name: String,
}

impl Standing {
    /// Of credentials, each in its file.
    fn of(expected: Option<Digest>, kept: Vec<(Credentials, PathBuf)>, name: &str) -> Self {
        let name = match &kept[..] {
            [(only, _)] => only.identity().name.clone(),
            _ => name.to_owned(),
        };
        let files = kept.iter().map(|(credentials, file)| (credentials.authority(), file.clone())).collect();
        let shown = kept.into_iter().map(|(credentials, _)| credentials).collect();
        let trust = Arc::new(match expected {
            Some(authority) => Trust::new(Expected::Authority(authority), shown),
            None => Trust::known(shown),
        });
        Self { membership: Membership { trust: trust.clone(), files: Arc::new(files) }, trust, name }
    }

    /// Of new credentials, which are kept.
    fn begin(credentials: Credentials, wished: &str) -> Result<Self, Failure> {
        let authority = credentials.authority();
        let file = access::worker_file(authority, wished)?;
        credentials.save(&file)?;
        Ok(Self::of(Some(authority), vec![(credentials, file)], wished))
    }
}

/// The standing of a worker that dials.
pub async fn at(address: &str, token: Option<&JoinToken>, name: &str, wait: Duration) -> Result<Standing, Failure> {
    if let Some(token) = token {
        return match by_same(token, name)? {
            Some(standing) => Ok(standing),
            None => Standing::begin(enrol::by_token(address, token, name, wait).await?, name),
        };
    }
    let mut kept = access::worker_credentials(name)?;
    let user = access::book()?.trust(address)?;
    let expected = match user.expected {
        Expected::Authority(authority) => Some(authority),
        Expected::OneOf(_) => None,
    };
    match expected {
        // This coordinator is in the user's book: nothing else is shown to it, and nobody else believed.
        Some(authority) => match kept.remove(&authority) {
            Some(mine) => Ok(Standing::of(Some(authority), vec![mine], name)),
            None => as_user(address, user, name, wait).await,
        },
        None if kept.is_empty() => as_user(address, user, name, wait).await,
        None => Ok(Standing::of(None, kept.into_values().collect(), name)),
    }
}

/// The standing of a worker that is dialled.
pub async fn when_dialled(listener: &Listener, token: Option<&JoinToken>, name: &str) -> Result<Standing, Failure> {
    let Some(token) = token else {
        let kept = access::worker_credentials(name)?;
        if kept.is_empty() {
            return Err(Failure::bad_input("a worker that listens for the first time needs a token").hint(
                "`convoke token create --role worker` on the coordinator's machine makes one: pass it with --token",
            ));
        }
        return Ok(Standing::of(None, kept.into_values().collect(), name));
    };
    if let Some(standing) = by_same(token, name)? {
        return Ok(standing);
    }
    let key = Key::generate().map_err(Failure::failed)?;
    let enrolled = membership::enrol_when_dialled(listener, token, name, &key).await;
    let credentials = enrolled.map_err(|error| match error {
        LinkError::Call(error) => enrol::refused(error),
        error => Failure::no_coordinator(error),
    })?;
    Standing::begin(credentials, name)
}

/// The credentials that came by this very token before: a worker is started again with the same words.
fn by_same(token: &JoinToken, name: &str) -> Result<Option<Standing>, Failure> {
    let kept = access::worker_credentials(name)?.remove(&token.authority);
    let kept = kept.filter(|(credentials, _)| credentials.identity().token == token.id);
    Ok(kept.map(|kept| Standing::of(Some(token.authority), vec![kept], name)))
}

/// By a token that the user makes on the spot.
async fn as_user(address: &str, user: Trust, name: &str, wait: Duration) -> Result<Standing, Failure> {
    let target = Target::Address { address: address.to_owned(), trust: Arc::new(user) };
    let mut client = place::reach(&target, wait).await?;
    let Target::Address { trust, .. } = &target else { return Err(Failure::failed("a coordinator has an address")) };
    let authority = trust.met().ok_or_else(|| Failure::failed("the coordinator's authority is not known"))?;
    let token = access::new_token(authority)?;
    let expires_ms = Some(access::after(AT_ONCE));
    let terms = TokenTerms { role: Role::Worker, name: Some(name.to_owned()), expires_ms, uses: Some(1) };
    client.create_token(&token, terms).await.map_err(|error| match error {
        CallError::Denied(_) => Failure::no_coordinator(error).hint(
            "ask whoever runs the coordinator for a token: `convoke token create --role worker`; pass it with --token",
        ),
        error => error.into(),
    })?;
    let credentials = enrol::by_token(address, &token, name, Duration::ZERO).await?;
    // It was for this once; where it cannot be removed now, it is used up all the same.
    drop(client.revoke_token(token.id).await);
    Standing::begin(credentials, name)
}
