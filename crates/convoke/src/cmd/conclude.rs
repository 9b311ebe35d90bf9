//! The end of training: the model saved, and what came of the job printed. `train` and `resume` share it.
//!
//! How the job was followed is theirs.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use convoke_wire::Client;
use convoke_wire::channel::Target;
use convoke_wire::core::Digest;
use serde::Serialize;

use super::failures;
use super::wanted::check_file;
use crate::args::{Format, Global, Keep};
use crate::failure::{Failure, INTERRUPTED};
use crate::learned::{Baseline, Warning};
use crate::report::Report;
use crate::settings::Settings;
use crate::source::Source;
use crate::training_job::Learning;
use crate::{model, output, place};

/// What `--output json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// What was said and picked.
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<&'a Settings>,
    user_seconds: f64,
    system_seconds: f64,
    model: Option<String>,
    /// The BLAKE3 digest of the parameters alone.
    parameters: Option<String>,
    /// What a person should know of it all the same.
    warnings: Vec<String>,
}

/// How a job is brought to its end.
pub struct Conclusion<'a> {
    /// Where the job is.
    pub target: &'a Target,
    /// Where the model goes.
    pub model: PathBuf,
    /// Which version is the model.
    pub keep: Keep,
    /// How it learns, and what its result is judged by, where that is at hand.
    pub learning: Option<Learning>,
    /// When the command began.
    pub began: Instant,
    /// How results are printed.
    pub global: &'a Global,
}

impl Conclusion<'_> {
    /// Saves the version that is to be kept, and prints what came of the job.
    pub async fn conclude(&self, mut report: Report) -> Result<ExitCode, Failure> {
        let round = match self.keep {
            Keep::Best => report.history.best_round(),
            Keep::Last => None,
        };
        if self.keep == Keep::Best && round.is_none() {
            output::say("warning: no round was measured: the last version is kept");
        }
        let round = round.or(report.history.version().map(|(round, _)| round)).unwrap_or(0);
        // No round, no model: the start is not worth a file.
        let version = report.history.versions.get(&round).filter(|_| round > 0).and_then(|payload| payload.as_blob());
        let saved = match version {
            Some(digest) => save(self.target, digest, &self.model).await.map(Some),
            None => Ok(None),
        };
        // What came of the job is told even if the model cannot be kept.
        let (saved, unsaved) = match saved {
            Ok(saved) => (saved, None),
            Err(failure) => (None, Some(failure)),
        };
        if !report.history.failures.is_empty()
            && let Ok(client) = Client::connect(self.target).await
        {
            report.failures = failures::certificates(&report, None, &mut Source::Coordinator(Box::new(client))).await;
        }
        report.wall_seconds = Some(self.began.elapsed().as_secs_f64());
        let warning = self.baseline().and_then(|baseline| baseline.warning(&report, round));
        self.print(&report, round, saved, warning.as_ref())?;
        if let Some(failure) = unsaved {
            let job = report.job;
            return Err(failure.hint(match self.target {
                Target::InProcess(_) => format!("`convoke result {job} -o FILE` saves it elsewhere: it is on record"),
                target => {
                    format!("`convoke result {job} -o FILE --coordinator {target}` saves it elsewhere: it is on record")
                }
            }));
        }
        if !report.has_ended() {
            output::note(format!("resume it with:   convoke resume {}", report.job));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        if let Some(Warning { lines, hint }) = warning {
            lines.iter().for_each(|line| output::say(format!("warning: {}", output::line(line))));
            output::say(format!("hint: {hint}"));
        }
        let diverged = self.baseline().and_then(|baseline| baseline.divergence_hint(&report));
        report.success().map_err(|failure| match (diverged, self.target) {
            (Some(hint), _) => failure.hint(hint),
            (None, Target::InProcess(_)) => failure.hint(format!("`convoke job {}` shows what happened", report.job)),
            (None, target) => {
                failure.hint(format!("`convoke job {} --coordinator {target}` shows what happened", report.job))
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn baseline(&self) -> Option<&Baseline> {
        self.learning.as_ref().map(|learning| &learning.baseline)
    }

    fn print(
        &self,
        report: &Report,
        round: u32,
        saved: Option<String>,
        warning: Option<&Warning>,
    ) -> Result<(), Failure> {
        if self.global.output == Format::Json {
            let usage =
                nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).map_err(Failure::failed)?;
            let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
            return output::json(&Printed {
                report,
                training: self.learning.as_ref().map(|learning| &learning.settings),
                user_seconds: seconds(usage.user_time()),
                system_seconds: seconds(usage.system_time()),
                model: saved.as_ref().map(|_| self.model.display().to_string()),
                parameters: saved.clone(),
                warnings: warning.iter().map(|warning| warning.lines.join("; ")).collect(),
            });
        }
        failures::lines_of_interest(report, &report.failures).iter().for_each(output::say);
        let took = output::duration(report.wall_seconds());
        match report.history.validation_error {
            Some(error) => {
                let r2 = report.history.validation_r2.map_or_else(String::new, |r2| format!(", R² {r2:.4}"));
                output::note(format!("validation {} {error:.4}{r2} after {took}", report.measure()));
            }
            None => output::note(format!("{} after {took}", report.state())),
        }
        let kept = report.history.rounds.iter().find(|row| row.round == round).and_then(|row| row.validation_error);
        if let (Keep::Best, Some(error), true) = (self.keep, kept, saved.is_some()) {
            output::note(format!("kept round {round}, the best: validation {} {error:.4}", report.measure()));
        }
        if saved.is_none() {
            return Ok(());
        }
        print_model(&self.model)
    }
}

/// Prints where the model is: the path alone is data.
pub fn print_model(path: &Path) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        drop(write!(std::io::stderr(), "model: "));
    } else {
        output::note(format!("model: {}", path.display()));
    }
    output::print(&path.display().to_string())
}

/// Fetches a version and writes it. Returns the digest of its parameters.
async fn save(target: &Target, digest: Digest, path: &Path) -> Result<String, Failure> {
    let mut client = Client::connect(target).await?;
    let bytes = client.blobs().get(digest, model::MODEL_BYTES_MAX).await?;
    model::write(path, &bytes)?;
    model::parameters_digest(&bytes).map_err(Failure::failed)
}

/// Where the job's model goes: as asked with the flag, or beside this directory's other models.
pub fn model_place(asked: Option<&Path>, flag: &str, job: convoke_wire::core::JobId) -> Result<PathBuf, Failure> {
    let place = asked.map_or_else(|| place::default_model(job), Path::to_path_buf);
    check_file(&place, flag)?;
    Ok(place)
}
