//! Directories of commands, on a disk: made, reused, removed, whatever was done to them.

use super::*;

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

#[test]
fn a_tasks_directories_are_private_and_go_with_it() {
    let parent = tempfile::tempdir().unwrap();
    let root = ScratchRoot::open(&parent.path().join("scratch")).unwrap();
    let scratch = root.scratch().unwrap();
    assert_eq!(mode(scratch.directory()), 0o700);
    let out = scratch.out().to_owned();
    assert_eq!(mode(&out), 0o700);
    assert_eq!(names(scratch.directory()), [""; 0], "what it leaves is not among what it was given");
    fs::write(scratch.directory().join("kept"), "x").unwrap();
    fs::write(out.join("result"), "x").unwrap();
    drop(scratch);
    assert_eq!(names(root.path()), ["lock"]);
    drop(root);
    assert_eq!(names(&parent.path().join("scratch")), ["lock"]);
}

#[test]
fn directories_that_nothing_happened_to_go_to_the_next_task_and_others_do_not() {
    let parent = tempfile::tempdir().unwrap();
    let root = ScratchRoot::open(&parent.path().join("scratch")).unwrap();
    let after = |use_it: &dyn Fn(&mut Scratch)| {
        let mut scratch = root.scratch().unwrap();
        let used = scratch.directory().to_owned();
        use_it(&mut scratch);
        drop(scratch);
        let next = root.scratch().unwrap();
        assert_eq!((names(next.directory()), names(next.out())), (Vec::new(), Vec::new()));
        next.directory() == used
    };
    let can_tell = cfg!(target_os = "linux");
    assert_eq!(after(&|scratch| scratch.nobody_is_left()), can_tell);
    assert!(!after(&|_| {}), "somebody may still write there");
    let left = |path: &Path| fs::write(path.join("file"), "x").unwrap();
    assert!(!after(&|scratch| (scratch.nobody_is_left(), left(scratch.directory())).0));
    assert!(!after(&|scratch| (scratch.nobody_is_left(), left(scratch.out())).0));
}

#[test]
fn what_was_made_read_only_or_nested_deep_is_removed_and_what_it_links_to_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let root = ScratchRoot::open(&parent.path().join("scratch")).unwrap();
    let precious = parent.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "x").unwrap();
    let scratch = root.scratch().unwrap();
    let command = r##"mkdir -p a/b; echo x >a/b/c; ln -s "$0" link; ln -s "$0" a/link; chmod 000 a/b; chmod 500 a
        deep=$(printf 'dddd/%.0s' $(seq 700)); for i in 1 2 3; do mkdir -p "$deep/dddd"; mv dddd $i; done
        echo x >"3/$deep/x"; mv 1 "2/$deep"; mv 2 "3/$deep""##;
    let mut shell = std::process::Command::new("sh");
    let status = shell.args(["-c", command]).arg(&precious).current_dir(scratch.directory()).status().unwrap();
    assert!(status.success());
    drop(scratch);
    assert_eq!(names(root.path()), ["lock"]);
    assert_eq!(names(&precious), ["file"]);
}

#[test]
fn a_link_in_the_place_of_a_directory_is_removed_and_what_it_leads_to_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let root = ScratchRoot::open(&parent.path().join("scratch")).unwrap();
    let precious = parent.path().join("precious");
    fs::create_dir_all(precious.join("directory")).unwrap();
    fs::write(precious.join("file"), "x").unwrap();
    fs::set_permissions(&precious, Permissions::from_mode(0o755)).unwrap();
    let mut scratch = root.scratch().unwrap();
    scratch.nobody_is_left();
    let out = scratch.out().to_owned();
    for replaced in [scratch.directory(), &out] {
        fs::remove_dir(replaced).unwrap();
        std::os::unix::fs::symlink(&precious, replaced).unwrap();
    }
    drop(scratch);
    assert_eq!(names(root.path()), ["lock"]);
    std::os::unix::fs::symlink(&precious, root.path().join("link")).unwrap();
    // Whoever is quicker than the look at what it is.
    assert!(empty(&root.path().join("link"), root.path(), &mut Vec::new()).is_err());
    drop(root);
    std::os::unix::fs::symlink(&precious, parent.path().join("scratch/worker-1-0")).unwrap();
    let next = ScratchRoot::open(&parent.path().join("scratch")).unwrap();
    assert_eq!(names(next.path()), ["lock"]);
    assert_eq!((names(&precious), mode(&precious)), (vec!["directory".to_owned(), "file".to_owned()], 0o755));
}

#[test]
fn leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not() {
    let parent = tempfile::tempdir().unwrap();
    let parent = parent.path().join("scratch");
    let living = ScratchRoot::open(&parent).unwrap();
    let scratch = living.scratch().unwrap();
    let dead = parent.join("worker-1-0");
    fs::create_dir_all(dead.join("7/deep")).unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    fs::create_dir(parent.join("worker-2-0")).unwrap();
    fs::create_dir(parent.join("somebody-elses")).unwrap();
    let next = ScratchRoot::open(&parent).unwrap();
    let own = |root: &ScratchRoot| root.path().file_name().unwrap().to_str().unwrap().to_owned();
    let mut expected = ["lock".to_owned(), "somebody-elses".to_owned(), own(&living), own(&next)];
    expected.sort();
    assert_eq!(names(&parent), expected);
    assert!(scratch.directory().is_dir());
}

#[test]
fn a_place_that_others_can_enter_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).unwrap();
    let refused = ScratchRoot::open(parent.path()).unwrap_err().to_string();
    assert!(refused.contains("is not a directory of this user alone"), "{refused}");
}
