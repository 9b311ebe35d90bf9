//! Who is at the other end of a connection, and what that may do: a table of calls. What is not in it, nobody may do.
//!
//! Whose job or blob it is, each service asks itself.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract;
use axum::middleware::Next;
use axum::response::Response;
use convoke_core::coordinator::credentials::Credentials;
use convoke_core::{Caller, Identity, JobSpec, Role, TokenId};
use convoke_wire::denial::Denial;
use convoke_wire::protocol::rolled_back;
use convoke_wire::tls::Subject;
use convoke_wire::tls::handshake::now;
use convoke_wire::tls::verify::MemberVerifier;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tonic::{Request, Status};

use crate::authority::RENEWABLE_AFTER;
use crate::denials::Denials;
use crate::executor::COMMANDS;

/// How much of a call's path is shown: more than any that there is.
const PATH_SHOWN_MAX: usize = 64;

/// Whoever is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    who: Who,
    address: Option<SocketAddr>,
}

#[derive(Clone, Debug)]
enum Who {
    /// This process itself.
    Inside,
    /// It showed no certificate.
    Stranger,
    /// The authority let it in. Its certificate may have ended: then, when that was, in unix seconds.
    Member { identity: Arc<Identity>, ended: Option<u64> },
}

/// Who may call.
enum Right {
    /// Whoever has a token.
    Anybody,
    /// Whoever was let in, also for a while after its certificate has ended.
    Members,
    /// Members of these roles.
    Roles(&'static [Role]),
}

/// Every call, and who may make it.
fn right(path: &str) -> Option<Right> {
    const USERS: Right = Right::Roles(&[Role::Client, Role::Admin]);
    const ADMINS: Right = Right::Roles(&[Role::Admin]);
    let path = path.strip_prefix("/convoke.wire.v1.")?;
    Some(match path {
        "Enrolment/Enrol" => Right::Anybody,
        "Enrolment/Renew" => Right::Members,
        "Sessions/Open" => Right::Roles(&[Role::Worker]),
        "Blobs/Get" | "Blobs/Put" => Right::Roles(&[Role::Worker, Role::Client, Role::Admin]),
        "Blobs/Missing" | "Clients/Submit" | "Clients/Cancel" | "Clients/Jobs" | "Clients/Follow" => USERS,
        "Clients/Workers" | "Clients/Waits" => USERS,
        "Clients/Drain" | "Clients/CreateToken" | "Clients/Tokens" => ADMINS,
        "Clients/RevokeToken" | "Clients/Remove" => ADMINS,
        _ => return None,
    })
}

impl Peer {
    /// This process.
    pub(crate) fn inside() -> Self {
        Self { who: Who::Inside, address: None }
    }

    /// Whoever shows this certificate, which the handshake has found to be the authority's.
    pub(crate) fn of(shown: Option<&CertificateDer<'_>>, members: &MemberVerifier, address: SocketAddr) -> Self {
        let who = shown.and_then(|certificate| match Subject::of(certificate).ok()? {
            Subject::Coordinator => None,
            Subject::Member(identity) => {
                Some(Who::Member { identity: identity.into(), ended: members.ended(certificate, now()) })
            }
        });
        Self { who: who.unwrap_or(Who::Stranger), address: Some(address) }
    }

    /// Whoever makes a call.
    pub(crate) fn calling<T>(request: &Request<T>) -> Result<Self, Status> {
        request.extensions().get().cloned().ok_or_else(|| Status::internal("a call without a peer"))
    }

    /// Whether it has shown that it is somebody who still counts. Who was removed, or whose certificate has ended, may come
    /// to be told so or to renew it, and has no more room for that than who shows nothing.
    pub(crate) fn is_known(&self, credentials: &Credentials) -> bool {
        match &self.who {
            Who::Inside => true,
            Who::Stranger => false,
            Who::Member { identity, ended } => ended.is_none() && credentials.accepts(identity),
        }
    }

    /// What its certificate says; `None` for this process and for strangers.
    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        match &self.who {
            Who::Member { identity, .. } => Some(identity),
            Who::Inside | Who::Stranger => None,
        }
    }

    /// Its role; this process may do everything.
    pub(crate) fn role(&self) -> Option<Role> {
        match &self.who {
            Who::Inside => Some(Role::Admin),
            Who::Stranger => None,
            Who::Member { identity, .. } => Some(identity.role),
        }
    }

    /// On whose behalf the coordinator's machine acts. A stranger comes nowhere near it.
    pub(crate) fn caller(&self) -> Caller {
        let token = self.identity().map_or(TokenId::LOCAL, |identity| identity.token);
        Caller { role: self.role().unwrap_or(Role::Worker), token }
    }

    /// Its identity, if it is a worker.
    pub(crate) fn worker(&self) -> Option<&Identity> {
        self.identity().map(|identity| &**identity).filter(|identity| identity.role == Role::Worker)
    }

    /// What it is called, for people; `None` for this process.
    pub(crate) fn name(&self) -> Option<&str> {
        self.identity().map(|identity| identity.name.as_str())
    }

    /// Whether it may have done what a job takes.
    pub(crate) fn check_job(&self, spec: &JobSpec) -> Result<(), Status> {
        let Who::Member { identity, .. } = &self.who else { return Ok(()) };
        match spec.abilities().find(|ability| COMMANDS.contains(&ability.as_str())) {
            Some(ability) if !identity.may_run_commands() => Err(Denial::Commands.status(format!(
                "the job runs commands on workers (`{ability}`), and this {} has no right to that",
                identity.role
            ))),
            _ => Ok(()),
        }
    }

    /// Whether it may make a call.
    fn check(&self, path: &str, credentials: &Credentials) -> Result<(), Status> {
        let right = right(path);
        if matches!(self.who, Who::Inside) || matches!(right, Some(Right::Anybody)) {
            return Ok(());
        }
        let (Some(identity), Some(role)) = (self.identity(), self.role()) else {
            return Err(Denial::NoCertificate.status("no certificate was shown: join with a token first"));
        };
        if identity.serial > credentials.enrolled {
            return Err(rolled_back(format!(
                "the journal was rolled back: {} joined as number {}, and it knows of {}",
                identity.name, identity.serial, credentials.enrolled
            )));
        }
        if !credentials.accepts(identity) {
            return Err(Denial::Removed.status(format!("{role} {} was removed from the cluster", identity.name)));
        }
        if let Who::Member { ended: Some(ended), .. } = self.who {
            let seconds = now().as_secs().saturating_sub(ended);
            let days = seconds / 86_400;
            if !matches!(right, Some(Right::Members)) || seconds > RENEWABLE_AFTER.as_secs() {
                return Err(Denial::CertificateEnded
                    .status(format!("the certificate ended {days} days ago: join again with a new token")));
            }
        }
        // Only whoever is in hears what there is; it has no need to hear its own words.
        let Some(right) = right else { return Err(Status::unimplemented("there is no such call")) };
        match right {
            Right::Roles(roles) if role != Role::Admin && !roles.contains(&role) => {
                let names: Vec<_> = roles.iter().map(Role::to_string).collect();
                Err(Denial::Role.status(format!("this needs the role {}, and this is a {role}", names.join(" or "))))
            }
            // An admin's certificate does not make a worker.
            Right::Roles(roles) if !roles.contains(&role) => {
                Err(Denial::Role.status(format!("this needs the role {}, and this is an {role}", roles[0])))
            }
            _ => Ok(()),
        }
    }
}

/// For logs.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Inside => f.write_str("this process")?,
            Who::Stranger => f.write_str("somebody without a certificate")?,
            Who::Member { identity, .. } => write!(f, "{} {}", identity.role, identity.name.escape_debug())?,
        }
        self.address.map_or(Ok(()), |address| write!(f, " at {address}"))
    }
}

/// Asks, before every call, whether the peer may make it.
#[derive(Clone)]
pub(crate) struct Guard {
    credentials: watch::Receiver<Arc<Credentials>>,
    denials: Denials,
}

impl Guard {
    pub(crate) fn new(credentials: watch::Receiver<Arc<Credentials>>, denials: Denials) -> Self {
        Self { credentials, denials }
    }

    /// Hands a call on, if its peer may make it.
    pub(crate) async fn pass(self, request: extract::Request, next: Next) -> Response {
        match self.admit(&request) {
            Ok(()) => next.run(request).await,
            Err(status) => status.into_http(),
        }
    }

    fn admit(&self, request: &extract::Request) -> Result<(), Status> {
        let path = request.uri().path();
        let peer = request.extensions().get::<Peer>().ok_or_else(|| Status::internal("a call without a peer"))?;
        peer.check(path, &self.credentials.borrow()).inspect_err(|status| {
            let path: String = path.chars().take(PATH_SHOWN_MAX).collect();
            self.denials.say(format!("{peer} may not call {}: {}", path.escape_debug(), status.message()));
        })
    }
}

#[cfg(test)]
mod tests {
    use convoke_core::{Ability, Attempts, MapReduce, Needs, Payload, Plan, Reduce, Split, Work};
    use tonic::Code;

    use super::*;
    use crate::executor::{COMMAND, EVALUATE, STEP, TRAIN, WASM};

    fn spec(map: &str, reduce: Option<&str>) -> JobSpec {
        let ability = |name: &str| Ability::new(name).unwrap();
        let payload = || Payload::inline(b"").unwrap();
        let map = Work {
            ability: ability(map),
            program: payload(),
            input: payload(),
            split: Split::Range,
            count: 1,
            combine: payload(),
            needs: Needs::default(),
        };
        let reduce = reduce.map(|name| Reduce {
            ability: ability(name),
            program: payload(),
            fan_in: 2,
            needs: Needs::default(),
        });
        JobSpec {
            name: "job".to_owned(),
            plan: Plan::MapReduce(MapReduce { base: payload(), map, reduce, keep_going: false }),
            policy: None,
            seed: 0,
            attempts: Attempts::default(),
            deadline_ms: None,
            priority: 0,
        }
    }

    fn member(role: Role, commands: bool) -> Peer {
        let identity = Identity { role, commands, token: TokenId::from_bits(1), serial: 1, name: "ann".to_owned() };
        Peer { who: Who::Member { identity: Arc::new(identity), ended: None }, address: None }
    }

    #[test]
    fn commands_are_for_whom_the_right_was_given() {
        let (client, commanding) = (member(Role::Client, false), member(Role::Client, true));
        for harmless in [spec(TRAIN, None), spec(EVALUATE, Some(WASM))] {
            assert!(client.check_job(&harmless).is_ok());
        }
        for spec in [spec(COMMAND, None), spec(STEP, None), spec(WASM, Some(COMMAND))] {
            let refused = client.check_job(&spec).unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
            assert!(refused.message().starts_with("the job runs commands on workers (`"), "{refused}");
            for peer in [&commanding, &member(Role::Admin, false), &Peer::inside()] {
                assert!(peer.check_job(&spec).is_ok(), "{peer}");
            }
        }
    }
}
