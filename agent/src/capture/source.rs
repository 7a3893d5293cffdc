//! The packet socket of one interface (AF_PACKET, TPACKET_V3), with `unsafe` for its memory.
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

use super::{
    packet::RawPacket,
    program::{self, Facts, Instruction, Sieve},
};

/// So many packets ahead of the one that is read, where they are as long, the headers are fetched: another processor has
/// written them.
const AHEAD: usize = 4;
/// A line of the processor's cache.
const LINE: usize = 64;

/// A block that is not full is handed over after so many milliseconds.
pub const RETIRE_MILLIS: u32 = 100;

/// An operation on a packet socket that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct SocketError {
    /// What was tried.
    pub operation: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

impl SocketError {
    fn last(operation: &'static str) -> Self {
        Self { operation, source: io::Error::last_os_error() }
    }
}

/// The memory that one packet socket shares with the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of a block; a power of two, as the kernel would round it up to one.
    pub block: usize,
    /// Blocks.
    pub blocks: usize,
}

impl Memory {
    /// Memory for the largest snaplen.
    const LARGEST: usize = 512 * 1024;
    const SMALLEST: usize = 16 * 1024;
    /// What the sockets of a few interfaces take together.
    const USUAL: usize = 16 * 1024 * 1024;
    /// What the sockets of however many interfaces take together.
    const MOST: usize = 64 * 1024 * 1024;

    /// One socket's part when a capture opens that many of them.
    pub fn of(sockets: usize) -> Self {
        let sockets = sockets.max(1);
        // A few sockets get four large blocks each at the least; hundreds share what all may take.
        Self::within((Self::USUAL / sockets).max(4 * Self::LARGEST).min(Self::MOST / sockets))
    }

    /// As much as has room in so many bytes, and two small blocks at the least.
    pub fn within(share: usize) -> Self {
        let mut block = Self::LARGEST;
        while block > Self::SMALLEST && share / block < 3 {
            block /= 2;
        }
        Self { block, blocks: (share / block).max(2) }
    }

    /// All of it.
    pub fn bytes(self) -> usize {
        self.block * self.blocks
    }

    /// The longest packet that comes whole.
    pub fn longest(self) -> u32 {
        // The kernel's own headers, in the block and before the packet, and the room that it leaves between them.
        (self.block - 256) as u32
    }
}

/// How a packet socket is set up.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The interface.
    pub index: u32,
    /// The filter as libpcap compiled it.
    pub program: &'a [Instruction],
    /// The kernel takes the link layer's header off, and the packet gets a LINUX_SLL header instead.
    pub cooked: bool,
    /// Every packet would come twice, going out and coming in.
    pub loopback: bool,
    /// Bytes kept of each packet.
    pub snaplen: u32,
    /// Its memory.
    pub memory: Memory,
}

/// The packet socket of one interface, with the memory that packets come through.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    map: NonNull<u8>,
    memory: Memory,
    next: usize,
    snaplen: usize,
    /// Where a packet is put together that has another header in the file than in memory.
    cooked: Option<Vec<u8>>,
    /// The filter, where the kernel does not take it.
    sieve: Option<Sieve>,
    /// Loopback on a kernel that cannot keep outgoing packets off the socket: each is counted twice.
    twice: bool,
    loopback: bool,
    /// Packets that the kernel says it has put into the memory, and those taken out of it.
    passed: u64,
    handed: u64,
}

// SAFETY: the map belongs to this value alone and is only touched through `&mut self`.
unsafe impl Send for PacketSocket {}

/// Whether this process may open packet sockets at all.
pub fn permitted() -> io::Result<()> {
    open_socket(false).map(drop)
}

/// Protocol 0: nothing is received until the memory and the filter are in place and the socket is bound.
fn open_socket(cooked: bool) -> io::Result<OwnedFd> {
    let kind = if cooked { libc::SOCK_DGRAM } else { libc::SOCK_RAW };
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl PacketSocket {
    /// Opens a socket on one interface and starts to receive.
    pub fn open(setup: &Setup<'_>) -> Result<Self, SocketError> {
        let socket =
            open_socket(setup.cooked).map_err(|source| SocketError { operation: "open a packet socket", source })?;
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        set_option(&socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)
            .map_err(|source| SocketError { operation: "ask for TPACKET_V3", source })?;
        let sieve = filter(&socket, setup)?;
        // Linux 4.20; before that they are passed over here.
        let ignored =
            setup.loopback && set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32).is_ok();
        let memory = allocate(&socket, setup.memory)?;
        let map = map(&socket, memory)?;
        let opened = Self {
            socket,
            map,
            memory,
            next: 0,
            snaplen: setup.snaplen as usize,
            cooked: setup.cooked.then(Vec::new),
            sieve,
            twice: setup.loopback && !ignored,
            loopback: setup.loopback,
            passed: 0,
            handed: 0,
        };
        opened.bind(setup.index)?;
        Ok(opened)
    }

    fn bind(&self, interface_index: u32) -> Result<(), SocketError> {
        // SAFETY: an all-zero sockaddr_ll is valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = interface_index as i32;
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the pointer and length describe `address`.
        let bound = unsafe { libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), length) };
        if bound < 0 { Err(SocketError::last("bind to the interface")) } else { Ok(()) }
    }

    /// False once its interface was deleted: it never brings a packet again, also when another of that name comes.
    pub fn is_bound(&self) -> bool {
        // SAFETY: an all-zero sockaddr_ll is valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the pointer and length describe `address`.
        let got = unsafe { libc::getsockname(self.socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
        got == 0 && address.sll_ifindex > 0
    }

    /// Stops new packets from coming; those in memory can still be drained.
    pub fn refuse_further(&self) -> Result<(), SocketError> {
        let refuse = [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 }];
        attach(&self.socket, &refuse).map_err(|source| SocketError { operation: "stop receiving", source })
    }

    /// The agent filters packets itself, because the kernel does not take the filter.
    pub fn filters_here(&self) -> bool {
        self.sieve.is_some()
    }

    /// The memory that it has got.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// More than half of its memory waits to be drained.
    pub fn is_behind(&self) -> bool {
        // Blocks are filled in their order.
        let middle = (self.next + self.memory.blocks / 2) % self.memory.blocks;
        // SAFETY: `middle` is below `blocks`, so the block lies in the map.
        let descriptor = unsafe { self.map.add(middle * self.memory.block) }.cast::<libc::tpacket_block_desc>();
        // SAFETY: block_status is an aligned u32 in the map that the kernel writes; hence atomic.
        let status = unsafe { AtomicU32::from_ptr(&raw mut (*descriptor.as_ptr()).hdr.bh1.block_status) };
        status.load(Ordering::Relaxed) & libc::TP_STATUS_USER != 0
    }

    /// Hands every packet of every finished block to `each`, until it breaks or a round is done. Returns the number
    /// of blocks.
    pub fn drain(&mut self, mut each: impl FnMut(RawPacket<'_>) -> ControlFlow<()>) -> usize {
        for done in 0..self.memory.blocks {
            // SAFETY: `next` is below `blocks`, so the block lies in the map.
            let block = unsafe { self.map.add(self.next * self.memory.block) };
            let descriptor = block.cast::<libc::tpacket_block_desc>();
            // SAFETY: block_status is an aligned u32 in the map that the kernel writes; hence atomic.
            let status = unsafe { AtomicU32::from_ptr(&raw mut (*descriptor.as_ptr()).hdr.bh1.block_status) };
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return done;
            }
            // SAFETY: the kernel does not write into a block whose status is USER.
            let (bytes, header) = unsafe {
                (std::slice::from_raw_parts(block.as_ptr(), self.memory.block), (*descriptor.as_ptr()).hdr.bh1)
            };
            self.handed += u64::from(header.num_pkts);
            let flow = if self.sieve.is_none() && self.cooked.is_none() && !self.loopback {
                walk(bytes, header.num_pkts, header.offset_to_first_pkt as usize, &mut |packet, _| each(packet))
            } else {
                let (cooked, sieve, snaplen) = (&mut self.cooked, &mut self.sieve, self.snaplen);
                let loopback = self.loopback;
                walk(bytes, header.num_pkts, header.offset_to_first_pkt as usize, &mut |packet, facts| {
                    if loopback && packet.outgoing {
                        return ControlFlow::Continue(());
                    }
                    let mut packet = match cooked.as_mut() {
                        Some(whole) => program::cook(&packet, &facts, whole),
                        None => packet,
                    };
                    if let Some(sieve) = sieve {
                        if run(sieve.for_packet(&packet, &facts), packet.data, packet.wire_length) == 0 {
                            return ControlFlow::Continue(());
                        }
                        packet.data = &packet.data[..packet.data.len().min(snaplen)];
                    }
                    each(packet)
                })
            };
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % self.memory.blocks;
            if flow.is_break() {
                return done + 1;
            }
        }
        self.memory.blocks
    }

    /// Packets dropped by the kernel since the last call.
    pub fn drops(&mut self) -> Result<u64, SocketError> {
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
            return Err(SocketError::last("read the packet socket's drop counter"));
        }
        self.passed += u64::from(counts.tp_packets.saturating_sub(counts.tp_drops));
        let drops = u64::from(counts.tp_drops);
        Ok(if self.twice { drops.div_ceil(2) } else { drops })
    }

    /// All that the kernel had counted when [`Self::drops`] was asked last has been handed over.
    pub fn is_drained(&self) -> bool {
        self.handed >= self.passed
    }

    /// The interface's pending error, such as that it went down.
    pub fn pending_error(&self) -> Option<io::Error> {
        rustix::net::sockopt::socket_error(&self.socket).ok().and_then(Result::err).map(Into::into)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for PacketSocket {
    fn drop(&mut self) {
        // SAFETY: the map was made with this length and nothing borrows from it any more.
        unsafe { libc::munmap(self.map.as_ptr().cast(), self.memory.bytes()) };
    }
}

/// Gives the kernel the filter, or, where it does not take it, returns it for use here.
fn filter(socket: &OwnedFd, setup: &Setup<'_>) -> Result<Option<Sieve>, SocketError> {
    let refused = |source| SocketError { operation: "attach the capture filter", source };
    if let Some(program) = program::for_kernel(setup.program, setup.cooked, setup.snaplen) {
        match attach(socket, &program) {
            Ok(()) => return Ok(None),
            // Too long for the memory that this kernel lends, or something in it that it does not know.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EINVAL)) => {}
            Err(source) => return Err(refused(source)),
        }
    }
    let everything =
        [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: setup.memory.longest() }];
    attach(socket, &everything).map_err(refused)?;
    Ok(Some(Sieve::new(setup.program)))
}

/// Gives the socket that much memory, or less where memory is short.
fn allocate(socket: &OwnedFd, mut memory: Memory) -> Result<Memory, SocketError> {
    loop {
        let request = libc::tpacket_req3 {
            tp_block_size: memory.block as u32,
            tp_block_nr: memory.blocks as u32,
            // Frames have no fixed size in this version; the product must match.
            tp_frame_size: memory.block as u32,
            tp_frame_nr: memory.blocks as u32,
            tp_retire_blk_tov: RETIRE_MILLIS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        match set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request) {
            Ok(()) => return Ok(memory),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && memory.blocks > 3 => memory.blocks /= 2,
            Err(source) => return Err(SocketError { operation: "allocate packet memory", source }),
        }
    }
}

fn map(socket: &OwnedFd, memory: Memory) -> Result<NonNull<u8>, SocketError> {
    // SAFETY: a fresh shared mapping of the memory; the kernel picks the address.
    let map = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            memory.bytes(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            socket.as_raw_fd(),
            0,
        )
    };
    if map == libc::MAP_FAILED {
        return Err(SocketError::last("map packet memory"));
    }
    NonNull::new(map.cast()).ok_or_else(|| SocketError::last("map packet memory"))
}

fn attach(socket: &OwnedFd, instructions: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(instructions.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len: length, filter: instructions.as_ptr().cast_mut() };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// libpcap's program in the form that the kernel takes.
pub fn instructions(program: &[BpfInstruction]) -> &[Instruction] {
    const {
        assert!(size_of::<BpfInstruction>() == size_of::<Instruction>());
        assert!(align_of::<BpfInstruction>() == align_of::<Instruction>());
    }
    // SAFETY: libpcap's `bpf_insn` and the kernel's `sock_filter` are the same four numbers.
    unsafe { std::slice::from_raw_parts(program.as_ptr().cast(), program.len()) }
}

unsafe extern "C" {
    /// libpcap's interpreter.
    fn bpf_filter(
        program: *const Instruction,
        packet: *const u8,
        wire: libc::c_uint,
        captured: libc::c_uint,
    ) -> libc::c_uint;
}

/// What a program of libpcap says of a packet: bytes to keep, 0 for none.
fn run(program: &[Instruction], data: &[u8], wire_length: u32) -> u32 {
    // SAFETY: libpcap wrote the program, whose every jump stays inside it and which ends in a return; the interpreter
    // reads the packet within its length only.
    unsafe { bpf_filter(program.as_ptr(), data.as_ptr(), wire_length, data.len() as libc::c_uint) }
}

fn set_option<T>(socket: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and length describe `value`, which the kernel only reads.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const *value).cast(), length) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has what begins there, the kernel's header and the packet's own, in the cache before it is read.
#[inline]
fn fetch(block: &[u8], at: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in [at, at + LINE] {
        if line < block.len() {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: the address lies in the block, and it is only a hint.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(block.as_ptr().add(line).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (block, at, LINE);
}

/// Walks a block's packets by the offsets in their headers, each checked against the block's end.
fn walk(
    block: &[u8],
    packets: u32,
    mut at: usize,
    each: &mut impl FnMut(RawPacket<'_>, Facts<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    const HEADER: usize = size_of::<libc::tpacket3_hdr>();
    const ADDRESS: usize = size_of::<libc::sockaddr_ll>();
    const PACKET_TYPE: usize = std::mem::offset_of!(libc::sockaddr_ll, sll_pkttype);
    for _ in 0..packets {
        if at + HEADER + ADDRESS > block.len() {
            break;
        }
        // SAFETY: the header lies in the block, has no invalid bit patterns and is read unaligned.
        let header = unsafe { block.as_ptr().add(at).cast::<libc::tpacket3_hdr>().read_unaligned() };
        fetch(block, at.saturating_add(AHEAD * header.tp_next_offset as usize));
        let start = at + usize::from(header.tp_mac);
        let Some(data) = block.get(start..start + header.tp_snaplen as usize) else { break };
        let vlan = (header.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then(|| {
            let named = header.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
            (if named { header.hv1.tp_vlan_tpid } else { 0x8100 }, header.hv1.tp_vlan_tci as u16)
        });
        let packet = RawPacket {
            nanos: u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec),
            wire_length: header.tp_len,
            data,
            vlan,
            outgoing: block[at + HEADER + PACKET_TYPE] == libc::PACKET_OUTGOING,
        };
        each(packet, Facts(&block[at + HEADER..at + HEADER + ADDRESS]))?;
        if header.tp_next_offset == 0 {
            break;
        }
        at += header.tp_next_offset as usize;
    }
    ControlFlow::Continue(())
}
