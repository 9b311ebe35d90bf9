//! Flags, and what becomes of them.

use clap::Parser;

use super::*;
use crate::args::{Cli, Command};

fn args(flags: &str) -> TrainArgs {
    let words = ["convoke", "train", "data"].into_iter().chain(flags.split_whitespace());
    match Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).command {
        Command::Train(args) => *args,
        other => panic!("{other:?}"),
    }
}

fn settings(flags: &str) -> Result<Settings, String> {
    let args = args(flags);
    let shape = Shape { features: 16, outputs: 26, rows: 16_500, shards: 11 };
    let known = Known { task: Task::Classification, shape, is_measured: true, model: None };
    let preset = preset(&args).map_err(|failure| failure.to_string())?;
    Ok(Settings::of(&args, preset, &known))
}

fn line(flags: &str) -> String {
    settings(flags).map_or_else(|error| format!("refused: {error}"), |settings| settings.to_string())
}

#[test]
fn what_is_not_said_is_picked() {
    expect_test::expect!["256 hidden units (relu), AdamW 0.02 cosine, batches of 32, 12 rounds of 4 epochs, standardised features; --preset reference for the reference's"].assert_eq(&line(""));
    expect_test::expect!["no hidden layer, SGD with momentum (0.5) 0.01 cosine, full batches, 12 rounds of 10 epochs; --preset reference for the reference's"].assert_eq(&line("--hidden 0 --momentum 0.5 --batch full --no-standardize"));
    expect_test::expect!["64 and 32 hidden units (tanh), Adam 0.02, batches of 32, 12 rounds of 4 epochs, standardised features; --preset reference for the reference's"].assert_eq(&line("--optimizer adam --schedule constant --hidden 64,32 --activation tanh"));
    assert_eq!(settings("--activation tanh").unwrap().start, Some(Start::Xavier));
    assert_eq!((settings("").unwrap().keep, settings("--keep last").unwrap().keep), (Keep::Best, Keep::Last));
    assert!(settings("--no-standardize --standardize").unwrap().standardize, "the last word counts");
}

#[test]
fn the_reference_is_what_it_was() {
    let reference = settings("--preset reference").unwrap();
    expect_test::expect![
        "24 hidden units (relu), full-batch gradient descent, eta 0.0001 on the summed loss, 3 rounds of 75 epochs"
    ]
    .assert_eq(&reference.to_string());
    assert_eq!((reference.keep, reference.start, reference.prepares()), (Keep::Last, Some(Start::Uniform), false));
    let full_batch = FullBatch { training_epochs: 75, eta: 0.0001, early_stop: None };
    assert_eq!(reference.program().kind, Some(v1::train::Kind::FullBatch(full_batch)));
    // Its own flags mean it, and others override it.
    assert_eq!(settings("--eta 0.0001").unwrap(), reference);
    assert_eq!(settings("--early-stop").unwrap().method, Method::FullBatch { eta: 0.0001, early_stop: Some(0.2) });
    expect_test::expect!["24 hidden units (relu), AdamW 0.003, full batches, 3 rounds of 75 epochs"]
        .assert_eq(&line("--preset reference --optimizer adamw"));
    expect_test::expect!["24 hidden units (relu), SGD 0.5, full batches, 3 rounds of 75 epochs, standardised features"]
        .assert_eq(&line("--preset reference --learning-rate 0.5 --standardize"));
}

#[test]
fn what_does_not_go_together_is_refused_by_both_names() {
    expect_test::expect!["refused: --eta is of full-batch gradient descent on the summed loss, and --optimizer of descent on the mean loss"].assert_eq(&line("--eta 0.1 --optimizer adam"));
    expect_test::expect!["refused: --early-stop is of full-batch gradient descent on the summed loss, and --batch of descent on the mean loss"].assert_eq(&line("--early-stop --batch 8 --preset reference"));
    expect_test::expect!["refused: --eta is of full-batch gradient descent on the summed loss, and --preset auto descends on the mean loss"].assert_eq(&line("--eta 0.1 --preset auto"));
    expect_test::expect!["refused: --momentum is of --optimizer momentum or sgd, and --optimizer is Adam"]
        .assert_eq(&line("--momentum 0.9 --optimizer adam"));
    let refused = |flags: &str| {
        let words = ["convoke", "train", "data"].into_iter().chain(flags.split_whitespace());
        Cli::try_parse_from(words).unwrap_err().to_string()
    };
    for flag in ["--hidden 8", "--activation relu", "--start he", "--standardize"] {
        let said = refused(&format!("--init m {flag}"));
        assert!(said.contains("--init") && said.contains(flag.split(' ').next().unwrap()), "{said}");
    }
    assert!(refused("--optimizer lion").contains("sgd, momentum, adam, adamw"));
}
