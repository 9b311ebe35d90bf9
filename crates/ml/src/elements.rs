//! What becomes of a tensor's elements when it is trained and merged, by their type: the only place that lists types.
//! Floats and integers of sixteen bits and more are trained: a delta has F64 for F64, F32 for the other floats,
//! I64 for integers. All others (bools, bytes, codes of eight bits and fewer, complex
//! numbers) stay as they are in the base, and no delta has them.
//! It does not know files, names or rules.

use crate::half::{BF16, F16, Half};
use crate::tensor_file::Dtype;

/// The farthest that an integer may move, so that f64 holds its change: 2^53.
pub(crate) const INTEGER_CHANGE_MAX: i128 = 1 << 53;

/// Why there is no difference of two elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// The base's is NaN.
    BaseNotFinite(f64),
    /// The trained one is NaN or an infinity.
    NotFinite(f64),
    /// The trained one is farther from the base's than a delta can say.
    TooFar(f64),
    /// It should have stayed as it was.
    Changed,
}

/// Where, and what.
type At<E> = (usize, E);

/// The type in a delta of a tensor whose elements have this type in the base; `None` where they stay as they are.
pub(crate) fn delta_dtype(dtype: Dtype) -> Option<Dtype> {
    match dtype {
        Dtype::F64 => Some(Dtype::F64),
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => Some(Dtype::F32),
        Dtype::I16 | Dtype::U16 | Dtype::I32 | Dtype::U32 | Dtype::I64 | Dtype::U64 => Some(Dtype::I64),
        _ => None,
    }
}

/// The bytes of what is read at once: an element where elements are trained, else any byte.
pub(crate) fn coordinate_bytes(dtype: Dtype) -> usize {
    delta_dtype(dtype).map_or(1, |_| dtype.bitsize() / 8)
}

/// The values of a delta's elements.
///
/// # Panics
///
/// Where no delta has that type.
pub(crate) fn delta_values(dtype: Dtype, bytes: &[u8], values: &mut [f64]) {
    each(dtype, bytes, values, |read, value| *read = value);
}

/// Adds a share of each of a delta's elements to a sum.
///
/// # Panics
///
/// Where no delta has that type.
pub(crate) fn add_share(dtype: Dtype, bytes: &[u8], share: f64, sums: &mut [f64]) {
    each(dtype, bytes, sums, |sum, value| *sum += share * value);
}

fn each(dtype: Dtype, bytes: &[u8], values: &mut [f64], take: impl Fn(&mut f64, f64)) {
    fn all<const N: usize>(bytes: &[u8], values: &mut [f64], take: impl Fn(&mut f64, [u8; N])) {
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
            take(value, *bytes);
        }
    }
    match dtype {
        Dtype::F64 => all(bytes, values, |value, bytes| take(value, f64::from_le_bytes(bytes))),
        Dtype::F32 => all(bytes, values, |value, bytes| take(value, f32::from_le_bytes(bytes).into())),
        Dtype::I64 => all(bytes, values, |value, bytes| take(value, i64::from_le_bytes(bytes) as f64)),
        _ => unreachable!("no delta has {dtype}"),
    }
}

/// Leaves `new - old` in a delta; both are elements of this type.
pub(crate) fn difference(dtype: Dtype, old: &[u8], new: &[u8], delta: &mut [u8]) -> Result<(), At<Fault>> {
    let half =
        |half: Half| move |old, new| short(half.widen(u16::from_le_bytes(old)), half.widen(u16::from_le_bytes(new)));
    macro_rules! integer {
        ($number:ty) => {
            pairs(old, new, delta, |old, new| {
                integer(<$number>::from_le_bytes(old).into(), <$number>::from_le_bytes(new).into())
            })
        };
    }
    match dtype {
        Dtype::F64 => {
            pairs(old, new, delta, |old, new| float(f64::from_le_bytes(old), f64::from_le_bytes(new), f64::to_le_bytes))
        }
        Dtype::F32 if plain_f32(old, new, delta) => Ok(()),
        Dtype::F32 => pairs(old, new, delta, |old, new| {
            short(f64::from(f32::from_le_bytes(old)), f64::from(f32::from_le_bytes(new)))
        }),
        Dtype::F16 => pairs(old, new, delta, half(F16)),
        Dtype::BF16 => pairs(old, new, delta, half(BF16)),
        Dtype::I16 => integer!(i16),
        Dtype::U16 => integer!(u16),
        Dtype::I32 => integer!(i32),
        Dtype::U32 => integer!(u32),
        Dtype::I64 => integer!(i64),
        Dtype::U64 => integer!(u64),
        _ => match old.iter().zip(new).position(|(old, new)| old != new) {
            Some(byte) => Err((byte * 8 / dtype.bitsize(), Fault::Changed)),
            None => Ok(()),
        },
    }
}

/// What nearly all models need, without a branch for each element, so that many are done at a time. False where a
/// difference is not finite: then something else may be meant.
fn plain_f32(old: &[u8], new: &[u8], delta: &mut [u8]) -> bool {
    let mut finite = true;
    for ((old, new), delta) in old.as_chunks().0.iter().zip(new.as_chunks().0).zip(delta.as_chunks_mut().0) {
        let change = f32::from_le_bytes(*new) - f32::from_le_bytes(*old);
        finite &= change.is_finite();
        *delta = change.to_le_bytes();
    }
    finite
}

fn pairs<const N: usize, const M: usize>(
    old: &[u8],
    new: &[u8],
    delta: &mut [u8],
    difference: impl Fn([u8; N], [u8; N]) -> Result<[u8; M], Fault>,
) -> Result<(), At<Fault>> {
    let elements = old.as_chunks().0.iter().zip(new.as_chunks().0).zip(delta.as_chunks_mut().0);
    for (position, ((old, new), delta)) in elements.enumerate() {
        *delta = difference(*old, *new).map_err(|fault| (position, fault))?;
    }
    Ok(())
}

/// Rounding the difference to f64 and then to f32 gives what one rounding gives, as [`plain_f32`] does (Figueroa 1995).
fn short(old: f64, new: f64) -> Result<[u8; 4], Fault> {
    float(old, new, |change| (change as f32).to_le_bytes()).and_then(|bytes| match f32::from_le_bytes(bytes) {
        change if change.is_finite() => Ok(bytes),
        _ => Err(Fault::TooFar(new - old)),
    })
}

fn float<const N: usize>(old: f64, new: f64, bytes: impl Fn(f64) -> [u8; N]) -> Result<[u8; N], Fault> {
    match new - old {
        change if change.is_finite() => Ok(bytes(change)),
        // A mask of infinities, as of attention, is no accident.
        _ if new.is_infinite() && new == old => Ok(bytes(0.0)),
        _ if old.is_nan() => Err(Fault::BaseNotFinite(old)),
        _ if !new.is_finite() => Err(Fault::NotFinite(new)),
        change => Err(Fault::TooFar(change)),
    }
}

fn integer(old: i128, new: i128) -> Result<[u8; 8], Fault> {
    let change = new - old;
    match i64::try_from(change) {
        Ok(whole) if change.abs() <= INTEGER_CHANGE_MAX => Ok(whole.to_le_bytes()),
        _ => Err(Fault::TooFar(change as f64)),
    }
}

/// Adds updates to elements of this type: floats are rounded to it once, integers by the rounded update, not beyond
/// what the type holds. What becomes of them goes into `sums`.
///
/// An error is a sum that is not finite where the element was.
///
/// # Panics
///
/// Where elements of this type stay as they are.
pub(crate) fn add(dtype: Dtype, elements: &[u8], update: &[f64], sums: &mut [u8]) -> Result<(), At<f64>> {
    let half = |half: Half| {
        move |old, update| {
            let old = half.widen(u16::from_le_bytes(old));
            let sum = half.narrow(old + update);
            Sum::of(old, half.widen(sum), sum.to_le_bytes())
        }
    };
    macro_rules! integer {
        ($number:ty) => {
            add_each(elements, update, sums, |old, update| {
                let sum = i128::from(<$number>::from_le_bytes(old)) + update.round() as i128;
                let sum = sum.clamp(<$number>::MIN.into(), <$number>::MAX.into());
                Sum::of(0.0, 0.0, (sum as $number).to_le_bytes())
            })
        };
    }
    match dtype {
        Dtype::F64 => add_each(elements, update, sums, |old, update| {
            let old = f64::from_le_bytes(old);
            Sum::of(old, old + update, (old + update).to_le_bytes())
        }),
        Dtype::F32 => add_each(elements, update, sums, |old, update| {
            let old = f64::from(f32::from_le_bytes(old));
            let sum = (old + update) as f32;
            Sum::of(old, sum.into(), sum.to_le_bytes())
        }),
        Dtype::F16 => add_each(elements, update, sums, half(F16)),
        Dtype::BF16 => add_each(elements, update, sums, half(BF16)),
        Dtype::I16 => integer!(i16),
        Dtype::U16 => integer!(u16),
        Dtype::I32 => integer!(i32),
        Dtype::U32 => integer!(u32),
        Dtype::I64 => integer!(i64),
        Dtype::U64 => integer!(u64),
        _ => unreachable!("{dtype} stays as it is"),
    }
}

/// What becomes of an element.
struct Sum<const N: usize> {
    bytes: [u8; N],
    value: f64,
    /// Whether it is finite, or was not before.
    holds: bool,
}

impl<const N: usize> Sum<N> {
    fn of(old: f64, value: f64, bytes: [u8; N]) -> Self {
        Self { bytes, value, holds: value.is_finite() | old.is_infinite() }
    }
}

/// First all sums, without a branch, so that many are done at a time; which one is not right is asked when one is not.
fn add_each<const N: usize>(
    elements: &[u8],
    update: &[f64],
    sums: &mut [u8],
    add: impl Fn([u8; N], f64) -> Sum<N>,
) -> Result<(), At<f64>> {
    let elements = elements.as_chunks().0;
    let mut all_hold = true;
    for ((element, update), sum) in elements.iter().zip(update).zip(sums.as_chunks_mut().0) {
        let Sum { bytes, holds, .. } = add(*element, *update);
        all_hold &= holds;
        *sum = bytes;
    }
    if all_hold {
        return Ok(());
    }
    let each = elements.iter().zip(update).map(|(element, update)| add(*element, *update));
    each.enumerate().find(|(_, sum)| !sum.holds).map_or(Ok(()), |(position, sum)| Err((position, sum.value)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the bits are: what is found without a branch is what is found one by one.
        #[test]
        fn a_plain_difference_is_the_difference(old in any::<u32>(), new in any::<u32>(), near in 0..64_u32) {
            for new in [new, old.wrapping_add(near)] {
                let (old, new, mut plain) = (old.to_le_bytes(), new.to_le_bytes(), [0; 4]);
                let exact = short(f32::from_le_bytes(old).into(), f32::from_le_bytes(new).into());
                match plain_f32(&old, &new, &mut plain) {
                    true => prop_assert_eq!(exact, Ok(plain)),
                    false => prop_assert!(exact.is_err() || f32::from_le_bytes(old).is_infinite()),
                }
            }
        }
    }
}
