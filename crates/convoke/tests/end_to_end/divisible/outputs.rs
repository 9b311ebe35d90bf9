//! What a job's output is: that of a loop, in the order of the input, whole or not there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::Signal;

use super::intruders::memory;
use super::{Farm, entries, numbers};
use crate::cluster::text;
use crate::process::Ended;
use crate::refusals::check_refused;

fn printed(ended: Ended) -> String {
    ended.with_status(0).stdout
}

#[test]
fn a_command_for_each_line_or_integer_prints_what_a_loop_does() {
    let farm = Farm::start();
    let _workers = [farm.worker("ann"), farm.worker("ben")];
    let odd = farm.write("odd", "a b\n\n \"quoted' $HOME `id`\n-n\nlast, without an end");
    let expected = "[a b]\n[]\n[ \"quoted' $HOME `id`]\n[-n]\n[last, without an end]\n";
    assert_eq!(printed(farm.does(&["run", "--each-line", &odd, "--", "printf", "[%s]\\n", "{}"])), expected);
    let shell = ["run", "--each-line", &odd, "--shell", "--", "printf '[%s]\\n' {}"];
    assert_eq!(printed(farm.does(&shell)), expected);
    let at = ["run", "--coordinator", &farm.cluster.address, "--each-line", "-", "--", "printf", "[%s]\\n", "{}"];
    assert_eq!(printed(farm.cluster.home.run_with(&at, &fs::read_to_string(&odd).expect("lines"))), expected);
    assert_eq!(printed(farm.does(&["run", "--array", "1-60", "--", "echo", "{}"])), numbers(60));
    assert_eq!(printed(farm.does(&["run", "--array", "4-10:3", "--", "sh", "-c", "echo $CONVOKE_ITEM"])), "4\n7\n10\n");
    assert_eq!(printed(farm.does(&["run", "--", "echo", "{}"])), "{}\n");
    farm.does(&["run", "--array", "1-60", "-o", "file", "--", "echo", "{}"]).with_status(0);
    assert_eq!(fs::read_to_string(farm.path("file")).expect("the output"), numbers(60));
}

#[test]
fn an_input_is_cut_between_lines_records_and_files() {
    let farm = Farm::start();
    let _workers = [farm.worker("ann"), farm.worker("ben")];
    let lines = farm.write("lines", &numbers(100));
    let upper = "sh -c 'echo begin; cat'";
    let whole = numbers(100);
    let chunks = |size: usize| {
        let lines: Vec<_> = whole.split_inclusive('\n').collect();
        lines.chunks(size).map(|lines| format!("begin\n{}", lines.concat())).collect::<String>()
    };
    assert_eq!(printed(farm.does(&["map", "--command", upper, &lines, "--chunk-lines", "7"])), chunks(7));
    let bytes = printed(farm.does(&["map", "--command", upper, &lines, "--chunk-bytes", "50"]));
    assert_eq!(bytes.replace("begin\n", ""), whole);
    assert!(bytes.matches("begin\n").count() > 4, "{bytes}");
    let table = farm.write("table.csv", "name,text\nann,\"one\ntwo\"\nben,\"a \"\"b\"\"\"\n");
    let records = printed(farm.does(&["map", "--command", "cat", &table, "--csv", "--chunk-lines", "1"]));
    assert_eq!(records, "name,text\nann,\"one\ntwo\"\nname,text\nben,\"a \"\"b\"\"\"\n");
    fs::create_dir(farm.path("folder")).expect("a folder");
    for (name, content) in [("f10", "ten\n"), ("f2", "two\n"), ("f1", "one\n")] {
        farm.write(&format!("folder/{name}"), content);
    }
    let whole = farm.does(&["map", "--command", "cat", "folder"]).with_status(0);
    assert_eq!((whole.stdout.as_str(), whole.count(&["left out"])), ("one\ntwo\nten\n", 0));
    fs::create_dir(farm.path("folder/inner")).expect("a folder");
    farm.write("folder/.hidden", "hidden\n");
    let part = farm.does(&["map", "--command", "cat", "folder"]).with_status(0);
    let said = "folder: 2 entries left out: hidden, or no files";
    assert_eq!((&part.stdout, part.count(&[said])), (&whole.stdout, 1));
    let sum = ["map", "--command", "cat", &lines, "--chunk-lines", "3", "--reduce", "awk '{s+=$1} END {print s}'"];
    assert_eq!(printed(farm.does(&[&sum[..], &["--fan-in", "3"]].concat())), "5050\n");
}

#[test]
fn what_there_is_not_is_refused_before_anything_is_submitted() {
    let farm = Farm::start();
    let empty = farm.write("empty", "");
    check_refused(farm.does(&["run", "--each-line", &empty, "--", "echo"]), 2, &["is empty"]);
    check_refused(farm.does(&["map", "--command", "cat", &empty]), 2, &["is empty"]);
    check_refused(farm.does(&["map", "--command", "cat", "missing"]), 2, &["missing", "No such file"]);
    check_refused(farm.does(&["run", "--with", "missing", "--", "true"]), 2, &["missing", "No such file"]);
    check_refused(farm.does(&["map", "--command", "'", &empty]), 2, &["a quote that is not closed"]);
    let lines = farm.write("lines", &numbers(3));
    let garbage = farm.write("garbage.wasm", "garbage");
    let said = ["garbage.wasm: the module is not WebAssembly"];
    check_refused(farm.does(&["map", "--wasm", &garbage, &lines]), 2, &said);
    check_refused(farm.does(&["map", "--command", "cat", "--reduce", &garbage, &lines]), 2, &said);
    let pipe = farm.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let said = ["pipe is neither a file nor a directory"];
    check_refused(farm.does(&["run", "--with", text(&pipe), "--", "true"]), 2, &said);
    check_refused(farm.does(&["map", "--wasm", text(&pipe), &lines]), 2, &said);
    assert!(farm.cluster.jobs().is_empty());
}

#[test]
fn files_go_along_and_come_back() {
    let farm = Farm::start();
    let _worker = farm.worker("ann");
    farm.write("tool", "#!/bin/sh\necho \"$GREETING $1\" >\"$CONVOKE_OUT/said\"; cat folder/inner/text\n");
    fs::set_permissions(farm.path("tool"), fs::Permissions::from_mode(0o755)).expect("rights");
    fs::create_dir_all(farm.path("folder/inner")).expect("a folder");
    farm.write("folder/inner/text", "inside\n");
    let long = "x".repeat(255);
    let command = "./tool $CONVOKE_ITEM; mkdir \"$CONVOKE_OUT/a\\b\"; cp tool \"$CONVOKE_OUT/a\\b/c\nd\"";
    let command = &format!("{command}; echo long >\"$CONVOKE_OUT/{long}\"");
    let along = ["--with", "tool", "--with", "folder", "--env", "GREETING=hello"];
    let job = [&["run", "--array", "1-3", "--out", "left"], &along[..], &["--", "sh", "-c", command]].concat();
    // What an earlier run left there is replaced.
    for _ in 0..2 {
        assert_eq!(printed(farm.does(&job)), "inside\n".repeat(3));
    }
    for task in 0..3 {
        let left = farm.path("left").join(task.to_string());
        assert_eq!(fs::read_to_string(left.join("said")).expect("a file"), format!("hello {}\n", task + 1));
        assert_eq!(fs::read_to_string(left.join(&long)).expect("a file"), "long\n");
        let copied = left.join("a\\b/c\nd");
        assert_eq!(fs::read(&copied).expect("a file"), fs::read(farm.path("tool")).expect("a file"));
        let is_executable = |path| fs::metadata(path).expect("a file").permissions().mode() & 0o100 != 0;
        assert_eq!((is_executable(copied), is_executable(left.join("said"))), (true, false));
    }
}

#[test]
fn what_a_task_leaves_is_not_in_memory_as_a_whole() {
    let farm = Farm::start();
    let worker = farm.worker("ann");
    let leave = |out: &str, script: &str| {
        printed(farm.does(&["run", "--array", "1-1", "--out", out, "--", "sh", "-c", script]));
    };
    leave("first", ": >$CONVOKE_OUT/file");
    let usual_kib = memory(worker.id(), "VmHWM:");
    leave("left", "cd $CONVOKE_OUT; for n in 1 2 3; do truncate -s 32M $n; echo $n >>$n; done; truncate -s 96M large");
    for n in 1..=3 {
        let bytes = fs::read(farm.path(&format!("left/0/{n}"))).expect("a file");
        assert_eq!((bytes.len(), &bytes[32 << 20..]), ((32 << 20) + 2, format!("{n}\n").as_bytes()));
    }
    assert_eq!(fs::metadata(farm.path("left/0/large")).expect("a file").len(), 96 << 20);
    let grown_kib = memory(worker.id(), "VmHWM:") - usual_kib;
    assert!(grown_kib < 40 << 10, "the worker's peak grew by {grown_kib} KiB");
}

#[test]
fn of_a_job_that_is_interrupted_or_fails_there_is_no_half_output() {
    let farm = Farm::start();
    let _worker = farm.worker("ann");
    fs::create_dir(farm.path("results")).expect("a folder");
    let results = || entries(&farm.path("results"));
    let command = "test {} = 1 && echo one || until test -e go; do sleep 0.05; done";
    let go = farm.path("go");
    let command = command.replace("-e go", &format!("-e {}", go.display()));
    let job = ["run", "--array", "1-2", "-o", "results/file", "--", "sh", "-c", &command];
    let interrupted = farm.begin(&job);
    interrupted.says(&["job ", "2 tasks"]);
    interrupted.signal(Signal::SIGINT);
    let ended = interrupted.ends().with_status(130);
    assert_eq!((ended.count(&["goes on at"]), results()), (1, Vec::new()), "{ended:#?}");
    let mut killed = farm.begin(&job);
    killed.says(&["job ", "2 tasks"]);
    killed.signal(Signal::SIGKILL);
    killed.gone();
    assert!(!farm.path("results/file").exists());
    fs::write(&go, "").expect("a file");
    for left in results() {
        fs::remove_file(left).expect("what the killed one began");
    }
    let failing = ["run", "--array", "1-2", "-o", "results/file", "--", "sh", "-c", "test {} = 1 && echo one"];
    farm.does(&failing).with_status(1);
    assert!(results().is_empty());
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_is_submitted() {
    let farm = Farm::start();
    let (lines, folder) = (farm.write("lines", "1\n"), farm.path("folder"));
    fs::create_dir(&folder).expect("a folder");
    let missing = "/nonexistent/results";
    for (place, said, hint) in
        [(missing, "no directory", "make the directory"), (text(&folder), "a directory", "name a file")]
    {
        for words in [&["map", &lines, "--command", "cat", "-o", place][..], &["run", "-o", place, "--", "true"]] {
            let ended = farm.does(words);
            assert!(ended.line("hint: ").contains(hint), "{ended:#?}");
            check_refused(ended, 2, &[place, said]);
        }
        check_refused(farm.does(&["predict", "model", &lines, "-o", place]), 2, &[place, said]);
    }
    let ended = farm.does(&["run", "--out", &lines, "--", "true"]);
    assert!(ended.line("hint: ").contains("name a directory"), "{ended:#?}");
    check_refused(ended, 2, &[&lines, "is no directory"]);
    assert_eq!(farm.cluster.jobs(), Vec::<serde_json::Value>::new());
}

#[test]
fn hints_name_the_coordinator_that_was_named() {
    let farm = Farm::start();
    let job = farm.does(&["run", "--detach", "--", "true"]).with_status(0).stdout.trim().to_owned();
    let at = format!("--coordinator {}`", farm.cluster.address);
    let hint = |ended: Ended, status: i32| {
        let ended = ended.with_status(status);
        let hint = ended.line("hint: ");
        assert!(hint.contains(&job) && hint.contains(&at), "{hint}");
        ended
    };
    hint(farm.does(&["result", &job, "-o", "results"]), 2);
    hint(farm.does(&["job", &job, "--stderr", "0"]), 2);
    farm.does(&["cancel", &job]).with_status(0);
    let ended = hint(farm.does(&["result", &job, "-o", "results"]), 1);
    assert!(ended.line("error: ").ends_with("is missing: the job was cancelled"), "{ended:#?}");
    hint(farm.does(&["job", &job, "--follow"]), 1);
}
