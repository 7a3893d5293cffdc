//! When a flight recorder freezes by itself, and why it has.
//!
//! Owns how both are written, on the command line and on the wire. Who judges is not known here: a cause is a number.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Causes have numbers from 1 to this.
const CAUSES: u8 = 16;

/// When a flight recorder is to freeze by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FreezeOn {
    /// Any cause of failing connections is certain.
    Verdict,
    /// One of these causes is certain or likely: a bit each, the lowest for `N-01`.
    Codes(u16),
    /// More of the attempts of a minute have failed than so many hundredths of a percent.
    Failures(u16),
}

impl FreezeOn {
    /// Whether the cause of that number is meant; `certain`: nothing else is left.
    pub fn takes(self, cause: u8, certain: bool) -> bool {
        match self {
            Self::Verdict => certain,
            Self::Codes(bits) => bit(cause).is_some_and(|bit| bits & bit != 0),
            Self::Failures(_) => false,
        }
    }
}

fn bit(cause: u8) -> Option<u16> {
    (1..=CAUSES).contains(&cause).then(|| 1 << (cause - 1))
}

impl fmt::Display for FreezeOn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict => out.write_str("verdict"),
            Self::Codes(bits) => {
                let named = (1..=CAUSES).filter(|cause| bit(*cause).is_some_and(|bit| bits & bit != 0));
                let names: Vec<String> = named.map(|cause| format!("N-{cause:02}")).collect();
                out.write_str(&names.join(","))
            }
            Self::Failures(hundredths) => match (hundredths / 100, hundredths % 100) {
                (whole, 0) => write!(out, "failures>{whole}%"),
                (whole, part) if part % 10 == 0 => write!(out, "failures>{whole}.{}%", part / 10),
                (whole, part) => write!(out, "failures>{whole}.{part:02}%"),
            },
        }
    }
}

/// That nothing freezes a flight recorder by that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownTrigger {
    /// A word, or a part of a list.
    #[error("{0:?} is neither verdict nor a code from N-01 to N-16 nor failures>PERCENT%")]
    Word(String),
    /// A certain cause, whichever it is, in a list of causes.
    #[error("{0:?} has verdict in a list of codes: write verdict alone, or codes alone")]
    Both(String),
    /// A share that nothing exceeds, no share, or no number.
    #[error("{0:?} is no share of attempts: write failures>1% or failures>0.5%, from 0% to below 100%")]
    Share(String),
}

impl FromStr for FreezeOn {
    type Err = UnknownTrigger;

    /// `verdict`, `N-05,N-11`, `failures>1%`.
    fn from_str(text: &str) -> Result<Self, UnknownTrigger> {
        let text = text.trim();
        let is_verdict = |text: &str| text.eq_ignore_ascii_case("verdict");
        if is_verdict(text) {
            return Ok(Self::Verdict);
        }
        if let Some(share) = text.strip_prefix("failures") {
            // Without its sign it could be meant as a number of failures.
            let share = share.strip_prefix('>').and_then(|share| share.strip_suffix('%'));
            let hundredths = share.and_then(hundredths);
            return hundredths.map(Self::Failures).ok_or_else(|| UnknownTrigger::Share(short(text)));
        }
        if text.split(',').any(|name| is_verdict(name.trim())) {
            return Err(UnknownTrigger::Both(short(text)));
        }
        let cause = |text: &str| {
            let digits = text.strip_prefix("N-").or_else(|| text.strip_prefix("n-"))?;
            let is_number = digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            bit(digits.parse().ok().filter(|_| is_number)?)
        };
        let bits = text.split(',').map(str::trim).try_fold(0, |bits, name| {
            cause(name).map(|bit| bits | bit).ok_or_else(|| UnknownTrigger::Word(short(name)))
        });
        bits.map(Self::Codes)
    }
}

/// A percentage with two places at most.
fn hundredths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return None;
    }
    let part: u16 = format!("{part:0<2}").parse().ok()?;
    Some(whole.parse::<u16>().ok()? * 100 + part)
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

impl From<FreezeOn> for String {
    fn from(on: FreezeOn) -> Self {
        on.to_string()
    }
}

impl TryFrom<String> for FreezeOn {
    type Error = UnknownTrigger;

    fn try_from(text: String) -> Result<Self, UnknownTrigger> {
        text.parse()
    }
}

/// Why a flight recorder has frozen by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreezeCause {
    /// A cause of failing connections, by its number: 11 for `N-11`.
    Code(u8),
    /// Too many attempts have failed.
    Failures,
    /// Its pod was being ended, as by a drain, an eviction or a shutdown of its node.
    PodEnds,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_read_as_they_are_written() {
        for (text, on, written) in [
            ("verdict", FreezeOn::Verdict, "verdict"),
            ("N-05,n-11 , N-16", FreezeOn::Codes(1 << 4 | 1 << 10 | 1 << 15), "N-05,N-11,N-16"),
            ("N-1", FreezeOn::Codes(1), "N-01"),
            ("failures>1%", FreezeOn::Failures(100), "failures>1%"),
            ("Verdict", FreezeOn::Verdict, "verdict"),
            ("failures>0.5%", FreezeOn::Failures(50), "failures>0.5%"),
            ("failures>12.05%", FreezeOn::Failures(1205), "failures>12.05%"),
        ] {
            assert_eq!(text.parse(), Ok(on), "{text}");
            assert_eq!(on.to_string(), written);
            assert_eq!(written.parse(), Ok(on), "{written}");
        }
        for (wrong, token) in [
            ("", "\"\""),
            ("verdicts", "\"verdicts\""),
            ("N-05,N-17", "\"N-17\""),
            ("N-05,,N-06", "\"\""),
            ("N-0", "\"N-0\""),
            ("N-+1", "\"N-+1\""),
            ("failures", "\"failures\""),
            ("failures>100%", "\"failures>100%\""),
            ("failures>1", "\"failures>1\" is no share"),
            ("verdict,N-05", "\"verdict,N-05\" has verdict in a list"),
            ("failures>-1%", "\"failures>-1%\""),
            ("failures>1.234%", "\"failures>1.234%\""),
        ] {
            let error = wrong.parse::<FreezeOn>().expect_err(wrong).to_string();
            assert!(error.starts_with(token), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_trigger_takes_what_it_names() {
        assert!(FreezeOn::Verdict.takes(3, true) && !FreezeOn::Verdict.takes(3, false));
        let codes: FreezeOn = "N-03".parse().expect("read");
        assert!(codes.takes(3, false) && !codes.takes(4, true) && !codes.takes(0, true) && !codes.takes(200, true));
        assert!(!FreezeOn::Failures(1).takes(3, true));
    }
}
