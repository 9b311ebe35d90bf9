//! Ours beside others: the same work by turns, so that whatever else the machine does weighs on all of them.
//!
//! A ratio is the median of the pairs of a turn. Who the others are and how they are run, `peers` knows.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::figures::{Span, Table};
use crate::peers::{self, Contest, Contestant, Unit};

/// How to compare.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder of the others' scripts
    #[arg(long, value_name = "DIR")]
    pub peers: PathBuf,
    /// The folder of Python's environment with the others in it
    #[arg(long, value_name = "DIR")]
    pub venv: PathBuf,
    /// The letters as a job of Flower's simulation
    #[arg(long, value_name = "FILE.py")]
    pub flower: PathBuf,
    /// How many turns there are
    #[arg(long, default_value_t = 5)]
    pub times: usize,
    /// How many tasks a job of empty tasks has
    #[arg(long, default_value_t = 5_000)]
    pub tasks: u32,
    /// Only works in whose names, or others in whose names, this is
    #[arg(long, value_name = "NAME", default_value = "")]
    pub only: String,
    /// A file for the figures as JSON, beside the table
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    machine: peers::Machine,
    works: Vec<Compared>,
    /// What could not be measured, and why.
    skipped: Vec<String>,
}

/// A work, ours beside each of the others.
#[derive(Debug, Serialize)]
struct Compared {
    work: &'static str,
    unit: Unit,
    ours: Best,
    others: Vec<Other>,
}

/// The way of someone whose median is best.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Best {
    /// Threads or processes, where there is a choice.
    way: String,
    span: Span,
    each: Vec<f64>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Other {
    name: &'static str,
    best: Best,
    /// How many times as fast ours is, turn by turn.
    ratio: Span,
    /// What the ratio is to be at least.
    asked: Option<f64>,
}

/// What someone brought in each turn: each way and its figure.
type Turns = Vec<Vec<(String, f64)>>;

/// Compares all that there is. Who cannot take part is named and left out; without ours there is no work.
pub fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    ensure!(arguments.times > 0, "there has to be a turn");
    let (found, mut skipped) = peers::find(arguments)?;
    let mut works = Vec::new();
    for mut contest in found {
        let work = contest.work;
        match compare(&mut contest, arguments.times, &mut skipped) {
            Ok(compared) => works.push(compared),
            Err(error) => skipped.push(format!("{work}: {error:#}")),
        }
    }
    ensure!(!works.is_empty(), "nothing was measured: {}", skipped.join("; "));
    let figures = Figures { machine: peers::machine(arguments), works, skipped };
    if let Some(path) = &arguments.report {
        let report = serde_json::to_vec_pretty(&figures)?;
        fs::write(path, report).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(figures)
}

fn compare(contest: &mut Contest, times: usize, skipped: &mut Vec<String>) -> anyhow::Result<Compared> {
    let (work, unit) = (contest.work, contest.unit);
    let mut ours = Turns::new();
    let mut theirs: Vec<(Contestant, Turns)> = contest.others.drain(..).map(|other| (other, Turns::new())).collect();
    for turn in 1..=times {
        eprintln!("{work}: turn {turn} of {times}");
        ours.push((contest.ours)().context("ours")?);
        theirs.retain_mut(|(other, turns)| match (other.run)() {
            Ok(brought) => {
                turns.push(brought);
                true
            }
            Err(error) => {
                skipped.push(format!("{work}: {}: {error:#}", other.name));
                false
            }
        });
    }
    let ours = best(&ours, unit)?;
    let others = theirs.into_iter().map(|(other, turns)| {
        let best = best(&turns, unit)?;
        let ratio =
            Span::of(ours.each.iter().zip(&best.each).map(|(ours, theirs)| unit.ratio(*ours, *theirs)).collect());
        Ok(Other { name: other.name, best, ratio, asked: other.asked })
    });
    let others = others.collect::<anyhow::Result<_>>()?;
    Ok(Compared { work, unit, ours, others })
}

/// Of the ways that someone took in every turn, the one with the best median.
fn best(turns: &Turns, unit: Unit) -> anyhow::Result<Best> {
    let ways = turns.first().map_or(&[][..], Vec::as_slice).iter().map(|(way, _)| way);
    let of_way = |way: &String| -> Option<Best> {
        let figure = |turn: &Vec<(String, f64)>| turn.iter().find(|(name, _)| name == way).map(|(_, figure)| *figure);
        let each = turns.iter().map(figure).collect::<Option<Vec<_>>>()?;
        Some(Best { way: way.clone(), span: Span::of(each.clone()), each })
    };
    let bests = ways.filter_map(of_way);
    let best = bests.max_by(|a, b| unit.ratio(a.span.median, b.span.median).total_cmp(&1.0));
    best.context("it brought no figure")
}

impl Table for Figures {
    fn table(&self) -> String {
        let mut rows = vec![["work", "ours", "beside", "theirs", "times as fast", "asked for"].map(str::to_owned)];
        for compared in &self.works {
            let unit = compared.unit;
            let side = |best: &Best| {
                let Span { median, least, most } = best.span;
                format!("{} ({}-{}) {unit}", unit.digits(median), unit.digits(least), unit.digits(most))
            };
            rows.extend(compared.others.iter().map(|other| {
                let Span { median, least, most } = other.ratio;
                let name = match other.best.way.as_str() {
                    "" => other.name.to_owned(),
                    way => format!("{}, {way}", other.name),
                };
                let asked = other.asked.map_or("-".to_owned(), |asked| format!("{asked}"));
                let ratio = format!("{median:.2} ({least:.2}-{most:.2})");
                [compared.work.to_owned(), side(&compared.ours), name, side(&other.best), ratio, asked]
            }));
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        let line = |row: &[String; 6]| {
            let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        };
        let mut lines = vec![self.machine.to_string()];
        lines.extend(rows.iter().map(line));
        lines.extend(self.skipped.iter().map(|skipped| format!("skipped: {skipped}")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contest(others: Vec<Contestant>, ours: Vec<f64>) -> Contest {
        let mut ours = ours.into_iter();
        let ours = Box::new(move || Ok(vec![(String::new(), ours.next().context("no more turns")?)]));
        Contest { work: "work", unit: Unit::Seconds, ours, others }
    }

    fn other(name: &'static str, turns: Vec<Vec<f64>>) -> Contestant {
        let mut turns = turns.into_iter();
        let run = Box::new(move || {
            let turn = turns.next().context("gone")?.into_iter().enumerate();
            Ok(turn.map(|(way, figure)| (format!("way {way}"), figure)).collect())
        });
        Contestant { name, asked: Some(1.0), run }
    }

    #[test]
    fn the_best_way_is_compared_turn_by_turn() {
        let turns = vec![vec![8.0, 4.0], vec![1.0, 6.0], vec![8.0, 4.0]];
        let mut skipped = Vec::new();
        let mut contest = contest(vec![other("a", turns), other("b", vec![vec![1.0]])], vec![2.0, 3.0, 1.0]);
        let compared = compare(&mut contest, 3, &mut skipped).unwrap();
        assert_eq!(compared.ours.span, Span { median: 2.0, least: 1.0, most: 3.0 });
        let [a] = &compared.others[..] else { panic!("{compared:?}") };
        assert_eq!((a.best.way.as_str(), a.best.span.median), ("way 1", 4.0));
        assert_eq!(a.ratio, Span { median: 2.0, least: 2.0, most: 4.0 });
        assert_eq!(skipped, ["work: b: gone"]);
        let table = Figures { machine: peers::Machine::default(), works: vec![compared], skipped }.table();
        let line = table.lines().find(|line| line.starts_with("work  2.")).unwrap();
        let expected = "work  2.000 (1.000-3.000) s  a, way 1  4.000 (4.000-6.000) s  2.00 (2.00-4.00)  1";
        assert_eq!(line, expected);
        assert!(table.ends_with("skipped: work: b: gone"), "{table}");
    }

    #[test]
    fn more_a_second_is_better() {
        let turns = vec![vec![("a".to_owned(), 10.0), ("b".to_owned(), 20.0)]];
        assert_eq!(best(&turns, Unit::ASecond).unwrap().way, "b");
        assert_eq!(best(&turns, Unit::Seconds).unwrap().way, "a");
        assert_eq!(Unit::ASecond.ratio(30.0, 10.0), 3.0);
    }
}
