//! Commands, honest and hostile, as real processes: each ends with a named reason, and leaves nothing behind.
//!
//! Whether a process is gone is asked of the system until it says so. What adopts orphans is not tested here: it would take
//! the other tests' children for orphans.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use super::*;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn invocation(argv: &[&str]) -> Invocation {
    static MARK: AtomicU64 = AtomicU64::new(0);
    Invocation {
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: Environment::from([("PATH".into(), std::env::var_os("PATH").unwrap())]),
        directory: std::env::temp_dir(),
        stdin: Bytes::new(),
        stdout_bytes_max: 1 << 20,
        time_max: Some(PATIENCE),
        mark: format!("test-{}-{}", std::process::id(), MARK.fetch_add(1, Ordering::Relaxed)),
    }
}

pub(super) fn shell(script: &str) -> Invocation {
    invocation(&["sh", "-c", script])
}

pub(super) fn run_through(invocation: &Invocation) -> Ended {
    run(invocation, &AtomicBool::new(false)).unwrap()
}

fn refused(invocation: &Invocation) -> String {
    run(invocation, &AtomicBool::new(false)).unwrap_err().to_string()
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs a command that says `ready` in a file once it is as bad as it gets, stops it then, and says how it ended and how
/// long that took.
fn stopped_when_ready(script: &str) -> (Ended, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let mut invocation = shell(script);
    invocation.directory = folder.path().to_owned();
    invocation.time_max = None;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (done, ended) = mpsc::channel();
        let (invocation, stop) = (&invocation, &stop);
        scope.spawn(move || done.send(run(invocation, stop).unwrap()).unwrap());
        wait_until("the command is ready", || folder.path().join("ready").exists());
        let began = Instant::now();
        stop.store(true, Ordering::Relaxed);
        let ended = ended.recv_timeout(PATIENCE).unwrap();
        (ended, began.elapsed())
    })
}

pub(super) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(super) fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    // Dead is also whoever waits for somebody else's parent to notice.
    status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

#[test]
fn what_it_writes_and_how_it_exits_come_back() {
    let ended = run_through(&shell("echo out; echo err >&2; exit 3"));
    assert_eq!((ended.how, text(&ended.stdout), text(&ended.stderr)), (How::Exited(3), "out\n", "err\n"));
    assert_eq!(run_through(&shell("kill -USR1 $$")).how, How::Signalled(Signal::SIGUSR1 as i32));
    assert_eq!(run_through(&invocation(&["true"])).how, How::Exited(0));
}

#[test]
fn it_sees_its_environment_and_no_other() {
    let mut invocation = invocation(&["env"]);
    invocation.environment.insert("GREETING".into(), "hello world".into());
    let mut expected = vec![
        format!("CONVOKE_ATTEMPT={}", invocation.mark),
        "GREETING=hello world".to_owned(),
        format!("PATH={}", std::env::var("PATH").unwrap()),
    ];
    expected.sort();
    let ended = run_through(&invocation);
    let mut seen: Vec<&str> = text(&ended.stdout).lines().collect();
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn it_has_ordinary_signals_and_a_group_of_its_own() {
    let ended = run_through(&shell("grep -E '^Sig(Blk|Ign)' /proc/self/status; ps -o pgid= -p $$; echo $$"));
    let words: Vec<&str> = text(&ended.stdout).split_whitespace().collect();
    let signals = |word: &str| u64::from_str_radix(word, 16).unwrap();
    assert_eq!(signals(words[1]), 0, "none is blocked");
    // Rust's own programs ignore it, and C's own programs rely on it.
    assert_eq!(signals(words[3]) & (1 << (Signal::SIGPIPE as i32 - 1)), 0, "a broken pipe ends it");
    assert_eq!(words[4], words[5]);
}

#[test]
fn programs_are_found_by_name_in_its_path_and_by_path_in_its_directory() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("bin/greet");
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    write_program(&program, "#!/bin/sh\necho \"$0\"; pwd");
    let mut found = invocation(&["greet"]);
    found.environment.insert("PATH".into(), "/nowhere:bin:/usr/bin:/bin".into());
    found.directory = folder.path().canonicalize().unwrap();
    let directory = found.directory.display().to_string();
    assert_eq!(text(&run_through(&found).stdout), format!("{directory}/bin/greet\n{directory}\n"));
    found.argv = vec!["./bin/greet".to_owned()];
    assert!(text(&run_through(&found).stdout).ends_with(&format!("/bin/greet\n{directory}\n")));
}

#[test]
fn a_program_that_cannot_be_started_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = invocation(&["no-such-program"]);
    wrong.directory = folder.path().to_owned();
    wrong.environment.insert("PATH".into(), "/usr/bin:/bin".into());
    assert_eq!(refused(&wrong), "no program `no-such-program` in PATH, which is /usr/bin:/bin");
    write_program(&folder.path().join("script"), "#!/no/such/interpreter\n");
    std::fs::write(folder.path().join("text"), "not a program").unwrap();
    let mut refused_with = |argv: &[&str]| {
        wrong.argv = argv.iter().map(|argument| (*argument).to_owned()).collect();
        refused(&wrong)
    };
    assert_eq!(refused_with(&["./none"]), "cannot start `./none`: No such file or directory (os error 2)");
    assert_eq!(
        refused_with(&["./script"]),
        "cannot start `./script`: it is there, but the interpreter that it names is not"
    );
    assert_eq!(refused_with(&["./text"]), "cannot start `./text`: Permission denied (os error 13)");
    assert_eq!(refused_with(&[]), "the command names no program");
    assert_eq!(refused_with(&[""]), "the command names no program");
    let long = "x".repeat(4 << 20);
    assert_eq!(refused_with(&["true", &long]), "cannot start `true`: Argument list too long (os error 7)");
    assert!(refused_with(&["true", "a\0b"]).starts_with("cannot start `true`: "));
    wrong.directory = folder.path().join("gone");
    let told = refused(&wrong);
    assert!(told.contains("gone"), "{told}");
}

fn write_program(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn stdin_comes_whole_while_output_goes_out() {
    let mut invocation = invocation(&["cat"]);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    invocation.stdin = bytes.into();
    invocation.stdout_bytes_max = invocation.stdin.len();
    let ended = run_through(&invocation);
    assert_eq!(ended.how, How::Exited(0));
    assert!(ended.stdout == invocation.stdin);
}

#[test]
fn stdin_that_nobody_reads_is_no_hindrance() {
    for script in ["true", "exec <&-; echo done", "head -c 5 >&2"] {
        let mut invocation = shell(script);
        invocation.stdin = vec![b'x'; 50 << 20].into();
        assert_eq!(run_through(&invocation).how, How::Exited(0), "{script}");
    }
    assert_eq!(text(&run_through(&invocation(&["cat"])).stdout), "", "no stdin is an empty one");
}

#[test]
fn of_stderr_the_end_is_kept() {
    let ended = run_through(&shell("head -c 100000000 /dev/zero >&2; echo the end >&2"));
    assert_eq!(ended.how, How::Exited(0));
    assert_eq!(ended.stderr.len(), STDERR_BYTES_MAX);
    assert!(ended.stderr.ends_with(b"the end\n"));
}

#[test]
fn endless_output_is_cut() {
    let mut endless = invocation(&["yes"]);
    endless.stdout_bytes_max = 1000;
    let ended = run_through(&endless);
    assert_eq!((ended.how, ended.stdout.len()), (How::TooMuchOutput { limit: 1000 }, 1000));
    let mut last_breath = shell("printf 1234");
    last_breath.stdout_bytes_max = 3;
    assert_eq!(run_through(&last_breath).how, How::TooMuchOutput { limit: 3 });
    last_breath.stdout_bytes_max = 4;
    assert_eq!(run_through(&last_breath).how, How::Exited(0));
}

#[test]
fn time_that_is_up_ends_it() {
    let mut slow = invocation(&["sleep", "1000"]);
    slow.time_max = Some(Duration::from_millis(50));
    let began = Instant::now();
    assert_eq!(run_through(&slow).how, How::TimedOut);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn whatever_it_does_it_is_stopped_within_a_second() {
    for script in [
        ": >ready; sleep 1000",
        "sleep 1000 & : >ready; wait",
        "exec >&- 2>&-; : >ready; sleep 1000",
        "trap '' TERM INT HUP; : >ready; while :; do sleep 1000; done",
        ": >ready; kill -STOP $$",
        ": >ready; yes >&2",
        "trap '' TERM; sh -c 'trap \"\" TERM; while :; do :; done' & : >ready; wait",
    ] {
        let (ended, took) = stopped_when_ready(script);
        assert_eq!(ended.how, How::Stopped, "{script}");
        assert!(took < Duration::from_secs(1), "{script} took {took:?}");
        assert_eq!(run_through(&invocation(&["true"])).how, How::Exited(0));
    }
}

#[test]
fn it_may_tidy_up_when_it_is_stopped() {
    let (ended, _) = stopped_when_ready("trap 'echo tidied; exit' TERM; : >ready; while :; do sleep 0.01; done");
    assert_eq!((ended.how, text(&ended.stdout)), (How::Stopped, "tidied\n"));
}

#[test]
fn what_it_leaves_running_in_its_group_dies_with_it() {
    let began = Instant::now();
    let ended = run_through(&shell("sleep 1000 & echo $!; (while :; do echo noise >&2; done) & exit 0"));
    assert_eq!(ended.how, How::Exited(0));
    assert!(began.elapsed() < PATIENCE);
    let left = text(&ended.stdout).to_owned();
    wait_until("what it left is gone", || !is_alive(&left));
}

#[test]
fn a_bomb_within_its_group_dies_with_it() {
    // It stops by itself at some hundred, so that a failure harms nobody.
    let script = "bomb() { [ $1 -gt 7 ] || { bomb $(($1+1)) & bomb $(($1+1)) & }; sleep 1000; }; bomb 0 & sleep 0.2; : >ready; sleep 1000";
    let (ended, took) = stopped_when_ready(script);
    assert_eq!(ended.how, How::Stopped);
    assert!(took < Duration::from_secs(2), "took {took:?}");
}

#[test]
fn what_it_used_is_told() {
    let bytes = 300 << 20;
    let hog = run_through(&invocation(&["sh", "-c", &format!("head -c {bytes} /dev/zero | tail -n 1 >/dev/null")]));
    assert_eq!(hog.how, How::Exited(0));
    assert!((bytes..2 * bytes).contains(&hog.peak_memory_bytes), "{} bytes", hog.peak_memory_bytes);
    let busy = run_through(&shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"));
    assert!((10_000..10_000_000).contains(&busy.cpu_us), "{} us", busy.cpu_us);
}

#[test]
fn a_small_command_is_not_charged_with_the_workers_own_memory() {
    let mut ours = vec![0_u8; 100 << 20];
    ours.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let small = run_through(&shell("sleep 0.1"));
    assert!(std::hint::black_box(&ours)[0] == 1);
    assert!((1..50 << 20).contains(&small.peak_memory_bytes), "{} bytes", small.peak_memory_bytes);
}
