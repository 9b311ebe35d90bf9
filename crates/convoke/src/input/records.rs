//! Finds where a record of a CSV file ends: at a line end outside quotes (RFC 4180).
//!
//! A quote counts only where a cell begins, so that `5" disk` opens none. What cells hold it does not know.

/// Where in a record the next byte stands; kept from one stretch of bytes to the next.
pub(super) struct Records {
    delimiter: u8,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// At the beginning of a cell, blanks apart.
    Cell,
    /// In a cell without quotes, or behind them.
    Plain,
    /// Between quotes.
    Quoted,
    /// Behind a quote that closes, unless another one follows at once.
    Closing,
}

impl Records {
    pub(super) fn new(delimiter: u8) -> Self {
        Self { delimiter, state: State::Cell }
    }

    /// How many of these bytes still belong to the record; `None` if all do and it goes on.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            (self.state, at) = match self.state {
                State::Cell if rest[0] == b'"' => (State::Quoted, at + 1),
                State::Cell if self.is_blank(rest[0]) => (State::Cell, at + 1),
                State::Cell => (State::Plain, at),
                State::Plain => {
                    let found = memchr::memchr2(self.delimiter, b'\n', rest)?;
                    if rest[found] == b'\n' {
                        self.state = State::Cell;
                        return Some(at + found + 1);
                    }
                    (State::Cell, at + found + 1)
                }
                State::Quoted => (State::Closing, at + memchr::memchr(b'"', rest)? + 1),
                State::Closing if rest[0] == b'"' => (State::Quoted, at + 1),
                State::Closing => (State::Plain, at),
            };
        }
        None
    }

    /// Whether a record may end at the end of the text: no quote is open. The next one begins anew.
    pub(super) fn ends_here(&mut self) -> bool {
        std::mem::replace(&mut self.state, State::Cell) != State::Quoted
    }

    fn is_blank(&self, byte: u8) -> bool {
        byte != self.delimiter && (byte == b' ' || byte == b'\t')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts a text, given in stretches of so many bytes.
    fn cut(text: &str, stretch: usize) -> Vec<String> {
        let (mut records, mut found, mut record) = (Records::new(b','), Vec::new(), Vec::new());
        for mut bytes in text.as_bytes().chunks(stretch) {
            while let Some(end) = records.end(bytes) {
                record.extend_from_slice(&bytes[..end]);
                found.push(String::from_utf8(std::mem::take(&mut record)).unwrap());
                bytes = &bytes[end..];
            }
            record.extend_from_slice(bytes);
        }
        if !record.is_empty() {
            found.push(format!("{}{}", String::from_utf8(record).unwrap(), if records.ends_here() { "" } else { "!" }));
        }
        found
    }

    fn check(text: &str, expected: &[&str]) {
        for stretch in 1..=text.len() {
            assert_eq!(cut(text, stretch), expected, "in stretches of {stretch}");
        }
    }

    #[test]
    fn a_record_ends_at_a_line_end_outside_quotes() {
        check("1,a\n2,b\r\n3,c", &["1,a\n", "2,b\r\n", "3,c"]);
        check("1,\"a\nb\"\n2,c\n", &["1,\"a\nb\"\n", "2,c\n"]);
        check("\"say \"\"\n\"\"\",x\n\"\"\n", &["\"say \"\"\n\"\"\",x\n", "\"\"\n"]);
        check("\n\n1\n", &["\n", "\n", "1\n"]);
        check(" \"a\n\" ,1\n", &[" \"a\n\" ,1\n"]);
    }

    #[test]
    fn a_quote_within_a_cell_opens_nothing() {
        check("5\" disk,1\n3\" disk,2\n", &["5\" disk,1\n", "3\" disk,2\n"]);
        check("\"a\"b\"\n1\n", &["\"a\"b\"\n", "1\n"]);
    }

    #[test]
    fn a_quote_that_stays_open_is_noticed() {
        check("1,\"a\n2\n", &["1,\"a\n2\n!"]);
        check("1,\"a\"", &["1,\"a\""]);
    }
}
