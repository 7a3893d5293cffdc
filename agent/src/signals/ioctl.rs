//! The ioctl by which drivers tell their statistics: with the packet socket the one place of `unsafe`.
//!
//! Owns the four questions and the memory that the kernel writes into. Must not know what statistics mean. Layouts:
//! `linux/ethtool.h`, `linux/sockios.h`.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
};

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1B;
const ETHTOOL_GSTATS: u32 = 0x1D;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETH_SS_STATS: u32 = 1;
/// Bytes of a statistic's name.
const NAME: usize = 32;
/// Of a driver with more statistics none is asked for.
const MOST: usize = 8192;
/// The kernel writes as many as the driver has at that moment, whatever was told before: room for many times [`MOST`].
/// Pages that are never written take no memory.
const ROOM: usize = 16 * MOST * NAME / 8;

/// Where names of a driver are in `struct ethtool_drvinfo`, each as long as a statistic's.
const DRIVER: usize = 4;

/// What a driver tells of an interface.
pub(crate) struct Ethtool {
    socket: OwnedFd,
    buffer: Vec<u64>,
}

impl Ethtool {
    /// For the interfaces of this thread's network namespace.
    pub(crate) fn open() -> Result<Self, Errno> {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, buffer: vec![0; ROOM] })
    }

    /// How many statistics the interface has.
    pub(crate) fn count(&mut self, interface: &str) -> io::Result<usize> {
        self.ask(interface, [ETHTOOL_GSSET_INFO, 0], 1 << ETH_SS_STATS)?;
        let [masked, count] = [self.buffer[1], self.buffer[2]];
        // Without the bit the kernel has written no number.
        let count = if masked == 0 { 0 } else { low_half(count) as usize };
        if count <= MOST { Ok(count) } else { Err(io::Error::other(format!("its driver has {count}"))) }
    }

    /// Their names, in order.
    pub(crate) fn names(&mut self, interface: &str, count: usize) -> io::Result<Vec<String>> {
        if count > MOST {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        // Behind the two words is the number of names, and behind that they begin, in the middle of a word.
        self.ask(interface, [ETHTOOL_GSTRINGS, ETH_SS_STATS], count as u64)?;
        let told = low_half(self.buffer[1]) as usize;
        let bytes: Vec<u8> =
            self.buffer[1..].iter().take(1 + count * NAME / 8).flat_map(|word| word.to_ne_bytes()).collect();
        Ok(bytes[4..].chunks_exact(NAME).take(told.min(count)).map(text).collect())
    }

    /// Their values, in the same order.
    pub(crate) fn values(&mut self, interface: &str, count: usize) -> io::Result<&[u64]> {
        if count > MOST {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        self.ask(interface, [ETHTOOL_GSTATS, count as u32], 0)?;
        let told = high_half(self.buffer[0]) as usize;
        if told == count { Ok(&self.buffer[1..=count]) } else { Err(io::Error::from(io::ErrorKind::InvalidData)) }
    }

    /// The driver's name, its version, that of its firmware, and the bus address, as far as it tells them.
    pub(crate) fn driver(&mut self, interface: &str) -> io::Result<[String; 4]> {
        self.ask(interface, [ETHTOOL_GDRVINFO, 0], 0)?;
        let words = self.buffer.iter().take((DRIVER + 4 * NAME).div_ceil(8));
        let bytes: Vec<u8> = words.flat_map(|word| word.to_ne_bytes()).collect();
        Ok(std::array::from_fn(|at| text(&bytes[DRIVER + at * NAME..][..NAME])))
    }

    /// The buffer begins with two half words and one word; the kernel reads them and writes its answer over them.
    fn ask(&mut self, interface: &str, command: [u32; 2], then: u64) -> io::Result<()> {
        // SAFETY: an `ifreq` of nothing but zeros is a valid one.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // One byte is left for the nought at the end.
        if interface.len() >= request.ifr_name.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from as libc::c_char;
        }
        let [first, second] = command.map(u32::to_ne_bytes);
        let mut word = [0; 8];
        word[..4].copy_from_slice(&first);
        word[4..].copy_from_slice(&second);
        self.buffer[..3].copy_from_slice(&[u64::from_ne_bytes(word), then, 0]);
        request.ifr_ifru.ifru_data = self.buffer.as_mut_ptr().cast();
        // SAFETY: the kernel reads the `ifreq` and the head of the buffer, and writes the buffer only: one number,
        // four names in a struct of less than 200 bytes, or as many names or numbers as the driver has. Whoever asks for those was told before that they are at most
        // MOST, and the buffer, which nobody else holds meanwhile, has room for sixteen times as many names.
        let done = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A name up to the nought at its end.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The half word that comes first in memory.
fn low_half(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

fn high_half(word: u64) -> u32 {
    let [.., a, b, c, d] = word.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}
