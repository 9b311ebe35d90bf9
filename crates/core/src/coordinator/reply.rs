//! What clients are answered: what was done for them, or why not.
//!
//! How an answer is worded on the wire it does not know.

use crate::event::Outcome;
use crate::{Ability, Digest, Identity, JobId, Millis, Resources, Role, SpecError, TokenId};

use super::credentials::{REMOVED_MAX, TOKENS_MAX};
use super::jobs::LIVE_JOBS_MAX;
use super::notice::Waiting;

/// The answer to a client's call.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The job is on record; it may have been before.
    Submitted,
    /// Submit again once these blobs are stored.
    Missing(Vec<Digest>),
    /// The call was refused.
    Refused(Refusal),
    /// The job has ended, this way.
    Ended(Outcome),
    /// The worker gets no more tasks, and leaves after those that it runs.
    Draining {
        /// How many it runs.
        running: usize,
    },
    /// The workers.
    Workers(Vec<WorkerView>),
    /// Why none of the job's tasks is with a worker; `None` where some are, or will be at once, or the job has ended.
    Waits(Option<Waiting>),
    /// The token is on record; it may have been before.
    TokenCreated,
    /// The token lets nobody in any more.
    TokenRevoked,
    /// This is who the caller is from now on; it may have been before.
    Enrolled(Identity),
    /// Whoever had the name is out; they may have been before.
    IdentityRemoved,
    /// The tokens, in the order of their creation.
    Tokens(Vec<TokenView>),
}

/// Why a client's call was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The spec is not sound.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The id stands for another job.
    #[error("job {0} is another job already")]
    AnotherSpec(JobId),
    /// There is no room for another.
    #[error("{LIVE_JOBS_MAX} jobs are under way already: cancel one, or wait for one to end")]
    TooManyJobs,
    /// No such job.
    #[error("there is no job {0} here")]
    NoSuchJob(JobId),
    /// No such worker.
    #[error("there is no worker `{0}` here")]
    NoSuchWorker(String),
    /// Someone else submitted the job.
    #[error("job {0} is another client's")]
    NotYours(JobId),
    /// No such token, or not with that secret.
    #[error("there is no such token here")]
    NoSuchToken,
    /// The id stands for another token.
    #[error("token {0} is another token already")]
    AnotherToken(TokenId),
    /// Whoever has the role is not given the right to run commands.
    #[error("the right to run commands is a client's, and this token is for the role {0}")]
    NoCommands(Role),
    /// There is no room for another.
    #[error("{TOKENS_MAX} tokens wait to be used already: revoke one")]
    TooManyTokens,
    /// The token's time is over.
    #[error("the token expired {} s ago", .by_ms / 1_000)]
    TokenExpired {
        /// For so long.
        by_ms: u64,
    },
    /// The token was for fewer.
    #[error("the token has let in as many as it may")]
    TokenUsedUp,
    /// The name was removed after the token was created.
    #[error("the {role} `{name}` was removed: only a newer token lets it in again")]
    NameRemoved {
        /// The role.
        role: Role,
        /// The name.
        name: String,
    },
    /// Nobody of that name was let in.
    #[error("there is no {role} `{name}` here")]
    NoSuchIdentity {
        /// The role.
        role: Role,
        /// The name.
        name: String,
    },
    /// There is no room for another.
    #[error("{REMOVED_MAX} names are removed already")]
    TooManyRemoved,
}

/// A worker, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// Whether it has a session.
    pub connected: bool,
    /// Whether it gets no more tasks, and leaves after those that it runs.
    pub draining: bool,
    /// How many tasks it runs at a time.
    pub slots: u32,
    /// What its executors can do.
    pub abilities: Vec<Ability>,
    /// What its tasks may take beside slots, all together.
    pub resources: Resources,
    /// Tasks that run.
    pub running: u32,
    /// Tasks that wait for a slot.
    pub queued: u32,
    /// Tasks done in this term.
    pub tasks_done: u64,
    /// Tasks rejected in this term.
    pub rejections: u64,
    /// How long a task takes here, once one is done.
    pub pace_ms: Option<Millis>,
    /// The machine.
    pub hardware: String,
    /// Build and instruction path.
    pub profile: String,
}

/// A token, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenView {
    /// Its id.
    pub token: TokenId,
    /// What whoever it lets in may do.
    pub role: Role,
    /// Whether clients that it lets in may have commands run on workers.
    pub commands: bool,
    /// What whoever it lets in is called, unless they say it themselves.
    pub name: Option<String>,
    /// Until when it lets anyone in, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// How many it lets in.
    pub uses: Option<u32>,
    /// How many it has let in.
    pub used: u32,
    /// Who created it.
    pub by: String,
}
