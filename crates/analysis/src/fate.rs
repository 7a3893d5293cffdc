//! How far a connection has come.
//!
//! Owns what of it is told apart, as Wireshark does. Must not know what goes wrong.

use crate::detail::{ACK, FIN, RST, SYN, Segment};

/// How far a connection has come, a bit each, as Wireshark counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fate(u8);

/// What Wireshark calls how far a connection has come (`tcp.completeness`), in the order of [`Fate::kind`].
pub const FATES: [&str; 7] =
    ["syn_sent", "client_established", "established", "data", "complete_no_data", "complete_with_data", "incomplete"];

impl Fate {
    /// It was begun.
    pub const SYN: u8 = 1;
    /// The beginning was answered.
    pub const SYN_ACK: u8 = 2;
    /// Something was acknowledged.
    pub const ACK: u8 = 4;
    /// It carried data.
    pub const DATA: u8 = 8;
    /// An end has sent its last.
    pub const FIN: u8 = 16;
    /// It was reset.
    pub const RST: u8 = 32;

    /// One of these has happened.
    pub fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// Which of [`FATES`] it is: the last one of those whose beginning was not seen, or not answered in order.
    pub fn kind(self) -> usize {
        const BEGUN: u8 = Fate::SYN | Fate::SYN_ACK | Fate::ACK;
        let is_over = self.has(Self::FIN | Self::RST);
        match self.0 & !(Self::FIN | Self::RST) {
            Self::SYN if !is_over => 0,
            3 if !is_over => 1,
            BEGUN if !is_over => 2,
            15 if !is_over => 3,
            BEGUN => 4,
            15 => 5,
            _ => 6,
        }
    }

    /// A segment comes.
    pub(crate) fn advance(&mut self, segment: &Segment<'_>, is_first: bool) {
        let begins = segment.has(SYN) && !segment.has(ACK);
        if is_first {
            self.0 = if begins { Self::SYN } else { 0 };
            return;
        }
        if segment.has(ACK) {
            self.0 |= match (segment.has(SYN), segment.length) {
                (true, _) => Self::SYN_ACK,
                (false, 0) => Self::ACK,
                (false, _) => Self::DATA,
            };
            self.0 |= if segment.has(FIN) { Self::FIN } else { 0 };
        }
        self.0 |= if segment.has(RST) { Self::RST } else { 0 };
    }
}
