//! Bytes that wait on disk, in a file without a name: it is gone with this process, however that ends.
//!
//! Whose they are it does not know.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A file of bytes that wait. It shrinks whenever nothing waits any more.
#[derive(Default)]
pub(super) struct Spill {
    file: Option<File>,
    end: u64,
    waiting: u32,
}

/// Where bytes wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    at: u64,
    bytes: usize,
}

impl Spill {
    /// Keeps bytes until they are taken, once.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> io::Result<Kept> {
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        let kept = Kept { at: self.end, bytes: bytes.len() };
        self.file.insert(file).write_all_at(bytes, kept.at)?;
        self.end += bytes.len() as u64;
        self.waiting += 1;
        Ok(kept)
    }

    /// Adds kept bytes to a batch.
    pub(super) fn take(&mut self, kept: Kept, batch: &mut Vec<u8>) -> io::Result<()> {
        let file = self.file.as_ref().expect("what is kept is in the file");
        let start = batch.len();
        batch.resize(start + kept.bytes, 0);
        file.read_exact_at(&mut batch[start..], kept.at)?;
        self.waiting -= 1;
        if self.waiting == 0 {
            file.set_len(0)?;
            self.end = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_back_and_leaves_no_room_taken() {
        let mut spill = Spill::default();
        let (first, second) = (spill.keep(b"first").unwrap(), spill.keep(b"2").unwrap());
        let mut batch = b"0".to_vec();
        spill.take(second, &mut batch).unwrap();
        spill.take(first, &mut batch).unwrap();
        assert_eq!(batch, b"02first");
        assert_eq!(spill.file.as_ref().unwrap().metadata().unwrap().len(), 0);
        let again = spill.keep(b"again").unwrap();
        assert_eq!(again.at, 0);
    }
}
