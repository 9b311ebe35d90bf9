//! Tiles: a few rows of sixteen sums of products, which stay in registers from the first product to the last.
//!
//! Each sum is a chain of FMAs in the order of its products, whatever the number of rows: tiles have no part in the bits.
#![expect(unsafe_code, reason = "the innermost loop, where a bound to check costs as much as a product")]

use super::lanes::{Block, LANES, Lanes, ROWS_MAX};

/// A matrix that lies in chunks of products: value `k` of a chunk's row `r` is that at `k * step + r * row` in the chunk.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub values: &'a [f32],
    /// From a row to the next.
    pub row: usize,
    /// From a product to the next.
    pub step: usize,
    /// How many products a chunk has, and how far it is from one to the next.
    pub chunk: (usize, usize),
}

impl<'a> Left<'a> {
    /// A matrix in one chunk.
    #[inline(always)]
    pub(super) fn whole(values: &'a [f32], row: usize, step: usize) -> Self {
        Left { values, row, step, chunk: (usize::MAX, 0) }
    }
}

/// What a sum begins with, and what becomes of it.
pub(super) trait Around {
    /// What row `row` begins with.
    fn begin<L: Lanes>(&self, lanes: L, row: usize) -> L::Vector;
    /// What takes the place of `old`, given the sum of row `row`.
    fn finish<L: Lanes>(&self, lanes: L, row: usize, sum: L::Vector, old: &Block) -> L::Vector;
}

/// Where the rows of sums go: sixteen values each.
pub(super) struct Sums<'a> {
    pub values: &'a mut [f32],
    pub rows: usize,
    /// From a row to the next.
    pub stride: usize,
}

impl<'a> Sums<'a> {
    /// Rows that lie one behind the other.
    #[inline(always)]
    pub(super) fn of(blocks: &'a mut [Block]) -> Self {
        Sums { rows: blocks.len(), values: blocks.as_flattened_mut(), stride: LANES }
    }

    #[inline(always)]
    fn row(&mut self, row: usize) -> &mut Block {
        self.values[row * self.stride..].first_chunk_mut().expect("a row is sixteen values")
    }
}

/// `sums[r] = finish(r, begin(r) + Σ_k left(k, r) · right[k])` for each row r.
#[inline(always)]
pub(super) fn products<L: Lanes>(lanes: L, left: Left, right: &[Block], around: &impl Around, mut sums: Sums) {
    let rows = sums.rows;
    let tiles = rows.div_ceil(L::ROWS);
    for tile in 0..tiles {
        // Even tiles: a last one of a row or two would keep most of the processor waiting.
        let (from, to) = (rows * tile / tiles, rows * (tile + 1) / tiles);
        let left = Left { values: &left.values[from * left.row..], ..left };
        let (begin, sums) = (from, &mut sums);
        match to - from {
            1 => fixed::<L, 1>(lanes, left, right, around, begin, sums),
            2 => fixed::<L, 2>(lanes, left, right, around, begin, sums),
            3 => fixed::<L, 3>(lanes, left, right, around, begin, sums),
            4 => fixed::<L, 4>(lanes, left, right, around, begin, sums),
            5 => fixed::<L, 5>(lanes, left, right, around, begin, sums),
            6 => fixed::<L, 6>(lanes, left, right, around, begin, sums),
            7 if L::ROWS > 6 => fixed::<L, 7>(lanes, left, right, around, begin, sums),
            8 if L::ROWS > 6 => fixed::<L, 8>(lanes, left, right, around, begin, sums),
            9 if L::ROWS > 6 => fixed::<L, 9>(lanes, left, right, around, begin, sums),
            10 if L::ROWS > 6 => fixed::<L, 10>(lanes, left, right, around, begin, sums),
            11 if L::ROWS > 6 => fixed::<L, 11>(lanes, left, right, around, begin, sums),
            ROWS_MAX if L::ROWS > 6 => fixed::<L, ROWS_MAX>(lanes, left, right, around, begin, sums),
            rows => unreachable!("a tile of {rows} rows"),
        }
    }
}

#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "counted loops are unrolled before it is decided what registers keep")]
fn fixed<L: Lanes, const R: usize>(
    lanes: L,
    left: Left,
    right: &[Block],
    around: &impl Around,
    first: usize,
    sums: &mut Sums,
) {
    let (chunk, distance) = left.chunk;
    if let Some(last) = right.len().checked_sub(1) {
        let last_in_chunk = last.min(chunk - 1);
        let end = last / chunk * distance + last_in_chunk * left.step + (R - 1) * left.row;
        assert!(end < left.values.len(), "the left matrix is too small");
    }
    let mut tile = [lanes.splat(0.0); R];
    for r in 0..R {
        tile[r] = around.begin(lanes, first + r);
    }
    for (c, right) in right.chunks(chunk).enumerate() {
        let start = c * distance;
        for (k, right) in right.iter().enumerate() {
            let right = lanes.load(right);
            for r in 0..R {
                // SAFETY: no index is above that of the last row in the last chunk if that is a whole one, and this was found
                // to be inside.
                let left = unsafe { *left.values.get_unchecked(start + k * left.step + r * left.row) };
                tile[r] = lanes.fma(lanes.splat(left), right, tile[r]);
            }
        }
    }
    for r in 0..R {
        let place = sums.row(first + r);
        lanes.store(around.finish(lanes, first + r, tile[r], place), place);
    }
}
