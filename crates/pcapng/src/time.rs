//! Times as interfaces count them.
//!
//! Owns the arithmetic between an interface's ticks and seconds. Must not know blocks.

const NANOS: u64 = 1_000_000_000;

/// A moment, before 1970 too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds of the next one; a damaged file may have more than a second of them.
    pub nanos: u32,
}

impl Time {
    /// Nanoseconds since the Unix epoch, as near to it as 64 bits hold.
    pub fn unix_nanos(self) -> u64 {
        let nanos = i128::from(self.seconds) * i128::from(NANOS) + i128::from(self.nanos);
        u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
    }
}

/// How an interface counts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// As the option has it: the power of ten, or of two with the highest bit set.
    code: u8,
    ticks_a_second: u64,
    offset: i64,
}

impl Resolution {
    /// Nanoseconds, as this product writes them.
    pub const NANOS: Self = Self { code: 9, ticks_a_second: NANOS, offset: 0 };
    /// Microseconds, where a file says nothing else.
    pub const MICROS: Self = Self { code: 6, ticks_a_second: 1_000_000, offset: 0 };

    /// What the options say; `None` for finer ticks than 64 bits count in a second.
    pub(crate) fn of(code: u8, offset: i64) -> Option<Self> {
        let (base, power) = if code & 0x80 == 0 { (10, code) } else { (2, code & 0x7F) };
        Some(Self { code, ticks_a_second: u64::checked_pow(base, power.into())?, offset })
    }

    /// The same, counting from so many seconds later.
    pub(crate) fn later(self, offset: i64) -> Self {
        Self { offset, ..self }
    }

    pub(crate) fn code(self) -> u8 {
        self.code
    }

    pub(crate) fn offset(self) -> i64 {
        self.offset
    }

    /// The moment of so many ticks.
    #[inline]
    pub fn time(self, ticks: u64) -> Time {
        // The division by a constant is a multiplication.
        let (seconds, rest) = if self.ticks_a_second == NANOS {
            (ticks / NANOS, ticks % NANOS)
        } else {
            let rest = u128::from(ticks % self.ticks_a_second);
            (ticks / self.ticks_a_second, (rest * u128::from(NANOS) / u128::from(self.ticks_a_second)) as u64)
        };
        // Beyond what 63 bits count it goes round, as Wireshark's time does.
        Time { seconds: (seconds as i64).wrapping_add(self.offset), nanos: rest as u32 }
    }

    /// The ticks of a moment, as near as they come.
    pub fn ticks(self, unix_nanos: u64) -> u64 {
        let seconds = i128::from(unix_nanos / NANOS) - i128::from(self.offset);
        let Ok(seconds) = u128::try_from(seconds) else { return 0 };
        let rest = u128::from(unix_nanos % NANOS) * u128::from(self.ticks_a_second) + u128::from(NANOS / 2);
        let rest = rest / u128::from(NANOS);
        let ticks = seconds.saturating_mul(self.ticks_a_second.into()).saturating_add(rest);
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

/// Ticks that are finer than a [`Resolution`] holds, as nanoseconds.
pub(crate) fn finer(code: u8, ticks: u64) -> u64 {
    let nanos = u128::from(ticks) * u128::from(NANOS);
    let power = u32::from(code & 0x7F);
    let nanos = if code & 0x80 == 0 {
        u128::checked_pow(10, power).map_or(0, |ticks_a_second| nanos / ticks_a_second)
    } else {
        nanos.checked_shr(power).unwrap_or(0)
    };
    nanos as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_times_and_back() {
        let at = |code, offset, ticks| Resolution::of(code, offset).expect("a resolution").time(ticks);
        assert_eq!(at(6, 0, 1_500_000), Time { seconds: 1, nanos: 500_000_000 });
        assert_eq!(at(0, -5, 2), Time { seconds: -3, nanos: 0 });
        assert_eq!(at(0x94, 0, 1 << 19), Time { seconds: 0, nanos: 500_000_000 });
        assert_eq!(at(12, 0, 1_999_999_999_999), Time { seconds: 1, nanos: 999_999_999 });
        assert_eq!(at(0, 0, u64::MAX).seconds, -1);
        assert_eq!((at(0, -5, 2).unix_nanos(), at(0, 0, u64::MAX / 2).unix_nanos()), (0, u64::MAX));
        assert_eq!(Resolution::of(20, 0), None);
        assert_eq!(Resolution::of(0xC0, 0), None);
        for code in [0, 3, 6, 9, 0x94] {
            let resolution = Resolution::of(code, 100).expect("one");
            assert_eq!(resolution.ticks(resolution.time(77).unix_nanos()), 77, "{code}");
        }
    }

    #[test]
    fn what_is_finer_than_that_is_still_a_time() {
        assert_eq!(finer(20, u64::MAX), 184_467_440);
        assert_eq!(finer(0xC0, 1 << 63), 500_000_000);
        assert_eq!((finer(127, u64::MAX), finer(0xFF, u64::MAX)), (0, 0));
    }
}
