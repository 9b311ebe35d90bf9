//! Job files, and what becomes of them.

use clap::CommandFactory;

use super::*;
use crate::args::{Batch, Cli, Layers, Optimizer, Validate};

/// What a job file and words behind it come to.
fn completed(text: &str, words: &[&str]) -> Result<TrainArgs, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    fs::write(&path, text).unwrap();
    let words = ["convoke", "train", path.to_str().unwrap()].iter().chain(words).copied().collect::<Vec<_>>();
    let matches = Cli::command().try_get_matches_from(words).unwrap();
    let folder = format!("{}/", folder.path().display());
    complete(&path, matches.subcommand_matches("train").unwrap()).map_err(|failure| {
        let hint = failure.next_step().unwrap_or_default();
        format!("{failure}\n{hint}").replace(&folder, "")
    })
}

#[test]
fn fields_are_flags_and_flags_override_them() {
    let text = "
        data = 'letters/'
        rounds = 20
        hidden = [64, 32]
        optimizer = 'adam'
        learning-rate = 1e-2
        batch = 'full'
        standardize = false
        early-stop = false
        drop = ['id', 'name']
        validate = 0.25
        seed = 0xff
        keep = 'last'
    ";
    let args = completed(text, &["--rounds", "3", "--drop", "x", "--learning-rate=0.5"]).unwrap();
    assert!(args.data.ends_with("letters") && args.data.is_absolute(), "{:?}", args.data);
    assert_eq!((args.learning.rounds, args.learning.seed), (Some(3), 255));
    assert_eq!(args.network.hidden, Some(Layers(vec![64, 32])));
    assert_eq!((args.descent.optimizer, args.descent.learning_rate), (Some(Optimizer::Adam), Some(0.5)));
    assert_eq!((args.descent.batch, args.descent.early_stop), (Some(Batch(0)), None));
    assert_eq!((args.network.standardize, args.network.no_standardize), (false, true));
    assert_eq!((args.layout.drop, args.split.validate), (vec!["x".to_owned()], Some(Validate::Share(0.25))));
    let args = completed(text, &["--standardize"]).unwrap();
    assert_eq!((args.network.standardize, args.network.no_standardize), (true, false));
    let args = completed("data = '@letters'\nearly-stop = true\neta = 1", &[]).unwrap();
    assert_eq!((args.data.to_str(), args.descent.early_stop), (Some("@letters"), Some(0.2)));
}

#[test]
fn what_cannot_be_is_named_with_its_line() {
    let error = |text: &str| completed(text, &[]).unwrap_err();
    expect_test::expect![[r#"
        job.toml does not say where the data is
        name it as in data = "letters/" or data = "@letters""#]]
    .assert_eq(&error("rounds = 3"));
    expect_test::expect![[r#"
        job.toml, line 3, optimizer = 'lion': expected one of sgd, momentum, adam, adamw
        `convoke train --help` says what each field can be: they are called as flags"#]]
    .assert_eq(&error("data = 'd'\n\noptimizer = 'lion'"));
    expect_test::expect![[r#"
        job.toml, line 2, rounds = 0: 0 is not in 1..=1000000
        `convoke train --help` says what each field can be: they are called as flags"#]]
    .assert_eq(&error("data = 'd'\nrounds = 0"));
    expect_test::expect![[r#"
        job.toml, line 2, rounds = 'many': expected a whole number
        `convoke train --help` says what each field can be: they are called as flags"#]]
    .assert_eq(&error("data = 'd'\nrounds = 'many'"));
    expect_test::expect![[r#"
        job.toml, line 2, rounds = [1, 2]: expected a text or a number
        `convoke train --help` says what each field can be: they are called as flags"#]]
    .assert_eq(&error("data = 'd'\nrounds = [1, 2]"));
    expect_test::expect![[r#"
        job.toml, line 2, learning-rate = -0.5: a learning rate is a positive number, such as 0.01
        `convoke train --help` says what each field can be: they are called as flags"#]]
    .assert_eq(&error("data = 'd'\nlearning-rate = -0.5"));
    expect_test::expect![[r#"
        job.toml, line 2, standardize = 'yes': expected true or false
        `convoke train --help` says what each field can be: they are called as flags"#]]
    .assert_eq(&error("data = 'd'\nstandardize = 'yes'"));
    expect_test::expect![[r#"
        job.toml, line 1, data = 3: expected a text
        `convoke train --help` says what each field can be: they are called as flags"#]]
    .assert_eq(&error("data = 3"));
    expect_test::expect![[r#"
        job.toml, line 2: string values must be quoted, expected literal string
        a job file is TOML: name = value, a line each; texts stand in quotes"#]]
    .assert_eq(&error("data = 'd'\nrounds ="));
    expect_test::expect![[r#"
        job.toml, line 3: duplicate key
        a job file is TOML: name = value, a line each; texts stand in quotes"#]]
    .assert_eq(&error("data = 'd'\nrounds = 1\nrounds = 2"));
    expect_test::expect![[r#"
        the following required arguments were not provided: --init <MODEL> --step <COMMAND>
        `convoke train --help` says what can be asked, with examples"#]]
    .assert_eq(&error("data = 'd'\neval = 'python3 e.py'"));
    let unknown = error("data = 'd'\nlearning_rate = 1");
    assert!(unknown.starts_with("job.toml, line 2, learning_rate = 1: there is no such field, but `learning-rate`\n"));
    assert!(unknown.contains("fields are called as flags: activation, batch, "), "{unknown}");
}
