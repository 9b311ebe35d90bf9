//! What is compared: works, how ours does each, and who else can do it here.
//!
//! Whoever is not installed, or has no script, is named and left out. How figures are compared it does not know.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::binary;
use crate::cluster::folder_in;
use crate::compare::Arguments;
use crate::others::{self, Python, printed};
use crate::works;

/// How ours does learning in a run of a turn: this often, and the median counts.
const TIMES: &str = "3";
/// As fast as they are, at least.
const AS_FAST: Option<f64> = Some(1.0);
/// What is aimed at beyond that, by the work: how many times as fast as the best of the others.
const ASKED: [(&str, f64); 3] = [(LEARNING[0].0, 3.5), (LEARNING[1].0, 4.0), (LEARNING[2].0, 1.5)];

/// Works of learning alone: ours, and PyTorch's script with what it is given.
const LEARNING: [(&str, &str, &str, &str); 3] = [
    ("letters, learning alone", works::LETTERS, "torch_letters.py", "--repeat 4"),
    ("64-64-10, batch 64, 1,500 rows x 20", works::SMALL, "torch_mlp.py", "64 64 10 64 1500 20"),
    ("784-256-10, batch 128, 60,000 rows", works::DIGITS, "torch_mlp.py", "784 256 10 128 60000 1"),
];
/// The reference's example as a whole.
const JOB: &str = "letters, command to result";
/// Tasks that do nothing: many, one, and as commands.
const TASKS: [&str; 3] = ["empty tasks", "one empty task alone", "/bin/true as tasks"];

/// Does a work once more: each way and its figure.
pub type Run = Box<dyn FnMut() -> anyhow::Result<Vec<(String, f64)>>>;

/// A work, and who does it.
pub struct Contest {
    pub work: &'static str,
    pub unit: Unit,
    pub ours: Run,
    pub others: Vec<Contestant>,
}

/// Someone else.
pub struct Contestant {
    pub name: &'static str,
    /// How many times as fast ours is to be, at least.
    pub asked: Option<f64>,
    pub run: Run,
}

/// What a figure says.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Seconds,
    ASecond,
}

/// Where it was measured.
#[derive(Debug, Default, Serialize)]
pub struct Machine {
    cores: usize,
    processor: String,
    instructions: &'static str,
    system: String,
    /// Ours, and what Python's environment holds of the others.
    versions: BTreeMap<String, String>,
}

/// The works that can be compared here, and what cannot.
pub fn find(arguments: &Arguments) -> anyhow::Result<(Vec<Contest>, Vec<String>)> {
    let python = Rc::new(Python::find(&arguments.venv));
    let letters = Rc::new(letters()?);
    let mut finding = Finding { arguments, python, skipped: Vec::new() };
    let mut contests = Vec::new();
    for (work, of_ours, script, options) in LEARNING {
        let data = (script == "torch_letters.py").then(|| letters.clone());
        let of_script = arguments.peers.join(script);
        let pytorch = finding.python(work, "PyTorch", "torch", &of_script, |python, script| {
            Box::new(move || others::pytorch(&python, &script, options, data.as_deref().map(TempDir::path)))
        });
        let ours = Box::new(move || learning(of_ours));
        contests.push(Contest { work, unit: Unit::Seconds, ours, others: pytorch.into_iter().collect() });
    }
    let (of_ours, of_flower) = (letters.clone(), letters);
    let flower = finding.python(JOB, "Flower's simulation", "flwr", &arguments.flower, |python, script| {
        Box::new(move || others::flower(&python, &script, of_flower.path()))
    });
    contests.push(Contest {
        work: JOB,
        unit: Unit::Seconds,
        ours: Box::new(move || {
            let data = of_ours.path().to_str().context("a folder whose name is not UTF-8")?;
            let report = bench(&["letters", "--times", "1", "--data", data])?;
            one(report["process"]["median_ms"].as_f64().map(|ms| ms / 1e3))
        }),
        others: flower.into_iter().collect(),
    });
    contests.extend(finding.tasks());
    contests.retain(|contest| !contest.others.is_empty());
    Ok((contests, finding.skipped))
}

/// What is there of those whose scripts are Python's.
struct Finding<'a> {
    arguments: &'a Arguments,
    python: Rc<Python>,
    skipped: Vec<String>,
}

impl Finding<'_> {
    /// Whether the work or the other is among those that are asked for.
    fn is_asked(&self, work: &str, name: &str) -> bool {
        let only = self.arguments.only.to_lowercase();
        [work, name].iter().any(|name| name.to_lowercase().contains(&only))
    }

    fn python(
        &mut self,
        work: &str,
        name: &'static str,
        package: &str,
        script: &Path,
        run: impl FnOnce(Rc<Python>, Box<Path>) -> Run,
    ) -> Option<Contestant> {
        let missing = if !self.is_asked(work, name) {
            return None;
        } else if !self.python.packages.contains_key(package) {
            format!("{name}: {package} is not in {}", self.arguments.venv.display())
        } else if !script.is_file() {
            format!("{name}: there is no {}", script.display())
        } else {
            let asked = ASKED.iter().find(|(asked, _)| *asked == work).map_or(AS_FAST, |(_, ratio)| Some(*ratio));
            return Some(Contestant { name, asked, run: run(self.python.clone(), script.into()) });
        };
        self.skip(missing);
        None
    }

    fn skip(&mut self, missing: String) {
        if !self.skipped.contains(&missing) {
            self.skipped.push(missing);
        }
    }

    fn tasks(&mut self) -> Vec<Contest> {
        let count = self.arguments.tasks;
        let contest = |work, unit, ours, others| Contest { work, unit, ours, others };
        let [of_many, of_one, of_commands] = TASKS;
        let (many, alone) = (self.empty_tasks(of_many, count), self.empty_tasks(of_one, 1));
        let functions = Box::new(move || one(tasks(count, 1)?["wasm"]["median"].as_f64()));
        let one_alone = Box::new(|| one(tasks(10, 50)?["alone"]["median_ms"].as_f64().map(|ms| ms / 1e3)));
        let commands = Box::new(move || one(tasks(count, 1)?["commands"]["median"].as_f64()));
        vec![
            contest(of_many, Unit::ASecond, functions, many),
            contest(of_one, Unit::Seconds, one_alone, alone),
            contest(of_commands, Unit::ASecond, commands, self.commands(of_commands, count)),
        ]
    }

    /// Those who do so many empty tasks, and say how many a second; or, of one, how long it took.
    fn empty_tasks(&mut self, work: &str, count: u32) -> Vec<Contestant> {
        let figure = move |rate: f64| if count == 1 { 1.0 / rate } else { rate };
        let scripts = &self.arguments.peers;
        let (dask, ray) = (scripts.join("dask_tasks.py"), scripts.join("ray_tasks.py"));
        let dask = self.python(work, "Dask", "distributed", &dask, |python, script| {
            Box::new(move || one(Some(figure(others::dask(&python, &script, count)?))))
        });
        let ray = self.python(work, "Ray", "ray", &ray, |python, script| {
            Box::new(move || one(Some(figure(others::ray(&python, &script, count)?))))
        });
        dask.into_iter().chain(ray).collect()
    }

    fn commands(&mut self, work: &str, count: u32) -> Vec<Contestant> {
        let rate = move |seconds: f64| one(Some(f64::from(count) / seconds));
        let limit = self.arguments.peers.join("spawn_limit.c");
        let missing_limit = (!limit.is_file()).then(|| format!("there is no {}", limit.display()));
        let has_hyperqueue = Command::new("hq").arg("--version").output().is_ok_and(|output| output.status.success());
        let missing_hyperqueue = (!has_hyperqueue).then(|| "`hq` is not in the PATH".to_owned());
        // The first two keep no record and tell nobody: they measure the machine, and nothing is asked beside them.
        let all: [(_, _, _, Run); 3] = [
            ("xargs -P2", None, None, Box::new(move || rate(others::xargs(count)?))),
            (
                "the limit of the machine",
                None,
                missing_limit,
                Box::new(move || rate(others::spawn_limit(&limit, count)?)),
            ),
            ("HyperQueue", AS_FAST, missing_hyperqueue, Box::new(move || rate(others::hyperqueue(count)?))),
        ];
        let mut found = Vec::new();
        for (name, asked, missing, run) in all {
            match missing {
                _ if !self.is_asked(work, name) => {}
                Some(missing) => self.skip(format!("{name}: {missing}")),
                None => found.push(Contestant { name, asked, run }),
            }
        }
        found
    }
}

/// The built-in letters as files, which all can read.
fn letters() -> anyhow::Result<TempDir> {
    let folder = folder_in(None)?;
    printed(Command::new(binary::find()?).args(["data", "letters"]).arg(folder.path()))?;
    Ok(folder)
}

/// A figure of the only way.
fn one(figure: Option<f64>) -> anyhow::Result<Vec<(String, f64)>> {
    Ok(vec![(String::new(), figure.context("it says no figure")?)])
}

/// A measurement of this program's, in a process of its own as the others' are.
fn bench(arguments: &[&str]) -> anyhow::Result<Value> {
    let program = std::env::current_exe().context("cannot find this program")?;
    Ok(serde_json::from_str(&printed(Command::new(program).args(arguments).arg("--json"))?)?)
}

fn learning(work: &str) -> anyhow::Result<Vec<(String, f64)>> {
    let report = bench(&["kernels", "--times", TIMES, "--only", work])?;
    let ways = report["works"].as_array().into_iter().flatten().filter_map(|measured| {
        let threads = measured["threads"].as_u64()?;
        let way = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
        Some((way, measured["seconds"]["median"].as_f64()?))
    });
    let ways: Vec<_> = ways.collect();
    ensure!(!ways.is_empty(), "it says no figure");
    Ok(ways)
}

fn tasks(count: u32, alone: u32) -> anyhow::Result<Value> {
    bench(&["tasks", "--runs", "1", "--tasks", &count.to_string(), "--alone", &alone.to_string()])
}

/// What there is to say of this machine.
pub fn machine(arguments: &Arguments) -> Machine {
    let of_file = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.map_or("unknown".to_owned(), |line| line.split(':').next_back().unwrap_or_default().trim().to_owned())
    };
    let system = Command::new("uname").args(["-sr"]).output().ok();
    let system = system.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let mut versions = Python::find(&arguments.venv).packages;
    versions.insert("convoke".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    Machine {
        cores: std::thread::available_parallelism().map_or(0, |cores| cores.get()),
        processor: of_file("/proc/cpuinfo", "model name"),
        instructions: convoke_ml::instructions(),
        system,
        versions,
    }
}

impl Unit {
    /// How many times as fast the first is.
    pub fn ratio(self, a: f64, b: f64) -> f64 {
        match self {
            Unit::Seconds => b / a,
            Unit::ASecond => a / b,
        }
    }

    /// A figure, as precise as it deserves.
    pub fn digits(self, figure: f64) -> String {
        match self {
            Unit::Seconds if figure < 0.1 => format!("{figure:.4}"),
            Unit::Seconds => format!("{figure:.3}"),
            Unit::ASecond => format!("{figure:.0}"),
        }
    }
}

impl Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unit::Seconds => "s",
            Unit::ASecond => "/s",
        })
    }
}

impl Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cores, processor, instructions, system, versions } = self;
        let versions: Vec<_> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        write!(f, "{cores} cores of {processor}, {instructions}; {system}; {}", versions.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_and_others_are_asked_for_by_name() {
        let nowhere = || "/nowhere".into();
        let found = |only: &str| {
            let arguments = Arguments {
                peers: nowhere(),
                venv: nowhere(),
                flower: nowhere(),
                times: 1,
                tasks: 10,
                only: only.to_owned(),
                report: None,
            };
            let python = Rc::new(Python::find(&arguments.venv));
            let mut finding = Finding { arguments: &arguments, python, skipped: Vec::new() };
            let contests = finding.tasks();
            let others: Vec<_> = contests.iter().flat_map(|contest| &contest.others).map(|other| other.name).collect();
            (others, finding.skipped)
        };
        let (others, skipped) = found("ray");
        assert!(others.is_empty());
        assert_eq!(skipped, ["Ray: ray is not in /nowhere"]);
        assert_eq!(found("XARGS").0, ["xargs -P2"]);
        let (_, skipped) = found("/bin/true");
        assert!(skipped.contains(&"the limit of the machine: there is no /nowhere/spawn_limit.c".to_owned()));
        assert_eq!(found("").1.len(), skipped.len() + 2);
    }

    #[test]
    fn the_script_installs_for_these_works() {
        let script = include_str!("../../../bench/compare.sh");
        let of_python = LEARNING.map(|(work, ..)| work).into_iter().chain([JOB]).chain(TASKS[..2].iter().copied());
        of_python.for_each(|work| assert!(script.contains(&format!("'{work}'")), "{work}"));
    }

    #[test]
    fn figures_are_as_precise_as_they_deserve() {
        let digits = [0.01234, 1.2345].map(|seconds| Unit::Seconds.digits(seconds));
        assert_eq!(digits, ["0.0123", "1.234"]);
        assert_eq!(Unit::ASecond.digits(1234.5), "1234");
    }
}
