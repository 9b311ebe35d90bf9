//! How a command fails: one `error:` line, one `hint:` line, and the exit status that scripts rely on.
//!
//! 1 the job failed or was cancelled, 2 bad usage or input, 3 no coordinator or it refused, 130 interrupted.

use std::fmt::Display;
use std::process::ExitCode;

use clap::CommandFactory;
use convoke_wire::channel::{ConnectError, PORT};
use convoke_wire::denial::Denial;
use convoke_wire::tls::TlsError;
use convoke_wire::{CallError, SubmitError};

use crate::args::Cli;
use crate::output;

/// A command's end, other than success.
#[derive(Debug)]
pub struct Failure {
    status: u8,
    error: String,
    hint: Option<String>,
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&output::line(&self.error))
    }
}

/// The status of an interrupted command.
pub const INTERRUPTED: u8 = 130;

impl Failure {
    /// The work was not done.
    pub fn failed(error: impl Display) -> Self {
        Self { status: 1, error: error.to_string(), hint: None }
    }

    /// What was given cannot be used; nothing was submitted.
    pub fn bad_input(error: impl Display) -> Self {
        Self { status: 2, error: error.to_string(), hint: None }
    }

    /// There is no coordinator, or it refused.
    pub fn no_coordinator(error: impl Display) -> Self {
        Self { status: 3, error: error.to_string(), hint: None }
    }

    /// What was typed is not understood; `words` are what was typed.
    pub fn usage(error: &clap::Error, words: impl IntoIterator<Item = String>) -> Self {
        let text = error.render().to_string();
        // The first paragraph says what is wrong, over several lines; a tip may follow.
        let what: Vec<_> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let what = what.join(" ");
        let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
        let command = Cli::command();
        let subcommand = words.into_iter().skip(1).find(|word| command.find_subcommand(word).is_some());
        let subcommand = subcommand.map_or_else(String::new, |name| format!("{name} "));
        let help = format!("`convoke {subcommand}--help` says what can be asked, with examples");
        let hint = tip.map_or(help.clone(), |tip| format!("{tip}; {help}"));
        Self::bad_input(what.strip_prefix("error: ").unwrap_or(&what)).hint(hint)
    }

    /// With the next step to take.
    pub fn hint(self, hint: impl Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    /// The next step to take, where one is named.
    #[cfg(test)]
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Prints it. Some of it may be a peer's words.
    pub fn report(&self) -> ExitCode {
        output::say(format!("error: {}", output::line(&self.error)));
        let hint = self.hint.as_deref().unwrap_or("with -v, convoke says more about what it does");
        output::say(format!("hint: {}", output::line(hint)));
        ExitCode::from(self.status)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match &error {
            ConnectError::Address { .. } => {
                Self::bad_input(error).hint("a coordinator prints its address when it starts")
            }
            ConnectError::Untrusted { source: TlsError::Unknown { .. }, target } => Self::no_coordinator(&error).hint(format!(
                "join with a token that the coordinator's user makes: `convoke token create --role client` there, then \
                 `convoke login {target} --token …` here; a worker takes it with --token"
            )),
            ConnectError::Untrusted { source: TlsError::Impostor { .. }, target } => {
                Self::no_coordinator(&error).hint(format!(
                    "if the coordinator's state directory was replaced, join anew: `convoke login {target} --token …`; if \
                     not, do not trust what is there"
                ))
            }
            ConnectError::Untrusted { source: TlsError::TooEarly { .. } | TlsError::TooLate { .. }, .. } => {
                Self::no_coordinator(error).hint("set the clocks of both machines")
            }
            ConnectError::Untrusted { .. } => Self::no_coordinator(error)
                .hint("check the address: a coordinator says where it listens when it starts"),
            ConnectError::Unreachable { .. } => Self::no_coordinator(error).hint(format!(
                "start one with `convoke coordinator`, wait for it with --wait 1m, or name another with --coordinator \
                 host:port (the port is {PORT} by default)"
            )),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Version(_) => Self::no_coordinator(error).hint("use the same version of convoke on both sides"),
            CallError::Foreign(_) => Self::no_coordinator(error)
                .hint("check the address: a coordinator says where it listens when it starts"),
            CallError::NotFound(_) => Self::bad_input(error).hint("`convoke jobs` lists the jobs on record"),
            CallError::Away { .. } => Self::no_coordinator(error)
                .hint("start it again with `convoke coordinator`: jobs on record there go on"),
            CallError::Lost(_) => Self::no_coordinator(error).hint("`convoke coordinator` starts one"),
            CallError::RolledBack(_) => Self::no_coordinator(error)
                .hint("restore the coordinator's newer state directory, or submit the job again: its record may be gone"),
            CallError::Denied(ref denied) => {
                let hint = way_in(denied.denial);
                Self::no_coordinator(error).hint(hint)
            }
            CallError::Refused(_) => {
                Self::no_coordinator(error).hint("change what the coordinator refuses; its own log may say more")
            }
            CallError::Disk(_) => Self::failed(error).hint(
                "make room where the coordinator keeps its state, or see to its rights there: a job on record goes on by \
                 itself, another one is submitted again",
            ),
            CallError::Failed(_) => Self::failed(error),
            CallError::Decode(_) | CallError::BlobTooLarge { .. } | CallError::BlobDamaged { .. } => {
                Self::failed(error)
            }
        }
    }
}

/// What whoever is denied something can do.
fn way_in(denial: Denial) -> &'static str {
    match denial {
        Denial::NoCertificate => "join first: `convoke login ADDR --token …`; a worker takes its token with --token",
        Denial::CertificateEnded | Denial::Removed => {
            "ask whoever runs the coordinator for a new token: `convoke token create`, then `convoke login` or --token"
        }
        Denial::Role => {
            "ask whoever runs the coordinator for a token with that role: `convoke token create`, then `convoke login` or \
             --token"
        }
        Denial::Commands => {
            "ask whoever runs the coordinator for a token that gives it, `convoke token create --role client \
             --allow-command` there; then `convoke login ADDR --token …`"
        }
        Denial::TokenUnknown => {
            "it may have been revoked: ask whoever runs the coordinator for another, `convoke token create --role …` there"
        }
        Denial::TokenExpired => {
            "ask whoever runs the coordinator for another: `convoke token create --role … --ttl 24h` there; if it was made \
             just now, set the clocks of both machines"
        }
        Denial::TokenUsedUp => {
            "ask whoever runs the coordinator for another, or one for more: `convoke token create --role … --uses N` there"
        }
        Denial::TokenTooOld => {
            "ask whoever runs the coordinator for a new token: `convoke token create --role …` there; or join by another \
             name, with --name NAME"
        }
        Denial::NotYours => "`convoke jobs` lists yours; an admin has a say in every job",
        Denial::Other => "ask whoever runs the coordinator; its log says more",
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Call(error) => error.into(),
            SubmitError::Missing(_) => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use convoke_wire::denial::Denied;

    use super::*;

    #[test]
    fn who_may_not_run_commands_hears_how_to_get_the_right() {
        let said = "the job runs commands on workers (`command`), and this client has no right to that".to_owned();
        let error = CallError::Denied(Denied { denial: Denial::Commands, said });
        let Failure { status, error, hint } = SubmitError::Call(error).into();
        assert_eq!(status, 3);
        assert!(error.starts_with("the coordinator does not allow it: the job runs commands"), "{error}");
        assert!(hint.is_some_and(|hint| hint.contains("convoke token create --role client --allow-command")));
    }

    #[test]
    fn usage_is_one_error_and_one_hint() {
        let failure = |words: &[&str]| {
            let words: Vec<_> = ["convoke"].iter().chain(words).map(|word| word.to_string()).collect();
            let error = Cli::try_parse_from(&words).unwrap_err();
            let Failure { status, error, hint } = Failure::usage(&error, words);
            format!("{status}\n{error}\n{}", hint.unwrap_or_default())
        };
        let expected = "2\ninvalid value '0' for '--rounds <N>': 0 is not in 1..=1000000\n`convoke train --help` says";
        let said = failure(&["train", "data", "--rounds", "0"]);
        assert!(said.starts_with(expected), "{said}");
        let expected = "2\nthe following required arguments were not provided: <DATA>\n`convoke train --help` says";
        let said = failure(&["train"]);
        assert!(said.starts_with(expected), "{said}");
        let said = failure(&["predikt"]);
        assert!(
            said.starts_with("2\nunrecognized subcommand 'predikt'\na similar subcommand exists: 'predict'; "),
            "{said}"
        );
    }
}
