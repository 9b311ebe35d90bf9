//! Twenty-six capitals as strokes of a pen, on a grid of nine by nine points.
//! A point is two digits, across from the left and up from the baseline. A stroke goes straight from
//! point to point; a point in parentheses is not reached, it bends the way past it. `|` lifts the pen.
//! It does not know how wide, slanted or thick a hand writes them.

/// How many letters there are.
pub const LETTERS: usize = 26;

/// The grid's last point in each direction.
pub const GRID: f64 = 8.0;

/// The letters' plain shapes, from A to Z.
pub const PLAIN: [&str; LETTERS] = [
    "00 48 80 | 23 63",                                    // A
    "00 08 48 (78) 76 (74) 44 04 | 44 (84) 82 (80) 40 00", // B
    "77 (68) 48 (08) 04 (00) 40 (60) 71",                  // C
    "00 08 38 (88) 84 (80) 30 00",                         // D
    "78 08 00 70 | 04 64",                                 // E
    "78 08 00 | 04 64",                                    // F
    "77 (68) 48 (08) 04 (00) 40 (70) 82 84 54",            // G
    "00 08 | 80 88 | 04 84",                               // H
    "40 48",                                               // I
    "68 62 (60) 30 (10) 12",                               // J
    "00 08 | 78 03 | 24 80",                               // K
    "08 00 70",                                            // L
    "00 08 42 88 80",                                      // M
    "00 08 80 88",                                         // N
    "48 (08) 04 (00) 40 (80) 84 (88) 48",                  // O
    "00 08 48 (88) 86 (84) 44 04",                         // P
    "48 (08) 04 (00) 40 (80) 84 (88) 48 | 53 80",          // Q
    "00 08 48 (88) 86 (84) 44 04 | 44 80",                 // R
    "77 (68) 48 (08) 06 (04) 44 (84) 82 (80) 40 (20) 01",  // S
    "08 88 | 48 40",                                       // T
    "08 03 (00) 40 (80) 83 88",                            // U
    "08 40 88",                                            // V
    "08 20 46 60 88",                                      // W
    "00 88 | 08 80",                                       // X
    "08 44 88 | 44 40",                                    // Y
    "08 88 00 80",                                         // Z
];

/// A place: across and up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// A point of a stroke.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knot {
    /// Where it is, 0 to [`GRID`] each way.
    pub at: Point,
    /// Whether the pen only bends towards it.
    pub bends: bool,
}

/// One movement of the pen.
pub type Stroke = Vec<Knot>;

/// Reads a letter's strokes.
///
/// # Panics
///
/// Where the text is not in the notation, which is ours to keep.
pub fn strokes(text: &str) -> Vec<Stroke> {
    text.split('|').map(|stroke| stroke.split_whitespace().map(knot).collect()).collect()
}

fn knot(text: &str) -> Knot {
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let digit = |c: u8| {
        assert!((b'0'..=b'8').contains(&c), "`{text}` is not a point of the grid");
        f64::from(c - b'0')
    };
    match inner.unwrap_or(text).as_bytes() {
        [x, y] => Knot { at: Point { x: digit(*x), y: digit(*y) }, bends: inner.is_some() },
        _ => panic!("`{text}` is not a point of the grid"),
    }
}
