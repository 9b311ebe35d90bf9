//! Which classes are taken for which: a matrix for people where it is not too wide, else a list of what is confused most.
//!
//! How it was counted it does not know.

use std::fmt;

use serde::Serialize;

use crate::output;

/// The most classes that a matrix is shown of.
const SHOWN_MAX: usize = 30;
/// The widest matrix, in characters.
const WIDTH_MAX: usize = 160;
/// How much of a label heads a column.
const LABEL_MAX: usize = 8;
/// How many confusions are listed.
const LISTED_MAX: usize = 15;

/// How often samples of one class are taken for another.
#[derive(Debug, Serialize)]
pub struct Confusion {
    labels: Vec<String>,
    /// A row for each true class, a column for each predicted one.
    counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// Of counts `[k, k]`, row-major, rows the true class.
    pub fn new(labels: &[String], counts: &[u64]) -> Self {
        let counts = counts.chunks_exact(labels.len().max(1)).map(<[u64]>::to_vec).collect();
        Self { labels: labels.to_vec(), counts }
    }

    fn matrix(&self) -> Option<String> {
        if self.labels.len() > SHOWN_MAX {
            return None;
        }
        let names: Vec<_> = self.labels.iter().map(|label| short(label)).collect();
        let cells: Vec<Vec<String>> =
            self.counts.iter().map(|row| row.iter().map(|count| cell(*count)).collect()).collect();
        let first = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = cells.iter().map(|row| row[column].len());
            cells.chain([names[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..names.len()).map(width).collect();
        if first + widths.iter().map(|width| width + 1).sum::<usize>() > WIDTH_MAX {
            return None;
        }
        let line = |name: &str, cells: &[String]| {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:>width$}"));
            format!("{name:<first$}{}", cells.collect::<String>())
        };
        let rows = names.iter().zip(&cells).map(|(name, cells)| line(name, cells));
        Some(std::iter::once(line("", &names)).chain(rows).collect::<Vec<_>>().join("\n"))
    }

    /// The most frequent confusions, those of equal frequency in the order of the classes.
    fn list(&self) -> Vec<String> {
        let rows = self.counts.iter().enumerate();
        let all =
            rows.flat_map(|(class, row)| row.iter().enumerate().map(move |(taken, count)| (*count, class, taken)));
        let mut wrong: Vec<_> = all.filter(|(count, class, taken)| *count > 0 && class != taken).collect();
        wrong.sort_by_key(|(count, class, taken)| (std::cmp::Reverse(*count), *class, *taken));
        let line = |(count, class, taken): (u64, usize, usize)| {
            let of: u64 = self.counts[class].iter().sum();
            let [class, taken] = [class, taken].map(|class| output::line(&self.labels[class]));
            format!("{class} taken for {taken}: {count} of {of}")
        };
        wrong.into_iter().take(LISTED_MAX).map(line).collect()
    }
}

impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(matrix) = self.matrix() {
            return write!(f, "true classes down, predictions across:\n{matrix}");
        }
        match &self.list()[..] {
            [] => f.write_str("no class is taken for another"),
            list => write!(f, "confused most:\n{}", list.join("\n")),
        }
    }
}

/// What is seldom is found at a glance.
fn cell(count: u64) -> String {
    if count == 0 { ".".to_owned() } else { count.to_string() }
}

fn short(label: &str) -> String {
    let label = output::line(label);
    if label.chars().count() <= LABEL_MAX {
        return label;
    }
    label.chars().take(LABEL_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_classes_are_a_matrix() {
        let labels = ["cat", "dog", "hippopotamus"].map(str::to_owned);
        let confusion = Confusion::new(&labels, &[120, 3, 0, 1, 99, 0, 0, 0, 7]);
        expect_test::expect![[r#"
            true classes down, predictions across:
                     cat dog hippopo…
            cat      120   3        .
            dog        1  99        .
            hippopo…   .   .        7"#]]
        .assert_eq(&confusion.to_string());
    }

    #[test]
    fn many_classes_are_a_list() {
        let labels: Vec<_> = (0..40).map(|class| class.to_string()).collect();
        let mut counts = vec![0; 1600];
        (0..40).for_each(|class| counts[class * 41] = 10);
        assert_eq!(Confusion::new(&labels, &counts).to_string(), "no class is taken for another");
        (counts[1], counts[80], counts[81]) = (2, 3, 2);
        expect_test::expect![[r#"
            confused most:
            2 taken for 0: 3 of 15
            0 taken for 1: 2 of 12
            2 taken for 1: 2 of 15"#]]
        .assert_eq(&Confusion::new(&labels, &counts).to_string());
    }
}
