//! The kernel's packet ring of one interface (AF_PACKET, TPACKET_V3): the one file with `unsafe`.
//!
//! Owns the socket, its memory map and the walk over its blocks. Must not know files, statistics or protocols.
//! Layouts: `linux/if_packet.h`, Documentation/networking/packet_mmap.rst. Every offset that the kernel wrote is
//! checked against its block before it is followed.
#![allow(unsafe_code)]

use std::{
    io,
    ops::ControlFlow,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use nodewatch_filter::BpfInstruction;

/// Room for the largest snaplen in one block.
const BLOCK: usize = 512 * 1024;
const MAX_BLOCKS: usize = 32;
const MIN_BLOCKS: usize = 4;
/// All rings of a capture together take at most this much memory.
const ALL_RINGS: usize = MAX_BLOCKS * BLOCK;
/// A block that is not full is handed over after so many milliseconds.
pub const RETIRE_MILLIS: u32 = 100;

/// A ring operation the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct RingError {
    /// What was tried.
    pub operation: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

impl RingError {
    fn last(operation: &'static str) -> Self {
        Self { operation, source: io::Error::last_os_error() }
    }
}

/// One packet as the kernel hands it over.
#[derive(Debug, Clone, Copy)]
pub struct RawPacket<'a> {
    /// Nanoseconds since the Unix epoch.
    pub nanos: u64,
    /// Its length on the wire.
    pub wire_length: u32,
    /// Its captured bytes.
    pub data: &'a [u8],
    /// The VLAN tag (TPID, TCI) that the kernel took out of it.
    pub vlan: Option<(u16, u16)>,
    /// Sent by this host, as seen on its way out.
    pub outgoing: bool,
}

/// The packet ring of one interface.
#[derive(Debug)]
pub struct PacketRing {
    socket: OwnedFd,
    map: NonNull<u8>,
    blocks: usize,
    next: usize,
}

// SAFETY: the map belongs to this value alone and is only touched through `&mut self`.
unsafe impl Send for PacketRing {}

/// Whether this process may open packet sockets at all.
pub fn permitted() -> io::Result<()> {
    open_socket().map(drop)
}

/// Protocol 0: nothing is received until the ring and the filter are in place and the socket is bound.
fn open_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl PacketRing {
    /// Opens a ring on one interface, `rings` being the number that one capture opens, and starts to receive.
    pub fn open(interface_index: u32, filter: &[BpfInstruction], rings: usize) -> Result<Self, RingError> {
        let socket = open_socket().map_err(|source| RingError { operation: "open a packet socket", source })?;
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        set_option(&socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)
            .map_err(|source| RingError { operation: "ask for TPACKET_V3", source })?;
        attach(&socket, filter.as_ptr().cast(), filter.len())?;
        let blocks = allocate(&socket, (ALL_RINGS / BLOCK / rings.max(1)).clamp(MIN_BLOCKS, MAX_BLOCKS))?;
        let map = map(&socket, blocks)?;
        let ring = Self { socket, map, blocks, next: 0 };
        ring.bind(interface_index)?;
        Ok(ring)
    }

    fn bind(&self, interface_index: u32) -> Result<(), RingError> {
        // SAFETY: an all-zero sockaddr_ll is valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = interface_index as i32;
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the pointer and length describe `address`.
        let bound = unsafe { libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), length) };
        if bound < 0 { Err(RingError::last("bind to the interface")) } else { Ok(()) }
    }

    /// Stops new packets from coming; those in the ring can still be drained.
    pub fn refuse_further(&self) -> Result<(), RingError> {
        let refuse = [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 }];
        attach(&self.socket, refuse.as_ptr(), refuse.len())
    }

    /// Hands every packet of every finished block to `each`, until it breaks or a round is done. Returns the number
    /// of blocks.
    pub fn drain(&mut self, mut each: impl FnMut(RawPacket<'_>) -> ControlFlow<()>) -> usize {
        for done in 0..self.blocks {
            // SAFETY: `next` is below `blocks`, so the block lies in the map.
            let block = unsafe { self.map.add(self.next * BLOCK) };
            let descriptor = block.cast::<libc::tpacket_block_desc>();
            // SAFETY: block_status is an aligned u32 in the map that the kernel writes; hence atomic.
            let status = unsafe { AtomicU32::from_ptr(&raw mut (*descriptor.as_ptr()).hdr.bh1.block_status) };
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return done;
            }
            // SAFETY: the kernel does not write into a block whose status is USER.
            let (bytes, header) =
                unsafe { (std::slice::from_raw_parts(block.as_ptr(), BLOCK), (*descriptor.as_ptr()).hdr.bh1) };
            let flow = walk(bytes, header.num_pkts, header.offset_to_first_pkt as usize, &mut each);
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % self.blocks;
            if flow.is_break() {
                return done + 1;
            }
        }
        self.blocks
    }

    /// Packets that passed the filter and packets dropped by the ring, since the last call.
    pub fn counts(&self) -> Result<(u64, u64), RingError> {
        // SAFETY: an all-zero tpacket_stats_v3 is valid.
        let mut counts: libc::tpacket_stats_v3 = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::tpacket_stats_v3>() as libc::socklen_t;
        // SAFETY: the pointer and length describe `counts`.
        let got = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut counts).cast(),
                &raw mut length,
            )
        };
        if got < 0 {
            return Err(RingError::last("read the ring's drop counter"));
        }
        Ok((u64::from(counts.tp_packets), u64::from(counts.tp_drops)))
    }

    /// The interface's pending error, such as that it went down.
    pub fn pending_error(&self) -> Option<io::Error> {
        rustix::net::sockopt::socket_error(&self.socket).ok().and_then(Result::err).map(Into::into)
    }
}

impl AsFd for PacketRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for PacketRing {
    fn drop(&mut self) {
        // SAFETY: the map was made with this length and nothing borrows from it any more.
        unsafe { libc::munmap(self.map.as_ptr().cast(), self.blocks * BLOCK) };
    }
}

/// Gives the socket a ring of that many blocks, or of fewer where memory is short.
fn allocate(socket: &OwnedFd, mut blocks: usize) -> Result<usize, RingError> {
    loop {
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK as u32,
            tp_block_nr: blocks as u32,
            // Frames have no fixed size in this version; the product must match.
            tp_frame_size: BLOCK as u32,
            tp_frame_nr: blocks as u32,
            tp_retire_blk_tov: RETIRE_MILLIS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        match set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request) {
            Ok(()) => return Ok(blocks),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && blocks > MIN_BLOCKS => blocks /= 2,
            Err(source) => return Err(RingError { operation: "allocate the packet ring", source }),
        }
    }
}

fn map(socket: &OwnedFd, blocks: usize) -> Result<NonNull<u8>, RingError> {
    // SAFETY: a fresh shared mapping of the ring; the kernel picks the address.
    let map = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            blocks * BLOCK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            socket.as_raw_fd(),
            0,
        )
    };
    if map == libc::MAP_FAILED {
        return Err(RingError::last("map the packet ring"));
    }
    NonNull::new(map.cast()).ok_or_else(|| RingError::last("map the packet ring"))
}

/// `instructions` points at `length` filter instructions; libpcap's and the kernel's have the same layout.
fn attach(socket: &OwnedFd, instructions: *const libc::sock_filter, length: usize) -> Result<(), RingError> {
    let program = libc::sock_fprog { len: length as u16, filter: instructions.cast_mut() };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
        .map_err(|source| RingError { operation: "attach the capture filter", source })
}

fn set_option<T>(socket: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and length describe `value`, which the kernel only reads.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const *value).cast(), length) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Walks a block's packets by the offsets in their headers, each checked against the block's end.
fn walk(
    block: &[u8],
    packets: u32,
    mut at: usize,
    each: &mut impl FnMut(RawPacket<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    const HEADER: usize = size_of::<libc::tpacket3_hdr>();
    const PACKET_TYPE: usize = std::mem::offset_of!(libc::sockaddr_ll, sll_pkttype);
    for _ in 0..packets {
        if at + HEADER + size_of::<libc::sockaddr_ll>() > block.len() {
            break;
        }
        // SAFETY: the header lies in the block, has no invalid bit patterns and is read unaligned.
        let header = unsafe { block.as_ptr().add(at).cast::<libc::tpacket3_hdr>().read_unaligned() };
        let start = at + usize::from(header.tp_mac);
        let Some(data) = block.get(start..start + header.tp_snaplen as usize) else { break };
        let vlan = (header.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then(|| {
            let named = header.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
            (if named { header.hv1.tp_vlan_tpid } else { 0x8100 }, header.hv1.tp_vlan_tci as u16)
        });
        each(RawPacket {
            nanos: u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec),
            wire_length: header.tp_len,
            data,
            vlan,
            outgoing: block[at + HEADER + PACKET_TYPE] == libc::PACKET_OUTGOING,
        })?;
        if header.tp_next_offset == 0 {
            break;
        }
        at += header.tp_next_offset as usize;
    }
    ControlFlow::Continue(())
}
