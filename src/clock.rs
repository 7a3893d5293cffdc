//! The laptop's clock and who sits at it.
//!
//! Owns the only places where the program asks the system for the time and for its user. Must not know what for.

use nodewatch_protocol::UnixMillis;

use crate::text;

/// The laptop's clock.
pub fn unix_millis() -> UnixMillis {
    jiff::Timestamp::now().as_millisecond().max(0) as u64
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

/// `user@host`, for people who find what this program has made.
pub fn user_at_host() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let or = |name: &str, otherwise: &str| {
        if name.trim().is_empty() { otherwise.to_owned() } else { text::visible(name.trim()) }
    };
    format!("{}@{}", or(&user, "someone"), or(&host, "somewhere"))
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
    fn a_moment_survives_its_text() {
        assert_eq!(rfc3339(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(from_rfc3339("2023-11-14T22:13:20Z"), Some(1_700_000_000_000));
        assert_eq!(from_rfc3339("yesterday"), None);
    }
}
