//! Where what tasks bring is wanted, and whether it can be written there.
//!
//! What it is, and when it comes, it does not know.

use std::fs::File;
use std::io::{IsTerminal, stdout};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::args::{Format, Global};
use crate::failure::Failure;
use crate::ordered_output::Destination;
use crate::progress::Progress;
use crate::whole_file;

/// Where what tasks bring goes.
pub struct Wanted<'a> {
    /// Their results; stdout where it is `None`.
    pub results: Option<&'a Path>,
    /// A file without a name that takes them instead: they are not yet what is wanted.
    pub raw: Option<&'a File>,
    /// The files that they leave; where it is `None`, they stay with the job.
    pub files: Option<&'a Path>,
}

impl Wanted<'_> {
    /// Progress that does not run into results on the same terminal.
    pub fn progress(&self, global: &Global) -> Progress {
        let is_shared = self.results.is_none() && stdout().is_terminal();
        if is_shared { Progress::without_live_line(global) } else { Progress::new(global) }
    }

    /// Finds out what cannot be written, before anything is submitted.
    pub fn check(&self) -> Result<(), Failure> {
        self.results.map_or(Ok(()), |path| check_file(path, "-o FILE"))?;
        self.files.map_or(Ok(()), check_folder)
    }

    /// Where the results go.
    pub fn destination(&self) -> Result<Destination, Failure> {
        match (self.raw, self.results) {
            (Some(file), _) => Ok(Destination::Stream(Box::new(file.try_clone().map_err(Failure::failed)?))),
            (None, Some(path)) => Destination::file(path),
            (None, None) => Ok(Destination::stdout()),
        }
    }
}

/// Finds out whether a file can be written: of results, or of a model. `flag` names it.
pub fn check_file(path: &Path, flag: &str) -> Result<(), Failure> {
    let refused = |why: String, hint: String| {
        Err(Failure::bad_input(format!("cannot write {}: {why}", path.display())).hint(hint))
    };
    let is_folder = path.is_dir();
    if is_folder || path.as_os_str().as_bytes().ends_with(b"/") {
        let why = if is_folder { "it is a directory" } else { "such a name is a directory's" };
        return refused(why.to_owned(), format!("name a file, such as one in it, with {flag}"));
    }
    // A pipe is opened once: whoever reads it would take a look for the end.
    if path.exists() && !path.is_file() {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let why = format!("there is no directory {}", folder.display());
        return refused(why, format!("make the directory, or name another file with {flag}"));
    }
    match whole_file::probe(path) {
        Ok(()) => Ok(()),
        Err(error) => refused(error.to_string(), format!("see to the rights there, or name another file with {flag}")),
    }
}

/// Finds out whether files can be written to a directory, which need not be there yet.
fn check_folder(folder: &Path) -> Result<(), Failure> {
    let shown = folder.display();
    let above = folder.ancestors().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let there = above.into_iter().find(|above| above.exists()).unwrap_or(folder);
    if !there.is_dir() {
        let error = format!("cannot write files to {shown}: {} is no directory", there.display());
        return Err(Failure::bad_input(error).hint("name a directory; one that is not there is made"));
    }
    whole_file::probe_folder(there).map_err(|error| {
        Failure::bad_input(format!("cannot write files to {shown}: {error}"))
            .hint("see to the rights there, or name another directory")
    })
}

/// Refuses what cannot be written, and to print results and a report of them on the same stdout.
pub fn check_output(wanted: &Wanted<'_>, global: &Global) -> Result<(), Failure> {
    wanted.check()?;
    if global.output == Format::Json && wanted.results.is_none() {
        return Err(Failure::bad_input("--output json and the results would both be printed on stdout")
            .hint("write the results to a file with -o FILE"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_cannot_be_written_is_refused_with_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::write(path("file"), "").unwrap();
        let check_file = |path: &Path| super::check_file(path, "-o FILE");
        let refused = |failure: Result<(), Failure>| {
            let failure = failure.unwrap_err();
            format!("{failure}: {}", failure.next_step().unwrap_or_default())
        };
        for (said, parts) in [
            (refused(check_file(home.path())), ["it is a directory", "name a file"]),
            (refused(check_file(&path("gone/f"))), ["there is no directory", "make the directory"]),
            (refused(check_file(&path("file/f"))), ["there is no directory", "make the directory"]),
            (refused(check_file(&path("file/"))), ["a directory's", "name a file"]),
            (refused(check_file(&path("new/"))), ["a directory's", "name a file"]),
            (refused(check_folder(&path("file"))), ["file is no directory", "name a directory"]),
            (refused(check_folder(&path("file/below"))), ["file is no directory", "name a directory"]),
        ] {
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
        assert!(check_file(&path("file")).is_ok() && check_file(&path("new")).is_ok());
        assert!(check_folder(home.path()).is_ok() && check_folder(&path("a/b")).is_ok());
        assert!(check_file(Path::new("/dev/null")).is_ok());
        assert_eq!(home.path().read_dir().unwrap().count(), 1, "nothing is left of the look");
    }

    #[test]
    fn a_folder_may_hold_what_earlier_tasks_left() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("0")).unwrap();
        assert!(check_folder(home.path()).is_ok());
        assert_eq!(home.path().read_dir().unwrap().count(), 1, "nothing is left of the look");
    }

    #[test]
    fn a_pipe_is_left_to_whoever_writes_it() {
        let home = tempfile::tempdir().unwrap();
        let pipe = home.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // To open it without a reader would wait for one.
        assert!(check_file(&pipe, "--model FILE").is_ok());
    }
}
