//! Which deltas may take part in a merge: the first pass, which reads every delta once, in blocks.
//! A delta that does not fit the base or holds NaN or an infinity is refused with its reason;
//! the others are unharmed.
//! It does not know the merge rule.

use super::rule::Delta;
use super::{Contribution, MergeError, RefusalReason, Refused, SAMPLES_MAX, Values, blocks};
use crate::tensor_file::{Dtype, TensorFile, TensorFileError, TensorPlace, check_finite};

/// One of the base's tensors: its name and its place.
pub(super) type Tensor<'a> = (&'a str, &'a TensorPlace);

/// The base's tensors in the order in which they lie in the file; all must be F32.
pub(super) fn in_file_order(base: &TensorFile) -> Result<Vec<Tensor<'_>>, MergeError> {
    let mut tensors = Vec::new();
    for (name, place) in &base.tensors {
        base.expect(name, Dtype::F32, &place.shape).map_err(MergeError::Base)?;
        tensors.push((name.as_str(), place));
    }
    tensors.sort_by_key(|(_, place)| (place.start, place.end));
    Ok(tensors)
}

/// Sorts the contributions into those that fit and those that do not, both in order.
pub(super) fn accept<'a>(
    base: &TensorFile,
    tensors: &[Tensor],
    contributions: &[Contribution<'a>],
    block_coordinates: usize,
) -> Result<(Vec<Delta<'a>>, Vec<Refused>), MergeError> {
    let mut values = Values::new(block_coordinates);
    let (mut deltas, mut refused) = (Vec::new(), Vec::new());
    for (position, contribution) in contributions.iter().enumerate() {
        match check(base, tensors, position, contribution, &mut values)? {
            Ok(delta) => deltas.push(delta),
            Err(reason) => refused.push(Refused { position, reason }),
        }
    }
    Ok((deltas, refused))
}

/// The outer error is the storage's, the inner one the delta's.
fn check<'a>(
    base: &TensorFile,
    tensors: &[Tensor],
    position: usize,
    contribution: &Contribution<'a>,
    values: &mut Values,
) -> Result<Result<Delta<'a>, RefusalReason>, MergeError> {
    let Contribution { delta: source, samples } = *contribution;
    match samples {
        0 => return Ok(Err(RefusalReason::NoSamples)),
        1..=SAMPLES_MAX => {}
        _ => return Ok(Err(RefusalReason::TooManySamples { samples })),
    }
    let starts = match TensorFile::read(source) {
        Ok(file) => file.and_then(|file| starts(base, tensors, &file)),
        Err(source) => return Err(MergeError::ReadDelta { position, source }),
    };
    let delta = match starts {
        Ok(starts) => Delta { position, source, samples, starts },
        Err(error) => return Ok(Err(error.into())),
    };
    for (t, (name, place)) in tensors.iter().enumerate() {
        for (first, count) in blocks(place, values.block_coordinates()) {
            if let Err(error) = check_finite(name, first, delta.read(t, first, count, values)?) {
                return Ok(Err(error.into()));
            }
        }
    }
    Ok(Ok(delta))
}

/// Where a delta keeps each of the base's tensors; the same names, types and shapes, and
/// nothing else.
fn starts(base: &TensorFile, tensors: &[Tensor], delta: &TensorFile) -> Result<Vec<u64>, TensorFileError> {
    let start = |(name, place): &Tensor| {
        let place = delta.expect(name, Dtype::F32, &place.shape)?;
        Ok(place.start)
    };
    let starts = tensors.iter().map(start).collect::<Result<_, _>>()?;
    delta.expect_only(|name| base.tensors.contains_key(name))?;
    Ok(starts)
}
