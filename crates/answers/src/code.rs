//! The sixteen causes by their codes.
//!
//! Owns code and name of each. What each means is told by `explain`, which is made from the same table as the docs.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

/// A cause, by its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
#[repr(u8)]
pub enum Code {
    /// Traffic to a backend that is leaving or gone.
    EndpointGone = 1,
    /// The node's policy drops it.
    PolicyDrop,
    /// The VPC's resolver drops a node's questions.
    DnsThrottled,
    /// A DNS server does not answer.
    DnsSilent,
    /// Something between has forgotten an idle connection.
    IdleCut,
    /// The server closes idle connections that are still used.
    KeepAliveRace,
    /// The node's connection table is full.
    ConntrackFull,
    /// No free source port to translate to.
    SnatPorts,
    /// A late packet escapes untranslated.
    InvalidReset,
    /// A limit of the instance.
    Allowance,
    /// The accept queue is full.
    AcceptQueue,
    /// A link takes less than is sent, and nobody says so.
    MtuHole,
    /// The answer takes another way.
    ReturnPath,
    /// Lost between two nodes.
    WireLoss,
    /// An address on the link is not resolved.
    Neighbour,
    /// The application does not read.
    SlowReceiver,
}

impl Code {
    /// All of them, in their order.
    pub const ALL: [Self; 16] = [
        Self::EndpointGone,
        Self::PolicyDrop,
        Self::DnsThrottled,
        Self::DnsSilent,
        Self::IdleCut,
        Self::KeepAliveRace,
        Self::ConntrackFull,
        Self::SnatPorts,
        Self::InvalidReset,
        Self::Allowance,
        Self::AcceptQueue,
        Self::MtuHole,
        Self::ReturnPath,
        Self::WireLoss,
        Self::Neighbour,
        Self::SlowReceiver,
    ];

    /// `N-01` to `N-16`.
    pub fn text(self) -> &'static str {
        [
            "N-01", "N-02", "N-03", "N-04", "N-05", "N-06", "N-07", "N-08", "N-09", "N-10", "N-11", "N-12", "N-13",
            "N-14", "N-15", "N-16",
        ][self as usize - 1]
    }

    /// What it is, in two or three words.
    pub fn name(self) -> &'static str {
        match self {
            Self::EndpointGone => "endpoint gone",
            Self::PolicyDrop => "dropped by policy",
            Self::DnsThrottled => "DNS throttled",
            Self::DnsSilent => "DNS server silent",
            Self::IdleCut => "idle connection cut",
            Self::KeepAliveRace => "keep-alive race",
            Self::ConntrackFull => "conntrack full",
            Self::SnatPorts => "SNAT ports exhausted",
            Self::InvalidReset => "reset by an untranslated packet",
            Self::Allowance => "instance limit reached",
            Self::AcceptQueue => "accept queue full",
            Self::MtuHole => "MTU black hole",
            Self::ReturnPath => "answer takes another path",
            Self::WireLoss => "lost between nodes",
            Self::Neighbour => "neighbour not resolved",
            Self::SlowReceiver => "receiver does not read",
        }
    }
}

impl From<Code> for &'static str {
    fn from(code: Code) -> Self {
        code.text()
    }
}

/// That there is no cause of that code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no cause has the code {0:?}: there are N-01 to N-16")]
pub struct UnknownCode(String);

impl std::str::FromStr for Code {
    type Err = UnknownCode;

    /// `N-11`, also `n-11`, `N11` or `11`.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let unknown = || UnknownCode(text.chars().take(40).collect());
        let digits = text.strip_prefix(['N', 'n']).unwrap_or(text);
        let digits = digits.strip_prefix('-').unwrap_or(digits);
        let number =
            Some(digits).filter(|digits| digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number: usize = number.and_then(|digits| digits.parse().ok()).ok_or_else(unknown)?;
        Self::ALL.get(number.wrapping_sub(1)).copied().ok_or_else(unknown)
    }
}

impl TryFrom<String> for Code {
    type Error = UnknownCode;

    fn try_from(text: String) -> Result<Self, UnknownCode> {
        text.parse()
    }
}

/// Some of the causes, as they are written on the command line: `N-05,N-11`, or `all`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Codes(BTreeSet<Code>);

impl Codes {
    /// Each, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Code> {
        self.0.iter().copied()
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == Code::ALL.len() {
            return out.write_str("all");
        }
        let names: Vec<&str> = self.iter().map(Code::text).collect();
        out.write_str(&names.join(","))
    }
}

impl std::str::FromStr for Codes {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        if text.trim() == "all" {
            return Ok(Self(Code::ALL.into()));
        }
        text.split(',').map(|code| code.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Codes> for String {
    fn from(codes: Codes) -> Self {
        codes.to_string()
    }
}

impl TryFrom<String> for Codes {
    type Error = UnknownCode;

    fn try_from(text: String) -> Result<Self, UnknownCode> {
        // None at all is nothing that anybody types.
        if text.is_empty() { Ok(Self::default()) } else { text.parse() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_write_them() {
        for (at, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, at + 1);
            for text in
                [code.text().to_owned(), code.text().to_lowercase(), format!("N{}", at + 1), (at + 1).to_string()]
            {
                assert_eq!(text.parse(), Ok(code), "{text}");
            }
        }
        for wrong in ["", "N-", "N-0", "N-17", "N--1", "N-+1", "11x", "\u{661}"] {
            assert!(wrong.parse::<Code>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn several_codes_are_read_as_they_are_written() {
        let read = |text: &str| text.parse::<Codes>().map(|codes| codes.to_string());
        assert_eq!(read("N-11, n5,N-11").as_deref(), Ok("N-05,N-11"));
        assert_eq!(read("all").as_deref(), Ok("all"));
        for wrong in ["", "N-05,", "N-17", "every"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let none = Codes::default();
        assert_eq!(Codes::try_from(String::from(none.clone())), Ok(none));
    }
}
