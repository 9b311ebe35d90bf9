//! Which deltas may take part in a merge. Their headers are looked at before it; that every value is a number shows in what
//! becomes of them, so that each delta is read only once, and here a second time only where something is wrong.
//! A delta that does not fit the base or holds NaN or an infinity is refused with its reason;
//! the others are unharmed.
//! It does not know the merge rule.

use super::rule::Delta;
use super::{Buffers, Contribution, MergeError, RefusalReason, Refused, SAMPLES_MAX};
use crate::elements::{delta_dtype, delta_values};
use crate::tensor_file::{TensorFile, TensorFileError, TensorPlace, check_finite};

/// One of the base's tensors: its name and its place.
pub(super) type Tensor<'a> = (&'a str, &'a TensorPlace);

/// Sorts the contributions into those whose headers fit and those that do not, both in order.
pub(super) fn accept<'a>(
    base: &TensorFile,
    tensors: &[Tensor],
    contributions: &[Contribution<'a>],
) -> Result<(Vec<Delta<'a>>, Vec<Refused>), MergeError> {
    let (mut deltas, mut refused) = (Vec::new(), Vec::new());
    for (position, contribution) in contributions.iter().enumerate() {
        match look(base, tensors, position, contribution)? {
            Ok(delta) => deltas.push(delta),
            Err(reason) => refused.push(Refused { position, reason }),
        }
    }
    Ok((deltas, refused))
}

/// Takes those that hold something else than numbers out of the deltas, in order.
pub(super) fn refuse_not_finite(
    tensors: &[Tensor],
    deltas: &mut Vec<Delta<'_>>,
    block_coordinates: usize,
) -> Result<Vec<Refused>, MergeError> {
    let mut buffers = Buffers::new(block_coordinates);
    let mut refused = Vec::new();
    for delta in std::mem::take(deltas) {
        match check_values(tensors, &delta, &mut buffers)? {
            Ok(()) => deltas.push(delta),
            Err(error) => refused.push(Refused { position: delta.position, reason: error.into() }),
        }
    }
    Ok(refused)
}

/// The outer error is the storage's, the inner one the delta's.
fn look<'a>(
    base: &TensorFile,
    tensors: &[Tensor],
    position: usize,
    contribution: &Contribution<'a>,
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
    Ok(match starts {
        Ok(starts) => Ok(Delta { position, source, samples, starts }),
        Err(error) => Err(error.into()),
    })
}

fn check_values(
    tensors: &[Tensor],
    delta: &Delta<'_>,
    buffers: &mut Buffers,
) -> Result<Result<(), TensorFileError>, MergeError> {
    let mut values = vec![0.0; buffers.block_coordinates()];
    for (t, (name, place)) in tensors.iter().enumerate() {
        let Some(dtype) = delta_dtype(place.dtype) else { continue };
        for (first, count) in place.blocks(buffers.block_coordinates()) {
            let values = &mut values[..count];
            delta_values(dtype, delta.read(t, dtype, first, count, buffers)?, values);
            if let Err(error) = check_finite(name, first, values) {
                return Ok(Err(error));
            }
        }
    }
    Ok(Ok(()))
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
