//! Cuts a line into cells: a delimiter between them, and quotes around those that hold one (RFC 4180).
//! A quoted cell ends on its line: what holds newlines is text, and text is no feature.
//! It does not know files, nor what a cell means.

use std::ops::Range;

/// What quotes are wrong, and in which column, from 1.
#[derive(Debug, PartialEq)]
pub(super) enum QuoteError {
    /// A quote is opened and not closed.
    Unclosed { column: usize },
    /// Text stands behind the closing quote.
    TextBehind { column: usize },
}

/// Finds the cells of a line. Of quoted ones the quotes go; doubled quotes become one in place, so that a cell's bytes
/// stay valid text.
///
/// Blanks around cells go too. A blank as delimiter counts once however many there are, as in aligned columns.
pub(super) fn split(line: &mut [u8], delimiter: u8, cells: &mut Vec<Range<u32>>) -> Result<(), QuoteError> {
    cells.clear();
    let blank = |byte: u8| byte == b' ' || (byte == b'\t' && delimiter != b'\t');
    let mut end = line.len();
    while end > 0 && blank(line[end - 1]) {
        end -= 1;
    }
    let line = &mut line[..end];
    let behind_blanks = |line: &[u8], at: usize| at + line[at..].iter().take_while(|byte| blank(**byte)).count();
    let mut at = 0;
    loop {
        let start = behind_blanks(line, at);
        if line.get(start) == Some(&b'"') {
            let column = cells.len() + 1;
            let (end, behind) = unquote(line, start + 1).ok_or(QuoteError::Unclosed { column })?;
            cells.push(start as u32 + 1..end as u32);
            at = behind_blanks(line, behind);
            match line.get(at) {
                None => return Ok(()),
                Some(byte) if *byte == delimiter => at += 1,
                Some(_) if delimiter == b' ' && at > behind => {}
                Some(_) => return Err(QuoteError::TextBehind { column }),
            }
        } else {
            let length = line[start..].iter().position(|byte| *byte == delimiter);
            let end = start + length.unwrap_or(line.len() - start);
            cells.push(start as u32..end as u32);
            if length.is_none() {
                return Ok(());
            }
            at = end + 1;
        }
    }
}

/// Makes one quote of two until the one that closes. Says where the text ends, and what comes behind the quote.
fn unquote(line: &mut [u8], start: usize) -> Option<(usize, usize)> {
    let (mut read, mut write) = (start, start);
    while read < line.len() {
        if line[read] == b'"' {
            if line.get(read + 1) != Some(&b'"') {
                return Some((write, read + 1));
            }
            read += 1;
        }
        line[write] = line[read];
        (read, write) = (read + 1, write + 1);
    }
    None
}

/// In which column a byte of a raw line stands, from 1: delimiters between quotes do not count.
pub(super) fn column_of(line: &[u8], at: usize, delimiter: u8) -> usize {
    let (mut column, mut quoted, mut before) = (1, false, delimiter);
    for byte in &line[..at.min(line.len())] {
        quoted ^= *byte == b'"';
        // Of several blanks in a row one delimits.
        column += usize::from(*byte == delimiter && !quoted && !(delimiter == b' ' && before == b' '));
        before = *byte;
    }
    column
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(line: &str, delimiter: char) -> Result<Vec<String>, QuoteError> {
        let (mut line, mut cells) = (line.as_bytes().to_vec(), Vec::new());
        split(&mut line, delimiter as u8, &mut cells)?;
        let text = |cell: Range<u32>| String::from_utf8(line[cell.start as usize..cell.end as usize].to_vec()).unwrap();
        Ok(cells.into_iter().map(|cell| text(cell).trim().to_string()).collect())
    }

    #[test]
    fn cells_are_cut_at_delimiters_outside_quotes() {
        assert_eq!(cut("1,2,a", ',').unwrap(), ["1", "2", "a"]);
        assert_eq!(cut(" 1 , 2,", ',').unwrap(), ["1", "2", ""]);
        assert_eq!(cut(r#""1","a, b","say ""no""""#, ',').unwrap(), ["1", "a, b", r#"say "no""#]);
        assert_eq!(cut(r#" "a" ;"";5" disk"#, ';').unwrap(), ["a", "", r#"5" disk"#]);
        assert_eq!(cut("1\t\t a b \t", '\t').unwrap(), ["1", "", "a b", ""]);
        assert_eq!(cut("  1   2 \"a b\"  c ", ' ').unwrap(), ["1", "2", "a b", "c"]);
        assert_eq!(cut("\u{e9},\"\u{e9}\"\"\"", ',').unwrap(), ["\u{e9}", "\u{e9}\""]);
    }

    #[test]
    fn wrong_quotes_are_found() {
        assert_eq!(cut(r#"1,"a,b"#, ','), Err(QuoteError::Unclosed { column: 2 }));
        assert_eq!(cut(r#"1,"a""#, ',').unwrap(), ["1", "a"]);
        assert_eq!(cut(r#"1,"a""#.trim_end_matches('"'), ','), Err(QuoteError::Unclosed { column: 2 }));
        assert_eq!(cut(r#""a"b,1"#, ','), Err(QuoteError::TextBehind { column: 1 }));
    }

    #[test]
    fn a_byte_stands_in_a_column() {
        assert_eq!(column_of(b"1,\"2,3\",x", 8, b','), 3);
        assert_eq!(column_of(b" 1  2 x", 6, b' '), 3);
        assert_eq!(column_of(b"", 9, b','), 1);
    }
}
