//! Data as people have it: one file with a header and text labels, and everything that can be wrong with a file.
//!
//! What each message says in full is tested where it is made; here each is one error, one hint and status 2.

use std::fmt::Write;
use std::fs;

use serde_json::Value;

use crate::cluster::{Home, text};
use crate::dataset::ROWS;

/// Flowers sorted by kind, the kind first, with quotes and semicolons.
fn flowers() -> String {
    let mut file = String::from("kind;\"petal; length\";width\r\n");
    for (kind, centre) in [("setosa", 0.0), ("\"versi; color\"", 2.0), ("\"vir \"\"g\"\"\"", 4.0)] {
        for row in 0..120 {
            let (length, width) = (centre + f64::from(row % 7) / 7.0, 5.0 - centre + f64::from(row % 5) / 5.0);
            write!(file, "{kind};{length:.2};{width:.2}\r\n").expect("a string takes it");
        }
    }
    file
}

/// Trains on a file of `text` and returns what `--output json` says.
fn train(home: &Home, file: &str, text: &str, arguments: &[&str]) -> (Value, Vec<String>) {
    fs::write(home.path(file), text).expect("a file");
    let ended =
        home.run(&[&["train", file, "--output", "json", "--model", "m"][..], arguments].concat()).with_status(0);
    (ended.json(), ended.stderr)
}

#[test]
fn one_file_is_trained_on_and_predicted_without_flags() {
    let home = Home::new();
    let flags = ["--label", "first", "--delimiter", ";", "--shards", "2", "--epochs", "200", "--eta", "0.003"];
    let (report, stderr) = train(&home, "flowers.csv", &flowers(), &flags);
    assert!(stderr.contains(&"held out 20 % of the rows, 72, to validate on".to_owned()), "{stderr:#?}");
    assert_eq!((&report["validation_error"], &report["warnings"]), (&0.0.into(), &Value::Array(vec![])));
    let tasks = report["rounds"][0]["tasks"].as_array().expect("tasks");
    let shards: Vec<_> = tasks.iter().map(|task| (task["shard"].as_str(), task["samples"].as_u64())).collect();
    assert_eq!(shards, [(Some("flowers-1"), Some(144)), (Some("flowers-2"), Some(144))]);

    let predicted = home.run(&["predict", "m", "flowers.csv"]).with_status(0);
    assert_eq!(predicted.count(&["column 1", "labels", "ignored"]), 1, "{predicted:#?}");
    let expected = "setosa\n".repeat(120) + &"versi; color\n".repeat(120) + &"vir \"g\"\n".repeat(120);
    assert_eq!(predicted.stdout, expected);
    let evaluated = home.run(&["evaluate", "m", "flowers.csv"]).with_status(0);
    assert!(evaluated.stdout.starts_with("error 0.0000 (0 of 360 wrong)"), "{evaluated:#?}");

    // Laid out in another way, with a column that is of no use, and the label last, as flags say.
    let other = "id,petal; length,width,kind\n7,0.5,5.5,setosa\n8,4.5,1.5,setosa\n";
    let flags = ["--delimiter", ",", "--label", "last", "--drop", "id"];
    let evaluated = home.run_with(&[&["evaluate", "m", "-"][..], &flags].concat(), other).with_status(0);
    assert!(evaluated.stdout.starts_with("error 0.5000 (1 of 2 wrong)"), "{evaluated:#?}");
    let predicted = home.run_with(&["predict", "m", "-"], "0.5;5.5\n2.5;3.5").with_status(0);
    assert_eq!((&predicted.stdout[..], predicted.stderr.len()), ("setosa\nversi; color\n", 0));
}

#[test]
fn rows_are_held_out_as_told() {
    let home = Home::new();
    let data = home.data();
    let train = |arguments: &[&str]| {
        let fixed = ["train", text(&data), "--epochs", "1", "--rounds", "1", "--output", "json", "--model", "m"];
        home.run(&[&fixed, arguments].concat()).with_status(0)
    };
    let rows = |report: &Value| -> u64 {
        let tasks = report["rounds"][0]["tasks"].as_array().expect("tasks").iter();
        tasks.filter_map(|task| task["samples"].as_u64()).sum()
    };
    let all = ROWS as u64 * 5;
    assert_eq!(rows(&train(&[]).json()), all, "there are files to validate on");
    let held_out = train(&["--validate", "0.5"]);
    assert_eq!(held_out.count(&["held out 50 % of the rows, 750, to validate on"]), 1, "{held_out:#?}");
    assert_eq!(rows(&held_out.json()), all / 2);
    let none = train(&["--validate", "0"]).json();
    assert_eq!((rows(&none), &none["validation_error"]), (all, &Value::Null));
    let file = train(&["--validate", text(&data.join("train_1.txt"))]).json();
    assert!(file["validation_error"].is_number());
}

#[test]
fn bad_data_is_one_error_and_one_hint() {
    let home = Home::new();
    home.run(&["train", "data", "--epochs", "1", "--model", "m"]).with_status(0);
    let check = |text: &[u8], arguments: &[&str], parts: &[&str], hint: &str| {
        fs::write(home.path("bad.csv"), text).expect("a file");
        let ended = home.run(arguments).with_status(2);
        let (error, hinted) = (ended.line("error: "), ended.line("hint: "));
        assert!(parts.iter().all(|part| error.contains(part)), "{error:?} lacks one of {parts:?}");
        assert!(hinted.contains(hint), "{hinted:?} lacks {hint:?}");
        assert!(ended.stdout.is_empty() && ended.stderr.len() == 2, "{ended:#?}");
    };
    let bad = |text: &str, flags: &[&str], parts: &[&str], hint: &str| {
        check(text.as_bytes(), &[&["train", "bad.csv"][..], flags].concat(), parts, hint);
    };
    bad("x,y,k\n1,2,a\n1,z,b\n", &[], &["bad.csv, line 3, column 2 (`y`)", "`z` is not a number"], "--drop 2");
    bad("x,y,k\n1,2,a\n1,,b\n", &[], &["line 3, column 2 (`y`)", "is empty"], "--drop 2");
    bad("1,2,a\n1,inf,b\n", &[], &["line 2, column 2", "not a finite number"], "leave the row out");
    bad("1,2,a\n1,2,3,b\n", &[], &["line 2, column 4", "4 columns, but 3"], "quotes");
    bad("1,2,a\n1,2,\n", &[], &["line 2, column 3", "label is empty"], "--label");
    bad("1,\"2,a\n1,2,b\n", &[], &["line 1, column 2", "not closed"], "close the quote");
    bad("1;2;a\n3;4;b\n", &[], &["line 1, column 1", "one column"], "--delimiter ';'");
    bad("1\t2\ta\n3\t4\tb\n", &[], &["line 1, column 1", "one column"], "--delimiter tab");
    bad("1,5;2,5;a\n", &[], &["line 1, column 2", "`5;2`"], "--delimiter ';'");
    bad("1,5;2;a\n", &["--delimiter", ";"], &["line 1, column 1", "`1,5`"], "point");
    bad("", &[], &["bad.csv has no rows"], "one sample a line");
    bad("x,y,k\n", &[], &["bad.csv, line 1", "no rows behind the header"], "one sample a line");
    bad("x,x,k\n1,2,a\n", &[], &["line 1, column 2", "`x` twice"], "name of its own");
    bad("x,y,k\n1,2,a\n3,4,a\n", &[], &["line 2, column 3 (`k`)", "nothing to learn"], "--label");
    bad("x,y,k\n1,2,a\n", &["--label", "kind"], &["line 1, columns 1 to 3", "`kind`", "`x`, `y`, `k`"], "name one");
    bad("x,y,k\n1,2,a\n", &["--drop", "id"], &["line 1, columns 1 to 3", "`id`"], "name one");
    bad("x,y,k\n1,2,a\n", &["--drop", "k", "--label", "k"], &["line 1, column 3", "cannot be dropped"], "--drop");
    bad("x,y,k\n1,2,a\n", &["--drop", "x,y"], &["line 1, column 3", "leaves none"], "drop less");
    bad("1,a\n2,b\n", &["--shards", "3"], &["bad.csv has 2 rows", "--shards 3"], "--shards 2");
    bad(
        "1,2,3,4,5,6,7,8,a\n1,2,3,4,5,6,7,8,b\n",
        &["--validate", "data/train_1.txt"],
        &["data/train_1.txt, line 1", "unknown"],
        "training",
    );
    bad(&"1,".repeat(2_000_000), &[], &["bad.csv, line 1, column 524289", "longer than"], "newline");
    let measured: String = (0..20).map(|row| format!("{row},{row}\n")).collect();
    bad(&measured, &[], &["line 1, column 2", "20 rows", "`0`"], "--task regression");
    bad(
        "x,y\n1,2.5\n2,big\n",
        &["--task", "regression"],
        &["line 3, column 2 (`y`)", "`big` is not a number"],
        "label",
    );
    bad(
        "x,y\n1,2.5\n2,2.5\n",
        &["--task", "regression"],
        &["line 1, column 2", "`2.5`", "nothing to learn"],
        "--label",
    );
    check(b"\xff\xfe1\0,\0a\0", &["train", "bad.csv"], &["bad.csv, line 1, column 1", "UTF-16"], "UTF-8");
    check(b"\x1f\x8b\x08\0\0", &["train", "bad.csv"], &["line 1, column 1", "gzip"], "unpack");
    check(b"1,2,a\n1,\xff,b\n", &["train", "bad.csv"], &["line 2, column 2", "0xff"], "UTF-8");
    check(b"", &["train", "@leters"], &["`@leters`"], "@letters");
    check(b"", &["train", "dta"], &["cannot read dta"], "check the path");
    check(b"", &["train", "data", "--shards", "2"], &["--shards 2", "data"], "leave --shards out");
    check(b"1,2,3\n", &["predict", "m", "bad.csv"], &["bad.csv, line 1, column 3", "8 features"], "8 features");
    check(b"1,2,3,4,5,6,7,8,z\n", &["evaluate", "m", "bad.csv"], &["line 1, column 9", "`z` is unknown"], "training");
}

#[test]
fn a_header_that_is_not_the_models_is_refused() {
    let home = Home::new();
    train(&home, "flowers.csv", &flowers(), &["--label", "kind", "--delimiter", ";", "--epochs", "1"]);
    let ended = home.run_with(&["predict", "m", "-"], "width;petal; length\n1;2\n").with_status(2);
    assert!(ended.line("error: ").contains("stdin, line 1, column"), "{ended:#?}");
    let ended = home.run_with(&["predict", "m", "-"], "width;\"petal; length\"\n1;2\n").with_status(2);
    let error = ended.line("error: ");
    assert!(error.contains("stdin, line 1, column 1: the column is `width`, expected `petal; length`"), "{error}");
    ended.line("hint: ");
}

#[test]
fn a_model_that_learned_nothing_is_told() {
    let home = Home::new();
    let row = |row: u32| {
        format!("{},{},{}\n", 10_000 + row * 97 % 70_000, row % 60, if row.is_multiple_of(3) { "b" } else { "a" })
    };
    let rows: String = std::iter::once("salary,age,k\n".to_owned()).chain((0..300).map(row)).collect();
    let (report, stderr) = train(&home, "wild.csv", &rows, &["--preset", "reference"]);
    let warnings = report["warnings"].as_array().expect("warnings");
    assert_eq!(warnings.len(), 1);
    let warning = warnings[0].as_str().expect("a text");
    for part in ["nothing was learned", "validation error 0.3333", "`a`, has 0.3333", "`salary` from 10"] {
        assert!(warning.contains(part), "{warning:?} lacks {part:?}");
    }
    let count = |start: &str| stderr.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("warning: "), count("hint: "), count("error: ")), (2, 1, 0), "{stderr:#?}");
    assert!(stderr.iter().any(|line| line.starts_with("hint: ") && line.contains("scale the features")), "{stderr:#?}");
}

#[test]
fn training_that_diverges_fails_and_says_why() {
    let home = Home::new();
    let arguments = ["train", "data", "--eta", "1e30", "--output", "json"];
    let ended = home.run(&arguments).with_status(1);
    let error = ended.line("error: ");
    assert!(error.contains("all 5 deltas were refused") && error.contains("holds NaN"), "{error}");
    let hint = ended.line("hint: ");
    assert!(hint.contains("diverged") && hint.contains("--eta") && hint.contains("scaled features"), "{hint}");
    assert_eq!(ended.json()["state"], "failed");
    // Short of that, everything is finite and useless.
    let ended = home.run(&["train", "data", "--eta", "1e6", "--model", "m"]).with_status(0);
    assert!(ended.line("hint: ").contains("smaller step"), "{ended:#?}");
}
