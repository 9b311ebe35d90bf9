//! A guest's memory as the functions of WASI see it: what they read and write there, within its bounds.
//!
//! What is at an address only the function knows.

use wasmtime::Caller;

use super::super::guest::{Failure, Guest};

/// What a guest is answered when it cannot be served.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Errno {
    Badf = 8,
    Fault = 21,
    Inval = 28,
    Nosys = 52,
    Spipe = 70,
}

/// Why a function did not do what it was asked: the guest is told, or it ends.
pub(super) enum Refused {
    Told(Errno),
    Ended(Failure),
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self::Told(errno)
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Ended(failure)
    }
}

pub(super) type Answer<T = ()> = Result<T, Refused>;

/// A guest's memory, and what else it has.
pub(super) struct View<'a> {
    pub(super) memory: &'a mut [u8],
    pub(super) guest: &'a mut Guest,
}

impl<'a> View<'a> {
    pub(super) fn of(caller: &'a mut Caller<'_, Guest>) -> Answer<Self> {
        let memory = caller.get_export("memory").and_then(|memory| memory.into_memory()).ok_or(Errno::Fault)?;
        let (memory, guest) = memory.data_and_store_mut(caller);
        Ok(Self { memory, guest })
    }

    pub(super) fn put_list_sizes(&mut self, list: &[String], count: u32, size: u32) -> Answer {
        self.put(count, &(list.len() as u32).to_le_bytes())?;
        let bytes: usize = list.iter().map(|text| text.len() + 1).sum();
        self.put(size, &(bytes as u32).to_le_bytes())
    }

    /// The texts end to end, each with a zero after it, and where each begins.
    pub(super) fn put_list(&mut self, list: &[String], mut pointers: u32, mut bytes: u32) -> Answer {
        for text in list {
            self.put(pointers, &bytes.to_le_bytes())?;
            self.put(bytes, text.as_bytes())?;
            bytes += text.len() as u32;
            self.put(bytes, &[0])?;
            (bytes, pointers) = (bytes + 1, pointers + 4);
        }
        Ok(())
    }

    /// Where the buffer at a place of a list of buffers is, and how long.
    pub(super) fn buffer(&self, buffers: u32, index: u32) -> Answer<(u32, u32)> {
        let [a, b, c, d, e, f, g, h] = self.get(buffers, index * 8)?;
        Ok((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])))
    }

    pub(super) fn get<const N: usize>(&self, pointer: u32, offset: u32) -> Answer<[u8; N]> {
        let pointer = pointer.checked_add(offset).ok_or(Errno::Fault)?;
        let bytes = self.memory.get(Self::range(pointer, N as u32)?);
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(Errno::Fault)?)
    }

    pub(super) fn put(&mut self, pointer: u32, bytes: &[u8]) -> Answer {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        let at = self.memory.get_mut(Self::range(pointer, len)?).ok_or(Errno::Fault)?;
        at.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn range(pointer: u32, len: u32) -> Answer<std::ops::Range<usize>> {
        let end = pointer.checked_add(len).ok_or(Errno::Fault)?;
        Ok(pointer as usize..end as usize)
    }
}
