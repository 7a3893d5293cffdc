//! The laptop's clocks and who sits at it.
//!
//! Owns the only places where the program asks the system for the time and for its user. There are two clocks. The one on
//! the wall is for people and for what others have written down; somebody may set it. The steady one began with it
//! when the program did, and goes by the time since the machine was started, also while that sleeps: lengths of time,
//! deadlines and order are by it. Must not know what for.

use std::sync::OnceLock;

use jiff::{
    civil,
    tz::{Offset, TimeZone},
};
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

/// A time for a window: RFC 3339, or `HH:MM[:SS]` of today, with an offset or in a zone that is told later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment(String);

impl Moment {
    /// In nanoseconds since the Unix epoch; what has no zone is UTC, or with `local` as this machine's clock shows it.
    pub fn unix_nanos(&self, local: bool) -> u64 {
        let zone = if local { TimeZone::system() } else { TimeZone::UTC };
        moment(&self.0, &zone, jiff::Timestamp::now()).unwrap_or_default()
    }
}

/// Reads a time for a window.
pub fn parse_time(text: &str) -> Result<Moment, String> {
    moment(text, &TimeZone::UTC, jiff::Timestamp::now()).map(|_| Moment(text.to_owned())).ok_or_else(|| {
        format!(
            "invalid time {text:?}: use 2026-01-31T14:05:00Z (optionally with a fraction or an offset), or 14:05 or \
             23:40+09:00 for today; without an offset it is UTC, or local with --local-time"
        )
    })
}

fn moment(text: &str, zone: &TimeZone, now: jiff::Timestamp) -> Option<u64> {
    let (time, zone) = match text.rfind(['+', '-', 'Z']) {
        // The dashes of a date are no offset.
        Some(at) if text[..at].contains(':') => (&text[..at], offset(&text[at..])?),
        _ => (text, zone.clone()),
    };
    let moment = match time.parse::<civil::Time>() {
        Ok(at) if time.contains(':') && !time.contains(['T', ' ', 't']) => {
            now.to_zoned(zone.clone()).date().to_datetime(at)
        }
        _ => time.parse::<civil::DateTime>().ok().filter(|_| time.contains(['T', ' ', 't']))?,
    };
    u64::try_from(moment.to_zoned(zone).ok()?.timestamp().as_nanosecond()).ok()
}

/// `Z`, `+09:00`, `+0900` or `+09`.
fn offset(text: &str) -> Option<TimeZone> {
    let (sign, digits) = (text.get(..1)?, text.get(1..)?.replace(':', ""));
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<i32>().ok();
    let seconds = match (sign, digits.len()) {
        ("Z", 0) => return Some(TimeZone::UTC),
        ("+" | "-", 2) => number(0..2)? * 3600,
        ("+" | "-", 4) => number(0..2)? * 3600 + number(2..4)? * 60,
        _ => return None,
    };
    Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok().map(TimeZone::fixed)
}

/// A span of time in both zones, the date said once: `2026-11-25 14:37:43Z to 14:43:41Z (23:37:43 to 23:43:41 +09 here)`.
pub fn span_in_both_zones(from: UnixMillis, to: UnixMillis) -> String {
    span_in(from, to, &TimeZone::system())
}

fn span_in(from: UnixMillis, to: UnixMillis, here: &TimeZone) -> String {
    let at = |millis: UnixMillis, zone: &TimeZone| {
        jiff::Timestamp::from_millisecond(i64::try_from(millis).unwrap_or(0)).unwrap_or_default().to_zoned(zone.clone())
    };
    let text = |zone: &TimeZone, sign: &str| {
        let (from, to) = (at(from, zone), at(to, zone));
        let day = if from.date() == to.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        format!("{}{sign} to {}{sign}", from.strftime("%Y-%m-%d %H:%M:%S"), to.strftime(day))
    };
    let utc = text(&TimeZone::UTC, "Z");
    let offset = at(from, here).strftime("%:z").to_string();
    if offset == "+00:00" { utc } else { format!("{utc} ({} {offset} here)", text(here, "")) }
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
        let now: jiff::Timestamp = "2023-11-14T20:00:00Z".parse().expect("a time");
        let tokyo = offset("+09:00").expect("an offset");
        let at = |text: &str, zone: &TimeZone| moment(text, zone, now);
        assert_eq!(at("2023-11-14T22:13:20.5Z", &tokyo), Some(1_700_000_000_500_000_000));
        assert_eq!(at("2023-11-14T23:13:20+01:00", &tokyo), Some(1_700_000_000_000_000_000));
        assert_eq!(at("2023-11-15T07:13:20", &tokyo), Some(1_700_000_000_000_000_000));
        assert_eq!(at("22:13:20", &TimeZone::UTC), Some(1_700_000_000_000_000_000));
        // There it is the next day already.
        assert_eq!(at("07:13:20", &tokyo), Some(1_700_000_000_000_000_000));
        assert_eq!(at("07:13:20+09:00", &TimeZone::UTC), at("07:13:20", &tokyo));
        assert_eq!(at("07:13+09", &TimeZone::UTC), at("07:13", &tokyo));
        assert_eq!(at("22:13:20Z", &tokyo), at("22:13:20", &TimeZone::UTC));
        assert!(parse_time("14:05").is_ok() && parse_time("14:05:09.25").is_ok());
        let span = |to| span_in(1_700_000_000_000, to, &tokyo);
        let wanted = "2023-11-14 22:13:20Z to 22:14:20Z (2023-11-15 07:13:20 to 07:14:20 +09:00 here)";
        assert_eq!(span(1_700_000_060_000), wanted);
        assert_eq!(span_in(1, 1, &TimeZone::UTC), "1970-01-01 00:00:00Z to 00:00:00Z");
        for text in ["", "yesterday", "25:00", "14"] {
            assert!(parse_time(text).is_err_and(|error| error.contains(&format!("{text:?}"))), "{text}");
        }
    }
}
