//! What a command sees of the world: a few of the worker's variables, its own, and how many threads it has.
//!
//! The worker's other variables may hold what is nobody's business. What the `CONVOKE_` variables say, this does not know.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::Environment;

/// What a command sees of the worker's own environment.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "LD_LIBRARY_PATH"];
/// What libraries read to know how many threads to start. Without a word each takes the whole machine, and so do all the
/// other slots'.
const THREADS: [&str; 6] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
];

/// A variable that cannot be one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// Empty, or with `=` in it.
    #[error("`{0}` cannot be a variable's name")]
    Name(String),
    /// It ends where it should not.
    #[error("the variable `{0}` holds a NUL byte")]
    Nul(String),
}

/// What a command sees: in this order, and the later counts.
pub struct View<'a> {
    /// How many slots the task has, and so how many threads.
    pub slots: u32,
    /// Where it works, and where its temporary files go.
    pub directory: &'a Path,
    /// What the user gave.
    pub variables: &'a [(String, String)],
    /// What Convoke says: `CONVOKE_JOB` and its like, and what the task has of the worker's resources.
    pub convoke: &'a [(&'a str, OsString)],
}

impl View<'_> {
    /// The environment, where the worker's own is what `worker` answers (`std::env::var_os`).
    pub fn environment(&self, worker: impl Fn(&str) -> Option<OsString>) -> Result<Environment, VariableError> {
        let mut environment = Environment::new();
        for name in INHERITED {
            if let Some(value) = worker(name) {
                environment.insert(name.into(), value);
            }
        }
        let threads = OsString::from(self.slots.to_string());
        environment.extend(THREADS.map(|name| (name.into(), threads.clone())));
        environment.insert("TMPDIR".into(), self.directory.into());
        for (name, value) in self.variables {
            check(name, OsStr::new(value))?;
            environment.insert(name.into(), value.into());
        }
        for (name, value) in self.convoke {
            check(name, value)?;
            environment.insert(name.into(), value.clone());
        }
        Ok(environment)
    }
}

/// The system ends a variable at a NUL byte and its name at a `=`; what a client sent may hold either.
fn check(name: &str, value: &OsStr) -> Result<(), VariableError> {
    if name.contains('\0') || value.as_encoded_bytes().contains(&0) {
        return Err(VariableError::Nul(name.replace('\0', "\\0")));
    }
    if name.is_empty() || name.contains('=') {
        return Err(VariableError::Name(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(variables: &[(String, String)]) -> Result<Environment, VariableError> {
        let worker = |name: &str| match name {
            "PATH" | "HOME" => Some(OsString::from(format!("the worker's {name}"))),
            "LANG" | "LD_LIBRARY_PATH" => None,
            other => panic!("{other} is not a command's business"),
        };
        let convoke = [("CONVOKE_OUT", "/scratch/1.out"), ("CUDA_VISIBLE_DEVICES", "0,2")]
            .map(|(name, value)| (name, value.into()));
        View { slots: 3, directory: Path::new("/scratch/1"), variables, convoke: &convoke }.environment(worker)
    }

    #[test]
    fn a_command_sees_little_of_the_worker() {
        let environment = view(&[]).unwrap();
        let lines: Vec<String> =
            environment.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect();
        let expected = "CONVOKE_OUT=/scratch/1.out CUDA_VISIBLE_DEVICES=0,2 HOME=the worker's HOME MKL_NUM_THREADS=3 \
                        NUMEXPR_NUM_THREADS=3 OMP_NUM_THREADS=3 OPENBLAS_NUM_THREADS=3 PATH=the worker's PATH \
                        RAYON_NUM_THREADS=3 TMPDIR=/scratch/1 VECLIB_MAXIMUM_THREADS=3";
        assert_eq!(lines.join(" "), expected);
    }

    #[test]
    fn what_the_user_says_counts_but_not_over_convoke() {
        let given = [("OMP_NUM_THREADS", "8"), ("CUDA_VISIBLE_DEVICES", ""), ("CONVOKE_OUT", "/etc")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = view(&given).unwrap();
        assert_eq!(environment[OsStr::new("OMP_NUM_THREADS")], "8");
        assert_eq!(environment[OsStr::new("CUDA_VISIBLE_DEVICES")], "0,2");
        assert_eq!(environment[OsStr::new("CONVOKE_OUT")], "/scratch/1.out");
    }

    #[test]
    fn what_cannot_be_a_variable_is_refused_by_name() {
        let refused = |name: &str, value: &str| view(&[(name.to_owned(), value.to_owned())]).unwrap_err().to_string();
        assert_eq!(refused("A=B", ""), "`A=B` cannot be a variable's name");
        assert_eq!(refused("", "x"), "`` cannot be a variable's name");
        assert_eq!(refused("A", "x\0y"), "the variable `A` holds a NUL byte");
        assert_eq!(refused("A\0", ""), "the variable `A\\0` holds a NUL byte");
    }
}
