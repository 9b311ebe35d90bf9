//! The generated letters: written as files, the same each time, and trained on.
//!
//! How well they are learnt is tested in `convoke-ml`.

use std::fs;

use crate::cluster::Home;

#[test]
fn the_letters_are_written_once_and_can_be_trained_on() {
    let home = Home::new();
    let ended = home.run(&["data", "letters", "some/letters"]).with_status(0);
    assert_eq!(ended.stdout, "some/letters\n");
    ended.line("next: convoke train some/letters");
    let folder = home.path("some/letters");
    assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 12, "nothing but the data");
    let rows = |name: &str| fs::read_to_string(folder.join(name)).expect("a file of rows").lines().count();
    assert!((1..=11).all(|shard| rows(&format!("train_letters{shard}.txt")) == 1500));
    assert_eq!(rows("validate_letters.txt"), 3500);

    // What is there already is left alone, and what is missing is written again.
    let missing = folder.join("train_letters7.txt");
    let written = fs::read(&missing).expect("a shard");
    fs::remove_file(&missing).expect("it was there");
    let again = home.run(&["data", "letters", "some/letters", "-q", "--output", "json"]).with_status(0);
    assert_eq!(again.json(), serde_json::json!({"directory": "some/letters", "rows": 20_000, "shards": 11}));
    assert_eq!(again.stderr, Vec::<String>::new());
    assert_eq!(fs::read(&missing).expect("a shard"), written);

    let trained = home.run(&["train", "some/letters", "--epochs", "2", "--rounds", "1", "--output", "json"]);
    let report = trained.with_status(0).json();
    assert_eq!(report["rounds"][0]["tasks"].as_array().expect("the tasks").len(), 11);
}

#[test]
fn other_data_is_neither_changed_nor_added_to() {
    let home = Home::new();
    home.run(&["data", "letters", "letters"]).with_status(0);
    let refused = |arguments: &[&str], part: &str| {
        let ended = home.run(&[&["data", "letters"], arguments].concat()).with_status(2);
        assert!(ended.line("error: ").contains(part), "{ended:#?}");
        ended.line("hint: ");
        assert_eq!(ended.stdout, "");
    };
    let before = fs::read(home.path("letters/train_letters1.txt")).expect("a shard");
    refused(&["letters", "--seed", "1"], "letters/train_letters1.txt is there already");
    assert_eq!(fs::read(home.path("letters/train_letters1.txt")).expect("a shard"), before);
    // The other tests' data has shards of other names.
    refused(&["data"], "data/train_1.txt is there already");
    assert!(!home.path("data/train_letters1.txt").exists());
    refused(&["letters/train_letters1.txt"], "cannot make the directory letters/train_letters1.txt");
}
