//! The sixteen features of a letter's picture.
//! P. W. Frey and D. J. Slate, "Letter Recognition Using Holland-Style Adaptive Classifiers", Machine
//! Learning 6 (1991), pages 161–182; their scales are not known, these are of our choosing.
//! It does not know what was drawn, nor any other picture: a row depends on its own picture alone.

use super::raster::Bitmap;

/// How many features there are.
pub const FEATURES: usize = 16;

/// The largest value of a feature; the smallest is 0.
pub const FEATURE_MAX: u8 = 15;

/// For each feature the measure that becomes 0 and the one that would become 16.
const SCALES: [(f64, f64); FEATURES] = [
    (0.0, 45.0),     // x-box
    (9.0, 36.0),     // y-box
    (10.0, 50.0),    // width
    (20.0, 50.0),    // high
    (40.0, 700.0),   // onpix
    (-0.28, 0.28),   // x-bar
    (-0.21, 0.21),   // y-bar
    (0.04, 0.17),    // x2bar
    (0.055, 0.165),  // y2bar
    (-0.075, 0.075), // xybar
    (-0.018, 0.018), // x2ybr
    (-0.02, 0.02),   // xy2br
    (0.75, 4.0),     // x-ege
    (-0.25, 0.25),   // xegvy
    (0.75, 4.5),     // y-ege
    (-0.3, 0.3),     // yegvx
];

/// What is measured of a picture with at least one pixel on, before it is scaled.
///
/// Positions of pixels are those of their middles, relative to the middle of the smallest box around
/// all that are on, in widths and heights of that box: from -½ to ½.
pub fn measure(bitmap: &Bitmap) -> [f64; FEATURES] {
    let all = bitmap.rows.iter().fold(0, |all, row| all | row);
    assert_ne!(all, 0, "an empty picture has no features");
    let (left, right) = (all.trailing_zeros() as i64, 63 - all.leading_zeros() as i64);
    let used = |row: &u64| *row != 0;
    let bottom = bitmap.rows.iter().position(used).unwrap_or(0) as i64;
    let top = bitmap.rows.iter().rposition(used).unwrap_or(0) as i64;
    let (width, height) = (right - left + 1, top - bottom + 1);

    // Sums are of integers, and so exact: twice a position is one.
    let (mut on, mut x_sum, mut y_sum, mut xx, mut yy, mut xy, mut xxy, mut xyy) = (0, 0, 0, 0, 0, 0, 0, 0);
    let (mut left_edges, mut left_edges_y, mut lower_edges, mut lower_edges_x) = (0, 0, 0, 0);
    let mut below = 0;
    for row in bottom..=top {
        let pixels = bitmap.rows[row as usize];
        let y = 2 * row - bottom - top;
        for x in ones(pixels).map(|column| 2 * column - left - right) {
            on += 1;
            x_sum += x;
            y_sum += y;
            xx += x * x;
            yy += y * y;
            xy += x * y;
            xxy += x * x * y;
            xyy += x * y * y;
        }
        let edges = i64::from((pixels & !(pixels << 1)).count_ones());
        left_edges += edges;
        left_edges_y += edges * y;
        for x in ones(pixels & !below).map(|column| 2 * column - left - right) {
            lower_edges += 1;
            lower_edges_x += x;
        }
        below = pixels;
    }

    let share = |sum: i64, of: i64| sum as f64 / of as f64;
    let (twice_width, twice_height) = (2 * width, 2 * height);
    [
        share(left + right + 1, 2),
        share(bottom + top + 1, 2),
        width as f64,
        height as f64,
        on as f64,
        share(x_sum, on * twice_width),
        share(y_sum, on * twice_height),
        share(xx, on * twice_width * twice_width),
        share(yy, on * twice_height * twice_height),
        share(xy, on * twice_width * twice_height),
        share(xxy, on * twice_width * twice_width * twice_height),
        share(xyy, on * twice_width * twice_height * twice_height),
        share(left_edges, height),
        share(left_edges_y, height * twice_height),
        share(lower_edges, width),
        share(lower_edges_x, width * twice_width),
    ]
}

/// The columns of a row's bits, from the left.
fn ones(mut row: u64) -> impl Iterator<Item = i64> {
    std::iter::from_fn(move || {
        let column = (row != 0).then(|| i64::from(row.trailing_zeros()))?;
        row &= row - 1;
        Some(column)
    })
}

/// The features of a picture with at least one pixel on, each from 0 to [`FEATURE_MAX`].
pub fn features(bitmap: &Bitmap) -> [u8; FEATURES] {
    let measures = measure(bitmap);
    std::array::from_fn(|feature| {
        let (low, high) = SCALES[feature];
        let scaled = 16.0 * (measures[feature] - low) / (high - low);
        scaled.clamp(0.0, f64::from(FEATURE_MAX)) as u8
    })
}
