//! What goes into the coordinator's machine and what comes out of it.
//!
//! Inputs are facts that the shell observed, outputs are orders that it carries out; neither holds a decision.

use std::fmt;

use crate::event::{Combined, Event, Extras};
use crate::message::{FromWorker, Hello, ToWorker};
use crate::{
    Caller, Counted, Digest, Identity, JobId, JobSpec, NewToken, Payload, Position, RequestId, Role, SessionId,
    StageNumber, TokenId,
};

use super::notice::Notice;
use super::reply::Reply;

/// Something that happened.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "an input is handed over once, and a submission is rare")]
pub enum Input {
    /// Nothing but time passed.
    Tick,
    /// A worker opened a session.
    Connected {
        /// The session.
        session: SessionId,
        /// Its first words.
        hello: Hello,
        /// Who its certificate says it is; `None` where connections have none.
        identity: Option<Identity>,
    },
    /// A worker said something.
    Received {
        /// In this session.
        session: SessionId,
        /// What it said.
        message: FromWorker,
    },
    /// A session ended, whoever ended it.
    Disconnected {
        /// The session.
        session: SessionId,
    },
    /// A client submits a job.
    Submit {
        /// The call to answer.
        request: RequestId,
        /// The id that the client made.
        job: JobId,
        /// What is to be done.
        spec: JobSpec,
        /// Who submits it, for people.
        submitter: String,
        /// The token that let the client in: whose the job will be.
        owner: TokenId,
        /// The blobs named in the spec that are not stored here.
        missing: Vec<Digest>,
    },
    /// A client cancels a job.
    Cancel {
        /// The call to answer.
        request: RequestId,
        /// The job.
        job: JobId,
        /// Who asks for it: an admin, or the client whose job it is.
        by: Caller,
    },
    /// A job that has ended is to be on record no longer. Of any other this changes nothing.
    Forget {
        /// The job.
        job: JobId,
    },
    /// The wall clock is past the deadline of a job.
    DeadlinePassed {
        /// The job.
        job: JobId,
    },
    /// A combine that was ordered came to its end.
    Combined {
        /// The job.
        job: JobId,
        /// The stage.
        stage: StageNumber,
        /// Its end.
        outcome: CombineOutcome,
    },
    /// What the journal folds to, through a position, is stored.
    SnapshotStored {
        /// The position.
        through: Position,
        /// The blob, which is durable.
        state: Digest,
    },
    /// A client takes a worker out of service.
    Drain {
        /// The call to answer.
        request: RequestId,
        /// The worker's name.
        worker: String,
    },
    /// A client asks about the workers.
    Inspect {
        /// The call to answer.
        request: RequestId,
    },
    /// A client asks what a job waits for.
    WhyWaits {
        /// The call to answer.
        request: RequestId,
        /// The job.
        job: JobId,
        /// Who asks for it: an admin, or the client whose job it is.
        by: Caller,
    },
    /// An admin makes a token.
    CreateToken {
        /// The call to answer.
        request: RequestId,
        /// The token.
        token: NewToken,
        /// The time, in Unix milliseconds.
        wall_ms: u64,
    },
    /// An admin revokes a token.
    RevokeToken {
        /// The call to answer.
        request: RequestId,
        /// The token.
        token: TokenId,
    },
    /// Someone wants to be let in.
    Enrol {
        /// The call to answer.
        request: RequestId,
        /// By this token.
        token: TokenId,
        /// The hash of the secret that came with it.
        secret: Digest,
        /// What it would like to be called, where the token does not say.
        name: String,
        /// The hash of its public key.
        key: Digest,
        /// The time, in Unix milliseconds.
        wall_ms: u64,
    },
    /// An admin removes all who have a name by now.
    RemoveIdentity {
        /// The call to answer.
        request: RequestId,
        /// Of this role.
        role: Role,
        /// By this name.
        name: String,
    },
    /// An admin asks about the tokens.
    Tokens {
        /// The call to answer.
        request: RequestId,
    },
}

/// How a combine ended.
#[derive(Clone, Debug)]
pub enum CombineOutcome {
    /// It made one result, which is durable.
    Combined(Combined),
    /// The blobs of these tasks' results are gone.
    ResultsLost(Vec<u32>),
    /// It cannot be done.
    Failed(String),
}

/// What follows from an input: events to append, then outputs to perform.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// To append, in this order, before any of the outputs.
    pub events: Vec<Event>,
    /// To perform, in this order.
    pub outputs: Vec<Output>,
}

/// An order to the shell.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a message to a worker.
    Send {
        /// In this session.
        session: SessionId,
        /// The message.
        message: ToWorker,
    },
    /// End a session.
    Close {
        /// The session.
        session: SessionId,
        /// Why, for the peer and the log.
        reason: &'static str,
    },
    /// Combine a stage's results; its end comes back as [`Input::Combined`].
    Combine(Combine),
    /// Let the journal's frames up to there go: a snapshot stands for them.
    Trim {
        /// The last of them.
        through: Position,
    },
    /// Answer a client's call.
    Reply {
        /// The call.
        request: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// Tell whoever watches.
    Notice(Notice),
}

/// A stage's results, to become one.
#[derive(Clone, Debug, PartialEq)]
pub struct Combine {
    /// The job.
    pub job: JobId,
    /// The stage.
    pub stage: StageNumber,
    /// How they become one.
    pub rule: Payload,
    /// What the tasks started from.
    pub base: Payload,
    /// What they worked on.
    pub input: Payload,
    /// The results, in task order.
    pub parts: Vec<Part>,
}

/// One task's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The task's place.
    pub index: u32,
    /// Its result.
    pub result: Payload,
    /// How many samples it stands for.
    pub samples: u64,
    /// What comes beside it.
    pub extras: Extras,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { session, message } => write!(f, "to session {session}: {message}"),
            Self::Close { session, reason } => write!(f, "close session {session}: {reason}"),
            Self::Combine(combine) => {
                write!(f, "combine {}/{}: {}", combine.job, combine.stage, Counted(combine.parts.len(), "part"))
            }
            Self::Trim { through } => write!(f, "trim the journal through position {through}"),
            Self::Reply { request, reply } => write!(f, "reply to {request}: {reply:?}"),
            Self::Notice(notice) => write!(f, "notice: {notice}"),
        }
    }
}
