//! A worker's standing with a cluster: the credentials that were kept on this machine, or new ones.
//!
//! New ones come by a token; at a coordinator of the user's own, by one that is made on the spot.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use convoke_node::listen::Listener;
use convoke_node::membership::{self, Membership};
use convoke_wire::channel::Target;
use convoke_wire::core::{Digest, Role};
use convoke_wire::tls::handshake::Trust;
use convoke_wire::tls::verify::Expected;
use convoke_wire::tls::{Credentials, JoinToken, Key};
use convoke_wire::{CallError, Client, TokenTerms, enrolment};

use super::enrol;
use crate::failure::Failure;
use crate::{access, output, place};

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

    /// Of all that there are: the coordinator's authority says which are shown.
    fn any(kept: BTreeMap<Digest, (Credentials, PathBuf)>, name: &str) -> Self {
        Self::of(None, kept.into_values().collect(), name)
    }

    /// Of new credentials, which are kept.
    fn begin(credentials: Credentials, wished: &str) -> Result<Self, Failure> {
        let (authority, role) = (credentials.authority(), credentials.identity().role);
        if role != Role::Worker {
            return Err(Failure::no_coordinator(format!("the token's role is {role}, and to join needs worker")).hint(
                "log in with it, `convoke login ADDR --token …`; for a worker: `convoke token create --role worker`",
            ));
        }
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
    let Expected::Authority(authority) = access::book()?.trust(address)?.expected else {
        return if kept.is_empty() { as_user(address, name, wait).await } else { Ok(Standing::any(kept, name)) };
    };
    // This coordinator is in the user's book: nothing else is shown to it, and nobody else believed.
    match kept.remove(&authority) {
        Some(mine) => Ok(Standing::of(Some(authority), vec![mine], name)),
        None => as_user(address, name, wait).await,
    }
}

/// The standing of a worker that is dialled.
pub async fn when_dialled(listener: &Listener, token: Option<&JoinToken>, name: &str) -> Result<Standing, Failure> {
    let pinned = |token: &JoinToken| Ok(Trust::new(Expected::Authority(token.authority), Vec::new()));
    match token {
        Some(token) => match by_same(token, name)? {
            Some(standing) => return Ok(standing),
            None => output::note("waiting for a coordinator to dial, and to be joined by the token"),
        },
        None => match access::worker_credentials(name)? {
            kept if kept.is_empty() => {
                output::note("waiting for a coordinator of this user to dial; any other's needs a token (--token)");
            }
            kept => return Ok(Standing::any(kept, name)),
        },
    }
    let key = Key::generate().map_err(Failure::failed)?;
    loop {
        let caller = membership::next_caller(listener).await;
        // The coordinator may have been started later than this worker: the user's book is looked up each time.
        let trust = token.map_or_else(|| access::book()?.trust_any().map_err(Failure::from), pinned)?;
        let dialled = match caller.greet(&trust).await {
            Ok(dialled) => dialled,
            Err(error) => {
                output::note(format!("warning: a connection was refused: {error}"));
                continue;
            }
        };
        let mut client = Client::over(dialled.channel.clone());
        let made = match token {
            Some(_) => None,
            None => match make_token(&mut client, &trust, name).await {
                Ok(made) => Some(made),
                // Another may dial that this user has a say in.
                Err(error @ (CallError::Lost(_) | CallError::Disk(_) | CallError::Denied(_))) => {
                    output::note(format!("warning: {} could not be joined: {error}", dialled.peer));
                    continue;
                }
                Err(error) => return Err(error.into()),
            },
        };
        let Some(token) = token.or(made.as_ref()) else { continue };
        let credentials = match enrolment::enrol(dialled.channel.clone(), token, name, &key).await {
            Err(CallError::Lost(error) | CallError::Disk(error)) => {
                output::note(format!("warning: {} was lost: {error}", dialled.peer));
                continue;
            }
            enrolled => enrolled?,
        };
        if let Some(made) = made {
            forget(&mut client, &made).await;
        }
        return Standing::begin(credentials, name);
    }
}

/// The credentials that came by this very token before: a worker is started again with the same words.
fn by_same(token: &JoinToken, name: &str) -> Result<Option<Standing>, Failure> {
    let kept = access::worker_credentials(name)?.remove(&token.authority);
    let kept = kept.filter(|(credentials, _)| credentials.identity().token == token.id);
    Ok(kept.map(|kept| Standing::of(Some(token.authority), vec![kept], name)))
}

/// By a token that the user makes on the spot. A coordinator that is lost meanwhile is asked again.
async fn as_user(address: &str, name: &str, wait: Duration) -> Result<Standing, Failure> {
    let mut tries = 1;
    loop {
        let (target, mut client) = place::reach_user(Some(address), wait).await?;
        let Target::Address { trust, .. } = &target else { return Err(Failure::failed("it has no address")) };
        match make_token(&mut client, trust, name).await {
            Err(CallError::Lost(_) | CallError::Disk(_)) if tries < enrol::TRIES_MAX => {
                tokio::time::sleep(enrol::PAUSE).await;
                tries += 1;
            }
            Err(error @ CallError::Denied(_)) => {
                return Err(Failure::no_coordinator(error).hint(
                    "ask whoever runs the coordinator for a token: `convoke token create --role worker`; pass it with --token",
                ));
            }
            made => {
                let token = made?;
                let credentials = enrol::by_token(address, &token, name, wait).await?;
                forget(&mut client, &token).await;
                return Standing::begin(credentials, name);
            }
        }
    }
}

/// Takes a token away that has served its purpose. Where that fails, it is used up all the same.
async fn forget(client: &mut Client, token: &JoinToken) {
    drop(client.revoke_token(token.id).await);
}

/// A token for one worker, for now.
async fn make_token(client: &mut Client, trust: &Trust, name: &str) -> Result<JoinToken, CallError> {
    let unmade = |reason: String| CallError::Failed(reason);
    let authority = trust.met().ok_or_else(|| unmade("the coordinator's authority is not known".to_owned()))?;
    let token = access::new_token(authority).map_err(|failure| unmade(failure.to_string()))?;
    let expires_ms = Some(access::after(AT_ONCE));
    let terms =
        TokenTerms { role: Role::Worker, commands: false, name: Some(name.to_owned()), expires_ms, uses: Some(1) };
    client.create_token(&token, terms).await?;
    Ok(token)
}
