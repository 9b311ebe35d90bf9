//! The hands that write the letters: each has its proportions, its pen and some shapes of its own.
//! They are drawn after kinds of writing, not after any typeface.
//! They do not know how a single drawing strays from them.

use super::alphabet::{LETTERS, PLAIN, Stroke, strokes};

/// A way of writing. Lengths are shares of the letters' height.
#[derive(Debug, Clone, Copy)]
pub struct Hand {
    /// What it is called.
    pub name: &'static str,
    /// How wide a letter is.
    pub width: f64,
    /// How far the top leans to the right of the bottom.
    pub slant: f64,
    /// How far the right stands above the left, as a share of the letter's width.
    pub climb: f64,
    /// How far the middle is raised.
    pub waist: f64,
    /// The weight of the bending points, as of a rational curve: 0.7 bends a quarter of a circle, less
    /// cuts the corner, more goes out into it.
    pub bend: f64,
    /// Half the pen's extent across and up.
    pub pen: (f64, f64),
    /// Half the length of a serif, 0 for none.
    pub serif: f64,
    /// What becomes of the lines.
    pub finish: Finish,
    /// The shapes that are not the plain ones.
    pub variants: &'static [(char, &'static str)],
}

/// What becomes of the lines once they are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// They stay as they are.
    Solid,
    /// Only their edges stay.
    Hollow,
    /// A quarter of the pixels is missing, at random.
    Chalk,
    /// Every third row is missing.
    Striped,
}

/// How letters are written without any ambition; the others are told by how they differ.
const SIMPLE: Hand = Hand {
    name: "plain",
    width: 0.75,
    slant: 0.0,
    climb: 0.0,
    waist: 0.0,
    bend: 0.8,
    pen: (0.055, 0.055),
    serif: 0.0,
    finish: Finish::Solid,
    variants: &[],
};

/// All hands.
pub const HANDS: [Hand; 18] = [
    SIMPLE,
    Hand { name: "roman", width: 1.0, pen: (0.07, 0.03), serif: 0.15, variants: &ROMAN, ..SIMPLE },
    Hand { name: "italic", width: 0.7, slant: 0.35, pen: (0.05, 0.035), serif: 0.07, variants: &ITALIC, ..SIMPLE },
    Hand { name: "wide", width: 1.4, bend: 1.3, pen: (0.06, 0.045), variants: &WIDE, ..SIMPLE },
    Hand { name: "narrow", width: 0.4, bend: 1.2, pen: (0.05, 0.05), variants: &NARROW, ..SIMPLE },
    Hand { name: "carved", width: 0.55, slant: -0.15, bend: 0.2, pen: (0.045, 0.045), variants: &CARVED, ..SIMPLE },
    Hand { name: "poster", width: 1.0, bend: 1.0, pen: (0.12, 0.08), ..SIMPLE },
    Hand { name: "uncial", width: 0.85, pen: (0.065, 0.035), variants: &UNCIAL, ..SIMPLE },
    Hand { name: "script", width: 0.8, slant: 0.5, pen: (0.035, 0.03), variants: &SCRIPT, ..SIMPLE },
    Hand { name: "backhand", width: 0.7, slant: -0.4, pen: (0.045, 0.045), variants: &ROUND, ..SIMPLE },
    Hand { name: "black", width: 0.6, bend: 0.2, pen: (0.1, 0.04), serif: 0.1, variants: &UNCIAL, ..SIMPLE },
    Hand { name: "deco", width: 0.55, waist: 0.2, pen: (0.045, 0.045), variants: &ROUND, ..SIMPLE },
    Hand { name: "brush", slant: 0.2, climb: 0.3, bend: 0.6, pen: (0.09, 0.05), variants: &WIDE, ..SIMPLE },
    Hand { name: "unicase", width: 0.7, pen: (0.055, 0.045), variants: &UNICASE, ..SIMPLE },
    Hand {
        name: "hollow",
        width: 0.9,
        slant: 0.3,
        pen: (0.09, 0.08),
        serif: 0.12,
        finish: Finish::Hollow,
        variants: &ROMAN,
        ..SIMPLE
    },
    Hand { name: "chalk", width: 0.9, pen: (0.07, 0.07), finish: Finish::Chalk, variants: &UNICASE, ..SIMPLE },
    Hand { name: "crayon", slant: -0.25, pen: (0.08, 0.06), finish: Finish::Chalk, variants: &SCRIPT, ..SIMPLE },
    Hand { name: "striped", width: 0.9, bend: 1.2, pen: (0.1, 0.1), finish: Finish::Striped, ..SIMPLE },
];

impl Hand {
    /// Its letters from A to Z.
    pub fn alphabet(&self) -> Vec<Vec<Stroke>> {
        let shape = |letter: usize| {
            let own = self.variants.iter().find(|(name, _)| *name as usize == 'A' as usize + letter);
            strokes(own.map_or(PLAIN[letter], |(_, text)| text))
        };
        (0..LETTERS).map(shape).collect()
    }
}

/// Capitals as on Roman stones.
const ROMAN: [(char, &str); 6] = [
    ('G', "77 (68) 48 (08) 04 (00) 40 (60) 81 | 83 80"),
    ('J', "58 52 (50) 30 (10) 11"),
    ('M', "00 18 42 78 80"),
    ('Q', "48 (08) 04 (01) 41 (81) 84 (88) 48 | 41 (50) 80"),
    ('R', "00 08 48 (88) 86 (84) 44 04 | 44 (60) 80"),
    ('W', "08 20 48 60 88"),
];

/// Written quickly with a broad pen.
const ITALIC: [(char, &str); 5] = [
    ('J', "38 68 62 (60) 30 (10) 11"),
    ('K', "00 08 | 78 (44) 04 | 24 (50) 80"),
    ('N', "00 08 70 78"),
    ('V', "08 (12) 30 (72) 88"),
    ('Y', "08 (15) 44 88 | 44 40"),
];

/// Round tops and full bars.
const WIDE: [(char, &str); 5] = [
    ('A', "00 05 (08) 48 (88) 85 80 | 03 83"),
    ('I', "28 68 | 48 40 | 20 60"),
    ('J', "88 83 (80) 40 (00) 03"),
    ('M', "00 08 44 88 80"),
    ('Y', "08 43 88 | 43 40"),
];

/// Upright middles.
const NARROW: [(char, &str); 4] = [
    ('J', "78 72 (70) 40 (10) 12"),
    ('M', "00 08 40 88 80"),
    ('W', "08 20 48 60 88"),
    ('Q', "48 (08) 04 (00) 40 (80) 84 (88) 48 | 42 80"),
];

/// Curves wherever a letter bears one.
const ROUND: [(char, &str); 10] = [
    ('A', "00 05 (08) 48 (88) 85 80 | 04 84"),
    ('E', "77 (68) 48 (08) 06 (04) 44 | 44 (04) 02 (00) 40 (60) 71"),
    ('K', "00 08 | 78 (74) 04 | 04 (84) 80"),
    ('M', "00 06 (08) 28 (48) 46 40 | 46 (48) 68 (88) 86 80"),
    ('N', "00 08 | 05 (08) 48 (88) 85 80"),
    ('T', "08 88 | 48 42 (40) 70"),
    ('V', "08 (12) 40 (72) 88"),
    ('W', "08 02 (00) 20 (40) 42 48 | 42 (40) 60 (80) 82 88"),
    ('Y', "08 06 (04) 44 (84) 86 88 | 44 40"),
    ('Z', "07 (08) 38 88 00 50 (80) 81"),
];

/// Straight cuts.
const CARVED: [(char, &str); 6] = [
    ('A', "00 38 58 80 | 14 74"),
    ('M', "00 18 44 78 80"),
    ('R', "00 08 48 (88) 86 (84) 04 80"),
    ('S', "78 38 06 82 50 00"),
    ('U', "08 02 40 82 88"),
    ('Z', "08 88 00 80 | 24 64"),
];

/// The half-round book hand of late antiquity.
const UNCIAL: [(char, &str); 13] = [
    ('A', "18 80 | 54 (14) 12 (10) 30 (50) 63"),
    ('D', "28 (88) 83 (80) 40 (00) 03 (06) 46 (76) 83"),
    ('E', "77 (68) 48 (08) 04 (00) 40 (60) 71 | 04 64"),
    ('F', "88 (38) 35 30 | 14 64"),
    ('G', "77 (68) 48 (08) 04 (00) 40 (80) 82 (84) 54"),
    ('H', "08 00 | 03 (06) 46 (86) 83 80"),
    ('L', "28 23 (20) 50 (80) 82"),
    ('M', "38 (08) 04 (00) 20 | 48 40 | 58 (88) 84 (80) 60"),
    ('N', "00 08 | 05 (08) 48 (88) 85 80"),
    ('Q', "85 (88) 48 (08) 05 (02) 42 (82) 85 | 88 80"),
    ('T', "08 88 | 48 (08) 03 (00) 40 (70) 82"),
    ('U', "08 03 (00) 40 (70) 83 | 88 80"),
    ('W', "08 03 (00) 20 (40) 43 48 | 43 (40) 60 (80) 84 (88) 68"),
];

/// Flourished, as in a copybook.
const SCRIPT: [(char, &str); 18] = [
    ('A', "01 (00) 20 (40) 68 70 | 23 73"),
    ('B', "20 28 | 06 (08) 48 (78) 76 (74) 34 | 44 (84) 82 (80) 40 (00) 01"),
    ('D', "20 28 | 06 (08) 38 (88) 84 (80) 30 (00) 01"),
    ('E', "77 (68) 48 (18) 16 (14) 44 | 44 (04) 02 (00) 40 (60) 71"),
    ('F', "06 (08) 28 88 | 48 42 (40) 20 (00) 01 | 44 74"),
    ('G', "87 (88) 58 (08) 05 (03) 43 (83) 85 81 (80) 40 (00) 01"),
    ('H', "07 (28) 20 | 88 (68) 60 (60) 81 | 24 64"),
    ('I', "16 (18) 48 42 (40) 20 (00) 01"),
    ('J', "06 (08) 38 88 | 68 62 (60) 30 (00) 03"),
    ('L', "77 (78) 58 (28) 23 (20) 00 50 (80) 81"),
    ('M', "00 18 43 68 (60) 80"),
    ('P', "20 28 | 06 (08) 48 (88) 86 (84) 24"),
    ('R', "20 28 | 06 (08) 48 (88) 86 (84) 24 | 44 (60) 80"),
    ('T', "06 (08) 28 88 | 58 52 (50) 30 (00) 01"),
    ('U', "07 (18) 13 (10) 40 (70) 73 78 (70) 80"),
    ('V', "06 (18) 30 (68) 87"),
    ('Y', "08 05 (03) 43 (83) 85 | 88 82 (80) 40 (10) 01"),
    ('Z', "07 (08) 38 88 00 50 (80) 81 | 24 64"),
];

/// Small letters at the capitals' height.
const UNICASE: [(char, &str); 16] = [
    ('A', "83 (80) 40 (00) 04 (08) 48 (88) 85 | 88 80"),
    ('B', "08 00 | 03 (05) 45 (85) 83 (80) 40 (00) 03"),
    ('D', "88 80 | 83 (85) 45 (05) 03 (00) 40 (80) 83"),
    ('E', "04 84 (88) 48 (08) 04 (00) 40 (70) 71"),
    ('F', "88 (38) 36 30 | 05 75"),
    ('G', "86 (88) 48 (08) 06 (03) 43 (83) 86 | 88 82 (80) 40 (10) 01"),
    ('H', "08 00 | 03 (05) 45 (85) 83 80"),
    ('I', "58 57 | 25 55 50 | 20 80"),
    ('J', "68 67 | 35 65 62 (60) 30 (10) 11"),
    ('L', "18 48 42 (40) 70"),
    ('M', "00 08 | 05 (08) 28 (48) 45 40 | 45 (48) 68 (88) 85 80"),
    ('N', "00 08 | 05 (08) 48 (88) 85 80"),
    ('P', "00 08 | 06 (08) 48 (88) 85 (83) 43 (03) 05"),
    ('Q', "88 80 | 85 (88) 48 (08) 05 (03) 43 (83) 85"),
    ('R', "00 08 | 05 (08) 48 (78) 77"),
    ('T', "38 32 (30) 50 (80) 81 | 05 75"),
];
