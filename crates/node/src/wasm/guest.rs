//! What a running guest has beside its memory: its streams, its limits and its random bytes, and why it had to end.
//!
//! It keeps accounts and checks them. How a guest asks for things, WASI, is not known here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::ResourceLimiter;

use super::Call;

/// How much of the end of stderr is kept.
pub(super) const STDERR_BYTES_MAX: usize = 64 << 10;

/// The most elements of a table. It has one for each function whose address is taken: some 60,000 in the largest
/// programs.
pub(super) const TABLE_ELEMENTS_MAX: usize = 200_000;

/// What an element of a table takes.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// Why a guest ended other than well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("it exited with status {status}")]
    Exited { status: i32 },
    #[error("it trapped: {what}{}", function.as_ref().map(|name| format!(", in `{name}`")).unwrap_or_default())]
    Trapped { what: String, function: Option<String> },
    #[error("it needed more than its memory limit of {bytes_max} bytes")]
    Memory { bytes_max: u64 },
    #[error("it ran longer than its time limit of {time_max:?}")]
    Time { time_max: Duration },
    #[error("it wrote more than its limit of {bytes_max} bytes to stdout")]
    Output { bytes_max: u64 },
    #[error("it was stopped")]
    Stopped,
    /// Before its first instruction, by no fault of its own: more calls at once than the engine has room for.
    #[error("it could not be started: {why}")]
    NotStarted { why: String },
}

/// What a guest has.
pub(super) struct Guest {
    pub(super) call: Call,
    /// How much of stdin it has read.
    pub(super) stdin_read: usize,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Tail,
    pub(super) memory: MemoryLimiter,
    pub(super) began: Instant,
    stop: Arc<AtomicBool>,
    random: Option<Box<blake3::OutputReader>>,
}

impl Guest {
    pub(super) fn new(call: Call, stop: Arc<AtomicBool>) -> Self {
        let memory = MemoryLimiter { bytes_max: call.memory_bytes_max, ..MemoryLimiter::default() };
        let (stdout, stderr) = (Vec::new(), Tail::default());
        Self { call, stdin_read: 0, stdout, stderr, memory, began: Instant::now(), stop, random: None }
    }

    /// Whether it may go on. It is asked at each tick, and by what makes a guest wait.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Failure::Stopped);
        }
        match self.call.time_max {
            Some(time_max) if self.began.elapsed() >= time_max => Err(Failure::Time { time_max }),
            _ => Ok(()),
        }
    }

    /// Keeps what was written to stdout.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let bytes_max = self.call.stdout_bytes_max;
        if (self.stdout.len() + bytes.len()) as u64 > bytes_max {
            return Err(Failure::Output { bytes_max });
        }
        self.stdout.extend_from_slice(bytes);
        Ok(())
    }

    /// The next random bytes: BLAKE3's output for the seed, the same on every machine.
    pub(super) fn fill_random(&mut self, bytes: &mut [u8]) {
        let seed = self.call.seed;
        let random = self.random.get_or_insert_with(|| {
            let mut hasher = blake3::Hasher::new_derive_key("convoke 2026 random bytes of a WebAssembly guest");
            Box::new(hasher.update(&seed.to_le_bytes()).finalize_xof())
        });
        random.fill(bytes);
    }
}

/// The end of what was written.
#[derive(Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(STDERR_BYTES_MAX)..];
        // Cut only at twice the size: each byte is moved once at most, whatever the size of the writes.
        if self.0.len() + bytes.len() > 2 * STDERR_BYTES_MAX {
            let cut = self.0.len() - STDERR_BYTES_MAX.min(self.0.len());
            self.0.drain(..cut);
        }
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn into_bytes(self) -> Bytes {
        let cut = self.0.len().saturating_sub(STDERR_BYTES_MAX);
        Bytes::from(self.0).slice(cut..)
    }
}

/// Counts a guest's memory and tables together against its limit.
#[derive(Default)]
pub(super) struct MemoryLimiter {
    bytes_max: u64,
    bytes: u64,
    /// The most that it had at once.
    pub(super) peak_bytes: u64,
    /// Whether it asked for more than it may have.
    pub(super) refused: bool,
}

impl MemoryLimiter {
    fn grow(&mut self, bytes: usize) -> bool {
        let wanted = self.bytes.saturating_add(bytes as u64);
        if wanted > self.bytes_max {
            self.refused = true;
            return false;
        }
        self.bytes = wanted;
        self.peak_bytes = self.peak_bytes.max(wanted);
        true
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond the module's own maximum it fails anyway, and nothing is to be counted.
        let allowed = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(allowed && self.grow(desired - current))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // First, as the pool's own tables, and with them the maximum, end there too.
        if desired > TABLE_ELEMENTS_MAX {
            self.refused = true;
            return Ok(false);
        }
        let allowed = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(allowed && self.grow((desired - current).saturating_mul(ELEMENT_BYTES)))
    }
}
