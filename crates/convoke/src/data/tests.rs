//! What becomes of files: which rows are held out, how shards come out, and what is refused.

use std::fs;
use std::path::PathBuf;

use super::*;

const READING: Reading = Reading {
    layout: Layout { delimiter: b',', label: rows::LabelColumn::Last, drop: Vec::new() },
    validate: None,
    shards: None,
    seed: 7,
    task: None,
    model: None,
};

/// A folder with a file of rows for each text.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// Rows sorted by label: so many of each.
fn sorted(sizes: &[usize]) -> String {
    let class = |(class, size): (usize, &usize)| (0..*size).map(move |row| format!("{row},{class}\n"));
    sizes.iter().enumerate().flat_map(class).collect()
}

/// How many rows of each class a shard has.
fn classes(shard: &Shard) -> Vec<usize> {
    let dataset = Dataset::from_safetensors(&shard.blob, None).unwrap();
    let count = |class| dataset.labels().iter().filter(|label| **label == class).count();
    (0..4).map(count).collect()
}

#[test]
fn one_sorted_file_makes_even_shards_and_validation() {
    let folder = folder(&[("rows.csv", &sorted(&[100, 50, 10, 1]))]);
    let path = folder.path().join("rows.csv");
    let read = |seed| read(&path, &Reading { shards: Some(4), seed, ..READING }).unwrap();
    let data = read(7);
    assert_eq!(data.held_out, Some(HeldOut { share: 0.2, rows: 32 }));
    assert_eq!(data.validation.iter().map(classes).collect::<Vec<_>>(), [[20, 10, 2, 0]]);
    assert_eq!(data.validation[0].name, "held-out-1");
    let shards: Vec<_> = data.shards.iter().map(classes).collect();
    assert_eq!(shards, [[20, 10, 2, 1], [20, 10, 2, 0], [20, 10, 2, 0], [20, 10, 2, 0]]);
    assert_eq!(
        data.shards.iter().map(|shard| &shard.name[..]).collect::<Vec<_>>(),
        ["rows-1", "rows-2", "rows-3", "rows-4"]
    );
    let digests =
        |data: &Data| data.shards.iter().chain(&data.validation).map(|shard| shard.digest).collect::<Vec<_>>();
    assert_eq!(digests(&data), digests(&read(7)));
    assert_ne!(digests(&data), digests(&read(8)));
}

#[test]
fn the_rows_alone_say_how_many_shards_there_are() {
    let folder = folder(&[("rows.csv", &sorted(&[2000, 1000]))]);
    let path = folder.path().join("rows.csv");
    let shards = |validate| read(&path, &Reading { validate, ..READING }).unwrap().shards.len();
    assert_eq!((shards(None), shards(Some(Validate::Share(0.0)))), (2, 2));
    assert_eq!(shards(Some(Validate::Share(0.5))), 1);
}

#[test]
fn shards_of_a_directory_give_rows_to_validate_on() {
    let files = [
        ("train_1.csv", "1,a\n"),
        ("train_2.csv", "1,a\n2,a\n3,a\n4,a\n5,b\n"),
        ("train_10.csv", "6,b\n7,b\n8,b\n9,b\n"),
    ];
    let folder = folder(&files);
    let data = read(folder.path(), &READING).unwrap();
    assert_eq!(data.held_out.unwrap().rows, 2);
    assert_eq!(data.validation.iter().map(classes).collect::<Vec<_>>(), [[1, 1, 0, 0]]);
    assert_eq!(data.shards.iter().map(|shard| shard.samples).sum::<u64>(), 8);
    assert_eq!(data.shards[0].samples, 1);
    fs::write(folder.path().join("validate_1.csv"), "1,a\n").unwrap();
    let data = read(folder.path(), &READING).unwrap();
    assert_eq!((data.held_out, data.validation[0].samples, data.validation.len()), (None, 1, 1));
    let none = read(folder.path(), &Reading { validate: Some(Validate::Share(0.0)), ..READING }).unwrap();
    assert_eq!((none.validation.len(), none.shards[1].samples), (0, 5));
}

#[test]
fn what_cannot_be_is_named() {
    let folder = folder(&[
        ("one.csv", "x,kind\n1,a\n2,a\n"),
        ("rows.csv", "1,a\n2,b\n3,b\n"),
        ("other.csv", "1,a\n2,c\n"),
        ("wide.csv", "1,2,a\n"),
        ("train_1.csv", "x,kind\n1,a\n2,b\n"),
        ("train_2.csv", "y,kind\n1,a\n2,b\n"),
    ]);
    let path = |name: &str| folder.path().join(name);
    let error = |path: PathBuf, reading: Reading| {
        let error = read(&path, &reading).err().expect("an error");
        assert!(!error.hint().is_empty());
        error.to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    let with = |name| Reading { validate: Some(Validate::File(path(name))), ..READING };
    let all_one = "one.csv, line 2, column 2 (`kind`): `a` is the label of every row: there is nothing to learn";
    assert_eq!(error(path("one.csv"), READING), all_one);
    assert_eq!(error(path("rows.csv"), with("other.csv")), "other.csv, line 2, column 2: label `c` is unknown");
    assert_eq!(
        error(path("rows.csv"), with("wide.csv")),
        "wide.csv, line 1, column 2: 2 features a row, and rows.csv has 1"
    );
    assert_eq!(
        error(folder.path().to_owned(), READING),
        "train_2.csv, line 1, column 1: the feature is called `y`, and in train_1.csv `x`"
    );
    let many = Reading { shards: Some(9), ..READING };
    assert_eq!(error(path("rows.csv"), many), "rows.csv has 2 rows to train on, too few for --shards 9");
    let again = error(folder.path().to_owned(), Reading { shards: Some(3), ..READING });
    assert!(again.starts_with("--shards 3 is for one file"), "{again}");
    assert!(error(path("missing.csv"), READING).starts_with("cannot read missing.csv"));
}
