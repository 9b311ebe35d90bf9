//! The files that a job brings along: what `--with` names, and modules and models.
//!
//! Each is a regular file, so that reading it ends. What tasks make of it is not known here.

use std::fmt::Display;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use convoke_node::executor::{MODULE_BYTES_MAX, check_module};
use convoke_wire::Client;
use convoke_wire::core::Digest;

use crate::data::digest_of;
use crate::failure::Failure;
use crate::input::Content;
use crate::natural;
use crate::upload::{self, digest_of_content};

/// The most files that a command brings along.
const FILES_MAX: usize = 10_000;

/// The files that paths name, by their places in the command's directory: a file by its name, those of a directory below its.
pub(super) fn files_with(paths: &[PathBuf]) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut with = With::default();
    for path in paths {
        let metadata = metadata_of(path)?;
        let whole = path.canonicalize().map_err(|error| cannot_read(path, &error))?;
        // A link goes by its own name; `.` and `..` go by the directory's.
        let name = name_of(if path.file_name().is_some() { path } else { &whole })?;
        with.add(&whole, &metadata, name)?;
    }
    let files = with.files;
    let mut places: Vec<&str> = files.iter().map(|(place, _)| place.as_str()).collect();
    places.sort_unstable();
    match places.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::bad_input(format!("two files that --with names would be `{}`", pair[0]))
            .hint("rename one of them, or put both into directories")),
        None => Ok(files),
    }
}

/// What `--with` names, as it is found.
#[derive(Default)]
struct With {
    files: Vec<(String, PathBuf)>,
    /// The directories that lead to where it looks, by device and inode: a link may lead back to one of them.
    above: Vec<(u64, u64)>,
}

impl With {
    /// Adds a file, or those of a directory and of what links in it lead to.
    fn add(&mut self, path: &Path, metadata: &Metadata, place: String) -> Result<(), Failure> {
        if metadata.is_file() {
            self.files.push((place, path.to_owned()));
            if self.files.len() > FILES_MAX {
                let error = format!("--with names more than {FILES_MAX} files");
                return Err(Failure::bad_input(error).hint("pack them into an archive"));
            }
            return Ok(());
        }
        let own = (metadata.dev(), metadata.ino());
        if self.above.contains(&own) {
            let error = format!("--with: {} leads back to a directory that it is in", path.display());
            return Err(Failure::bad_input(error).hint("remove that link, or name what is to go along one by one"));
        }
        self.above.push(own);
        let mut inside = Vec::new();
        for entry in path.read_dir().map_err(|error| cannot_read(path, &error))? {
            inside.push(entry.map_err(|error| cannot_read(path, &error))?.path());
        }
        inside.sort_by_cached_key(|path| natural::natural(&path.to_string_lossy()));
        for inner in inside {
            let name = name_of(&inner)?;
            // A hidden link may lead nowhere: editors leave such ones.
            if name.starts_with('.') && leads_nowhere(&inner) {
                continue;
            }
            self.add(&inner, &metadata_of(&inner)?, format!("{place}/{name}"))?;
        }
        self.above.pop();
        Ok(())
    }
}

/// Stores a file.
pub(super) async fn store_file(client: &mut Client, path: &Path) -> Result<Digest, Failure> {
    let bytes = metadata_of(path)?.len();
    let content = Content::File { path: path.to_owned(), bytes };
    let digest = digest_of_content(&content)?;
    upload::store(client.blobs(), digest, content).await?;
    Ok(digest)
}

/// Stores a module that workers take.
pub(super) async fn store_module(client: &mut Client, path: &Path) -> Result<Digest, Failure> {
    let module = read_module(path)?;
    let digest = digest_of(&module);
    upload::store(client.blobs(), digest, Content::Bytes(module)).await?;
    Ok(digest)
}

fn read_module(path: &Path) -> Result<Bytes, Failure> {
    let unusable = |error: &dyn Display| Failure::bad_input(format!("{}: {error}", path.display()));
    let bytes = metadata_of(path)?.len();
    if bytes > MODULE_BYTES_MAX {
        let error = format!("{bytes} bytes are too many: a module has at most {MODULE_BYTES_MAX}");
        return Err(unusable(&error).hint("build it optimized, and without debug information"));
    }
    let module = std::fs::read(path).map_err(|error| cannot_read(path, &error))?;
    check_module(&module).map_err(|error| {
        unusable(&error)
            .hint("name what a compiler makes for the target wasm32-wasip1; text (.wat) is not compiled here")
    })?;
    Ok(module.into())
}

/// What a path, or what a link leads to, is: a file or a directory. To read anything else could take for ever.
fn metadata_of(path: &Path) -> Result<Metadata, Failure> {
    let metadata = path.metadata().map_err(|error| cannot_read(path, &error))?;
    if metadata.is_file() || metadata.is_dir() {
        return Ok(metadata);
    }
    let error = format!("{} is neither a file nor a directory, and cannot be sent", path.display());
    Err(Failure::bad_input(error).hint("write what it gives into a file, and name that"))
}

fn leads_nowhere(path: &Path) -> bool {
    path.is_symlink() && path.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn name_of(path: &Path) -> Result<String, Failure> {
    let Some(name) = path.file_name() else {
        let error = format!("--with {}: that directory has no name to go by", path.display());
        return Err(Failure::bad_input(error).hint("name what is to go along in it"));
    };
    name.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::bad_input(format!("--with {}: its name is not text", path.display())).hint("rename it"))
}

pub(super) fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

pub(super) fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::bad_input(format!("cannot read {}: {error}", path.display())).hint("check the path and its permissions")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn check(folder: &Path, expected: Result<&[&str], &str>) {
        match (files_with(&[folder.to_owned()]), expected) {
            (Ok(files), Ok(places)) => {
                assert_eq!(files.iter().map(|(place, _)| place.as_str()).collect::<Vec<_>>(), places);
            }
            (found, expected) => {
                let refused = found.err().map(|failure| failure.to_string());
                assert!(refused.as_ref().is_some_and(|said| said.contains(expected.unwrap_err())), "{refused:?}");
            }
        }
    }

    #[test]
    fn a_file_that_is_no_module_is_named_on_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("count.wasm");
        let said = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read_module(&path).err().map_or_else(String::new, |failure| failure.to_string())
        };
        let empty = b"\0asm\x01\0\0\0";
        assert_eq!(said(empty), "");
        for (bytes, expected) in [
            (&b"(module)"[..], "the module is not WebAssembly: it does not begin with `\\0asm`"),
            (b"", "the module is not WebAssembly: it does not begin with `\\0asm`"),
            (&[&empty[..], &[1, 9]].concat(), "the module is not WebAssembly that workers take: "),
            (&[&empty[..4], &[9, 0, 0, 0]].concat(), "the module is not WebAssembly that workers take: "),
            (b"\0asm\x0d\0\x01\0", "the module is a component: build it for WASI preview1, wasm32-wasip1"),
        ] {
            let said = said(bytes);
            assert!(said.starts_with(&format!("{}: {expected}", path.display())), "{said}");
            assert!(said.len() < 300 && !said.contains("\\n") && !said.contains("  "), "{said}");
        }
    }

    #[test]
    fn what_is_named_goes_by_the_name_that_it_was_given() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().canonicalize().unwrap().join("folder");
        fs::create_dir_all(folder.join("inner")).unwrap();
        fs::write(folder.join("v2.py"), "").unwrap();
        symlink("v2.py", folder.join("step.py")).unwrap();
        symlink("folder", home.path().join("code")).unwrap();
        check(&folder.join("step.py"), Ok(&["step.py"]));
        check(&home.path().join("code/"), Ok(&["code/step.py", "code/v2.py"]));
        check(&folder.join("."), Ok(&["folder/step.py", "folder/v2.py"]));
        check(&folder.join("inner/.."), Ok(&["folder/step.py", "folder/v2.py"]));
    }

    #[test]
    fn what_goes_along_is_what_links_lead_to_and_ends() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("folder");
        fs::create_dir_all(folder.join("b/c")).unwrap();
        fs::write(folder.join("b/c/10"), "").unwrap();
        fs::write(folder.join("b/2"), "").unwrap();
        symlink("b/2", folder.join("a")).unwrap();
        // The same directory in two places is in both.
        symlink("b/c", folder.join("d")).unwrap();
        check(&folder, Ok(&["folder/a", "folder/b/2", "folder/b/c/10", "folder/d/10"]));

        symlink("..", folder.join("b/c/up")).unwrap();
        check(&folder, Err("folder/b/c/up leads back to a directory that it is in"));
        fs::remove_file(folder.join("b/c/up")).unwrap();
        symlink(".", folder.join("b/itself")).unwrap();
        check(&folder, Err("folder/b/itself leads back"));
        fs::remove_file(folder.join("b/itself")).unwrap();
        symlink("gone", folder.join("b/nowhere")).unwrap();
        check(&folder, Err("folder/b/nowhere: No such file"));
        fs::remove_file(folder.join("b/nowhere")).unwrap();
        symlink("user@host.1:2", folder.join("b/.#2")).unwrap();
        check(&folder, Ok(&["folder/a", "folder/b/2", "folder/b/c/10", "folder/d/10"]));
        check(Path::new("/"), Err("--with /: that directory has no name to go by"));

        let socket = folder.join("b/socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        check(&folder, Err("folder/b/socket is neither a file nor a directory"));
        check(&socket, Err("folder/b/socket is neither a file nor a directory"));
        check(Path::new("/dev/null"), Err("/dev/null is neither a file nor a directory"));
    }
}
