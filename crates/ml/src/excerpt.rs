//! Cuts text that somebody else wrote down to what an error message may carry.
//! A hostile name of a megabyte must not become a megabyte of log, nor an escape sequence on a
//! terminal.
//! It does not know what the text means.

/// The longest excerpt in characters, before the ellipsis.
const CHARACTERS_MAX: usize = 60;

/// At most [`CHARACTERS_MAX`] characters of `text`, control characters escaped.
pub(crate) fn excerpt(text: &str) -> String {
    let mut characters = text.chars();
    let mut shown = String::new();
    for character in characters.by_ref().take(CHARACTERS_MAX) {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_short_text_and_cuts_long_text() {
        assert_eq!(excerpt("letters"), "letters");
        assert_eq!(excerpt("\u{1b}[31m"), "\\u{1b}[31m");
        assert_eq!(excerpt(&"é".repeat(100)), format!("{}…", "é".repeat(60)));
    }
}
