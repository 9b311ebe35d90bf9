//! What goes to stdout: one JSON value, or a table for people; and lines on stderr.
//!
//! It knows no command's content.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::failure::Failure;

/// Whether lines that are neither warnings nor errors are left out.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on only warnings and errors are said.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// A line on stderr, unless it is to be quiet.
pub fn note(line: impl Display) {
    if !QUIET.load(Ordering::Relaxed) {
        say(line);
    }
}

/// A line on stderr, come what may. A reader that has gone is no error of ours.
pub fn say(line: impl Display) {
    drop(writeln!(stderr(), "{line}"));
}

/// Prints one JSON value.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(Failure::failed)?;
    print(&text)
}

/// Prints a line, or several. A reader that has gone is no error of ours.
pub fn print(text: &str) -> Result<(), Failure> {
    match writeln!(stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Text from elsewhere as part of one line: it can end no line, and move no cursor.
pub fn line(text: &str) -> String {
    let escape = |c: char| if moves(c) { c.escape_default().collect() } else { String::from(c) };
    text.chars().map(escape).collect()
}

/// Whether a character does something else than to be seen: controls, and those that turn the direction of what follows.
fn moves(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Columns under headings, each as wide as it has to be. Some of it may be a peer's words.
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| line(cell))).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let aligned = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let body = rows.iter().map(|row| aligned(row.iter().map(String::as_str).collect()));
    std::iter::once(aligned(headings.to_vec())).chain(body).collect::<Vec<_>>().join("\n")
}

/// A large number as people read it: `950`, `12.3 k`, `1.23 M`.
pub fn rounded(number: f64) -> String {
    let (scaled, unit) = match number {
        number if number >= 999.5e6 => (number / 1e9, " G"),
        number if number >= 999.5e3 => (number / 1e6, " M"),
        number if number >= 999.5 => (number / 1e3, " k"),
        number => (number, ""),
    };
    let decimals = match scaled {
        _ if unit.is_empty() => 0,
        scaled if scaled < 9.995 => 2,
        scaled if scaled < 99.95 => 1,
        _ => 0,
    };
    format!("{scaled:.decimals$}{unit}")
}

/// So many bytes, for people.
pub fn bytes(bytes: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

/// How long ago something was, or how long it took, to its two largest units.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// A share as people read it.
pub fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_people() {
        let numbers = [0.0, 12.4, 999.4, 999.5, 12_345.0, 999_499.0, 1_234_567.0, 2.5e9];
        let shown = ["0", "12", "999", "1.00 k", "12.3 k", "999 k", "1.23 M", "2.50 G"];
        assert_eq!(numbers.map(rounded), shown);
        let durations = [0.25, 61.0, 3_660.0, 90_000.0].map(duration);
        assert_eq!(durations, ["0.2 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }

    #[test]
    fn text_from_elsewhere_forges_no_line() {
        assert_eq!(line("lost\nhint: run this\u{1b}[2J, it is 2 µs"), "lost\\nhint: run this\\u{1b}[2J, it is 2 µs");
        assert_eq!(line("ann\u{202e}bob"), "ann\\u{202e}bob");
        assert_eq!(table(["NAME"], &[["a\nb".to_owned()]]), "NAME\na\\nb");
    }
}
