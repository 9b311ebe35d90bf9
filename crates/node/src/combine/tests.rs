//! Combines of real deltas: on a disk that fails, that has spoiled something, and by workers that claim too much.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convoke_core::event::Extras;
use convoke_ml::Mlp;
use convoke_store::DiskError;
use convoke_store::blobs::{LayeredBlobs, MemoryBlobs, SMALL_BYTES_MAX};

use super::*;

#[test]
fn a_reopened_blob_reads_like_an_open_one() {
    let blobs = MemoryBlobs::default();
    let digest = blobs.put(b"0123456789", Durability::Unsynced).unwrap();
    let delta = Reopened::new(&blobs, digest).unwrap().unwrap();
    let mut bytes = [0; 4];
    delta.read_exact_at(3, &mut bytes).unwrap();
    assert_eq!((delta.size_bytes().unwrap(), &bytes), (10, b"3456"));
    assert!(delta.read_exact_at(7, &mut bytes).is_err());
    assert!(Reopened::new(&blobs, Digest([0; 32])).unwrap().is_none());
}

#[test]
fn who_claims_more_samples_than_its_shard_has_takes_no_part() {
    let blobs = MemoryBlobs::default();
    let model = |seed| Mlp::uniform_start(&[2, 2], vec!["no".to_owned(), "yes".to_owned()], seed).unwrap();
    let base = model(1);
    let base_blob = blobs.put(&base.to_safetensors(), Durability::Synced).unwrap();
    let entry =
        |samples| program::Entry { name: "shard".to_owned(), digest: vec![0; 32], samples, ..Default::default() };
    let manifest = program::encode(&program::Manifest { entries: vec![entry(20), entry(30)], ..Default::default() });
    let input = Payload::blob(blobs.put(&manifest, Durability::Synced).unwrap());
    let part = |index, seed, samples| {
        let delta = blobs.put(&convoke_ml::delta(&model(seed), &base), Durability::Unsynced).unwrap();
        Part { index, result: Payload::blob(delta), samples, extras: Extras::default() }
    };
    let merged = |parts| {
        let (job, stage) = (convoke_core::JobId::from_bits(1), convoke_core::StageNumber(1));
        let (rule, base) = (Payload::inline(b"").unwrap(), Payload::blob(base_blob));
        let order = Combine { job, stage, rule, base, input: input.clone(), parts };
        match merge_deltas(&order, MergeRule::Mean, &blobs).unwrap() {
            CombineOutcome::Combined(combined) => combined,
            other => panic!("{other:?}"),
        }
    };
    let honest = merged(vec![part(0, 2, 20)]);
    let boasting = merged(vec![part(0, 2, 20), part(1, 3, 1 << 40)]);
    assert_eq!(boasting.result, honest.result);
    let reason = "it claims 1099511627776 samples of a shard that has 30".to_owned();
    assert_eq!(boasting.refused, [Refused { index: 1, reason }]);
}

#[test]
fn what_the_disk_has_spoiled_is_not_merged() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = LayeredBlobs::open(&folder.path().join("blobs.sqlite"), &folder.path().join("blobs")).unwrap();
    let model = |seed| Mlp::uniform_start(&[4, 4_000, 2], vec!["no".to_owned(), "yes".to_owned()], seed).unwrap();
    let base = model(1);
    let base_blob = blobs.put(&base.to_safetensors(), Durability::Synced).unwrap();
    let bytes = convoke_ml::delta(&model(2), &base);
    assert!(bytes.len() > SMALL_BYTES_MAX);
    let delta = blobs.put(&bytes, Durability::Unsynced).unwrap();
    let (job, stage) = (convoke_core::JobId::from_bits(1), convoke_core::StageNumber(1));
    let (rule, part) = (
        Payload::inline(b"").unwrap(),
        Part { index: 3, result: Payload::blob(delta), samples: 1, extras: Extras::default() },
    );
    let (base, input) = (Payload::blob(base_blob), rule.clone());
    let order = Combine { job, stage, rule, base, input, parts: vec![part] };
    let merged = || match merge_deltas(&order, MergeRule::Mean, &blobs) {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => error.to_string(),
    };
    let whole = merged();
    assert!(whole.starts_with("Combined"), "{whole}");
    let change = |digest: Digest| {
        let digits = digest.to_string();
        let path = folder.path().join("blobs").join(&digits[..2]).join(digits);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    // An unsynced one would be found out as it is opened.
    assert!(blobs.sync(delta).unwrap());
    change(delta);
    assert_eq!(merged(), "ResultsLost([3])");
    // The task has run again.
    blobs.put(&bytes, Durability::Unsynced).unwrap();
    assert_eq!(merged(), whole);
    change(base_blob);
    assert_eq!(merged(), format!("blob {base_blob} is damaged"));
}

/// What becomes of results that stand in place, by a way to combine.
fn combine_inline(kind: program::v1::combine::Kind, results: &[Vec<u8>]) -> Result<Combined, String> {
    let parts = (0..).zip(results).map(|(index, bytes)| {
        let result = Payload::inline(bytes).unwrap();
        Part { index, result, samples: 1, extras: Extras::default() }
    });
    let order = Combine {
        job: convoke_core::JobId::from_bits(1),
        stage: convoke_core::StageNumber(1),
        rule: program::inline(&program::Combine { kind: Some(kind) }),
        base: Payload::default(),
        input: Payload::default(),
        parts: parts.collect(),
    };
    match combine(&order, &MemoryBlobs::default()) {
        Ok(CombineOutcome::Combined(combined)) => Ok(combined),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

fn reasons(combined: &Combined) -> Vec<String> {
    combined.refused.iter().map(|refused| format!("{}: {}", refused.index, refused.reason)).collect()
}

#[test]
fn a_count_that_cannot_be_one_takes_no_part() {
    use program::v1::combine::Kind::Count;
    let count = |samples, wrong, loss| program::encode(&program::Count { samples, wrong, loss, ..Default::default() });
    let counted = |results: &[Vec<u8>]| combine_inline(Count(Default::default()), results);
    let good = [count(10, 1, 2.0), count(10, 4, 3.0)];
    let bad = [b"\xff\xff".to_vec(), count(10, 11, 1.0)];
    let combined = counted(&[&good[..], &bad[..]].concat()).unwrap();
    let reasons = reasons(&combined);
    assert!(reasons[0].starts_with("2: not a count: "), "{reasons:?}");
    assert_eq!(reasons[1..], ["3: it counts 11 wrong of 10 samples"]);
    assert_eq!(Combined { refused: Vec::new(), ..combined }, counted(&good).unwrap());
    let none = counted(&bad[1..]).unwrap_err();
    assert_eq!(none, "every result was refused, that of task 0 because: it counts 11 wrong of 10 samples");
    let diverged = counted(&[count(10, 1, 2.0), count(10, 4, f64::NAN)]).unwrap();
    assert_eq!(diverged.metrics, Metrics::from_iter([("validation_error", 0.25)]));
}

#[test]
fn confusions_and_residuals_are_added_up() {
    use program::v1::combine::Kind::Count;
    use program::{Message, Residuals};
    let counted = |counts: &[program::Count]| {
        let results: Vec<_> = counts.iter().map(program::encode).collect();
        let combined = combine_inline(Count(Default::default()), &results).unwrap();
        let total = program::Count::decode(combined.result.as_inline().unwrap()).unwrap();
        (total, reasons(&combined), combined.metrics)
    };
    let of = |confusion: &[u64; 4]| {
        let wrong = confusion[1] + confusion[2];
        program::Count { samples: 10, wrong, loss: 1.0, confusion: confusion.to_vec(), residuals: None }
    };
    let of_values = |squared_error, target_mean| {
        let residuals = Some(Residuals { squared_error, target_mean, target_squares: 8.0 });
        program::Count { samples: 10, loss: 3.0, residuals, ..Default::default() }
    };
    let classes = [of(&[5, 1, 0, 4]), of_values(1.0, 1.0), of(&[2, 2, 2, 4])];
    let (total, refused, metrics) = counted(&classes);
    assert_eq!(
        total,
        program::Count { samples: 20, wrong: 5, loss: 2.0, confusion: vec![7, 3, 2, 8], residuals: None }
    );
    assert_eq!(refused, ["1: it counts what the others do not"]);
    assert_eq!(metrics, Metrics::from_iter([("validation_error", 0.25), ("validation_loss", 0.1)]));
    let (total, refused, metrics) = counted(&[of_values(50.0, 1.0), of_values(30.0, 3.0)]);
    let residuals = Residuals { squared_error: 80.0, target_mean: 2.0, target_squares: 36.0 };
    assert_eq!((total.residuals, total.samples, refused.len()), (Some(residuals), 20, 0));
    let numbers = [("validation_error", 2.0), ("validation_loss", 0.3), ("validation_r2", 1.0 - 80.0 / 36.0)];
    assert_eq!(metrics, Metrics::from_iter(numbers));
    let (_, _, metrics) = counted(&[program::Count::default()]);
    assert_eq!(metrics, Metrics::default());
}

#[test]
fn a_measurement_that_cannot_be_one_takes_no_part_and_displaces_nothing() {
    use program::v1::combine::Kind::Average;
    let measured = |numbers: &[(&str, f64)]| {
        let number = |(name, value): &(&str, f64)| program::Number { name: (*name).to_owned(), value: *value };
        program::encode(&program::Measured { samples: 10, numbers: numbers.iter().map(number).collect() })
    };
    let averaged = |results: &[Vec<u8>]| combine_inline(Average(Default::default()), results);
    let good = [measured(&[("validation_error", 0.25)]), measured(&[("validation_error", 0.75)])];
    let names: Vec<String> = (0..40).map(|number| format!("a{number:02}")).collect();
    let many: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
    let long = "x".repeat(65);
    let bad = [measured(&many), measured(&[(&long, 1.0)]), measured(&[("loss", f64::INFINITY)])];
    let combined = averaged(&[&bad[..], &good[..]].concat()).unwrap();
    let expected = [
        "0: it has 40 numbers, at most 32 are allowed",
        "1: a number's name has 65 bytes, at most 64",
        "2: `loss` is inf",
    ];
    assert_eq!(reasons(&combined), expected);
    assert_eq!(Combined { refused: Vec::new(), ..combined }, averaged(&good).unwrap());
    // Two workers that say as many as one may, under other names, and all of these come first.
    let crowd = [measured(&many[..32]), measured(&many[8..])];
    let crowded = averaged(&[&crowd[..1], &good[..], &crowd[1..]].concat()).unwrap();
    assert_eq!((crowded.metrics.get("validation_error"), crowded.metrics.iter().count()), (Some(0.5), 32));
}

/// Blobs on a disk that fails so many times.
struct Failing(AtomicUsize);

impl Blobs for Failing {
    fn has(&self, _: Digest) -> Result<bool, BlobError> {
        self.open(Digest([0; 32])).map(|found| found.is_some())
    }

    fn writer(&self, _: Durability, _: Option<Digest>, _: u64) -> Result<Box<dyn BlobWriter>, BlobError> {
        unreachable!("nothing comes that far")
    }

    fn sync(&self, digest: Digest) -> Result<bool, BlobError> {
        self.has(digest)
    }

    fn open(&self, _: Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
        let fails = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let source = io::Error::from(io::ErrorKind::StorageFull);
        let error = DiskError { doing: "read", path: "blobs".into(), source };
        if fails { Err(error.into()) } else { Ok(None) }
    }

    fn list(&self, _: Option<Digest>, _: usize) -> Result<Vec<(Digest, u64)>, BlobError> {
        unreachable!("a combine lists nothing")
    }

    fn remove(&self, _: &[Digest]) -> Result<u64, BlobError> {
        unreachable!("a combine removes nothing")
    }
}

/// What becomes of a merge whose base is not there, once the disk says so.
fn combine_on(failures: usize, patience: Patience) -> (Command, usize) {
    let merge = program::Merge { rule: Some(program::v1::merge::Rule::Mean(program::v1::Mean {})) };
    let rule = program::inline(&program::Combine { kind: Some(program::v1::combine::Kind::Merge(merge)) });
    let base = Payload::blob(Digest([1; 32]));
    let (job, stage) = (convoke_core::JobId::from_bits(1), convoke_core::StageNumber(1));
    let (commands, _waiting) = mpsc::channel(1);
    let (notices, mut said) = broadcast::channel(8);
    let blobs = Arc::new(Failing(AtomicUsize::new(failures)));
    let command = Combining { blobs, commands, notices, patience }.combine(&Combine {
        job,
        stage,
        rule,
        base,
        input: Payload::inline(b"").expect("it is small"),
        parts: Vec::new(),
    });
    (command, std::iter::from_fn(|| said.try_recv().ok()).count())
}

#[test]
fn a_combine_waits_for_the_disk_and_says_so_once() {
    let (command, said) = combine_on(2, None);
    let Command::Input(Input::Combined { outcome: CombineOutcome::Failed(reason), .. }) = command else {
        panic!("it fails for a reason of its own")
    };
    assert!(reason.contains("is not stored here"), "{reason}");
    assert_eq!(said, 1);
    assert!(matches!(combine_on(1, Some(Duration::ZERO)), (Command::GiveUp(_), 1)));
}
