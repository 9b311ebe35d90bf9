//! Hostile commands and guests: each ends its own task, for a reason that is said, while the same worker does good work.
//!
//! Nothing here leads out of the test's own folder, should a guard fail: what must not be touched is put there for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Farm, all_gone, entries, pids, until};
use crate::cluster::text;

/// The most memory of the worker after all that: what it reads of a command that writes without end is kept until it is
/// too much.
const WORKER_KIB_MAX: u64 = 900 << 10;

#[test]
fn what_is_hostile_ends_alone() {
    let mut farm = Farm::start();
    farm.cluster.home.set("SECRET", &farm.path("secret"));
    let worker = farm.worker("ann");
    let good = farm.begin(&["run", "--array", "1-100", "--", "sh", "-c", "sleep 0.02; echo {}"]);
    let (precious, list) = (farm.path("precious"), farm.path("pids"));
    fs::create_dir_all(precious.join("directory")).expect("a folder");
    fs::write(precious.join("file"), "x").expect("a file");
    fs::set_permissions(&precious, fs::Permissions::from_mode(0o755)).expect("rights");
    let (precious, list) = (text(&precious).to_owned(), text(&list).to_owned());
    let linked = |place: &str| format!("cd /; rm -rf \"{place}\"; ln -s {precious} \"{place}\"");
    let refused = [
        ("while :; do :; done", "ran longer than 0.5 s"),
        ("trap '' TERM; while :; do sleep 0.1; done", "ran longer than 0.5 s"),
        ("ulimit -v 100000; awk 'BEGIN { s = \"x\"; while (1) s = s s }'", "exited with status"),
        ("f() { f; }; ulimit -s 256; f", "`sh` "),
        ("yes >&2", "ran longer than 0.5 s"),
        ("exec head -c 300000000 /dev/zero", "wrote more than"),
        (&format!("ln -s {precious} $CONVOKE_OUT/link"), "`link`, which is a symbolic link"),
        ("mkfifo $CONVOKE_OUT/pipe", "`pipe`, which is a named pipe"),
        ("cd $CONVOKE_OUT; seq 1 10001 | xargs touch", "more than 10000 files"),
        ("truncate -s 2G $CONVOKE_OUT/large", "more than 1073741824 bytes"),
        (&linked("$CONVOKE_OUT"), "replaced its output directory"),
        (&format!("{}; exit 9", linked("$TMPDIR")), "exited with status 9"),
    ];
    for (script, reason) in refused {
        // What is to end by itself has time for that.
        let limit = if reason.contains("ran longer") { "500ms" } else { "30s" };
        let ended = farm.does(&["run", "--timeout", limit, "--", "sh", "-c", script]).with_status(1);
        assert!(ended.line("error: ").contains(reason), "{script}: {ended:#?}");
    }
    let twice = format!(
        "(setsid sh -c 'echo $$ >>{list}; sleep 1000' &); env -i setsid sh -c 'echo $$ >>{list}; sleep 1000' & \
                         while test \"$(wc -l <{list})\" != 2; do sleep 0.02; done; echo done"
    );
    fs::write(&list, "").expect("a list");
    assert_eq!(farm.does(&["run", "--", "sh", "-c", &twice]).with_status(0).stdout, "done\n");
    assert_eq!(farm.does(&["run", "--", "sh", "-c", "echo $SECRET"]).with_status(0).stdout, "\n");
    assert_eq!(good.ends().with_status(0).stdout, super::numbers(100));
    // One without a mark goes when no command runs.
    all_gone(&pids(&farm.path("pids"), 2));

    let mut found: Vec<_> = entries(&farm.path("precious"));
    found.sort();
    assert_eq!(found, [farm.path("precious/directory"), farm.path("precious/file")]);
    assert_eq!(fs::metadata(&precious).expect("it is there").permissions().mode() & 0o777, 0o755);
    until("an empty scratch directory", || farm.scratch().is_empty().then_some(()));
    let peak = memory(worker.id(), "VmHWM:");
    println!("the worker's peak is {peak} KiB");
    assert!(peak < WORKER_KIB_MAX, "{peak} KiB");
    assert_eq!(worker.said().iter().filter(|line| line.contains("panicked")).count(), 0);
}

#[test]
fn a_guest_that_is_hostile_ends_alone() {
    let farm = Farm::start();
    let _worker = farm.worker("ann");
    farm.write("lines", "one\n");
    let body = |body: &str| {
        let text = format!("(module (memory (export \"memory\") 1) (func $f (export \"_start\") {body}))");
        wat::parse_str(text).expect("a module")
    };
    let refused = [
        (body("(loop $on (br $on))"), "ran longer"),
        (body("(loop $on (br_if $on (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) unreachable"), "guest"),
        (body("(call $f)"), "stack"),
        (body("unreachable"), "unreachable"),
        (wat::parse_str("(module)").expect("a module"), "_start"),
    ];
    for (module, reason) in refused {
        fs::write(farm.path("guest.wasm"), &module).expect("a file");
        let ended = farm.does(&["map", "lines", "--wasm", "guest.wasm", "--timeout", "500ms"]).with_status(1);
        let error = ended.line("error: ");
        println!("{error}");
        assert!(error.contains(reason) && error.contains("task 0"), "{reason}: {ended:#?}");
        assert_eq!(farm.does(&["run", "--", "echo", "next"]).with_status(0).stdout, "next\n");
    }
}

/// A line of a process's status, in KiB.
pub fn memory(pid: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let found = status.lines().find_map(|found| found.strip_prefix(line)).expect("the line");
    found.trim().trim_end_matches(" kB").parse().expect("a number")
}
