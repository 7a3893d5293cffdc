//! What goes wrong between two ends, by its name.
//!
//! Owns the names, which are those of JSON too, and which of them are failures.

use serde::{Deserialize, Serialize};

/// What a user feels, or what Wireshark would say of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
#[repr(u8)]
pub enum Symptom {
    /// An attempt to connect was answered with RST.
    Refused,
    /// An attempt to connect was not answered.
    Unanswered,
    /// An attempt, or a question, was answered by an ICMP error.
    Unreachable,
    /// A connection in use was ended with RST by the end that it came from.
    Reset,
    /// The same, but the RST has come another way than that end's packets.
    ForeignReset,
    /// A question to DNS was not answered.
    DnsUnanswered,
    /// DNS answered that it failed.
    DnsFailed,
    /// A neighbour's address was asked for three times and nobody answered.
    NeighbourUnanswered,
    /// An attempt to connect had to be repeated.
    Delayed,
    /// A window stayed closed.
    Stalled,
    /// An end had sent its last when more came for it, and answered with RST.
    ClosedTooSoon,
    /// A connection was silent for long before it failed.
    IdleBefore,
    /// An answer of DNS came late.
    DnsLate,
    /// A packet was too long for a link on the way.
    TooBig,
    /// DNS knows no such name.
    DnsNoName,
    /// An answer of DNS did not fit.
    DnsTruncated,
    /// Sent again, whatever the kind.
    Retransmission,
    /// Sent again because of duplicate acknowledgments.
    FastRetransmission,
    /// Sent again although it was acknowledged: the acknowledgment was lost or late.
    SpuriousRetransmission,
    /// Overtaken by a later segment.
    OutOfOrder,
    /// Acknowledged what was acknowledged before.
    DuplicateAck,
    /// The sender takes nothing.
    ZeroWindow,
    /// The other end's window is full.
    WindowFull,
    /// Sent to see whether the other end is still there.
    KeepAlive,
    /// What came before was not seen.
    PreviousUnseen,
    /// Acknowledged what was not seen.
    AckedUnseen,
    /// Another connection between the same ports.
    PortsReused,
    /// RST was sent.
    ResetFlag,
}

impl Symptom {
    /// How many there are.
    pub const COUNT: usize = 28;

    /// All of them, failures first.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Refused,
        Self::Unanswered,
        Self::Unreachable,
        Self::Reset,
        Self::ForeignReset,
        Self::DnsUnanswered,
        Self::DnsFailed,
        Self::NeighbourUnanswered,
        Self::Delayed,
        Self::Stalled,
        Self::ClosedTooSoon,
        Self::IdleBefore,
        Self::DnsLate,
        Self::TooBig,
        Self::DnsNoName,
        Self::DnsTruncated,
        Self::Retransmission,
        Self::FastRetransmission,
        Self::SpuriousRetransmission,
        Self::OutOfOrder,
        Self::DuplicateAck,
        Self::ZeroWindow,
        Self::WindowFull,
        Self::KeepAlive,
        Self::PreviousUnseen,
        Self::AckedUnseen,
        Self::PortsReused,
        Self::ResetFlag,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::ForeignReset => "foreign_reset",
            Self::DnsUnanswered => "dns_unanswered",
            Self::DnsFailed => "dns_servfail",
            Self::NeighbourUnanswered => "neighbour_unanswered",
            Self::Delayed => "delayed",
            Self::Stalled => "stalled",
            Self::ClosedTooSoon => "closed_too_soon",
            Self::IdleBefore => "idle_before_failure",
            Self::DnsLate => "dns_late",
            Self::TooBig => "too_big",
            Self::DnsNoName => "dns_nxdomain",
            Self::DnsTruncated => "dns_truncated",
            Self::Retransmission => "retransmissions",
            Self::FastRetransmission => "fast_retransmissions",
            Self::SpuriousRetransmission => "spurious_retransmissions",
            Self::OutOfOrder => "out_of_order",
            Self::DuplicateAck => "duplicate_acks",
            Self::ZeroWindow => "zero_windows",
            Self::WindowFull => "windows_full",
            Self::KeepAlive => "keep_alives",
            Self::PreviousUnseen => "previous_unseen",
            Self::AckedUnseen => "acked_unseen",
            Self::PortsReused => "ports_reused",
            Self::ResetFlag => "resets",
        }
    }

    /// What it means, in a few words for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Refused => "attempts to connect that were answered with RST",
            Self::Unanswered => "attempts to connect without an answer",
            Self::Unreachable => "attempts and questions answered by an ICMP error",
            Self::Reset => "connections in use that an end has reset",
            Self::ForeignReset => "the same, but the RST came another way than that end's packets",
            Self::DnsUnanswered => "questions without an answer",
            Self::DnsFailed => "answers that say that the server failed",
            Self::NeighbourUnanswered => "addresses that nobody has on the link",
            Self::Delayed => "connections that took more than one attempt",
            Self::Stalled => "windows that stayed closed for 0.2 s and more",
            Self::ClosedTooSoon => "connections closed while data was still coming",
            Self::IdleBefore => "connections that failed after a minute of silence and more",
            Self::DnsLate => "answers that took a second and more",
            Self::TooBig => "packets too long for a link on the way",
            Self::DnsNoName => "answers that say that there is no such name",
            Self::DnsTruncated => "answers that did not fit",
            Self::Retransmission => "segments sent again, those of the next two lines included",
            Self::FastRetransmission => "segments sent again because of duplicate ACKs",
            Self::SpuriousRetransmission => "segments sent again that had been acknowledged",
            Self::OutOfOrder => "segments that a later one has overtaken",
            Self::DuplicateAck => "the same acknowledged again",
            Self::ZeroWindow => "segments whose sender takes nothing",
            Self::WindowFull => "segments that fill the receiver's window",
            Self::KeepAlive => "segments that look whether the other end is there",
            Self::PreviousUnseen => "gaps: what came before was not captured",
            Self::AckedUnseen => "acknowledged, but not captured",
            Self::PortsReused => "new connections between the ports of an old one",
            Self::ResetFlag => "segments with RST",
        }
    }

    /// Something did not come about.
    pub fn is_failure(self) -> bool {
        (self as u8) <= Self::NeighbourUnanswered as u8
    }

    /// Something was felt, though it has not failed.
    pub fn is_felt(self) -> bool {
        self.is_judged() && !self.is_failure()
    }

    /// It is a judgement, which needs both directions and a tap that sees all; the rest is counted as it is.
    pub fn is_judged(self) -> bool {
        (self as u8) <= Self::DnsLate as u8
    }
}

impl From<Symptom> for &'static str {
    fn from(symptom: Symptom) -> Self {
        symptom.name()
    }
}

/// That there is no symptom of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown symptom {0:?}")]
pub struct UnknownSymptom(String);

impl TryFrom<String> for Symptom {
    type Error = UnknownSymptom;

    fn try_from(name: String) -> Result<Self, UnknownSymptom> {
        Self::ALL.into_iter().find(|symptom| symptom.name() == name).ok_or(UnknownSymptom(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place_and_a_name_of_its_own() {
        let mut names: Vec<&str> = Symptom::ALL.iter().map(|symptom| symptom.name()).collect();
        assert!(Symptom::ALL.iter().enumerate().all(|(at, &symptom)| at == symptom as usize));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Symptom::COUNT);
    }
}
