//! Job files: what `convoke train` is told, as a file of TOML, under its flags' names.
//!
//! Each field becomes the words of its flag, and is read as those are; it knows no flag by name but those that are paths.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use toml::de::{DeTable, DeValue};

use crate::args::TrainArgs;
use crate::failure::Failure;
use crate::output;

/// The most bytes of a job file.
const BYTES_MAX: u64 = 1 << 20;

/// The field that is no flag: where the data is.
const DATA: &str = "data";

/// The fields that are paths, relative to the file.
const PATHS: [&str; 4] = ["init", "model", "validate", "with"];

/// Whether DATA names a job file.
pub fn is_job_file(data: &Path) -> bool {
    data.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"))
}

/// Reads a job file. What the command line says, it overrides.
pub fn complete(path: &Path, said: &ArgMatches) -> Result<TrainArgs, Failure> {
    let file = File { path, text: read(path)? };
    let command = TrainArgs::augment_args(Command::new("train"));
    let fields = file.fields(&command)?;
    let Some(data) = fields.iter().find(|field| field.name == DATA) else {
        let error = format!("{} does not say where the data is", path.display());
        return Err(Failure::bad_input(error).hint("name it as in data = \"letters/\" or data = \"@letters\""));
    };
    let is_said = |arg: &Arg| said.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let mut words: Vec<OsString> = vec!["train".into()];
    for field in fields.iter().filter(|field| field.name != DATA) {
        if !command.get_arguments().any(|arg| arg.get_long() == Some(&field.name) && is_said(arg)) {
            words.extend(field.words.iter().map(OsString::from));
        }
    }
    for arg in command.get_arguments().filter(|arg| is_said(arg)) {
        let Some(long) = arg.get_long() else { continue };
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            words.push(format!("--{long}").into());
            continue;
        }
        for value in said.get_raw(arg.get_id().as_str()).into_iter().flatten() {
            let mut word = OsString::from(format!("--{long}="));
            word.push(value);
            words.push(word);
        }
    }
    words.push("--".into());
    words.extend(data.words.iter().map(OsString::from));
    let matches = command.try_get_matches_from(words);
    let args = matches.and_then(|matches| TrainArgs::from_arg_matches(&matches));
    args.map_err(|error| Failure::usage(&error, ["convoke".to_owned(), "train".to_owned()]))
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| {
        Failure::bad_input(format!("cannot read the job file {}: {error}", path.display()))
            .hint("check the path and its permissions; a job file is text of UTF-8")
    })?;
    if text.len() as u64 > BYTES_MAX {
        let error = format!("the job file {} has more than {BYTES_MAX} bytes", path.display());
        return Err(Failure::bad_input(error).hint("a job file has a line for each setting"));
    }
    Ok(text)
}

/// A job file.
struct File<'a> {
    path: &'a Path,
    text: String,
}

/// A field, as the words of its flag.
struct Field {
    name: String,
    words: Vec<String>,
}

impl File<'_> {
    /// All fields, in order.
    fn fields(&self, command: &Command) -> Result<Vec<Field>, Failure> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            let line = error.span().map_or(1, |span| self.line(&span));
            let error = format!("{}, line {line}: {}", self.path.display(), one_line(error.message()));
            Failure::bad_input(error).hint("a job file is TOML: name = value, a line each; texts stand in quotes")
        })?;
        let mut entries: Vec<_> = table.get_ref().iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let field = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue>)| {
            let name: &str = AsRef::<str>::as_ref(name.get_ref());
            let words = self.words(command, name, value.get_ref()).map_err(|refused| {
                let shown = output::line(self.text.get(value.span()).unwrap_or_default());
                refused.of(self.path, self.line(&value.span()), name, &shown)
            })?;
            Ok(Field { name: name.to_owned(), words })
        };
        entries.into_iter().map(field).collect()
    }

    /// Which line something begins in, from 1.
    fn line(&self, span: &Range<usize>) -> usize {
        self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
    }

    fn words(&self, command: &Command, name: &str, value: &DeValue) -> Result<Vec<String>, Refused> {
        if name == DATA {
            let DeValue::String(data) = value else { return Err(Refused::expected("a text")) };
            return Ok(vec![self.data(data)]);
        }
        let find = |name: &str| command.get_arguments().find(|arg| arg.get_long() == Some(name));
        let arg = find(name).filter(|arg| !arg.is_hide_set() && !matches!(arg.get_action(), ArgAction::Help));
        let arg = arg.ok_or_else(|| Refused::unknown(command, name))?;
        let flag = format!("--{name}");
        let words = match (arg.get_action(), value) {
            (ArgAction::SetTrue, DeValue::Boolean(true)) => vec![flag],
            (ArgAction::SetTrue, DeValue::Boolean(false)) => {
                let opposite = format!("no-{name}");
                find(&opposite).map(|_| format!("--{opposite}")).into_iter().collect()
            }
            (ArgAction::SetTrue, _) => return Err(Refused::expected("true or false")),
            // A flag that needs no value.
            (_, DeValue::Boolean(is_set)) if arg.get_num_args().is_some_and(|values| values.min_values() == 0) => {
                is_set.then_some(flag).into_iter().collect()
            }
            (ArgAction::Append, DeValue::Array(values)) => {
                let values = values.iter().map(|value| self.text_of(name, value.get_ref()));
                values.map(|value| Ok(format!("{flag}={}", value?))).collect::<Result<_, _>>()?
            }
            (_, DeValue::Array(values)) if takes_lists(arg) => {
                let values: Vec<_> =
                    values.iter().map(|value| self.text_of(name, value.get_ref())).collect::<Result<_, _>>()?;
                vec![format!("{flag}={}", values.join(","))]
            }
            (_, value) => vec![format!("{flag}={}", self.text_of(name, value)?)],
        };
        check(command, &words)?;
        Ok(words)
    }

    /// A value as the command line would have it.
    fn text_of(&self, name: &str, value: &DeValue) -> Result<String, Refused> {
        match value {
            DeValue::String(text) if PATHS.contains(&name) && !is_share(name, text) => Ok(self.path_of(text)),
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) => {
                let number = i128::from_str_radix(number.as_str(), number.radix());
                number.map(|number| number.to_string()).map_err(|_| Refused::expected("a smaller number"))
            }
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            _ => Err(Refused::expected("a text or a number")),
        }
    }

    fn data(&self, text: &str) -> String {
        if text.starts_with('@') { text.to_owned() } else { self.path_of(text) }
    }

    fn path_of(&self, text: &str) -> String {
        let folder = self.path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        folder.join(text).to_string_lossy().into_owned()
    }
}

/// `validate` may be a share of the rows.
fn is_share(name: &str, text: &str) -> bool {
    name == "validate" && text.parse::<f64>().is_ok()
}

/// Whether a flag's value may be a list with commas.
fn takes_lists(arg: &Arg) -> bool {
    arg.get_value_names().unwrap_or_default().iter().any(|name| name.ends_with("…]"))
}

/// Whether the flag takes the words, whatever else it would need beside it.
fn check(command: &Command, words: &[String]) -> Result<(), Refused> {
    let words = ["train", "data"].into_iter().map(str::to_owned).chain(words.iter().cloned());
    let Err(error) = command.clone().try_get_matches_from(words) else { return Ok(()) };
    match error.kind() {
        ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict => Ok(()),
        _ => Err(Refused::by(&error)),
    }
}

/// Why a field is refused.
struct Refused {
    why: String,
    hint: Option<String>,
}

impl Refused {
    fn expected(what: &str) -> Self {
        Self { why: format!("expected {what}"), hint: None }
    }

    fn unknown(command: &Command, name: &str) -> Self {
        let longs = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long);
        let mut names: Vec<_> = longs.filter(|long| *long != "help").chain([DATA]).collect();
        names.sort_unstable();
        let other = name.replace('_', "-").to_lowercase();
        let why = match names.iter().find(|known| **known == other) {
            Some(known) => format!("there is no such field, but `{known}`"),
            None => "there is no such field".to_owned(),
        };
        Self { why, hint: Some(format!("fields are called as flags: {}", names.join(", "))) }
    }

    /// What a flag says of its value.
    fn by(error: &clap::Error) -> Self {
        let choices = match error.get(ContextKind::ValidValue) {
            Some(clap::error::ContextValue::Strings(choices)) if !choices.is_empty() => choices.join(", "),
            _ => {
                let why = Error::source(error).map_or_else(|| error.kind().to_string(), ToString::to_string);
                let why = if why.contains("digit") { "expected a whole number".to_owned() } else { one_line(&why) };
                return Self { why, hint: None };
            }
        };
        Self { why: format!("expected one of {choices}"), hint: None }
    }

    fn of(self, path: &Path, line: usize, name: &str, value: &str) -> Failure {
        let name = output::line(name);
        let error = format!("{}, line {line}, {name} = {value}: {}", path.display(), self.why);
        let hint = "`convoke train --help` says what each field can be: they are called as flags";
        Failure::bad_input(error).hint(self.hint.as_deref().unwrap_or(hint))
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
