//! `convoke guard`: wait for the end of the worker that started this, and end what it ran if it was killed.
//!
//! Nobody else starts it, and it says nothing.

use std::process::ExitCode;

use convoke_node::process::guard;

use crate::args::GuardArgs;

/// Runs the command. It blocks: there is nothing else to do.
pub fn run(args: &GuardArgs) -> ExitCode {
    guard::watch(&args.folders);
    ExitCode::SUCCESS
}
