//! What is normal, as data that judges.
//!
//! Owns the judgement of one signal and the words for it. A signal that is out of the normal is a note and no answer:
//! it says where to look. Pure.

use std::fmt;

/// So far back a counter is looked at. What was out of the normal is forgotten when it has ended so long ago.
pub const WINDOW_SECONDS: u64 = 60;

/// When nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normal {
    /// There is no such thing: it tells what goes on.
    Informative,
    /// It stays as it is.
    NeverRises,
    /// It rises by no more than that in [`WINDOW_SECONDS`].
    AtMost(u64),
    /// It rises by less than so many per cent of what another counter rises by, or by fewer than `few`.
    ShareOf {
        /// The other counter.
        of: &'static str,
        /// Per cent.
        percent: u64,
        /// So few are no sign of anything.
        few: u64,
    },
    /// It is less than that.
    Below(u64),
    /// It is less than so many per cent of another gauge.
    BelowPercentOf {
        /// The other gauge.
        of: &'static str,
        /// Per cent.
        percent: u64,
    },
    /// It is at least so many per cent of the most that was seen.
    AboveShareOfMost(u64),
}

/// What was seen of a signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of a gauge, how much there is now.
    pub value: u64,
    /// Of a counter, what it rose by in the last [`WINDOW_SECONDS`].
    pub moved: u64,
    /// The same of the other signal that [`Normal`] names: what that rose by, or how much it is.
    pub other: Option<u64>,
    /// Of a gauge, the most that was seen.
    pub most: u64,
}

impl Normal {
    /// The other signal that is looked at.
    pub fn other(&self) -> Option<&'static str> {
        match self {
            Self::ShareOf { of, .. } | Self::BelowPercentOf { of, .. } => Some(of),
            _ => None,
        }
    }

    /// Whether that is out of the normal. What cannot be known is not.
    pub fn is_broken_by(&self, seen: &Seen) -> bool {
        let percent = |part: u64, whole: u64| u128::from(part) * 100 / u128::from(whole.max(1));
        match *self {
            Self::Informative => false,
            Self::NeverRises => seen.moved > 0,
            Self::AtMost(most) => seen.moved > most,
            Self::ShareOf { percent: most, few, .. } => {
                seen.moved >= few && seen.other.is_some_and(|all| percent(seen.moved, all) >= u128::from(most))
            }
            Self::Below(most) => seen.value >= most,
            Self::BelowPercentOf { percent: most, .. } => {
                seen.other.is_some_and(|all| all > 0 && percent(seen.value, all) >= u128::from(most))
            }
            Self::AboveShareOfMost(least) => seen.most > 0 && percent(seen.value, seen.most) < u128::from(least),
        }
    }
}

impl fmt::Display for Normal {
    /// As in "normal is: never rises".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Informative => f.write_str("any value (informative)"),
            Self::NeverRises => f.write_str("never rises"),
            Self::AtMost(most) if most % WINDOW_SECONDS == 0 => {
                write!(f, "rises by at most {} a second, over a minute", most / WINDOW_SECONDS)
            }
            Self::AtMost(most) => write!(f, "rises by at most {most} a minute"),
            Self::ShareOf { of, percent, few } => {
                write!(f, "less than {percent} % of {of}, or fewer than {few}, in a minute")
            }
            Self::Below(most) => write!(f, "below {most}"),
            Self::BelowPercentOf { of, percent } => write!(f, "below {percent} % of {of}"),
            Self::AboveShareOfMost(least) => write!(f, "at least {least} % of the most that was seen"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_out_of_the_normal_when_it_says_so_and_not_before() {
        let moved = |moved| Seen { moved, ..Seen::default() };
        assert!(!Normal::Informative.is_broken_by(&moved(u64::MAX)));
        assert!(!Normal::NeverRises.is_broken_by(&moved(0)) && Normal::NeverRises.is_broken_by(&moved(1)));
        assert!(!Normal::AtMost(5).is_broken_by(&moved(5)) && Normal::AtMost(5).is_broken_by(&moved(6)));
        let share = Normal::ShareOf { of: "tcp.out_segs", percent: 1, few: 50 };
        let of = |moved, other| share.is_broken_by(&Seen { moved, other, ..Seen::default() });
        assert!(!of(49, Some(49)) && of(50, Some(5000)) && !of(50, Some(5051)) && !of(5000, None));
        let full = Normal::BelowPercentOf { of: "conntrack.max", percent: 80 };
        let at = |value, other| full.is_broken_by(&Seen { value, other, ..Seen::default() });
        assert!(!at(79, Some(100)) && at(80, Some(100)) && !at(80, None) && !at(80, Some(0)));
        assert!(at(u64::MAX, Some(u64::MAX)));
        let left = |value, most| Normal::AboveShareOfMost(10).is_broken_by(&Seen { value, most, ..Seen::default() });
        assert!(left(9, 100) && !left(10, 100) && !left(0, 0));
        assert!(Normal::Below(100).is_broken_by(&Seen { value: 100, ..Seen::default() }));
    }

    #[test]
    fn what_is_normal_is_said_in_words() {
        assert_eq!(Normal::AtMost(600).to_string(), "rises by at most 10 a second, over a minute");
        assert_eq!(Normal::AtMost(5).to_string(), "rises by at most 5 a minute");
        let full = Normal::BelowPercentOf { of: "conntrack.max", percent: 80 };
        assert_eq!(full.to_string(), "below 80 % of conntrack.max");
    }
}
