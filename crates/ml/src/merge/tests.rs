//! Merging against its definition: what goes in by name comes out as the weighted mean,
//! whatever the blocks and the order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::tensor_file::{Dtype, HEADER_BYTES_MAX, f32_bytes, f32_values, write};

type Tensor = (&'static str, Vec<usize>, Vec<f32>);

fn file(tensors: &[Tensor]) -> Vec<u8> {
    let metadata = BTreeMap::from([("job".to_string(), "seven".to_string())]);
    let tensor = |(name, shape, values): &Tensor| {
        (name.to_string(), Dtype::F32, shape.clone(), f32_bytes(values.iter().copied()))
    };
    write(&metadata, &tensors.iter().map(tensor).collect::<Vec<_>>())
}

fn base() -> Vec<u8> {
    file(&[("w", vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), ("b", vec![2], vec![0.5, -0.5])])
}

/// A delta whose tensors stand in the other order.
fn delta_of(factor: f32) -> Vec<u8> {
    let values: Vec<f32> = (0..6).map(|i| factor * (i as f32 * 0.37 - 1.0)).collect();
    file(&[("b", vec![2], vec![factor, -factor]), ("w", vec![2, 3], values)])
}

fn run(base: &[u8], deltas: &[(Vec<u8>, u64)], block: usize) -> (Result<Merged, MergeError>, Vec<u8>) {
    run_with(Effort { block_coordinates: block, piece_coordinates: 4, threads: Some(2) }, base, deltas)
}

fn run_with(effort: Effort, base: &[u8], deltas: &[(Vec<u8>, u64)]) -> (Result<Merged, MergeError>, Vec<u8>) {
    let contributions: Vec<_> =
        deltas.iter().map(|(delta, samples)| Contribution { delta, samples: *samples }).collect();
    let mut version = Vec::new();
    let merged = merge_with(effort, MergeRule::Mean, &base, &contributions, &mut version);
    (merged, version)
}

/// The values behind the header, in file order.
fn values(file: &[u8]) -> Vec<f32> {
    f32_values(&file[TensorFile::from_bytes(file).unwrap().header.len()..]).collect()
}

#[test]
fn the_mean_is_weighted_by_samples_and_matched_by_name() {
    let (merged, version) = run(&base(), &[(delta_of(1.0), 30), (delta_of(-0.5), 10)], 4096);
    assert_eq!(merged.unwrap(), Merged { samples: 40, accepted: 2, refused: vec![] });
    let header_bytes = TensorFile::from_bytes(&base()).unwrap().header.len();
    assert_eq!(version[..header_bytes], base()[..header_bytes]);
    let factor = 0.75 * 1.0 - 0.25 * 0.5;
    let update = (0..6).map(|i| factor * (i as f32 * 0.37 - 1.0)).chain([factor, -factor]);
    let expected: Vec<f32> = values(&base()).into_iter().zip(update).map(|(base, update)| base + update).collect();
    for (found, expected) in values(&version).iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-6, "{found} and {expected}");
    }
}

#[test]
fn blocks_do_not_matter() {
    let deltas = [(delta_of(0.7), 3), (delta_of(-1.3), 7), (delta_of(0.01), 11)];
    let whole = run(&base(), &deltas, 4096).1;
    for block in [1, 2, 3, 5, 6, 7] {
        assert_eq!(run(&base(), &deltas, block).1, whole, "block of {block}");
    }
}

#[test]
fn threads_do_not_matter() {
    let tensor = |name, count: usize, factor: f32| {
        (name, vec![count], (0..count).map(|i| factor * (i as f32 * 0.37 - 1.0)).collect::<Vec<_>>())
    };
    let model = |factor| {
        let sizes = [("a", 17), ("b", 1), ("c", 0), ("d", 40), ("e", 3)];
        file(&sizes.map(|(name, count)| tensor(name, count, factor)))
    };
    let deltas = [(model(0.7), 3), (model(-1.3), 7), (model(0.01), 11)];
    let effort =
        |piece_coordinates, threads| Effort { block_coordinates: 3, piece_coordinates, threads: Some(threads) };
    let whole = run_with(effort(1000, 1), &model(1.0), &deltas);
    for threads in [1, 2, 5, 100] {
        for piece in [1, 2, 5, 18, 61, 1000] {
            let (merged, version) = run_with(effort(piece, threads), &model(1.0), &deltas);
            assert_eq!(merged.unwrap(), *whole.0.as_ref().unwrap());
            assert_eq!(version, whole.1, "{threads} threads, pieces of {piece}");
        }
    }
    assert_eq!(whole.1, run(&model(1.0), &deltas, 4096).1);
}

#[test]
fn a_sum_that_only_a_refused_delta_made_too_large_is_none() {
    let (base, small, huge) = ([3e38, 1.0], [1e30, 1.0], [3e38, f32::NAN]);
    let [base, small, huge] = [base, small, huge].map(|values: [f32; 2]| file(&[("w", vec![2], values.to_vec())]));
    for piece in [1, 2] {
        let effort = Effort { block_coordinates: 1, piece_coordinates: piece, threads: Some(2) };
        let (merged, version) = run_with(effort, &base, &[(small.clone(), 1), (huge.clone(), 1)]);
        let refused = merged.unwrap().refused;
        assert_eq!((refused.len(), refused[0].position), (1, 1));
        assert_eq!(version, run(&base, &[(small.clone(), 1)], 1).1);
    }
}

#[test]
fn a_delta_merged_with_itself_is_the_delta() {
    let once = run(&base(), &[(delta_of(0.7), 5)], 4096).1;
    let twice = run(&base(), &[(delta_of(0.7), 5), (delta_of(0.7), 5)], 4096).1;
    assert_eq!(once, twice);
}

#[test]
fn order_matters_only_to_rounding() {
    let deltas = [(delta_of(0.7), 3), (delta_of(-1.3), 7), (delta_of(0.01), 11)];
    let mut other = deltas.clone();
    other.reverse();
    let (first, second) = (run(&base(), &deltas, 4096).1, run(&base(), &other, 4096).1);
    for (first, second) in values(&first).iter().zip(values(&second)) {
        assert!((first - second).abs() <= f32::EPSILON * first.abs(), "{first} and {second}");
    }
    assert_eq!(run(&base(), &deltas, 4096).1, first);
}

#[test]
fn deltas_that_do_not_fit_are_refused_with_their_reason() {
    let b = || ("b", vec![2], vec![0.0; 2]);
    let w = || ("w", vec![2, 3], vec![0.0; 6]);
    let mut not_a_number = vec![0.0; 6];
    not_a_number[4] = f32::NAN;
    let mut truncated = delta_of(1.0);
    truncated.pop();
    let wrong_type = write(
        &BTreeMap::new(),
        &[("b".into(), Dtype::U32, vec![2], vec![0; 8]), ("w".into(), Dtype::F32, vec![2, 3], vec![0; 24])],
    );
    let deltas = [
        (delta_of(1.0), 0),
        (delta_of(1.0), u64::MAX),
        (delta_of(1.0), 10),
        (file(&[b()]), 10),
        (file(&[b(), w(), ("x", vec![1], vec![0.0])]), 10),
        (file(&[b(), ("w", vec![3, 2], vec![0.0; 6])]), 10),
        (wrong_type, 10),
        (file(&[b(), ("w", vec![2, 3], not_a_number)]), 10),
        (file(&[("b", vec![2], vec![0.0, f32::INFINITY]), w()]), 10),
        (vec![1, 2, 3], 10),
        (truncated, 10),
        (u64::MAX.to_le_bytes().to_vec(), 10),
        (b"\x02\0\0\0\0\0\0\0[]".to_vec(), 10),
    ];
    for block in [1, 4096] {
        let (merged, version) = run(&base(), &deltas, block);
        let merged = merged.unwrap();
        assert_eq!((merged.samples, merged.accepted), (10, 1));
        assert_eq!(version, run(&base(), &deltas[2..3], block).1);
        let reasons: Vec<_> =
            merged.refused.iter().map(|refused| format!("{}: {}", refused.position, refused.reason)).collect();
        assert_eq!(
            reasons,
            [
                "0: it stands for 0 samples",
                "1: it claims 18446744073709551615 samples, more than 1099511627776",
                "3: tensor `w` is missing",
                "4: tensor `x` is not expected",
                "5: tensor `w` has shape [3, 2], expected [2, 3]",
                "6: tensor `b` holds U32, expected F32",
                "7: tensor `w` holds NaN at 4",
                "8: tensor `b` holds inf at 1",
                "9: 3 bytes are too few for a safetensors file",
                "10: the tensors end at byte 184, the file at 183",
                "11: no safetensors file, or a damaged one: a header of 18446744073709551615 bytes does not fit a file of 8 bytes or the limit of 4194304",
                "12: unreadable safetensors header: invalid type: sequence, expected struct HashMetadata at line…",
            ]
        );
    }
}

#[test]
fn if_all_are_refused_there_is_no_version() {
    let (merged, version) = run(&base(), &[(delta_of(1.0), 0), (vec![], 3)], 4096);
    let error = merged.unwrap_err();
    assert_eq!(error.to_string(), "all 2 deltas were refused, number 0 because: it stands for 0 samples");
    assert!(matches!(error, MergeError::AllRefused { refused } if refused.len() == 2));
    assert!(version.is_empty());
    assert_eq!(run(&base(), &[], 4096).0.unwrap_err().to_string(), "all 0 deltas were refused");
}

#[test]
fn a_sum_beyond_f32_is_an_error() {
    let huge = |value| file(&[("w", vec![1], vec![value])]);
    let (merged, _) = run(&huge(3e38), &[(huge(3e38), 1)], 4096);
    assert_eq!(merged.unwrap_err().to_string(), "the merged version is not finite: tensor `w` holds inf at 0");
}

#[test]
fn storage_that_fails_is_not_the_deltas_fault() {
    struct Gone;
    impl ReadAt for Gone {
        fn size_bytes(&self) -> io::Result<u64> {
            Ok(1000)
        }
        fn read_exact_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let contributions = [Contribution { delta: &Gone, samples: 1 }];
    let failed = merge(MergeRule::Mean, &base(), &contributions, &mut Vec::new()).unwrap_err();
    assert_eq!(failed.to_string(), "cannot read delta 0: the disk is gone");
}

#[test]
fn a_claimed_header_is_not_read_beyond_the_limit() {
    struct Claim;
    impl ReadAt for Claim {
        fn size_bytes(&self) -> io::Result<u64> {
            Ok(u64::MAX)
        }
        fn read_exact_at(&self, _: u64, buffer: &mut [u8]) -> io::Result<()> {
            buffer.copy_from_slice(&(HEADER_BYTES_MAX + 1).to_le_bytes());
            Ok(())
        }
    }
    let contributions = [Contribution { delta: &Claim, samples: 1 }];
    let refused = merge(MergeRule::Mean, &base(), &contributions, &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("a header of 4194305 bytes does not fit"), "{refused}");
}

#[cfg(unix)]
#[test]
fn files_merge_like_bytes() {
    let path = |name: &str| std::env::temp_dir().join(format!("convoke-ml-{}-{name}", std::process::id()));
    let stored = |name: &str, bytes: &[u8]| {
        std::fs::write(path(name), bytes).unwrap();
        std::fs::File::open(path(name)).unwrap()
    };
    let (base_file, delta_file) = (stored("base", &base()), stored("delta", &delta_of(0.3)));
    let mut version = Vec::new();
    let contributions = [Contribution { delta: &delta_file, samples: 4 }];
    merge(MergeRule::Mean, &base_file, &contributions, &mut version).unwrap();
    assert_eq!(version, run(&base(), &[(delta_of(0.3), 4)], 4096).1);
    for name in ["base", "delta"] {
        std::fs::remove_file(path(name)).unwrap();
    }
}

proptest! {
    /// The definition, coordinate by coordinate: base + Σ (n_k / Σn) · Δ_k.
    #[test]
    fn the_mean_is_its_definition(
        base_values in proptest::collection::vec(-10.0f32..10.0, 1..40),
        factors in proptest::collection::vec((-2.0f32..2.0, 1..10_000u64), 1..8),
        block in 1..50usize,
    ) {
        let tensors = |values: Vec<f32>| {
            let (first, second) = values.split_at(values.len() / 3);
            file(&[("a", vec![first.len()], first.to_vec()), ("b", vec![second.len()], second.to_vec())])
        };
        let value = |factor: f32, i: usize| factor * (i as f32 - 3.7);
        let delta = |factor: f32| tensors((0..base_values.len()).map(|i| value(factor, i)).collect());
        let deltas: Vec<_> = factors.iter().map(|(factor, samples)| (delta(*factor), *samples)).collect();
        let (merged, version) = run(&tensors(base_values.clone()), &deltas, block);
        let total: u64 = factors.iter().map(|(_, samples)| samples).sum();
        prop_assert_eq!(merged.unwrap(), Merged { samples: total, accepted: factors.len(), refused: vec![] });
        let expected: Vec<f32> = base_values.iter().enumerate().map(|(i, base)| {
            let parts = factors.iter().map(|(factor, n)| *n as f64 / total as f64 * f64::from(value(*factor, i)));
            (f64::from(*base) + parts.sum::<f64>()) as f32
        }).collect();
        prop_assert_eq!(values(&version), expected);
    }
}
