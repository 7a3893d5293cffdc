//! The laptop's clocks and who sits at it.
//!
//! Owns the only places where the program asks the system for the time and for its user. There are two clocks. The one on
//! the wall is for people and for what others have written down; somebody may set it. The steady one began with it
//! when the program did, and goes by the time since the machine was started, also while that sleeps: lengths of time,
//! deadlines and order are by it. Must not know what for.

use std::sync::OnceLock;

use nodewatch_protocol::UnixMillis;
use rustix::time::{ClockId, clock_gettime};

/// The clock on the laptop's wall.
pub fn unix_millis() -> UnixMillis {
    jiff::Timestamp::now().as_millisecond().max(0) as u64
}

/// The clock that counts sleep and that nobody sets.
#[cfg(target_os = "linux")]
const BOOT: ClockId = ClockId::Boottime;
/// Elsewhere this one counts sleep too.
#[cfg(not(target_os = "linux"))]
const BOOT: ClockId = ClockId::Monotonic;

/// Milliseconds since the machine was started.
fn boot_millis() -> u64 {
    let time = clock_gettime(BOOT);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// What both clocks showed at one moment.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    wall: UnixMillis,
    boot: u64,
}

impl Anchor {
    fn of_program() -> Self {
        static ANCHOR: OnceLock<Anchor> = OnceLock::new();
        *ANCHOR.get_or_init(|| Self { wall: unix_millis(), boot: boot_millis() })
    }

    fn steady(self, boot: u64) -> UnixMillis {
        self.wall + boot.saturating_sub(self.boot)
    }
}

/// The steady clock.
pub fn steady_millis() -> UnixMillis {
    Anchor::of_program().steady(boot_millis())
}

/// How far the wall's clock is ahead of the steady one, in milliseconds: nothing, until somebody sets it.
pub fn wall_ahead() -> i64 {
    unix_millis() as i64 - steady_millis() as i64
}

/// What the wall's clock shows when the steady one shows that.
pub fn wall_at(steady: UnixMillis) -> UnixMillis {
    steady.saturating_add_signed(wall_ahead())
}

/// When the steady clock shows what the wall's clock shows then.
pub fn steady_at(wall: UnixMillis) -> UnixMillis {
    wall.saturating_add_signed(wall_ahead().saturating_neg())
}

/// A moment as RFC 3339 in UTC, to the second.
pub fn rfc3339(at: UnixMillis) -> String {
    let moment = jiff::Timestamp::from_second((at / 1000) as i64).unwrap_or_default();
    moment.to_string()
}

/// The moment that an RFC 3339 text names.
pub fn from_rfc3339(text: &str) -> Option<UnixMillis> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    Some(moment.as_millisecond().max(0) as u64)
}

/// The nanoseconds since the Unix epoch that an RFC 3339 text names.
pub fn nanos_of(text: &str) -> Option<u64> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_nanosecond()).ok()
}

/// A time for a window: RFC 3339, or `HH:MM[:SS]` of today in UTC.
pub fn parse_time(text: &str) -> Result<u64, String> {
    let today = rfc3339(unix_millis());
    let day = today.split('T').next().unwrap_or_default();
    let of_today = match text.matches(':').count() {
        1 => format!("{day}T{text}:00Z"),
        2 => format!("{day}T{text}Z"),
        _ => String::new(),
    };
    nanos_of(text).or_else(|| nanos_of(&of_today)).ok_or_else(|| {
        format!("invalid time {text:?}: use 2026-01-31T14:05:00Z (optionally with a fraction or an offset) or 14:05 for today, UTC")
    })
}

/// For a file's name, in UTC: `20231114T221320Z`.
pub fn file_stamp(at: UnixMillis) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at).unwrap_or(0)).unwrap_or_default();
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_clock_goes_by_the_time_since_the_machine_was_started() {
        let anchor = Anchor { wall: 1_700_000_000_000, boot: 5_000 };
        assert_eq!(anchor.steady(5_000), 1_700_000_000_000);
        // Half an hour of sleep counts; what the wall shows does not come into it.
        assert_eq!(anchor.steady(5_000 + 1_800_000), 1_700_001_800_000);
        let (first, second) = (steady_millis(), steady_millis());
        assert!(first <= second && wall_ahead().abs() < 60_000);
        assert!(steady_at(unix_millis()).abs_diff(second) < 1_000);
    }

    #[test]
    fn a_moment_survives_its_text() {
        assert_eq!(rfc3339(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(from_rfc3339("2023-11-14T22:13:20Z"), Some(1_700_000_000_000));
        assert_eq!(from_rfc3339("yesterday"), None);
    }

    #[test]
    fn times_are_read_and_nonsense_is_named() {
        assert_eq!(parse_time("2023-11-14T22:13:20.5Z"), Ok(1_700_000_000_500_000_000));
        assert_eq!(parse_time("2023-11-14T23:13:20+01:00"), Ok(1_700_000_000_000_000_000));
        assert!(parse_time("14:05").is_ok() && parse_time("14:05:09.25").is_ok());
        for text in ["", "yesterday", "25:00", "14"] {
            assert!(parse_time(text).is_err_and(|error| error.contains(&format!("{text:?}"))), "{text}");
        }
    }
}
