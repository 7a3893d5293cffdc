//! Who asks for a neighbour's hardware address, and who answers.

use crate::decode::{Class, Headers};

/// A question for an address of this link, or its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// It is a question.
    pub asks: bool,
    /// The address that is meant, IPv4 as IPv4-mapped.
    pub address: u128,
    /// Who asks, or is answered; 0 where that is not said.
    pub asker: u128,
}

impl Neighbour {
    /// What ARP or Neighbour Discovery says; `None` where a packet is neither, and where somebody only makes itself known
    /// or looks whether an address is free.
    pub fn of(headers: &Headers, bytes: &[u8]) -> Option<Self> {
        match headers.class {
            Class::Arp => arp(bytes.get(headers.place.network as usize..)?),
            Class::Icmp6 if headers.place.transport > 0 => discovery(headers, bytes),
            _ => None,
        }
    }
}

fn arp(bytes: &[u8]) -> Option<Neighbour> {
    let fixed = bytes.first_chunk::<28>()?;
    if fixed[2..6] != [8, 0, 6, 4] {
        return None;
    }
    let address = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let (sender, target) = (address(14), address(24));
    let mapped = |address: u32| 0xFFFF_0000_0000 | u128::from(address);
    if sender == target || sender == 0 {
        return None;
    }
    match fixed[7] {
        1 => Some(Neighbour { asks: true, address: mapped(target), asker: mapped(sender) }),
        2 => Some(Neighbour { asks: false, address: mapped(sender), asker: mapped(target) }),
        _ => None,
    }
}

fn discovery(headers: &Headers, bytes: &[u8]) -> Option<Neighbour> {
    let at = headers.place.transport as usize;
    let tuple = headers.tuple?;
    let asks = match bytes.get(at)? {
        135 => true,
        136 => false,
        _ => return None,
    };
    let address = bytes.get(at + 8..)?.first_chunk::<16>().map(|&all| u128::from_be_bytes(all))?;
    let asker = if asks { tuple.source } else { tuple.destination };
    (asker != 0).then_some(Neighbour { asks, address, asker })
}
