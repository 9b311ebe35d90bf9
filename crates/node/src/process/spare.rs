//! Whether a directory is as it was made, so that the next command cannot tell it from a new one.
//!
//! To make directories and remove them costs a disk more than it takes to run a small program. Who may still reach into one,
//! this does not know.

use std::path::Path;

/// An empty directory when it was made: all that a command could change of it.
#[derive(PartialEq, Debug)]
pub(super) struct Pristine(system::State);

impl Pristine {
    /// What a new directory is like; `None` where that cannot be told.
    pub(super) fn of(directory: &Path) -> Option<Self> {
        system::state(directory).map(Self)
    }

    /// Whether this path leads to that directory, and it is as it was.
    pub(super) fn is_still(&self, directory: &Path) -> bool {
        system::state(directory).is_some_and(|state| state == self.0)
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;
    use std::path::Path;

    use rustix::fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags, llistxattr, statx};

    /// What a directory is, whose it is, and what flags and attributes it has. It has no entries, and few attributes' names.
    #[derive(PartialEq, Debug)]
    pub(super) struct State {
        disk: (u32, u32),
        inode: u64,
        mode: u16,
        owner: (u32, u32),
        flags: StatxAttributes,
        attributes: Vec<u8>,
    }

    pub(super) fn state(directory: &Path) -> Option<State> {
        let found = statx(CWD, directory, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS).ok()?;
        if FileType::from_raw_mode(found.stx_mode.into()) != FileType::Directory {
            return None;
        }
        let mut attributes = [0; 256];
        let length = llistxattr(directory, &mut attributes[..]).ok()?;
        let is_empty = fs::read_dir(directory).ok()?.next().is_none();
        is_empty.then(|| State {
            disk: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            mode: found.stx_mode,
            owner: (found.stx_uid, found.stx_gid),
            flags: found.stx_attributes,
            attributes: attributes[..length].to_vec(),
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::Path;

    #[derive(PartialEq, Debug)]
    pub(super) enum State {}

    /// Elsewhere each command has a new one.
    pub(super) fn state(_: &Path) -> Option<State> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_a_command_can_change_of_its_directory_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("directory");
        let make = || {
            let _ = fs::remove_file(&path);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
            Pristine::of(&path).unwrap()
        };
        let check = |what: &str, change: &dyn Fn()| {
            let pristine = make();
            assert!(pristine.is_still(&path));
            change();
            assert!(!pristine.is_still(&path), "{what}");
            drop(fs::remove_dir_all(&path));
        };
        let other = folder.path().join("other");
        check("a file", &|| fs::write(path.join(".hidden"), "").unwrap());
        check("a mode", &|| fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap());
        check("no directory", &|| fs::remove_dir(&path).unwrap());
        check("another directory", &|| {
            fs::rename(&path, &other).unwrap();
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        });
        check("a link to one", &|| {
            fs::remove_dir(&path).unwrap();
            std::os::unix::fs::symlink(&other, &path).unwrap();
        });
        let pristine = make();
        fs::write(path.join("file"), "").unwrap();
        fs::remove_file(path.join("file")).unwrap();
        assert!(pristine.is_still(&path), "what was there and is gone leaves nothing");
        // Not every disk has attributes.
        let value = rustix::fs::XattrFlags::empty();
        if rustix::fs::lsetxattr(&path, "user.note", b"x", value).is_ok() {
            assert!(!pristine.is_still(&path), "an attribute");
        }
    }
}
