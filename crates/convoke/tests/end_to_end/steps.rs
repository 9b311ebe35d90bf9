//! A user's own training: the examples as their READMEs have them, on an embedded cluster and on one of processes.
//!
//! They run where Python has what they need, and say so where it has not. What a step learns is for `convoke-ml`'s tests.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, Home};
use crate::process::{Ended, Process};

/// A Python that can import these modules: `$CONVOKE_TEST_PYTHON`, or `python3`.
fn python(modules: &str) -> Option<String> {
    let python = std::env::var("CONVOKE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if found.is_ok_and(|found| found.status.success()) {
        return Some(python);
    }
    println!("skipped: {python} cannot import {modules}");
    None
}

/// An example's folder in a home, with its data and first parameters as its README makes them.
struct Example {
    python: String,
    name: &'static str,
}

impl Example {
    fn prepare(home: &Home, name: &'static str, python: &str, data: &[&str]) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
        let folder = home.path(name);
        fs::create_dir_all(&folder).expect("a folder");
        for file in fs::read_dir(source).expect("the example").map(|entry| entry.expect("a file")) {
            fs::copy(file.path(), folder.join(file.file_name())).expect("a copy");
        }
        let example = Self { python: python.to_owned(), name };
        for script in [&[&["make_data.py", "data"], data].concat()[..], &["init.py"]] {
            let made = Command::new(python).args(script).current_dir(&folder).output().expect("Python runs");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        example
    }

    /// The README's command, but for `arguments`.
    fn train(&self, home: &Home, arguments: &[&str]) -> Process {
        let path = |file: &str| format!("{}/{file}", self.name);
        let mut all: Vec<String> =
            ["train".to_owned(), path("data"), "--init".to_owned(), path("init.safetensors")].into();
        for (flag, script) in [("--step", "step.py"), ("--eval", "eval.py")] {
            all.extend([flag.to_owned(), format!("'{}' {script}", self.python)]);
        }
        for file in ["step.py", "eval.py", "model.py", "tensors.py"] {
            if home.path(&path(file)).is_file() {
                all.extend(["--with".to_owned(), path(file)]);
            }
        }
        let all: Vec<&str> = all.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        home.start(&[&all, &["--output", "json"][..]].concat())
    }
}

/// A worker that runs commands.
fn worker(cluster: &Cluster, name: &str) -> Process {
    let help = cluster.home.run(&["worker", "--help"]).stdout;
    let allow: &[&str] = if help.contains("--allow-command") { &["--allow-command"] } else { &[] };
    cluster.worker(name, allow)
}

fn parameters(ended: Ended) -> (Value, Value) {
    let report = ended.with_status(0).json();
    assert_eq!(report["state"], "succeeded");
    assert!(report["parameters"].is_string(), "{report}");
    (report["parameters"].clone(), report)
}

fn errors(report: &Value) -> Vec<f64> {
    let rounds = report["rounds"].as_array().expect("rounds").iter();
    rounds.map(|round| round["validation_error"].as_f64().expect("an error")).collect()
}

#[test]
fn numpy_learns_the_same_bits_when_a_worker_is_killed_and_when_it_is_resumed() {
    let Some(python) = python("numpy") else { return };
    let cluster = Cluster::start();
    let home = &cluster.home;
    let example = Example::prepare(home, "numpy", &python, &[]);

    let (expected, report) = parameters(example.train(home, &["--rounds", "5", "--model", "m"]).ends());
    let errors = errors(&report);
    assert!(errors[4] < errors[0], "it learns: {errors:?}");
    assert_eq!(errors.len(), 5);
    let task = &report["rounds"][0]["tasks"][1];
    assert_eq!((&task["shard"], &task["samples"]), (&"train_2.npz".into(), &500.into()));
    assert!(task["train_error"].is_f64(), "{task}");

    let (victim, heir) = (worker(&cluster, "victim"), worker(&cluster, "heir"));
    let train = example.train(home, &["--rounds", "5", "--coordinator", &cluster.address]);
    victim.says(&["step begins"]);
    victim.signal(Signal::SIGKILL);
    cluster.coordinator.says(&["victim was lost"]);
    let (disturbed, report) = parameters(train.ends());
    assert_eq!(disturbed, expected);
    let job = report["job"].as_str().expect("an id");
    let told = cluster.ask(&["job", job]).with_status(0).json();
    assert_eq!(told["validation_error"], report["validation_error"]);
    // What `result` saves is what the command saved.
    cluster.ask(&["result", job, "-o", "again"]).with_status(0);
    assert!(fs::read(home.path("again")).expect("a model") == fs::read(home.path("m")).expect("a model"));
    drop(heir);

    let train = example.train(home, &["--rounds", "5", "--workers", "1"]);
    train.says(&["round 2/5"]);
    train.signal(Signal::SIGINT);
    let interrupted = train.ends().with_status(130).json();
    let job = interrupted["job"].as_str().expect("an id");
    let (resumed, _) = parameters(home.run(&["resume", job, "--output", "json"]));
    assert_eq!(resumed, expected);
}

#[test]
fn scikit_learn_learns() {
    let Some(python) = python("sklearn") else { return };
    let home = Home::new();
    let example = Example::prepare(&home, "scikit-learn", &python, &[]);
    let (_, report) = parameters(example.train(&home, &["--rounds", "2"]).ends());
    let errors = errors(&report);
    assert!(errors[1] < 0.3, "{errors:?}");
}

#[test]
fn pytorch_learns() {
    let Some(python) = python("torch, numpy, safetensors") else { return };
    let home = Home::new();
    let example = Example::prepare(&home, "pytorch", &python, &["--shards", "2"]);
    let (_, report) = parameters(example.train(&home, &["--rounds", "1", "--keep", "best"]).ends());
    let errors = errors(&report);
    assert!(errors[0] < 0.8, "five shapes are more than a guess: {errors:?}");
}

/// A safetensors file with a tensor of this type, or of bytes that are none.
fn init(home: &Home, name: &str, dtype: &str, data: &[u8]) -> String {
    let header = format!(r#"{{"w":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,{}]}}}}"#, data.len());
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
    fs::write(home.path(name), bytes).expect("a file");
    name.to_owned()
}

#[test]
fn a_shell_is_enough_and_steps_see_their_shards() {
    let home = Home::new();
    init(&home, "init", "F32", &0_f32.to_le_bytes());
    fs::create_dir(home.path("files")).expect("a folder");
    for name in ["a.bin", "b.bin"] {
        fs::write(home.path("files").join(name), name).expect("a shard");
    }
    // Its directory is its own, and it is not promised that other files come back.
    let step = "cp $CONVOKE_BASE $CONVOKE_RESULT && test \"$(cat $CONVOKE_SHARD)\" = \"$(basename $CONVOKE_SHARD)\" && \
                test \"$PWD\" = \"$CONVOKE_DIRECTORY\" && test -z \"${CONVOKE_OUT+set}\"";
    // Without validation data, there is one measurement, and no shard for it.
    let eval = r#"test -z "$CONVOKE_SHARD" && echo "{\"error\": 0.$CONVOKE_ROUND, \"other\": 1}""#;
    let fixed = ["train", "files", "--init", "init", "--shell", "--rounds", "2", "--workers", "1", "--output", "json"];
    let trained = home.run(&[&fixed[..], &["--step", step, "--eval", eval, "--model", "m"]].concat());
    let report = trained.with_status(0).json();
    let shards: Vec<_> =
        report["rounds"][0]["tasks"].as_array().expect("tasks").iter().map(|task| &task["shard"]).collect();
    assert_eq!(shards, ["a.bin", "b.bin"]);
    assert!(report["validation_error"].is_f64(), "{report}");
    assert!(fs::read(home.path("m")).expect("a model") == fs::read(home.path("init")).expect("what it began with"));

    // One that fails says why.
    let unlucky = ["--step", "echo no such luck >&2; exit 3", "--retries", "0"];
    let failed = home.run(&[&fixed[..], &unlucky].concat()).with_status(1);
    assert!(failed.line("error: ").contains("exited with status 3"));
    let report = failed.json();
    assert_eq!(report["failures"][0]["attempts"][0]["stderr"], "no such luck\n", "{report}");
    let job = report["job"].as_str().expect("an id");
    let index = report["failures"][0]["index"].to_string();
    assert_eq!(home.run(&["job", job, "--stderr", &index]).with_status(0).stdout, "no such luck\n");
    let failed = home.run(&[&fixed[..fixed.len() - 2], &unlucky].concat()).with_status(1);
    assert_eq!(failed.count(&["  stderr: no such luck"]), 1, "{failed:#?}");
    assert!(failed.count(&[" of train round 1 (", ".bin) failed in 1 attempt:"]) == 1, "{failed:#?}");
}

#[test]
fn what_cannot_be_a_step_job_is_named_before_anything_is_submitted() {
    let home = Home::new();
    let good = init(&home, "good", "F32", &0_f32.to_le_bytes());
    let nan = init(&home, "nan", "F32", &f32::NAN.to_le_bytes());
    let bytes = init(&home, "bytes", "U8", &[7]);
    fs::write(home.path("rows.csv"), "1\n2\n").expect("a file");
    let step = ["--step", "true", "--init"];
    let cases: &[(&[&str], &str)] = &[
        (&["--step", "true"], "--init <MODEL>"),
        (&["--init", &good], "good is not a model that can be used"),
        (&["--eval", "true"], "--step <COMMAND>"),
        (&["--with", &good], "--with is for the commands of --step"),
        (&["--memory", "1GiB"], "--memory is for the commands of --step"),
        (&[&step[..], &[&good, "--hidden", "3"]].concat(), "--hidden"),
        (&[&step[..], &[&good, "--eta", "1"]].concat(), "--eta"),
        (&[&step[..], &[&good, "--label", "first"]].concat(), "--label"),
        (&[&step[..], &[&good, "--preset", "reference"]].concat(), "--preset"),
        (&[&step[..], &[&nan]].concat(), "--init nan cannot be trained: tensor `w` holds NaN at 0"),
        (&[&step[..], &[&bytes]].concat(), "the first, `w`, holds U8"),
        (&[&step[..], &["rows.csv"]].concat(), "--init rows.csv cannot be trained: "),
        (&[&step[..], &["gone"]].concat(), "cannot read --init gone"),
        (&[&step[..], &["/dev/null"]].concat(), "cannot read --init /dev/null: it is no regular file"),
        (&[&step[..], &[&good, "--validate", "0.2"]].concat(), "--validate 0.2"),
        (&[&step[..], &[&good, "--validate", "rows.csv"]].concat(), "--validate names data for --eval"),
        (&[&step[..], &[&good, "--with", "gone"]].concat(), "cannot read gone"),
        (&[&step[..], &[&good, "--shards", "3"]].concat(), "too few for --shards 3"),
        (&["--step", "'true", "--init", &good], "a quote that is not closed"),
    ];
    for (arguments, said) in cases {
        let refused = home.run(&[&["train", "rows.csv"], *arguments].concat()).with_status(2);
        assert!(refused.line("error: ").contains(said), "{arguments:?}: {refused:#?}");
        refused.line("hint: ");
    }
    let jobs = home.run(&["jobs", "--output", "json"]).with_status(0).json();
    assert_eq!(jobs, Value::from(Vec::<Value>::new()), "nothing was submitted");
}
