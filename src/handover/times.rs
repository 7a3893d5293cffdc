//! Times as the report has them: of the day, in UTC, with the date where it is another one than at the beginning.
//!
//! Owns their form.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use nodewatch_protocol::UnixMillis;

use crate::model::{Span, Summary};

/// The day that is said once, at the beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Days {
    first: Date,
}

fn moment(at: UnixMillis) -> Timestamp {
    i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or_default()
}

fn day(at: UnixMillis) -> Date {
    moment(at).to_zoned(TimeZone::UTC).date()
}

impl Days {
    pub(super) fn of(summary: &Summary) -> Self {
        Self { first: day(summary.began.unwrap_or(summary.written)) }
    }

    /// `25 Nov 2026`.
    pub(super) fn date(self) -> String {
        self.first.strftime("%-d %b %Y").to_string()
    }

    /// `14:37:40`, on another day `26 Nov 14:37:40`.
    pub(super) fn time(self, at: UnixMillis) -> String {
        let form = if day(at) == self.first { "%H:%M:%S" } else { "%-d %b %H:%M:%S" };
        moment(at).strftime(form).to_string()
    }

    /// `from 14:40:10 to 14:40:55 (45 s)`, or `since 14:40:10`.
    pub(super) fn span(self, span: Span) -> String {
        match span.until {
            Some(until) => {
                let length = length(until.saturating_sub(span.from));
                format!("from {} to {} ({length})", self.time(span.from), self.time(until))
            }
            None => format!("since {}", self.time(span.from)),
        }
    }
}

/// `25 Nov 2026 14:37:40 to 14:43:51 UTC (6 min)`.
pub(super) fn whole(from: UnixMillis, until: UnixMillis) -> String {
    let form = if day(until) == day(from) { "%H:%M:%S" } else { "%-d %b %Y %H:%M:%S" };
    let from_text = moment(from).strftime("%-d %b %Y %H:%M:%S");
    let until_text = moment(until).strftime(form);
    format!("{from_text} to {until_text} UTC ({})", length(until.saturating_sub(from)))
}

/// A length of time for people: `45 s`, `6 min`, `2 h 5 min`.
pub(super) fn length(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        ..100 => format!("{seconds} s"),
        100..5400 => format!("{} min", (seconds + 30) / 60),
        5400..172_800 => match (seconds / 3600, seconds / 60 % 60) {
            (hours, 0) => format!("{hours} h"),
            (hours, minutes) => format!("{hours} h {minutes} min"),
        },
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}
