//! What a user's command measured: numbers by name, in those lines of its stdout that are JSON objects.
//! Everything else that it prints is its own business and no error.
//! It does not know what the numbers mean, nor where they go.

use std::collections::BTreeMap;

use convoke_core::event::Metrics;
use serde_json::{Map, Value};

/// The longest line that is looked at, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The numbers in a command's stdout, such as `{"samples": 500, "loss": 0.7}`; of two with one name the later.
///
/// What is no finite number is left out, and so are long lines, long names, and names beyond the first
/// [`Metrics::COUNT_MAX`].
pub(crate) fn parse_metrics(stdout: &[u8]) -> Metrics {
    let mut numbers = BTreeMap::new();
    for (name, value) in stdout.split(|byte| *byte == b'\n').filter_map(object).flatten() {
        let fits = name.len() <= Metrics::NAME_BYTES_MAX
            && (numbers.len() < Metrics::COUNT_MAX || numbers.contains_key(&name));
        if let Some(value) = value.as_f64().filter(|value| fits && value.is_finite()) {
            numbers.insert(name, value);
        }
    }
    numbers.iter().map(|(name, value)| (name.as_str(), *value)).collect()
}

/// The entries of a line that is a JSON object.
fn object(line: &[u8]) -> Option<Map<String, Value>> {
    // Most lines of most commands are none: they are not worth parsing.
    let looks_like_one = line.len() <= LINE_BYTES_MAX && line.trim_ascii_start().starts_with(b"{");
    if looks_like_one { serde_json::from_slice(line).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stdout: impl AsRef<[u8]>, expected: &[(&str, f64)]) {
        assert_eq!(parse_metrics(stdout.as_ref()).iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn numbers_are_read_by_name() {
        check(
            r#"{"samples": 500, "train_error": 0.2, "loss": 7e-1}"#,
            &[("loss", 0.7), ("samples", 500.0), ("train_error", 0.2)],
        );
        check("", &[]);
    }

    #[test]
    fn a_later_line_overrides_an_earlier_one_by_name() {
        let stdout = "{\"loss\": 3, \"samples\": 5}\n{\"loss\": 2}\n{\"loss\": \"unknown\"}\n";
        check(stdout, &[("loss", 2.0), ("samples", 5.0)]);
        check(r#"{"loss": 3, "loss": 1}"#, &[("loss", 1.0)]);
    }

    #[test]
    fn what_else_is_printed_is_ignored() {
        check("epoch 1 of 3\r\n  {\"loss\": 2}\r\n[1, 2]\n7\nnull\n\n{not json}\n{\"loss\":", &[("loss", 2.0)]);
        check(b"\xff\xfe{\n{\"bad\xff\": 1}\n{\"good\": 1}", &[("good", 1.0)]);
    }

    #[test]
    fn what_is_no_finite_number_is_ignored() {
        check(r#"{"a": "1", "b": null, "c": true, "d": {"e": 1}, "f": [1], "g": -0.5}"#, &[("g", -0.5)]);
        // Python writes these, and no JSON parser has to read them.
        check("{\"loss\": NaN}\n{\"loss\": Infinity}\n{\"loss\": 1e999}\n{\"error\": 1}", &[("error", 1.0)]);
        check(r#"{"large": 18446744073709551616}"#, &[("large", 18446744073709551616.0)]);
    }

    #[test]
    fn nothing_in_it_is_without_a_bound() {
        let longest = "n".repeat(Metrics::NAME_BYTES_MAX);
        check(format!(r#"{{"{longest}": 1, "{longest}n": 2}}"#), &[(&longest, 1.0)]);
        let blank = " ".repeat(LINE_BYTES_MAX);
        check(format!("{{\"a\": 1{blank}}}\n{{\"b\": 2}}"), &[("b", 2.0)]);
        check("{\"a\":".repeat(LINE_BYTES_MAX / 5), &[]);

        // `z` comes first and may be told anew; those beyond the limit are left out.
        let lines: String = (0..2 * Metrics::COUNT_MAX).map(|i| format!("{{\"m{i:02}\": {i}}}\n")).collect();
        let metrics = parse_metrics(format!("{{\"z\": 1}}\n{lines}{{\"z\": 2}}").as_bytes());
        assert_eq!(metrics.iter().count(), Metrics::COUNT_MAX);
        assert_eq!((metrics.get("z"), metrics.get("m30"), metrics.get("m31")), (Some(2.0), Some(30.0), None));
    }
}
