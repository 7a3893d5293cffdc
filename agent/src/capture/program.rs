//! Filter programs: which of them the kernel takes, and what stands in for the kernel where it does not.
//!
//! Owns the rewriting that libpcap does between compiling a filter and attaching it. Pure; the socket and libpcap's
//! interpreter are in `source`.

use super::packet::RawPacket;

/// One instruction, as the kernel and libpcap both have them.
pub type Instruction = libc::sock_filter;

/// The kernel takes no longer program.
const LONGEST: usize = 4096;
/// Loads from here on ask for what lies beside the packet (`SKF_AD_OFF`).
const BESIDE: u32 = 0xFFFF_F000;
/// The header of LINKTYPE_LINUX_SLL.
pub const SLL: usize = 16;

const CLASS: u16 = 0x07;
const MODE: u16 = 0xE0;
const LOAD: u16 = 0x00;
const LOAD_INDEX: u16 = 0x01;
const JUMP_ALWAYS: u16 = 0x05;
const RETURN_CONSTANT: u16 = 0x06;
const ABSOLUTE: u16 = 0x20;
const INDIRECT: u16 = 0x40;
const HEADER_LENGTH: u16 = 0xA0;
const LOAD_IMMEDIATE: u16 = 0x00;

/// What the kernel says of a packet beside its bytes: a `sockaddr_ll`.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a>(pub &'a [u8]);

impl Facts<'_> {
    fn u16_at(&self, at: usize) -> u16 {
        self.0.get(at..at + 2).map_or(0, |two| u16::from_ne_bytes([two[0], two[1]]))
    }

    fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or_default()
    }

    fn protocol(&self) -> u16 {
        u16::from_be(self.u16_at(2))
    }

    fn interface(&self) -> u32 {
        self.0.get(4..8).map_or(0, |four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
    }

    fn hardware(&self) -> u16 {
        self.u16_at(8)
    }

    fn kind(&self) -> u8 {
        self.byte(10)
    }
}

/// The program as the kernel takes it; `None` where it takes none such: too long, or one that jumps back.
pub fn for_kernel(program: &[Instruction], cooked: bool, snaplen: u32) -> Option<Vec<Instruction>> {
    if program.len() > LONGEST {
        return None;
    }
    let header = if cooked { SLL as u32 } else { 0 };
    let rewritten = program.iter().enumerate().map(|(at, &instruction)| {
        let mut instruction = instruction;
        let Instruction { code, k, .. } = instruction;
        match code {
            JUMP_ALWAYS if k as usize >= program.len() - at - 1 => return None,
            // What is kept of a packet that matches; 0 would mean that it does not.
            RETURN_CONSTANT if k != 0 => instruction.k = snaplen.saturating_sub(header).max(1),
            _ => {}
        }
        let load =
            matches!(code & CLASS, LOAD | LOAD_INDEX) && matches!(code & MODE, ABSOLUTE | INDIRECT | HEADER_LENGTH);
        if cooked && load && k < BESIDE {
            // The kernel has no such header before the packet: what it would hold lies beside it.
            instruction.k = match k {
                0 if code & MODE == ABSOLUTE => BESIDE + 4,
                14 if code & MODE == ABSOLUTE => BESIDE,
                k => k.checked_sub(header)?,
            };
        }
        Some(instruction)
    });
    rewritten.collect()
}

/// Why the kernel takes no such program, for people.
pub fn why_not(program: &[Instruction]) -> String {
    if program.len() > LONGEST {
        format!("it has {} instructions and the kernel accepts at most {LONGEST}", program.len())
    } else {
        "the kernel does not accept this kind of filter".to_owned()
    }
}

/// A filter that is applied to every packet here.
#[derive(Debug)]
pub struct Sieve {
    program: Vec<Instruction>,
    /// Instructions that ask for what lies beside the packet, and what they ask for.
    beside: Vec<(usize, u32)>,
}

impl Sieve {
    /// That program of libpcap's.
    pub fn new(program: &[Instruction]) -> Self {
        let beside = |(at, one): (usize, &Instruction)| {
            (one.code & CLASS == LOAD && one.code & MODE == ABSOLUTE && one.k >= BESIDE).then(|| (at, one.k - BESIDE))
        };
        Self { program: program.to_vec(), beside: program.iter().enumerate().filter_map(beside).collect() }
    }

    /// The program for this packet: libpcap's interpreter knows nothing of what lies beside a packet, so the answers
    /// are written into it.
    pub fn for_packet(&mut self, packet: &RawPacket<'_>, facts: &Facts<'_>) -> &[Instruction] {
        for &(at, asked) in &self.beside {
            let answer = match asked {
                0 => u32::from(facts.protocol()),
                4 => u32::from(facts.kind()),
                8 => facts.interface(),
                28 => u32::from(facts.hardware()),
                44 => u32::from(packet.vlan.map_or(0, |(_, tag)| tag)),
                48 => u32::from(packet.vlan.is_some()),
                60 => u32::from(packet.vlan.map_or(0, |(kind, _)| kind)),
                _ => 0,
            };
            self.program[at] = Instruction { code: LOAD_IMMEDIATE, jt: 0, jf: 0, k: answer };
        }
        &self.program
    }
}

/// Puts a LINUX_SLL header before a packet that came without its link layer's, with its VLAN tag, as libpcap does.
pub fn cook<'a>(packet: &RawPacket<'_>, facts: &Facts<'_>, whole: &'a mut Vec<u8>) -> RawPacket<'a> {
    whole.clear();
    whole.extend(u16::from(facts.kind()).to_be_bytes());
    whole.extend(facts.hardware().to_be_bytes());
    whole.extend(u16::from(facts.byte(11)).to_be_bytes());
    whole.extend((12..20).map(|at| facts.byte(at)));
    let mut added = SLL as u32;
    if let Some((kind, tag)) = packet.vlan {
        whole.extend(kind.to_be_bytes());
        whole.extend(tag.to_be_bytes());
        added += 4;
    }
    whole.extend(facts.protocol().to_be_bytes());
    whole.extend_from_slice(packet.data);
    RawPacket { data: whole, wire_length: packet.wire_length + added, vlan: None, ..*packet }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETURN: Instruction = Instruction { code: RETURN_CONSTANT, jt: 0, jf: 0, k: 65_535 };
    const LOAD_HALF: u16 = 0x28;

    /// A `sockaddr_ll` of an IPoIB packet going out of interface 7.
    fn facts() -> Vec<u8> {
        let mut bytes = vec![0; 20];
        bytes[2..4].copy_from_slice(&0x0800_u16.to_be_bytes());
        bytes[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        bytes[8..10].copy_from_slice(&32_u16.to_ne_bytes());
        bytes[10] = 4;
        bytes[11] = 8;
        bytes[12..].copy_from_slice(&[9; 8]);
        bytes
    }

    #[test]
    fn what_the_kernel_does_not_take_is_known_beforehand() {
        assert!(for_kernel(&vec![RETURN; 4096], false, 100).is_some());
        assert!(for_kernel(&vec![RETURN; 4097], false, 100).is_none());
        let back = Instruction { code: JUMP_ALWAYS, jt: 0, jf: 0, k: -1_i32 as u32 };
        assert!(for_kernel(&[RETURN, back, RETURN], false, 100).is_none());
        assert_eq!(for_kernel(&[RETURN], false, 100).expect("taken")[0].k, 100);
        assert_eq!(for_kernel(&[RETURN], true, 100).expect("taken")[0].k, 84);
    }

    #[test]
    fn a_cooked_packets_filter_looks_beside_the_packet_and_behind_the_header() {
        let load = |k| Instruction { code: LOAD_HALF, jt: 0, jf: 0, k };
        let program = for_kernel(&[load(14), load(0), load(16 + 6), RETURN], true, 100).expect("taken");
        assert_eq!(program.iter().map(|one| one.k).collect::<Vec<_>>(), [BESIDE, BESIDE + 4, 6, 84]);
        // The sender's address is nowhere in what the kernel sees.
        assert!(for_kernel(&[load(6), RETURN], true, 100).is_none());
    }

    #[test]
    fn a_cooked_header_is_libpcaps() {
        let facts = facts();
        let packet = RawPacket { nanos: 1, wire_length: 20, data: &[0x45; 20], vlan: None, outgoing: true };
        let mut whole = Vec::new();
        let cooked = cook(&packet, &Facts(&facts), &mut whole);
        assert_eq!(cooked.data[..SLL], [0, 4, 0, 32, 0, 8, 9, 9, 9, 9, 9, 9, 9, 9, 8, 0]);
        assert_eq!((cooked.wire_length, cooked.data.len()), (36, 36));
        let tagged = RawPacket { vlan: Some((0x8100, 5)), ..packet };
        assert_eq!(cook(&tagged, &Facts(&facts), &mut whole).data[14..20], [0x81, 0, 0, 5, 8, 0]);
    }

    #[test]
    fn what_lies_beside_a_packet_is_written_into_the_program() {
        let load = |k| Instruction { code: LOAD_HALF, jt: 0, jf: 0, k };
        let mut sieve = Sieve::new(&[load(BESIDE + 48), load(BESIDE + 44), load(BESIDE + 8), load(12), RETURN]);
        let packet = RawPacket { nanos: 1, wire_length: 20, data: &[], vlan: Some((0x8100, 5)), outgoing: true };
        let facts = facts();
        let program = sieve.for_packet(&packet, &Facts(&facts));
        assert_eq!(program.iter().map(|one| one.k).collect::<Vec<_>>(), [1, 5, 7, 12, 65_535]);
        let untagged = RawPacket { vlan: None, ..packet };
        assert_eq!(sieve.for_packet(&untagged, &Facts(&facts))[0].k, 0);
    }
}
