//! A bitmap of one bit a pixel, and a pen that leaves lines in it.
//! It does not know letters.

use std::fmt;

use super::alphabet::Point;

/// Pixels in a row, and rows.
pub const SIZE: usize = 45;

/// A square picture; row 0 is the lowest, bit 0 of a row the leftmost pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap {
    /// From the bottom up.
    pub(super) rows: [u64; SIZE],
}

impl Default for Bitmap {
    fn default() -> Self {
        Bitmap { rows: [0; SIZE] }
    }
}

impl Bitmap {
    /// Draws a straight line with an elliptical pen, of which `pen` is half the extent across and up: the
    /// pixels whose middle the pen passes over.
    pub(super) fn line(&mut self, from: Point, to: Point, pen: (f64, f64)) {
        // Where lengths are counted in halves of the pen, it is a circle of radius 1.
        let (run, rise) = ((to.x - from.x) / pen.0, (to.y - from.y) / pen.1);
        let square = run * run + rise * rise;
        let per_square = if square > 0.0 { 1.0 / square } else { 0.0 };
        for y in pixels(from.y.min(to.y) - pen.1, from.y.max(to.y) + pen.1) {
            let up = (y as f64 + 0.5 - from.y) / pen.1;
            for x in pixels(from.x.min(to.x) - pen.0, from.x.max(to.x) + pen.0) {
                let across = (x as f64 + 0.5 - from.x) / pen.0;
                let share = ((across * run + up * rise) * per_square).clamp(0.0, 1.0);
                let (gap_x, gap_y) = (across - share * run, up - share * rise);
                self.rows[y] |= u64::from(gap_x * gap_x + gap_y * gap_y <= 1.0) << x;
            }
        }
    }

    /// Takes away the pixels all four neighbours of which are on.
    pub(super) fn hollow(&mut self) {
        let rows = self.rows;
        for y in 1..SIZE - 1 {
            self.rows[y] &= !(rows[y - 1] & rows[y + 1] & rows[y] << 1 & rows[y] >> 1);
        }
    }
}

/// The pixels of a row or column that a stretch touches.
fn pixels(from: f64, to: f64) -> std::ops::Range<usize> {
    // A float becomes an integer by cutting off its fraction; what is negative becomes 0.
    from as usize..(to as usize + 1).min(SIZE)
}

/// As text, from the top down.
impl fmt::Display for Bitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.rows.iter().rev() {
            let pixel = |x| if row >> x & 1 == 1 { '#' } else { '.' };
            writeln!(f, "{}", (0..SIZE).map(pixel).collect::<String>())?;
        }
        Ok(())
    }
}
