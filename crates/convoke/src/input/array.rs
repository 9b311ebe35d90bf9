//! An input of integers, as it is written on the command line: `1-1000`, `-5-5`, `0-90:10`.
//!
//! It has no pieces and no manifest; what a task makes of its integer it does not know.

use std::str::FromStr;

use convoke_wire::core::TASKS_MAX;
use convoke_wire::program::Range;

/// Integers, at least one and at most [`TASKS_MAX`], each an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array {
    /// The first, and how far it is to the next: at least 1.
    pub range: Range,
    /// How many they are.
    pub count: u32,
}

/// A text is no range of integers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseArrayError {
    /// It does not look like one.
    #[error("a range is written A-B or A-B:STEP, such as 1-100, -5-5 or 0-90:10")]
    Form,
    /// A part of it is no integer.
    #[error(
        "`{part}` is not an integer between {} and {}: a range is written A-B or A-B:STEP, such as 1-100",
        i64::MIN,
        i64::MAX
    )]
    Integer {
        /// The part.
        part: String,
    },
    /// It would go down.
    #[error("{last} is less than {first}: a range goes up, from A to B")]
    Backwards {
        /// Where it begins.
        first: i64,
        /// Where it would end.
        last: i64,
    },
    /// It would not go on, or go down.
    #[error("a step of {step} leads nowhere: it has to be at least 1")]
    Step {
        /// As given.
        step: i64,
    },
    /// There are too many.
    #[error("{count} integers are too many: a job has at most {TASKS_MAX} tasks; a step, A-B:STEP, makes fewer")]
    TooMany {
        /// How many.
        count: i128,
    },
}

impl FromStr for Array {
    type Err = ParseArrayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (span, step) = text.split_once(':').unwrap_or((text, "1"));
        // A hyphen in front is a sign: the first one behind it stands between the ends.
        let hyphen = span.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(at, _)| at);
        let (first, last) = hyphen.map(|at| (&span[..at], &span[at + 1..])).ok_or(ParseArrayError::Form)?;
        let integer = |part: &str| part.parse::<i64>().map_err(|_| ParseArrayError::Integer { part: part.to_owned() });
        let (first, last, step) = (integer(first)?, integer(last)?, integer(step)?);
        if last < first {
            return Err(ParseArrayError::Backwards { first, last });
        }
        if step < 1 {
            return Err(ParseArrayError::Step { step });
        }
        let count = (i128::from(last) - i128::from(first)) / i128::from(step) + 1;
        match u32::try_from(count) {
            Ok(small) if small <= TASKS_MAX => Ok(Self { range: Range { first, step }, count: small }),
            _ => Err(ParseArrayError::TooMany { count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The integers, or why there are none.
    fn read(text: &str) -> Result<Vec<i64>, String> {
        let array: Array = text.parse().map_err(|error: ParseArrayError| error.to_string())?;
        Ok((0..array.count).map(|index| array.range.number(index).unwrap()).collect())
    }

    #[test]
    fn a_range_goes_from_one_end_to_the_other() {
        assert_eq!(read("1-4").unwrap(), [1, 2, 3, 4]);
        assert_eq!(read("7-7").unwrap(), [7]);
        assert_eq!(read("1-9:2").unwrap(), [1, 3, 5, 7, 9]);
        assert_eq!(read("1-10:4").unwrap(), [1, 5, 9]);
        assert_eq!(read("-2-1").unwrap(), [-2, -1, 0, 1]);
        assert_eq!(read("-3--2").unwrap(), [-3, -2]);
        assert_eq!(read(&format!("{0}-{0}", i64::MAX)).unwrap(), [i64::MAX]);
        let whole = format!("{}-{}:{}", i64::MIN, i64::MAX, i64::MAX);
        assert_eq!(read(&whole).unwrap(), [i64::MIN, -1, i64::MAX - 1]);
        assert_eq!(read("1-1000000").unwrap().len(), 1_000_000);
    }

    #[test]
    fn what_is_no_range_is_told_what_one_is() {
        let form = "a range is written A-B or A-B:STEP, such as 1-100, -5-5 or 0-90:10";
        for text in ["", "7", "-7", "-", "é"] {
            assert_eq!(read(text).unwrap_err(), form, "of {text:?}");
        }
        for (text, part) in [("a-9", "a"), ("1-", ""), ("1-2-3", "2-3"), ("1-9:", ""), ("1- 9", " 9"), ("é-9", "é")] {
            let said = read(text).unwrap_err();
            assert!(
                said.starts_with(&format!("`{part}` is not an integer between -9223372036854775808 and ")),
                "{said}"
            );
        }
        assert_eq!(read("9-1").unwrap_err(), "1 is less than 9: a range goes up, from A to B");
        assert_eq!(read("1-9:0").unwrap_err(), "a step of 0 leads nowhere: it has to be at least 1");
        assert_eq!(
            read("0-1000000").unwrap_err(),
            "1000001 integers are too many: a job has at most 1000000 tasks; a step, A-B:STEP, makes fewer"
        );
        assert!(read(&format!("{}-{}", i64::MIN, i64::MAX)).unwrap_err().starts_with("18446744073709551616 integers"));
    }
}
