//! The two matrix products of a dense layer, in register tiles of four rows by eight columns.
//! Plain loops over arrays of fixed length: the compiler turns them into vector code for
//! whatever it targets,
//! and because nothing is reassociated the bits are the same on every target.
//! They do not know about models, only about padded row-major matrices.
//!
//! The products are never inlined: within a larger function the compiler may keep the tiles in memory, and they then take
//! several times as long.

/// Columns of a tile: matrices are padded to a multiple of this.
pub(super) const LANES: usize = 8;

/// Rows of a tile: blocks of samples are padded to a multiple of this, and it divides [`LANES`].
pub(super) const TILE_ROWS: usize = 4;

type Tile = [[f32; LANES]; TILE_ROWS];

/// Stores `matrix` (`[rows, columns]`, row-major) as panels `[columns / 8][rows][8]`, the last
/// one filled up with zeros.
pub(super) fn pack(matrix: &[f32], columns: usize, panels: &mut [f32]) {
    let rows = matrix.len() / columns;
    for (p, panel) in panels.chunks_exact_mut(rows * LANES).enumerate() {
        for (row, lanes) in matrix.chunks_exact(columns).zip(panel.as_chunks_mut().0) {
            fill(lanes, &row[p * LANES..]);
        }
    }
}

/// Stores the transpose of `matrix` (`[rows, columns]`) as panels `[rows / 8][columns][8]`.
pub(super) fn pack_transposed(matrix: &[f32], columns: usize, panels: &mut [f32]) {
    for (p, panel) in panels.chunks_exact_mut(columns * LANES).enumerate() {
        for (column, lanes) in panel.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let rows = matrix.chunks_exact(columns).skip(p * LANES);
            for (lane, row) in lanes.iter_mut().zip(rows) {
                *lane = row[column];
            }
        }
    }
}

fn fill(lanes: &mut [f32; LANES], values: &[f32]) {
    for (lane, value) in lanes.iter_mut().zip(values) {
        *lane = *value;
    }
}

/// `output[r, c] = finish(output[r, c], bias[c] + Σ_k input[r, k] · panels[k, c])`, summed in
/// the order of k.
///
/// `input` is `[rows, input_stride]`, `output` `[rows, bias.len()]`, `panels` as [`pack`]
/// leaves them with `depth` rows; `rows` is a multiple of four and `bias.len()` of eight.
#[inline(never)]
pub(super) fn multiply(
    input: &[f32],
    input_stride: usize,
    depth: usize,
    panels: &[f32],
    bias: &[f32],
    output: &mut [f32],
    finish: impl Fn(f32, f32) -> f32,
) {
    let output_stride = bias.len();
    let blocks = input.chunks_exact(input_stride * TILE_ROWS);
    for (input, output) in blocks.zip(output.chunks_exact_mut(output_stride * TILE_ROWS)) {
        let rows: [&[f32]; TILE_ROWS] = std::array::from_fn(|r| &input[r * input_stride..][..depth]);
        let panels = panels.chunks_exact(depth * LANES);
        for (p, (panel, bias)) in panels.zip(bias.as_chunks().0).enumerate() {
            let sums = tile_of_products(rows, panel.as_chunks().0, *bias);
            for (r, sums) in sums.iter().enumerate() {
                let at = r * output_stride + p * LANES;
                for (value, sum) in output[at..at + LANES].iter_mut().zip(sums) {
                    *value = finish(*value, *sum);
                }
            }
        }
    }
}

#[inline(always)]
fn tile_of_products(rows: [&[f32]; TILE_ROWS], panel: &[[f32; LANES]], bias: [f32; LANES]) -> Tile {
    let mut sums = [bias; TILE_ROWS];
    let [first, second, third, fourth] = rows;
    let depth = first.iter().zip(second).zip(third).zip(fourth).zip(panel);
    for ((((a, b), c), d), weights) in depth {
        accumulate(&mut sums, [*a, *b, *c, *d], weights);
    }
    sums
}

/// `sums[i, o] += Σ_r input[r, i] · signal[r, o]`: the rows of this block are summed in order,
/// then added to what was there.
///
/// `input` is `[rows, input_stride]`, `signal` `[rows, signal_stride]`, `sums` `[input_stride,
/// signal_stride]`; strides are multiples of eight.
#[inline(never)]
pub(super) fn multiply_transposed(
    input: &[f32],
    input_stride: usize,
    signal: &[f32],
    signal_stride: usize,
    sums: &mut [f32],
) {
    for o in (0..signal_stride).step_by(LANES) {
        for i in (0..input_stride).step_by(TILE_ROWS) {
            let mut tile: Tile = [[0.0; LANES]; TILE_ROWS];
            let rows = input.chunks_exact(input_stride).zip(signal.chunks_exact(signal_stride));
            for (input, signal) in rows {
                let input: &[f32; TILE_ROWS] = lanes(&input[i..]);
                accumulate(&mut tile, *input, lanes(&signal[o..]));
            }
            for (r, tile) in tile.iter().enumerate() {
                add(&mut sums[(i + r) * signal_stride + o..], tile);
            }
        }
    }
}

/// `sums[o] += Σ_r signal[r, o]`, in the same order as [`multiply_transposed`].
#[inline(never)]
pub(super) fn sum_rows(signal: &[f32], sums: &mut [f32]) {
    let stride = sums.len();
    for (o, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut block = [0.0; LANES];
        for row in signal.chunks_exact(stride) {
            add(&mut block, lanes::<LANES>(&row[o * LANES..]));
        }
        add(sums, &block);
    }
}

/// The first `N` values of a slice; strides are padded, so that they are always there.
#[inline(always)]
fn lanes<const N: usize>(values: &[f32]) -> &[f32; N] {
    values.first_chunk().expect("rows are padded to whole tiles")
}

#[inline(always)]
fn accumulate(sums: &mut Tile, left: [f32; TILE_ROWS], right: &[f32; LANES]) {
    for (sums, left) in sums.iter_mut().zip(left) {
        for (sum, right) in sums.iter_mut().zip(right) {
            *sum += left * *right;
        }
    }
}

#[inline(always)]
fn add(sums: &mut [f32], values: &[f32; LANES]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += *value;
    }
}
