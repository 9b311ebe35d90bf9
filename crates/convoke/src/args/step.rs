//! What may be said about a user's own training: the commands, what they begin with, and what their tasks need.

use std::time::Duration;

use clap::Args;
use convoke_wire::core::RETRIES_MAX;

use super::CommandArgs;
use super::durations::parse_limit;
use super::needs::NeedsArgs;

/// A user's own training.
#[derive(Clone, Debug, Default, Args)]
pub struct StepArgs {
    /// Train each shard by a command: its words, quoted as for a shell, which is not asked
    #[arg(long, value_name = "COMMAND", requires = "init", conflicts_with_all =
          ["preset", "task", "epochs", "hidden", "activation", "start", "standardize", "no_standardize", "optimizer",
           "learning_rate", "momentum", "batch", "weight_decay", "clip_norm", "schedule", "eta", "early_stop", "label",
           "drop"])]
    pub step: Option<String>,
    /// Measure each version by a command, on validate_* files, on --validate FILE, or else on data of its own
    #[arg(long, value_name = "COMMAND", requires = "step")]
    pub eval: Option<String>,
    #[command(flatten)]
    pub command: CommandArgs,
    /// Take --step and --eval for lines of a shell
    #[arg(long, requires = "step")]
    pub shell: bool,
    /// Slots that a step takes [default: 1]
    #[arg(long, value_name = "N", requires = "step", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub slots: Option<u32>,
    #[command(flatten)]
    pub needs: NeedsArgs,
    /// Try a step that failed so many times again [default: 2]
    #[arg(long, value_name = "N", requires = "step",
          value_parser = clap::value_parser!(u32).range(0..=i64::from(RETRIES_MAX)))]
    pub retries: Option<u32>,
    /// End a step that runs longer
    #[arg(long, value_name = "DURATION", requires = "step", value_parser = parse_limit)]
    pub timeout: Option<Duration>,
}
