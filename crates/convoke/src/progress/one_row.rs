//! The terminal as the live line has it: a little narrower than it is.
//!
//! What is drawn fills its row. Typed on a full row, the `^C` of an interrupt would begin the next one, and the live line
//! would be taken for what is above it, and stay. What is drawn it does not know.

use std::io;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, TermLike};

/// The columns that are left free: two keys, such as `^C^C`.
const FREE_COLUMNS: u16 = 4;
/// What stands beside the words of a live line, at most: a spinner, a bar, counts and the time.
const BESIDE_COLUMNS: usize = 45;
/// How often it is drawn a second, at most.
const HERTZ: u8 = 20;

/// Stderr, which is a terminal.
#[derive(Debug)]
pub struct OneRow(Term);

impl OneRow {
    /// A live line, in one row.
    pub fn live_line() -> ProgressBar {
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Self(Term::buffered_stderr())), HERTZ);
        ProgressBar::with_draw_target(None, target)
    }

    /// Whether the words fit with all that may stand beside them.
    pub fn has_room_for(words: &str) -> bool {
        words.chars().count() + BESIDE_COLUMNS <= columns_of(&Term::stderr()).into()
    }
}

fn columns_of(term: &Term) -> u16 {
    term.size().1.saturating_sub(FREE_COLUMNS).max(1)
}

impl TermLike for OneRow {
    fn width(&self) -> u16 {
        columns_of(&self.0)
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.0.write_line(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}
