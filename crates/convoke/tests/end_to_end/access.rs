//! Who may come in: tokens, logging in, whose jobs are whose, removal.
//!
//! Each refusal has its own message and hint, ends with status 3, and does so soon. Who else may answer is tested in
//! `impostors`, and who speaks without the binary in `rights` and `hostile`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use convoke_wire::tls::JoinToken;
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Home, text};
use crate::job::{JOB, check_same_bits};
use crate::process::{Ended, Process};
use crate::refusals::check_refused;

/// Makes a token, and returns its id and its text.
pub fn token(cluster: &Cluster, terms: &[&str]) -> (String, String) {
    let made = cluster.ask(&[&["token", "create"], terms].concat()).with_status(0).json();
    let text = |key: &str| made[key].as_str().expect("a text").to_owned();
    (text("id"), text("token"))
}

/// Runs a command that is refused, soon, with these parts in its error and this in its hint.
pub fn check_denied(home: &Home, command: &[&str], said: &[&str], hint: &str) {
    let began = Instant::now();
    let ended = home.run(command);
    assert!(began.elapsed() < Duration::from_secs(5), "{command:?} took {:?}", began.elapsed());
    assert!(ended.line("hint: ").contains(hint), "{ended:#?}");
    check_refused(ended, 3, said);
}

/// Lets somebody in who has a home of its own.
fn login(cluster: &Cluster, role: &str, name: &str) -> Home {
    let home = Home::new();
    let (_, token) = token(cluster, &["--role", role, "--name", name, "--uses", "1"]);
    let said = home.run(&["login", &cluster.address, "--token", &token]).with_status(0).stdout;
    assert_eq!(said, format!("logged in to {} as {name} ({role})\n", cluster.address));
    home
}

/// Starts a worker of somebody else's, which joins by a token.
pub fn worker(home: &Home, address: &str, name: &str, token: &str) -> Process {
    let worker = home.start(&["worker", address, "--slots", "1", "--name", name, "--token", token]);
    worker.says(&["joined as", name]);
    worker
}

fn ask(home: &Home, cluster: &Cluster, command: &[&str]) -> Ended {
    home.run(&[command, &["--coordinator", &cluster.address, "--output", "json"]].concat())
}

/// The one file below a folder whose name ends so.
pub fn file_below(folder: &Path, ending: &str) -> PathBuf {
    find_below(folder, ending).unwrap_or_else(|| panic!("no {ending} in {folder:?}"))
}

fn find_below(folder: &Path, ending: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.find_map(|path| match path.is_dir() {
        true => find_below(&path, ending),
        false => text(&path).ends_with(ending).then_some(path),
    })
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let cluster = Cluster::start();
    let (id, token) = token(&cluster, &["--role", "worker", "--uses", "2"]);
    let home = Home::new();
    let _worker = worker(&home, &cluster.address, "ann", &token);
    let list = || cluster.ask(&["token", "list"]).with_status(0).json();
    let listed = list();
    assert_eq!((&listed[0]["id"], &listed[0]["role"]), (&id.as_str().into(), &"worker".into()), "{listed}");
    assert_eq!((&listed[0]["uses"], &listed[0]["used"]), (&2.into(), &1.into()), "{listed}");
    assert!(!listed.to_string().contains(&token), "a token is shown once");
    cluster.ask(&["token", "revoke", &id]).with_status(0);
    assert_eq!(list().as_array().map(Vec::len), Some(0));
    check_refused(cluster.ask(&["token", "revoke", &id]), 2, &["there is no such token"]);
    let late = ["worker", &cluster.address, "--name", "ben", "--token", &token];
    check_denied(&home, &late, &["no such token"], "it may have been revoked");
    let workers = cluster.ask(&["workers"]).with_status(0).json();
    assert_eq!(workers[0]["connected"], true, "who has joined stays: {workers}");
}

#[test]
fn the_right_to_run_commands_is_a_clients_and_is_shown() {
    let cluster = Cluster::start();
    let (id, _) = token(&cluster, &["--role", "client", "--allow-command"]);
    token(&cluster, &["--role", "client"]);
    let listed = cluster.ask(&["token", "list"]).with_status(0).json();
    let rights: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| (row["id"] == id.as_str(), &row["allow_command"]))
        .collect();
    assert_eq!(rights, [(true, &true.into()), (false, &false.into())], "{listed}");
    for (role, hint) in [("worker", "convoke worker --allow-command"), ("admin", "an admin may always run commands")] {
        let ended = cluster.ask(&["token", "create", "--role", role, "--allow-command"]);
        assert!(ended.line("hint: ").contains(hint), "{ended:#?}");
        check_refused(ended, 2, &["--allow-command is for clients", role]);
    }
}

#[test]
fn a_token_that_does_not_do_is_refused_at_once() {
    let cluster = Cluster::start();
    let home = Home::new();
    let check = |token: &str, said: &str, hint: &str| {
        check_denied(&home, &["worker", &cluster.address, "--name", "ann", "--token", token], &[said], hint);
        check_denied(&home, &["login", &cluster.address, "--token", token], &[said], hint);
    };
    let (_, expired) = token(&cluster, &["--role", "worker", "--ttl", "0s"]);
    check(&expired, "the token expired 0 s ago", "set the clocks");
    let (_, once) = token(&cluster, &["--role", "client", "--uses", "1"]);
    home.run(&["login", &cluster.address, "--token", &once]).with_status(0);
    check(&once, "let in as many as it may", "--uses N");
    let (_, known) = token(&cluster, &["--role", "worker"]);
    let mut guessed: JoinToken = known.parse().expect("a token");
    guessed.secret.0[0] ^= 1;
    check(&guessed.to_string(), "there is no such token here", "it may have been revoked");
    let elsewhere = Cluster::start();
    let (_, foreign) = token(&elsewhere, &["--role", "worker"]);
    check(&foreign, "belongs to another cluster", "do not trust what is there");
    for spoiled in ["hello", &known[..40], &known.replace("cvk1", "cvk9")] {
        check_refused(home.run(&["worker", &cluster.address, "--token", spoiled]), 2, &["join token"]);
    }
    let none = Home::new();
    for command in [&["jobs", "--coordinator"][..], &["worker"]] {
        let command = [command, &[&cluster.address]].concat();
        check_denied(&none, &command, &["there are no credentials for the cluster there"], "join with a token");
    }
    assert_eq!(cluster.ask(&["workers"]).with_status(0).json().as_array().map(Vec::len), Some(0));
}

#[test]
fn a_client_has_a_say_in_its_own_jobs_alone() {
    let cluster = Cluster::start();
    let (ann, ben) = (login(&cluster, "client", "ann"), login(&cluster, "client", "ben"));
    let data = ann.data();
    let job = ask(&ann, &cluster, &["train", text(&data), "--detach"]).with_status(0).json();
    let job = job["job"].as_str().expect("a job").to_owned();
    let jobs = |home: &Home| ask(home, &cluster, &["jobs"]).with_status(0).json();
    assert_eq!((&jobs(&ann)[0]["job"], &jobs(&ann)[0]["submitter"]), (&job.as_str().into(), &"ann".into()));
    assert_eq!(jobs(&ben), serde_json::Value::Array(Vec::new()));
    let at = ["--coordinator", &cluster.address];
    for command in [&["job", &job][..], &["job", &job, "--follow"], &["cancel", &job], &["result", &job]] {
        check_denied(&ben, &[command, &at].concat(), &[&job, "another client's"], "lists yours");
    }
    for command in [&["token", "list"][..], &["token", "create", "--role", "admin"], &["drain", "w1"]] {
        check_denied(&ann, &[command, &at].concat(), &["this needs the role admin, and this is a client"], "that role");
    }
    check_denied(&ann, &[&["worker", "remove", "w1"][..], &at].concat(), &["needs the role admin"], "that role");
    check_denied(&ann, &["worker", &cluster.address], &["needs the role admin"], "--role worker");
    // An admin has a say in every job.
    assert_eq!(jobs(&login(&cluster, "admin", "eve"))[0]["job"], job);
    ask(&ann, &cluster, &["cancel", &job]).with_status(0);
}

#[test]
fn a_token_makes_nobody_else_than_its_role() {
    let cluster = Cluster::start();
    let home = Home::new();
    let (_, client) = token(&cluster, &["--role", "client"]);
    let (_, joins) = token(&cluster, &["--role", "worker"]);
    let command = ["worker", &cluster.address, "--name", "ann", "--token", &client];
    check_denied(&home, &command, &["the token's role is client, and to join needs worker"], "--role worker");
    let command = ["login", &cluster.address, "--token", &joins];
    check_denied(&home, &command, &["the token's role is worker, and to log in needs client"], "convoke worker");
    // Nothing was kept of either.
    drop(worker(&home, &cluster.address, "ann", &joins));
    check_denied(&home, &["jobs", "--coordinator", &cluster.address], &["no credentials"], "join with a token");
}

#[test]
fn who_was_removed_comes_back_by_a_new_token_alone() {
    let cluster = Cluster::start();
    let home = Home::new();
    let (_, old) = token(&cluster, &["--role", "worker"]);
    let removed = worker(&home, &cluster.address, "ann", &old);
    let stays = worker(&home, &cluster.address, "ben", &old);
    let train = cluster.train(&JOB);
    removed.says(&["train begins"]);
    cluster.ask(&["worker", "remove", "ann"]).with_status(0);
    let began = Instant::now();
    let ended = removed.ends();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(ended.line("hint: ").contains("new token"), "{ended:#?}");
    check_refused(ended, 3, &["worker ann was removed"]);
    let again = ["worker", &cluster.address, "--name", "ann"];
    check_denied(&home, &again, &["worker ann was removed"], "new token");
    check_denied(&home, &[&again[..], &["--token", &old]].concat(), &["worker ann was removed"], "new token");
    fs::remove_dir_all(home.path("state")).expect("what was kept");
    let too_old = ["the worker `ann` was removed: only a newer token lets it in again"];
    check_denied(&home, &[&again[..], &["--token", &old]].concat(), &too_old, "new token");
    let (_, new) = token(&cluster, &["--role", "worker"]);
    let _back = worker(&home, &cluster.address, "ann", &new);
    check_same_bits(train.ends());
    drop(stays);
    check_refused(cluster.ask(&["worker", "remove", "nobody"]), 2, &["there is no worker `nobody`"]);
}

#[test]
fn a_client_that_was_removed_is_nobody_and_its_jobs_go_on() {
    let cluster = Cluster::start();
    let ann = login(&cluster, "client", "ann");
    let data = ann.data();
    let train = ["train", text(&data), "--coordinator", &cluster.address, "--rounds", "1", "--epochs", "1", "--detach"];
    ann.run(&train).with_status(0);
    cluster.ask(&["client", "remove", "ann"]).with_status(0);
    check_denied(&ann, &["jobs", "--coordinator", &cluster.address], &["client ann was removed"], "token");
    assert_eq!(cluster.jobs().len(), 1);
    check_refused(cluster.ask(&["client", "remove", "ben"]), 2, &["there is no client `ben` here"]);
    let boss = login(&cluster, "admin", "boss");
    cluster.ask(&["client", "remove", "boss", "--role", "admin"]).with_status(0);
    check_denied(&boss, &["token", "list", "--coordinator", &cluster.address], &["admin boss was removed"], "token");
}

#[test]
fn a_worker_that_joined_needs_its_token_no_more() {
    let cluster = Cluster::start();
    let home = Home::new();
    let (id, token) = token(&cluster, &["--role", "worker", "--uses", "1"]);
    let mut joined = worker(&home, &cluster.address, "ann", &token);
    cluster.ask(&["token", "revoke", &id]).with_status(0);
    for words in [&[][..], &["--token", &token]] {
        joined.signal(Signal::SIGTERM);
        joined.gone();
        joined = home.start(&[&["worker", &cluster.address, "--name", "ann"], words].concat());
        joined.says(&["joined as ann"]);
    }
}

#[test]
fn a_hundred_joins_at_once_by_a_token_for_ten_admit_ten() {
    let cluster = Cluster::start();
    let home = Home::new();
    let (_, token) = token(&cluster, &["--role", "client", "--uses", "10"]);
    let join = |_| home.start(&["login", &cluster.address, "--token", &token]);
    let joining: Vec<_> = (0..100).map(join).collect();
    let ended: Vec<_> = joining.into_iter().map(Process::ends).collect();
    let refused: Vec<_> = ended.iter().filter(|ended| ended.status != Some(0)).collect();
    let all = refused.iter().all(|ended| ended.status == Some(3) && ended.count(&["as many as it may"]) == 1);
    assert!(all && refused.len() == 90, "{} were refused: {refused:#?}", refused.len());
}

#[test]
fn keys_that_others_may_read_are_not_used() {
    let cluster = Cluster::start();
    let home = Home::new();
    let (_, token) = token(&cluster, &["--role", "worker"]);
    drop(worker(&home, &cluster.address, "ann", &token));
    let check = |home: &Home, kept: &Path, command: &[&str]| {
        fs::set_permissions(kept, fs::Permissions::from_mode(0o644)).expect("one's own file");
        check_refused(home.run(command), 2, &[text(kept), "its mode is 644, and 600 is needed"]);
        fs::set_permissions(kept, fs::Permissions::from_mode(0o600)).expect("one's own file");
    };
    check(&home, &file_below(&home.path("state"), ".pem"), &["worker", &cluster.address, "--name", "ann"]);
    let book = file_below(&cluster.home.path("config"), "user.pem");
    check(&cluster.home, &book, &["jobs", "--coordinator", &cluster.address]);
    assert_eq!(cluster.jobs(), Vec::<serde_json::Value>::new());
}

#[test]
fn what_is_printed_for_others_lets_them_in() {
    let cluster = Home::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let bind = free.local_addr().expect("an address");
    drop(free);
    let advertised = format!("localhost:{}", bind.port());
    let start = || cluster.start(&["coordinator", "--bind", &bind.to_string(), "--advertise", &advertised]);
    let printed = |coordinator: &Process| coordinator.says(&["Workers join with:"]);
    let mut coordinator = start();
    let line = printed(&coordinator);
    let words: Vec<_> = line.split_whitespace().skip_while(|word| *word != "convoke").skip(1).collect();
    let [_, address, _, token] = words[..] else { panic!("{line}") };
    assert_eq!(address, advertised);
    let home = Home::new();
    drop(worker(&home, address, "ann", token));
    coordinator.signal(Signal::SIGTERM);
    coordinator.gone();
    let coordinator = start();
    assert_eq!(printed(&coordinator), line, "it is the same after a restart");
    // Whoever reads the log of a worker's machine learns nothing there.
    let worker = worker(&home, address, "ben", token);
    assert!(!worker.said().iter().any(|said| said.contains(token)), "{:#?}", worker.said());
}

#[test]
fn a_worker_that_is_dialled_shows_a_token_that_does_not_do_once() {
    let home = Home::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);
    let cluster = Cluster::dialling(Home::new(), std::slice::from_ref(&address));
    let (_, expired) = token(&cluster, &["--role", "worker", "--ttl", "0s"]);
    let ended = home.run(&["worker", "--listen", &address, "--name", "ann", "--token", &expired]);
    assert_eq!(ended.line("error: "), "error: the coordinator does not allow it: the token expired 0 s ago");
    assert_eq!(ended.status, Some(3), "{ended:#?}");
    // Without a token, it waits for a coordinator of its own user, and believes no other.
    let waits = home.start(&["worker", "--listen", &address, "--name", "ann"]);
    waits.says(&["warning: a connection was refused", "there are no credentials for the cluster"]);
}
