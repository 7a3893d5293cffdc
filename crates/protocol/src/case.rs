//! One connection, or one question, as one interface has seen it: what answers are proved by.
//!
//! Owns the form, and the names of what is found. A case carries the numbers that no translation of addresses changes, so
//! that what several interfaces and nodes have seen of one connection can be put together. Must not know how that is done.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Service, Symptom};

/// Cases that are told of in one second; what had no room is counted.
pub const MOST_CASES: usize = 96;
/// Attempts that were answered among these: those with the lowest lots.
pub const MOST_ANSWERED: usize = 16;

/// A number that is the same wherever an attempt is seen, and spread evenly, so that every place chooses the same attempts by
/// it: of the first sequence number, or of a question's number and its name's, those bits that only one of them has.
pub fn lot(number: u32) -> u32 {
    number.wrapping_mul(0x9E37_79B1)
}

/// What a case shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Finding {
    /// An attempt that was answered, one of a few: the way that connections take, and what they are translated to.
    Answered,
    /// Something that is felt or has failed.
    Symptom(Symptom),
    /// The answer was repeated, and nothing had followed the first one.
    AnswerRepeated,
    /// The answer was repeated although the end that began it had gone on: its acknowledgment was not taken.
    NotAccepted,
    /// A segment was sent three times and more, and never acknowledged.
    Stuck,
    /// A packet came from an end that the connection does not have, and was answered with RST.
    Stray,
    /// Who had asked did not wait for the answer any longer.
    AnswerTooLate,
}

impl Finding {
    const OTHER: [Self; 6] =
        [Self::Answered, Self::AnswerRepeated, Self::NotAccepted, Self::Stuck, Self::Stray, Self::AnswerTooLate];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Symptom(symptom) => symptom.name(),
            Self::AnswerRepeated => "answer_repeated",
            Self::NotAccepted => "not_accepted",
            Self::Stuck => "stuck",
            Self::Stray => "stray",
            Self::AnswerTooLate => "answer_too_late",
        }
    }

    /// Somebody has felt it.
    pub fn is_felt(self) -> bool {
        match self {
            Self::Symptom(symptom) => symptom.is_judged(),
            Self::NotAccepted | Self::Stuck => true,
            Self::Answered | Self::AnswerRepeated | Self::Stray | Self::AnswerTooLate => false,
        }
    }
}

impl From<Finding> for &'static str {
    fn from(finding: Finding) -> Self {
        finding.name()
    }
}

/// That nothing of that name is found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown finding {0:?}")]
pub struct UnknownFinding(String);

impl TryFrom<String> for Finding {
    type Error = UnknownFinding;

    fn try_from(name: String) -> Result<Self, UnknownFinding> {
        if let Some(other) = Self::OTHER.into_iter().find(|finding| finding.name() == name) {
            return Ok(other);
        }
        Symptom::try_from(name.clone()).map(Self::Symptom).map_err(|_| UnknownFinding(name))
    }
}

/// What one interface has seen of one connection or question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// What it shows.
    pub what: Finding,
    /// Who asks, as seen here.
    pub source: IpAddr,
    /// Who is asked, as seen here.
    pub destination: IpAddr,
    /// The port that it is asked from, and on which.
    pub ports: (u16, u16),
    /// For what.
    pub service: Service,
    /// Where: a place in the list of interfaces of the same line.
    pub interface: u16,
    /// When it was begun, in nanoseconds since the Unix epoch, by the node's clock; of one whose beginning was not seen,
    /// when it was shown.
    pub began: i64,
    /// When it was shown, or known.
    pub at: i64,
    /// What stays the same wherever it is seen: the first sequence number and the sender's clock in it; of a question its
    /// number and its name's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<(u32, u32)>,
    /// How often it was begun again here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeats: u32,
    /// Hops that packets of who asks have left here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<u8>,
    /// Hops that were left to the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal_hops: Option<u8>,
    /// Hops that other packets of that end had left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_hops: Option<u8>,
    /// Who is asked has shown it, and not who asks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_server: bool,
    /// Before that it was silent, in milliseconds.
    #[serde(default, skip_serializing_if = "is_long_zero")]
    pub silence_millis: u64,
    /// Bytes of the segment that does not arrive, milliseconds of a window that stayed closed, or the code of an ICMP error.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub amount: u32,
    /// The end that was asked has answered for an older connection between the same ports first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reused: bool,
    /// Later bytes of the same connection have arrived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub others_pass: bool,
    /// Who has sent the ICMP error, or the end that the client has the connection with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<IpAddr>,
}

impl Case {
    /// The number by which places choose the same ones.
    pub fn lot(&self) -> u32 {
        let (number, name) = self.id.unwrap_or_default();
        lot(if self.service == Service::Tcp { number } else { number ^ name })
    }

    /// One of which no more is known than what every one has: who asks whom, with their ports, and when. It was seen at the
    /// first interface.
    pub fn of(
        what: Finding,
        service: Service,
        (source, port): (IpAddr, u16),
        (destination, on): (IpAddr, u16),
        at: i64,
    ) -> Self {
        Self {
            what,
            source,
            destination,
            ports: (port, on),
            service,
            interface: 0,
            began: at,
            at,
            id: None,
            repeats: 0,
            hops: None,
            refusal_hops: None,
            usual_hops: None,
            by_server: false,
            silence_millis: 0,
            amount: 0,
            reused: false,
            others_pass: false,
            other: None,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_long_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_is_read_as_it_is_written() {
        let symptoms = Symptom::ALL.into_iter().map(Finding::Symptom);
        for finding in symptoms.chain(Finding::OTHER) {
            assert_eq!(Finding::try_from(finding.name().to_owned()), Ok(finding));
        }
        assert!(Finding::try_from("what else".to_owned()).is_err());
    }
}
