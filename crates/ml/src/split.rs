//! Which rows validate and which shard each other row is trained in: drawn from a seed, and even in every class.
//! Rows that are sorted by label make good shards all the same, and the same rows and seed give the same split on any
//! machine.
//! It does not know what is in a row but its class.

use crate::random::{generator, shuffle};

/// As many rows make a shard where nothing else is said.
const SHARD_ROWS: usize = 1_500;

/// The most shards that one file is cut into where nothing else is said.
const SHARDS_MAX: usize = 1_000;

/// The rows of some files, from 0 and in order, parted in two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// For each file the rows to train on, at least one.
    pub kept: Vec<Vec<u32>>,
    /// For each file the rows to validate on.
    pub held_out: Vec<Vec<u32>>,
}

/// Holds a share of the rows out, from 0 to less than 1: so much of each class as is nearest to its share, and of all
/// rows together.
///
/// `classes` are each file's rows' class indices. A file and a class keep at least one row.
pub fn hold_out(classes: &[Vec<u32>], share: f64, seed: u64) -> Split {
    let mut wanted = apportion(&class_sizes(classes), share);
    let mut order: Vec<(u32, u32)> = Vec::new();
    // Where nothing is wanted nothing is drawn.
    for (file, rows) in classes.iter().enumerate().filter(|_| wanted.iter().any(|rows| *rows > 0)) {
        order.extend((0..rows.len() as u32).map(|row| (file as u32, row)));
    }
    shuffle(&mut order, &mut generator(seed, 0x5e1f_0a7d));
    let mut left: Vec<usize> = classes.iter().map(Vec::len).collect();
    let mut held_out: Vec<Vec<bool>> = left.iter().map(|rows| vec![false; *rows]).collect();
    for (file, row) in order {
        let (file, row) = (file as usize, row as usize);
        let wanted = &mut wanted[classes[file][row] as usize];
        if *wanted > 0 && left[file] > 1 {
            (*wanted, left[file]) = (*wanted - 1, left[file] - 1);
            held_out[file][row] = true;
        }
    }
    let rows = |marks: &Vec<bool>, wanted: bool| -> Vec<u32> {
        (0u32..).zip(marks).filter(|(_, mark)| **mark == wanted).map(|(row, _)| row).collect()
    };
    Split {
        kept: held_out.iter().map(|marks| rows(marks, false)).collect(),
        held_out: held_out.iter().map(|marks| rows(marks, true)).collect(),
    }
}

/// Deals rows into shards whose sizes differ by one row at most, and so do those of each class in them.
///
/// `classes` are all rows' class indices, `rows` those that are dealt; with fewer rows than shards, some are empty.
///
/// # Panics
///
/// Where `shards` is 0.
pub fn deal(classes: &[u32], rows: &[u32], shards: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut generator = generator(seed, 0xdea1_5eed);
    let mut rows = rows.to_vec();
    shuffle(&mut rows, &mut generator);
    rows.sort_by_key(|row| classes[*row as usize]);
    let mut dealt: Vec<Vec<u32>> = (0..shards).map(|_| Vec::with_capacity(rows.len() / shards + 1)).collect();
    for (position, row) in rows.into_iter().enumerate() {
        dealt[position % shards].push(row);
    }
    // Who takes the rows in turn is to see the classes mixed.
    dealt.iter_mut().for_each(|shard| shuffle(shard, &mut generator));
    dealt
}

/// How many shards one file of so many training rows is cut into: one for each 1,500, from 1 to 1,000.
pub fn shards_for(rows: usize) -> usize {
    rows.div_ceil(SHARD_ROWS).clamp(1, SHARDS_MAX)
}

/// How many rows of each class there are.
fn class_sizes(classes: &[Vec<u32>]) -> Vec<usize> {
    let mut sizes = Vec::new();
    for class in classes.iter().flatten() {
        let class = *class as usize;
        if class >= sizes.len() {
            sizes.resize(class + 1, 0);
        }
        sizes[class] += 1;
    }
    sizes
}

/// A share of each class, so that the whole is the share of all (largest remainders, Hamilton 1792). A class keeps one.
fn apportion(sizes: &[usize], share: f64) -> Vec<usize> {
    let exact = |size: usize| size as f64 * share;
    let mut parts: Vec<usize> = sizes.iter().map(|size| exact(*size) as usize).collect();
    let all = exact(sizes.iter().sum()).round() as usize;
    let mut missing = all.saturating_sub(parts.iter().sum());
    let mut by_remainder: Vec<usize> = (0..sizes.len()).collect();
    by_remainder.sort_by(|a, b| exact(sizes[*b]).fract().total_cmp(&exact(sizes[*a]).fract()));
    for class in by_remainder {
        if missing > 0 && exact(sizes[class]).fract() > 0.0 && parts[class] + 1 < sizes[class] {
            (parts[class], missing) = (parts[class] + 1, missing - 1);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each class stands in these rows.
    fn count(classes: &[u32], rows: &[u32]) -> Vec<usize> {
        class_sizes(&[rows.iter().map(|row| classes[*row as usize]).collect()])
    }

    /// Rows sorted by class, of these sizes.
    fn sorted(sizes: &[usize]) -> Vec<u32> {
        (0u32..).zip(sizes).flat_map(|(class, size)| vec![class; *size]).collect()
    }

    #[test]
    fn each_class_gives_its_share() {
        let classes = sorted(&[100, 50, 5, 1]);
        let split = hold_out(std::slice::from_ref(&classes), 0.2, 1);
        assert_eq!(count(&classes, &split.held_out[0]), [20, 10, 1]);
        assert_eq!(count(&classes, &split.kept[0]), [80, 40, 4, 1]);
        assert_eq!(split, hold_out(std::slice::from_ref(&classes), 0.2, 1));
        assert_ne!(split, hold_out(std::slice::from_ref(&classes), 0.2, 2));
        assert_eq!(hold_out(&[classes], 0.0, 1).held_out, [[0; 0]]);
    }

    #[test]
    fn the_whole_is_the_share_of_all_and_no_class_is_lost() {
        assert_eq!(apportion(&[3, 3, 3, 3], 0.2), [1, 1, 0, 0]);
        assert_eq!(apportion(&[1, 1, 1, 1, 1], 0.2), [0; 5]);
        assert_eq!(apportion(&[10, 2, 1], 0.99), [9, 1, 0]);
        assert_eq!(apportion(&[766; 26], 0.2).iter().sum::<usize>(), 3983);
    }

    #[test]
    fn a_file_keeps_a_row() {
        let split = hold_out(&[vec![0], vec![0, 0, 0, 1, 1, 1], vec![1]], 0.9, 3);
        assert_eq!(split.kept.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(split.held_out[1].len(), 5);
    }

    #[test]
    fn rows_sorted_by_class_are_dealt_evenly() {
        let classes = sorted(&[10, 20, 1, 33]);
        let all: Vec<u32> = (0..64).collect();
        let shards = deal(&classes, &all, 5, 7);
        assert_eq!(shards, deal(&classes, &all, 5, 7));
        let mut dealt = shards.concat();
        dealt.sort_unstable();
        assert_eq!(dealt, all);
        for shard in &shards {
            assert!((12..=13).contains(&shard.len()), "{shards:?}");
            let count = count(&classes, shard);
            assert!(count[0] == 2 && count[1] == 4 && (6..=7).contains(&count[3]), "{count:?}");
        }
        // The split is part of what a seed means: it stays.
        assert_eq!(deal(&sorted(&[3, 3]), &[0, 1, 2, 3, 4, 5], 2, 0), [[2, 0, 3], [4, 5, 1]]);
    }

    #[test]
    fn the_rows_alone_say_how_many_shards() {
        assert_eq!([1, 1500, 1501, 16_000, 9_999_999].map(shards_for), [1, 1, 2, 11, 1000]);
    }
}
