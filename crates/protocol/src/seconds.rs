//! Lengths of time as they cross the wire.
//!
//! Owns their bound: whatever the other side says, a length can be added to any time there is. Must not know what it is
//! a length of.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de};

/// A length of time in whole seconds, at most [`Seconds::MAX`]: what is longer becomes that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Seconds(u64);

impl Seconds {
    /// A century, which is for good.
    pub const MAX: Self = Self(100 * 365 * 86_400);

    /// So many seconds, or [`Seconds::MAX`].
    pub const fn new(seconds: u64) -> Self {
        Self(if seconds < Self::MAX.0 { seconds } else { Self::MAX.0 })
    }

    /// Their number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// In milliseconds.
    pub const fn millis(self) -> u64 {
        self.0 * 1000
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// Without so much of it; never below nothing.
    #[must_use]
    pub const fn less(self, other: u64) -> Self {
        Self(self.0.saturating_sub(other))
    }
}

impl From<u64> for Seconds {
    fn from(seconds: u64) -> Self {
        Self::new(seconds)
    }
}

impl From<Duration> for Seconds {
    /// Whole seconds only.
    fn from(duration: Duration) -> Self {
        Self::new(duration.as_secs())
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Seconds, E> {
                Ok(Seconds::new(seconds))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Seconds, E> {
                u64::try_from(seconds)
                    .map(Seconds::new)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))
            }

            /// Integers beyond 64 bits come as this.
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Seconds, E> {
                if seconds >= u64::MAX as f64 {
                    return Ok(Seconds::MAX);
                }
                Err(E::invalid_type(de::Unexpected::Float(seconds), &self))
            }
        }
        deserializer.deserialize_u64(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;

    #[test]
    fn whatever_the_wire_says_can_be_added_to_any_time() {
        for text in ["0", "1", "3153600000", "3153600001", "18446744073709551615", "99999999999999999999999999"] {
            let seconds: Seconds = serde_json::from_str(text).expect(text);
            assert!(seconds <= Seconds::MAX, "{text}");
            assert!(Instant::now().checked_add(seconds.duration()).is_some(), "{text}");
            assert!(SystemTime::now().checked_add(seconds.duration()).is_some(), "{text}");
            // Nanoseconds since the epoch are what capture files count in.
            assert!(seconds.millis().checked_mul(1_000_000).is_some(), "{text}");
        }
        assert_eq!(Seconds::from(Duration::MAX), Seconds::MAX);
        assert_eq!(Seconds::from(u64::MAX), Seconds::MAX);
        assert_eq!(Seconds::new(5).less(7).get(), 0);
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for text in ["-1", "1.5", "-1e40", "null", "\"5\""] {
            assert!(serde_json::from_str::<Seconds>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn it_crosses_the_wire_as_the_number_that_it_is() {
        assert_eq!(serde_json::to_string(&Seconds::new(600)).expect("a number"), "600");
    }
}
