//! Files that commands are given: where they lie, what they share, and what is noticed of who alters them.
//!
//! The files are letters; which of them are small and which are large, the case of the letter says.

use super::*;
use std::cell::Cell;

struct Bench {
    cache: FileCache,
    root: ScratchRoot,
    reads: Cell<u32>,
    _folder: tempfile::TempDir,
}

fn bench(bytes_max: u64) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let root = ScratchRoot::open(&folder.path().join("scratch")).unwrap();
    let cache = FileCache::open(&root, bytes_max).unwrap();
    Bench { cache, root, reads: Cell::new(0), _folder: folder }
}

impl Bench {
    /// Places files of which each holds its first letter, as often as a small or a large file does.
    fn place(&self, paths: &[&str]) -> (Scratch, Result<Placed, FilesError>) {
        let given = paths.iter().map(|path| Given {
            path: (*path).to_owned(),
            digest: Digest([path.trim_start_matches("bin/").as_bytes().first().copied().unwrap_or(0); 32]),
            executable: path.starts_with("bin/"),
        });
        let read = |digest: Digest| {
            self.reads.set(self.reads.get() + 1);
            let letter = digest.0[0];
            let bytes = if letter.is_ascii_uppercase() { SHARED_BYTES_MIN as usize } else { 3 };
            Ok(vec![letter; bytes].into())
        };
        let scratch = self.root.scratch().unwrap();
        let placed = self.cache.place(&scratch, &given.collect::<Vec<_>>(), read);
        (scratch, placed)
    }
}

fn refused(paths: &[&str]) -> String {
    check_paths(paths.iter().copied()).unwrap_err().to_string()
}

#[test]
fn paths_that_lead_elsewhere_or_meet_are_refused() {
    for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a\0b"] {
        assert!(refused(&[path]).contains("cannot be a file's path"), "{path}");
    }
    assert!(refused(&["a", "b", "a"]).starts_with("the path `a` is given twice"));
    assert!(refused(&["a/b/c", "a/b"]).starts_with("the path `a/b` is given twice, or is also a directory"));
    assert!(check_paths(["a", "b/a", "b/c", "..a", "a b"]).is_ok());
}

#[test]
fn files_lie_at_their_paths_read_only() {
    let bench = bench(1 << 30);
    let (scratch, placed) = bench.place(&["a", "deep/b", "bin/c", "Large"]);
    placed.unwrap().check().unwrap();
    let at = |path: &str| scratch.directory().join(path);
    assert_eq!(fs::read(at("deep/b")).unwrap(), b"ddd");
    assert_eq!(fs::read(at("Large")).unwrap().len() as u64, SHARED_BYTES_MIN);
    let modes = ["a", "deep/b", "bin/c", "Large"].map(|path| at(path).metadata().unwrap().mode() & 0o777);
    assert_eq!(modes, [0o444, 0o444, 0o555, 0o444]);
}

#[test]
fn a_large_file_is_read_once_and_a_small_one_each_time() {
    let bench = bench(1 << 30);
    let tasks: Vec<_> = (0..3).map(|_| bench.place(&["Large", "small"]).0).collect();
    assert_eq!(bench.reads.get(), 1 + 3);
    let inodes: HashSet<_> =
        tasks.iter().map(|task| task.directory().join("Large").metadata().unwrap().ino()).collect();
    assert_eq!(inodes.len(), 1);
}

#[test]
fn the_least_recently_used_goes_and_tasks_keep_what_they_have() {
    let bench = bench(2 * SHARED_BYTES_MIN);
    let (first, placed) = bench.place(&["A", "B"]);
    drop(bench.place(&["A"]));
    drop(bench.place(&["C"]));
    assert_eq!(bench.reads.get(), 3);
    assert!(first.directory().join("B").is_file());
    placed.unwrap().check().unwrap();
    drop(bench.place(&["A", "C"]));
    assert_eq!(bench.reads.get(), 3);
    drop(bench.place(&["B"]));
    assert_eq!(bench.reads.get(), 4);
}

#[test]
fn what_a_command_altered_is_told_to_all_who_had_it_and_given_to_nobody() {
    let bench = bench(1 << 30);
    let (writer, altered) = bench.place(&["Large"]);
    let (_reader, read) = bench.place(&["Large"]);
    let status = std::process::Command::new("sh")
        .args(["-c", "chmod u+w Large && sleep 0.02 && printf x | dd of=Large conv=notrunc 2>/dev/null"])
        .current_dir(writer.directory())
        .status();
    assert!(status.unwrap().success());
    for placed in [altered, read] {
        let told = placed.unwrap().check().unwrap_err().to_string();
        assert!(told.starts_with("`Large` was altered while the command ran"), "{told}");
    }
    let (next, placed) = bench.place(&["Large"]);
    assert!(fs::read(next.directory().join("Large")).unwrap().iter().all(|byte| *byte == b'L'));
    placed.unwrap().check().unwrap();
    assert_eq!(bench.reads.get(), 2);
}

#[test]
fn a_file_that_was_made_writable_is_not_given_out_again() {
    let bench = bench(1 << 30);
    let (task, placed) = bench.place(&["Large"]);
    fs::set_permissions(task.directory().join("Large"), Permissions::from_mode(0o644)).unwrap();
    placed.unwrap().check().unwrap();
    let (next, _placed) = bench.place(&["Large"]);
    assert_eq!(next.directory().join("Large").metadata().unwrap().mode() & 0o777, 0o444);
}
