//! The merge rules: what becomes of one block of coordinates of all deltas.
//! A rule reads the deltas in task order, as often as it likes, and leaves the update of the
//! base in f64.
//! It does not know about files, headers or refusals; whatever reaches it is finite and of the
//! right shape.

use super::{Buffers, MergeError, ReadAt};
use crate::elements;
use crate::tensor_file::Dtype;

/// How deltas become an update of the base.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MergeRule {
    /// The mean weighted by samples: Σ p_k Δ_k with p_k = n_k / Σn (FedAvg, McMahan 2017,
    /// arXiv:1602.05629).
    #[default]
    Mean,
}

/// A delta that was accepted.
#[derive(Clone)]
pub(super) struct Delta<'a> {
    /// Its position among the contributions.
    pub position: usize,
    pub source: &'a dyn ReadAt,
    pub samples: u64,
    /// Where each of the base's tensors starts in it, in bytes; 0 for those that it does not have.
    pub starts: Vec<u64>,
}

/// The same range of coordinates of every delta.
pub(super) struct Block<'a> {
    /// In task order.
    pub deltas: &'a [Delta<'a>],
    /// Which of the base's tensors.
    pub tensor: usize,
    /// The type of its elements in the deltas.
    pub dtype: Dtype,
    /// The range's first coordinate in the tensor.
    pub first: u64,
}

impl MergeRule {
    /// Leaves the update of a block's coordinates in `update`.
    pub(super) fn combine(self, block: &Block, buffers: &mut Buffers, update: &mut [f64]) -> Result<(), MergeError> {
        match self {
            MergeRule::Mean => mean(block, buffers, update),
        }
    }
}

fn mean(block: &Block, buffers: &mut Buffers, update: &mut [f64]) -> Result<(), MergeError> {
    let total: f64 = block.deltas.iter().map(|delta| delta.samples as f64).sum();
    update.fill(0.0);
    for delta in block.deltas {
        let share = delta.samples as f64 / total;
        let bytes = delta.read(block.tensor, block.dtype, block.first, update.len(), buffers)?;
        elements::add_share(block.dtype, bytes, share, update);
    }
    Ok(())
}

impl Delta<'_> {
    /// The bytes of `count` elements of a tensor from its element `first` on.
    pub(super) fn read<'b>(
        &self,
        tensor: usize,
        dtype: Dtype,
        first: u64,
        count: usize,
        buffers: &'b mut Buffers,
    ) -> Result<&'b [u8], MergeError> {
        match buffers.read(self.source, dtype, self.starts[tensor], first, count) {
            Ok(bytes) => Ok(bytes),
            Err(source) => Err(MergeError::ReadDelta { position: self.position, source }),
        }
    }
}
