//! Where what tasks bring is wanted, and whether it can be written there.
//!
//! What it is, and when it comes, it does not know.

use std::fs::File;
use std::io::{IsTerminal, stdout};
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
        self.results.map_or(Ok(()), check_file)?;
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

/// Finds out whether results can be written to a file.
pub fn check_file(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(Failure::bad_input(format!("cannot write {shown}: it is a directory"))
            .hint("name a file, such as one in it, with -o FILE"));
    }
    // A pipe is opened once: whoever reads it would take a look for the end.
    if path.exists() && !path.is_file() {
        return Ok(());
    }
    if !folder.is_dir() {
        return Err(Failure::bad_input(format!("cannot write {shown}: there is no directory {}", folder.display()))
            .hint("make the directory, or name another file with -o FILE"));
    }
    whole_file::probe(path).map_err(|error| {
        Failure::bad_input(format!("cannot write {shown}: {error}"))
            .hint("see to the rights there, or name another file with -o FILE")
    })
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
    whole_file::probe(&there.join("0")).map_err(|error| {
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
        let refused = |failure: Result<(), Failure>| {
            let failure = failure.unwrap_err();
            format!("{failure}: {}", failure.next_step().unwrap_or_default())
        };
        for (said, parts) in [
            (refused(check_file(home.path())), ["it is a directory", "name a file"]),
            (refused(check_file(&path("gone/f"))), ["there is no directory", "make the directory"]),
            (refused(check_file(&path("file/f"))), ["there is no directory", "make the directory"]),
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
}
