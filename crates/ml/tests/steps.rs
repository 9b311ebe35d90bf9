//! The examples' training steps, run as a worker runs them, with their results taken apart and merged round by round.
//! That their error falls shows that what Python's tools write is what we read, and that what we merge is what they read.
//! It does not know the cluster: shards are trained one after the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use convoke_ml::{Contribution, MergeRule, delta_between, merge};

/// A folder of an example's files and data, as its README makes it.
struct Example {
    python: String,
    folder: PathBuf,
}

impl Example {
    /// `None` where `$CONVOKE_TEST_PYTHON`, or else `python3`, lacks one of `modules`.
    fn prepare(name: &str, modules: &str) -> Option<Example> {
        let python = std::env::var("CONVOKE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let missing = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
        if !missing.is_ok_and(|output| output.status.success()) {
            println!("skipped: {python} cannot import {modules}");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("convoke-ml-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
        for file in std::fs::read_dir(source).unwrap().map(|entry| entry.unwrap()) {
            if file.path().extension().is_some_and(|extension| extension == "py") {
                std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
            }
        }
        let example = Example { python, folder };
        for script in ["make_data.py", "init.py"] {
            example.python(script, &[]);
        }
        Some(example)
    }

    /// What a script writes to stdout.
    fn python(&self, script: &str, variables: &[(&str, &str)]) -> String {
        let mut command = Command::new(&self.python);
        command.arg(script).current_dir(&self.folder).envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(file)).unwrap()
    }

    /// Trains `base.safetensors` on a shard: the delta, and the samples behind it.
    fn train(&self, shard: usize, round: usize) -> (Vec<u8>, u64) {
        let (shard, round) = (format!("data/train_{shard}.npz"), round.to_string());
        let stdout = self.python(
            "step.py",
            &[
                ("CONVOKE_BASE", "base.safetensors"),
                ("CONVOKE_SHARD", &shard),
                ("CONVOKE_RESULT", "result.safetensors"),
                ("CONVOKE_ROUND", &round),
                ("CONVOKE_SEED", "18446744073709551615"),
            ],
        );
        let delta = delta_between(&self.read("base.safetensors"), &self.read("result.safetensors")).unwrap();
        (delta, numbers(&stdout)["samples"] as u64)
    }

    /// The error of `base.safetensors`.
    fn error(&self) -> f64 {
        let variables = [("CONVOKE_BASE", "base.safetensors"), ("CONVOKE_SHARD", "data/validate_1.npz")];
        let numbers = numbers(&self.python("eval.py", &variables));
        assert!(numbers["samples"] > 0.0);
        numbers.get("error").copied().unwrap_or_else(|| 1.0 - numbers["accuracy"])
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn numbers(stdout: &str) -> BTreeMap<String, f64> {
    serde_json::from_str(stdout).unwrap()
}

/// So many rounds over two shards: the error falls to less than this share of what it was.
fn check(name: &str, modules: &str, rounds: usize, share: f64) {
    let Some(example) = Example::prepare(name, modules) else { return };
    let mut version = example.read("init.safetensors");
    let mut errors = Vec::new();
    for round in 1..=rounds {
        std::fs::write(example.folder.join("base.safetensors"), &version).unwrap();
        errors.push(example.error());
        let deltas = [1, 2].map(|shard| example.train(shard, round));
        assert!(example.train(2, round) == deltas[1], "{name}: the same attempt again brings other bits");
        let parts: Vec<_> = deltas.iter().map(|(delta, samples)| Contribution { delta, samples: *samples }).collect();
        let base = std::mem::take(&mut version);
        let merged = merge(MergeRule::Mean, &base, &parts, &mut version).unwrap();
        assert_eq!((merged.accepted, merged.refused), (2, vec![]));
    }
    std::fs::write(example.folder.join("base.safetensors"), &version).unwrap();
    errors.push(example.error());
    println!("{name}: {errors:.3?}");
    assert!(errors[rounds] < errors[0] * share, "{name} learns nothing: {errors:?}");
}

#[test]
fn numpy_learns() {
    check("numpy", "numpy", 5, 0.1);
}

#[test]
fn scikit_learn_learns() {
    check("scikit-learn", "sklearn", 1, 0.5);
}

#[test]
fn pytorch_learns() {
    check("pytorch", "torch, numpy, safetensors", 1, 0.9);
}
