//! What a guest may ask for: WASI preview1 as far as a command without files needs it: streams, arguments, environment,
//! random bytes, clocks if it was granted them, sleep, and its exit.
//!
//! There is no file system and no network in it, so nothing here opens anything. Functions of WASI that are not here
//! answer `ENOSYS`. The layouts and numbers are those of `witx/wasi_snapshot_preview1.witx`.

mod time;
mod view;

use wasmtime::{Caller, ExternType, Linker, Module, Val, ValType};

use super::guest::{Failure, Guest};
use view::{Answer, Errno, Refused, View};

const WASI: &str = "wasi_snapshot_preview1";

/// The first argument, which is a program's own name.
const PROGRAM_NAME: &str = "program";

/// The most buffers of one read or write, as of `readv`; and the most things to wait for at once. The loops over them
/// are the host's, which nothing interrupts.
const LIST_MAX: u32 = 1024;

/// How many random bytes are made between two looks at whether the guest is to end.
const RANDOM_CHUNK_BYTES: usize = 1 << 20;

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

const RIGHT_FD_READ: u64 = 1 << 1;
const RIGHT_FD_WRITE: u64 = 1 << 6;
const RIGHT_POLL: u64 = 1 << 27;

/// Links each function by its name, and names them all for `link_missing`.
macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        const FUNCTIONS: &[&str] = &["proc_exit", $(stringify!($name)),*];

        fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
            $(linker.func_wrap(
                WASI,
                stringify!($name),
                |mut caller: Caller<'_, Guest>, $($argument: $type),*| -> wasmtime::Result<u32> {
                    match View::of(&mut caller).and_then(|mut view| view.$name($($argument),*)) {
                        Ok(()) => Ok(0),
                        Err(Refused::Told(errno)) => Ok(errno as u32),
                        Err(Refused::Ended(failure)) => Err(failure.into()),
                    }
                },
            )?;)*
            Ok(())
        }
    };
}

functions! {
    args_get(pointers: u32, bytes: u32);
    args_sizes_get(count: u32, size: u32);
    environ_get(pointers: u32, bytes: u32);
    environ_sizes_get(count: u32, size: u32);
    clock_res_get(clock: u32, resolution: u32);
    clock_time_get(clock: u32, precision: u64, time: u32);
    fd_close(fd: u32);
    fd_fdstat_get(fd: u32, stat: u32);
    fd_filestat_get(fd: u32, stat: u32);
    fd_prestat_get(fd: u32, prestat: u32);
    fd_prestat_dir_name(fd: u32, path: u32, size: u32);
    fd_read(fd: u32, buffers: u32, count: u32, size: u32);
    fd_write(fd: u32, buffers: u32, count: u32, size: u32);
    fd_seek(fd: u32, offset: u64, whence: u32, position: u32);
    fd_tell(fd: u32, position: u32);
    poll_oneoff(subscriptions: u32, events: u32, count: u32, size: u32);
    random_get(bytes: u32, size: u32);
    sched_yield();
}

/// All that is here, for modules to be linked with.
pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    link(&mut linker)?;
    linker.func_wrap(WASI, "proc_exit", |_: Caller<'_, Guest>, status: i32| -> wasmtime::Result<()> {
        Err(Failure::Exited { status }.into())
    })?;
    Ok(linker)
}

/// The linker, and in it those functions of WASI that the module imports and that are not here: a program may import a
/// function that it never calls.
pub(super) fn link_missing(linker: &Linker<Guest>, module: &Module) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = linker.clone();
    linker.allow_shadowing(true);
    for import in module.imports().filter(|import| import.module() == WASI && !FUNCTIONS.contains(&import.name())) {
        if let ExternType::Func(of) = import.ty()
            && matches!(of.results().collect::<Vec<_>>()[..], [ValType::I32])
        {
            linker.func_new(WASI, import.name(), of, |_, _, results| {
                results[0] = Val::I32(Errno::Nosys as i32);
                Ok(())
            })?;
        }
    }
    Ok(linker)
}

impl View<'_> {
    fn args_sizes_get(&mut self, count: u32, size: u32) -> Answer {
        self.put_list_sizes(&self.arguments(), count, size)
    }

    fn args_get(&mut self, pointers: u32, bytes: u32) -> Answer {
        self.put_list(&self.arguments(), pointers, bytes)
    }

    fn environ_sizes_get(&mut self, count: u32, size: u32) -> Answer {
        self.put_list_sizes(&self.environment(), count, size)
    }

    fn environ_get(&mut self, pointers: u32, bytes: u32) -> Answer {
        self.put_list(&self.environment(), pointers, bytes)
    }

    /// Nothing is freed by closing a stream, and a program closes them as it ends.
    fn fd_close(&mut self, fd: u32) -> Answer {
        Self::stream(fd)
    }

    /// The stream's type is left unknown: what is no terminal is buffered.
    fn fd_fdstat_get(&mut self, fd: u32, stat: u32) -> Answer {
        Self::stream(fd)?;
        let rights = RIGHT_POLL | if fd == STDIN { RIGHT_FD_READ } else { RIGHT_FD_WRITE };
        let mut bytes = [0; 24];
        bytes[8..16].copy_from_slice(&rights.to_le_bytes());
        self.put(stat, &bytes)
    }

    fn fd_filestat_get(&mut self, fd: u32, stat: u32) -> Answer {
        Self::stream(fd)?;
        self.put(stat, &[0; 64])
    }

    /// By this a program learns that it was given no directories.
    fn fd_prestat_get(&mut self, _fd: u32, _prestat: u32) -> Answer {
        Err(Errno::Badf.into())
    }

    fn fd_prestat_dir_name(&mut self, _fd: u32, _path: u32, _size: u32) -> Answer {
        Err(Errno::Badf.into())
    }

    fn fd_read(&mut self, fd: u32, buffers: u32, count: u32, size: u32) -> Answer {
        if fd != STDIN {
            return Err(Errno::Badf.into());
        }
        let mut read = 0;
        for index in 0..Self::list(count)? {
            let (pointer, len) = self.buffer(buffers, index)?;
            let from = self.guest.stdin_read;
            let bytes = self.guest.call.stdin.slice(from..);
            let len = bytes.len().min(len as usize);
            self.put(pointer, &bytes[..len])?;
            self.guest.stdin_read += len;
            read += len as u32;
        }
        self.put(size, &read.to_le_bytes())
    }

    fn fd_write(&mut self, fd: u32, buffers: u32, count: u32, size: u32) -> Answer {
        if fd != STDOUT && fd != STDERR {
            return Err(Errno::Badf.into());
        }
        let mut written = 0_u32;
        for index in 0..Self::list(count)? {
            let (pointer, len) = self.buffer(buffers, index)?;
            written = written.checked_add(len).ok_or(Errno::Inval)?;
            let range = Self::range(pointer, len)?;
            let bytes = self.memory.get(range).ok_or(Errno::Fault)?;
            match fd {
                STDOUT => self.guest.write(bytes)?,
                _ => self.guest.stderr.write(bytes),
            }
        }
        self.put(size, &written.to_le_bytes())
    }

    fn fd_seek(&mut self, fd: u32, _offset: u64, _whence: u32, _position: u32) -> Answer {
        Self::stream(fd)?;
        Err(Errno::Spipe.into())
    }

    fn fd_tell(&mut self, fd: u32, _position: u32) -> Answer {
        Self::stream(fd)?;
        Err(Errno::Spipe.into())
    }

    fn random_get(&mut self, bytes: u32, size: u32) -> Answer {
        let range = Self::range(bytes, size)?;
        for chunk in self.memory.get_mut(range).ok_or(Errno::Fault)?.chunks_mut(RANDOM_CHUNK_BYTES) {
            self.guest.check()?;
            self.guest.fill_random(chunk);
        }
        Ok(())
    }

    fn sched_yield(&mut self) -> Answer {
        Ok(())
    }

    fn stream(fd: u32) -> Answer {
        if fd <= STDERR { Ok(()) } else { Err(Errno::Badf.into()) }
    }

    fn list(count: u32) -> Answer<u32> {
        if count <= LIST_MAX { Ok(count) } else { Err(Errno::Inval.into()) }
    }

    fn arguments(&self) -> Vec<String> {
        std::iter::once(PROGRAM_NAME.to_owned()).chain(self.guest.call.arguments.iter().cloned()).collect()
    }

    fn environment(&self) -> Vec<String> {
        self.guest.call.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}
