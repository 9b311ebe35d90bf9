//! Which deltas may take part in a merge: the first pass, which reads every delta once, in blocks.
//! A delta that does not fit the base or holds NaN or an infinity is refused with its reason;
//! the others are unharmed.
//! It does not know the merge rule.

use super::rule::Delta;
use super::{Buffers, Contribution, MergeError, RefusalReason, Refused, SAMPLES_MAX};
use crate::elements::delta_dtype;
use crate::tensor_file::{TensorFile, TensorFileError, TensorPlace, check_finite};

/// One of the base's tensors: its name and its place.
pub(super) type Tensor<'a> = (&'a str, &'a TensorPlace);

/// Sorts the contributions into those that fit and those that do not, both in order.
pub(super) fn accept<'a>(
    base: &TensorFile,
    tensors: &[Tensor],
    contributions: &[Contribution<'a>],
    block_coordinates: usize,
) -> Result<(Vec<Delta<'a>>, Vec<Refused>), MergeError> {
    let mut buffers = Buffers::new(block_coordinates);
    let (mut deltas, mut refused) = (Vec::new(), Vec::new());
    for (position, contribution) in contributions.iter().enumerate() {
        match check(base, tensors, position, contribution, &mut buffers)? {
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
    buffers: &mut Buffers,
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
        let Some(dtype) = delta_dtype(place.dtype) else { continue };
        for (first, count) in place.blocks(buffers.block_coordinates()) {
            if let Err(error) = check_finite(name, first, delta.read(t, dtype, first, count, buffers)?) {
                return Ok(Err(error.into()));
            }
        }
    }
    Ok(Ok(delta))
}

/// Where a delta keeps each of the base's tensors: the names and shapes of all that can be trained, in a delta's types,
/// and nothing else. Of the others, where nothing is read, it says 0.
fn starts(base: &TensorFile, tensors: &[Tensor], delta: &TensorFile) -> Result<Vec<u64>, TensorFileError> {
    let start = |(name, place): &Tensor| match delta_dtype(place.dtype) {
        Some(dtype) => Ok(delta.expect(name, dtype, &place.shape)?.start),
        None => Ok(0),
    };
    let starts = tensors.iter().map(start).collect::<Result<_, _>>()?;
    delta.expect_only(|name| base.tensors.get(name).is_some_and(|place| delta_dtype(place.dtype).is_some()))?;
    Ok(starts)
}
