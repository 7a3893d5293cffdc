//! How many files may be open at once.
//!
//! Owns the process's limit. Must not know what is opened.

use std::{fs, io};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// Left for what else the program opens.
const SPARE: u64 = 16;
/// More would take memory, not descriptors.
const MOST: u64 = 256;
/// What macOS takes where it says that there is no limit.
const HIGH: u64 = 10_240;

/// How many more files may be opened, once the soft limit is as high as it goes.
pub(super) fn files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let high = maximum.unwrap_or(HIGH);
    let limit = match current {
        Some(current) if current < high => {
            let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(high), maximum });
            if raised.is_ok() { high } else { current }
        }
        Some(current) => current,
        None => HIGH,
    };
    limit.saturating_sub(open_now() + SPARE).min(MOST) as usize
}

/// Files that this process has open, where the system tells.
fn open_now() -> u64 {
    fs::read_dir("/dev/fd").map_or(SPARE, |entries| entries.count() as u64)
}

/// No more files can be opened.
pub(super) fn is_reached(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| errno == Errno::MFILE || errno == Errno::NFILE)
}
