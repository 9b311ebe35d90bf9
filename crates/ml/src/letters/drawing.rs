//! One drawing of a letter: the hand's strokes, shaken, bent, stretched, leant and turned at random,
//! then put somewhere into the bitmap.
//! It computes with additions, multiplications and divisions alone, each of which has one right
//! result: a seed draws the same letters on every machine.
//! It does not know which letter it draws.

use rand_core::Rng;
use rand_pcg::Pcg64;

use super::alphabet::{GRID, Knot, Point, Stroke};
use super::hands::{Finish, Hand};
use super::raster::{Bitmap, SIZE};
use crate::random::generator;

/// Straight pieces of a curve between two points.
const PIECES: u32 = 6;

/// The thinnest half of a pen, in pixels: a line leaves no gaps.
const PEN_MIN: f64 = 0.6;

/// Random numbers for drawing.
pub struct Draws(Pcg64);

impl Draws {
    /// PCG-64 (O'Neill 2014) seeded with `seed`.
    pub fn new(seed: u64) -> Draws {
        Draws(generator(seed, 0xa02_bdbf_7bb3_c0a7_ac28_fa16_a64a_bf96))
    }

    /// 64 bits.
    fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 to below 1, in steps of 2^-53.
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Around 0, at most `reach` away, and more often near than far: two draws added.
    fn about(&mut self, reach: f64) -> f64 {
        (self.unit() + self.unit() - 1.0) * reach
    }

    /// One of `count` things, all as likely.
    pub fn choice(&mut self, count: usize) -> usize {
        (self.unit() * count as f64) as usize
    }
}

/// How one drawing strays from its hand.
struct Mood {
    /// The letter's height in pixels.
    height: f64,
    /// What its width is multiplied by.
    stretch: f64,
    /// What leans it further to the right.
    lean: f64,
    /// The tangent of half the angle by which it is turned; sine and cosine are fractions of it.
    turn: f64,
    /// How much upright and level lines bow.
    bow: (f64, f64),
    /// How much wider the top is than the bottom, and how much higher the right than the left.
    taper: (f64, f64),
    /// What the pen's extents are multiplied by.
    pen: f64,
}

impl Mood {
    fn draw(draws: &mut Draws) -> Mood {
        Mood {
            height: 28.0 + draws.about(5.0),
            stretch: 1.0 + draws.about(0.16),
            lean: draws.about(0.12),
            turn: draws.about(0.03),
            bow: (draws.about(0.15), draws.about(0.12)),
            taper: (draws.about(0.18), draws.about(0.12)),
            pen: 1.0 + draws.about(0.2),
        }
    }

    /// From the grid to pixels around the letter's middle.
    fn place(&self, hand: &Hand, at: Point) -> Point {
        let (x, up) = (at.x / GRID - 0.5, at.y / GRID);
        let y = up - 0.5 + 4.0 * hand.waist * up * (1.0 - up) + hand.climb * x;
        let (x, y) = (
            x * (1.0 + self.taper.0 * y) + self.bow.0 * (y * y - 0.125),
            y * (1.0 + self.taper.1 * x) + self.bow.1 * (x * x - 0.125),
        );
        let x = (x * hand.width * self.stretch + y * (hand.slant + self.lean)) * self.height;
        let y = y * self.height;
        let square = self.turn * self.turn;
        let (cosine, sine) = ((1.0 - square) / (1.0 + square), 2.0 * self.turn / (1.0 + square));
        Point { x: x * cosine - y * sine, y: x * sine + y * cosine }
    }
}

/// How far a point of a stroke is shaken, in the grid's units.
const SHAKE: f64 = 0.5;

/// Draws the strokes of a letter as `hand` writes it.
pub fn draw(strokes: &[Stroke], hand: &Hand, draws: &mut Draws) -> Bitmap {
    let mood = Mood::draw(draws);
    let mut lines: Vec<Vec<Point>> = Vec::new();
    for stroke in strokes {
        lines.extend(serifs(stroke, hand));
        let shaken: Stroke = stroke.iter().map(|knot| shake(knot, draws)).collect();
        lines.push(flatten(&shaken, hand.bend));
    }
    for point in lines.iter_mut().flatten() {
        *point = mood.place(hand, *point);
    }
    let pen = |half: f64| (half * mood.pen * mood.height).max(PEN_MIN);
    let mut bitmap = print(&mut lines, (pen(hand.pen.0), pen(hand.pen.1)), draws);
    match hand.finish {
        Finish::Solid => {}
        Finish::Hollow => bitmap.hollow(),
        Finish::Chalk => bitmap.rows.iter_mut().for_each(|row| *row &= draws.bits() | draws.bits()),
        Finish::Striped => bitmap.rows.iter_mut().step_by(3).for_each(|row| *row = 0),
    }
    bitmap
}

/// Short lines across the steep ends of a stroke at the baseline and at the top.
fn serifs(stroke: &Stroke, hand: &Hand) -> impl Iterator<Item = Vec<Point>> {
    let half = hand.serif / hand.width * GRID;
    let ends = [(stroke[0], stroke[1]), (stroke[stroke.len() - 1], stroke[stroke.len() - 2])];
    ends.into_iter().filter_map(move |(end, before)| {
        let outer = end.at.y == 0.0 || end.at.y == GRID;
        let steep = (end.at.y - before.at.y).abs() > (end.at.x - before.at.x).abs();
        let at = |x: f64| Point { x, y: end.at.y };
        (half > 0.0 && outer && steep).then(|| vec![at(end.at.x - half), at(end.at.x + half)])
    })
}

fn shake(knot: &Knot, draws: &mut Draws) -> Knot {
    let at = Point { x: knot.at.x + draws.about(SHAKE), y: knot.at.y + draws.about(SHAKE) };
    Knot { at, ..*knot }
}

/// The points of straight lines that follow the stroke: a bending point is the middle one of a
/// rational quadratic Bézier curve, with the weight `bend`.
fn flatten(stroke: &Stroke, bend: f64) -> Vec<Point> {
    let mut line = Vec::new();
    for (position, knot) in stroke.iter().enumerate() {
        if !knot.bends {
            line.push(knot.at);
            continue;
        }
        let (from, to) = (stroke[position - 1].at, stroke[position + 1].at);
        for piece in 1..PIECES {
            let t = f64::from(piece) / f64::from(PIECES);
            let (a, b, c) = ((1.0 - t) * (1.0 - t), 2.0 * bend * t * (1.0 - t), t * t);
            let mix = |from: f64, by: f64, to: f64| (a * from + b * by + c * to) / (a + b + c);
            line.push(Point { x: mix(from.x, knot.at.x, to.x), y: mix(from.y, knot.at.y, to.y) });
        }
    }
    line
}

/// Puts the lines somewhere into a bitmap, smaller if they are too large for it.
fn print(lines: &mut [Vec<Point>], pen: (f64, f64), draws: &mut Draws) -> Bitmap {
    let points = || lines.iter().flatten();
    let least = |value: fn(&Point) -> f64| points().map(value).fold(f64::INFINITY, f64::min);
    let most = |value: fn(&Point) -> f64| points().map(value).fold(f64::NEG_INFINITY, f64::max);
    let (left, right) = (least(|point| point.x), most(|point| point.x));
    let (bottom, top) = (least(|point| point.y), most(|point| point.y));
    let (room_x, room_y) = (SIZE as f64 - 2.0 * pen.0, SIZE as f64 - 2.0 * pen.1);
    let scale = 1f64.min(room_x / (right - left)).min(room_y / (top - bottom));
    let shift_x = pen.0 + draws.unit() * (room_x - (right - left) * scale);
    let shift_y = pen.1 + draws.unit() * (room_y - (top - bottom) * scale);
    let mut bitmap = Bitmap::default();
    for point in lines.iter_mut().flatten() {
        *point = Point { x: (point.x - left) * scale + shift_x, y: (point.y - bottom) * scale + shift_y };
    }
    for pair in lines.iter().flat_map(|line| line.windows(2)) {
        bitmap.line(pair[0], pair[1], pen);
    }
    bitmap
}
