//! One way to read and write sizes, rates, durations and foreign text, for screens and for standard output.
//!
//! Owns formats only. Must not know what is being written or where it goes.

use std::{fmt::Write, time::Duration};

use nodewatch_protocol::{CaptureSpec, Content, Recorder, UnixMillis};
pub use nodewatch_report::chain;
use serde::Serialize;

/// The longest that a session may be given.
pub const LONGEST_BUDGET: Duration = Duration::from_secs(30 * 86_400);
/// The longest retention of a log group, in its days.
const LONGEST_PAST: Duration = Duration::from_secs(3653 * 86_400);
/// The longest time between two of a kind.
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);
/// The largest size: more than any volume of a node has.
pub const LARGEST_SIZE: u64 = 64 << 40;
/// The most packets that a capture is asked for.
pub const MOST_PACKETS: u64 = 1_000_000_000_000;

/// Foreign text with everything that could steer a terminal or hide itself made visible, as `\u{1b}`.
pub fn visible(text: &str) -> String {
    if is_plain(text) || !text.chars().any(is_hidden) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 16), |mut shown, character| {
        if is_hidden(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
        shown
    })
}

/// Letters that every terminal has, each one column wide: nearly all names, so that looking no further pays.
pub(crate) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// A word of a command line as a shell takes it; one that needs no quotes stays as it is. What could steer a terminal is
/// written as `$'\033'`.
pub fn shell(word: &str) -> String {
    if word.chars().any(is_hidden) {
        let escaped = word.chars().fold(String::new(), |mut escaped, character| {
            match character {
                '\'' | '\\' => escaped.extend(['\\', character]),
                hidden if is_hidden(hidden) => {
                    let mut bytes = [0; 4];
                    for byte in hidden.encode_utf8(&mut bytes).bytes() {
                        // Writing to a String does not fail.
                        let _ = write!(escaped, "\\{byte:03o}");
                    }
                }
                plain => escaped.push(plain),
            }
            escaped
        });
        return format!("$'{escaped}'");
    }
    // Without a NUL, which is a control character, it does not fail.
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
}

/// A command of this program that can be copied into a shell, whatever its words are.
pub fn command<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words = words.into_iter().map(shell);
    std::iter::once("nodewatch-tui".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Foreign text as one line: its line ends and tabs are spaces, and the rest is [`visible`]. Only this program breaks lines.
pub fn line(text: &str) -> String {
    let breaks = |character: char| matches!(character, '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    if !text.contains(breaks) {
        return visible(text);
    }
    let parts = text.split(breaks).map(str::trim).filter(|part| !part.is_empty());
    visible(&parts.collect::<Vec<_>>().join(" "))
}

/// Control characters, and the invisible ones that reorder or hide text or carry one that nobody sees: what Unicode says
/// nothing is to be drawn for.
pub(super) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// JSON whose strings hold nothing that is hidden: serde_json leaves all but the C0 set as it is.
pub fn json_line(value: &serde_json::Value) -> String {
    escaped(&value.to_string())
}

/// The same of anything.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|json| escaped(&json))
}

/// The same over many lines, for people.
pub fn json_pretty(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(|json| escaped(&json))
}

fn escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut escaped, character| {
        // Line ends are between values: those inside strings are escaped already.
        if is_hidden(character) && character != '\n' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
        escaped
    })
}

/// The cause at the bottom of an error, which says most in fewest words: `Connection refused (os error 111)`.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

/// Why the system said no, without its number: `No space left on device`.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

/// Bytes in binary units, three digits: `980 B`, `12.3 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(value), UNITS[unit])
}

/// A count with its noun: `1 agent`, `2 agents`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A count in decimal units: `812`, `12.3k`, `4.56M`.
pub fn count(count: u64) -> String {
    const UNITS: [&str; 4] = ["k", "M", "G", "T"];
    if count < 1000 {
        return count.to_string();
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", three_digits(value), UNITS[unit])
}

fn three_digits(value: f64) -> String {
    match value {
        small if small < 9.995 => format!("{small:.2}"),
        middle if middle < 99.95 => format!("{middle:.1}"),
        large => format!("{large:.0}"),
    }
}

/// A rate of so many bytes in a time, in Mbit/s without the unit.
pub fn megabits(bytes: u64, millis: u64) -> f64 {
    if millis == 0 { 0.0 } else { bytes as f64 * 8.0 / (millis as f64 * 1000.0) }
}

/// The next round number that an axis can end with and be halved.
pub fn axis_end(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0];
    steps.into_iter().map(|step| step * power).find(|&end| end >= value).unwrap_or(10.0 * power)
}

/// A number at an axis, without zeros behind it.
pub fn axis_label(value: f64) -> String {
    format!("{}", (value * 1000.0).round() / 1000.0)
}

/// So many in a time, a second.
pub fn per_second(amount: u64, millis: u64) -> u64 {
    amount.saturating_mul(1000).checked_div(millis).unwrap_or(0)
}

/// A length of time in its two largest units, as kubectl has it: `14s`, `3m05s`, `3h59m`, `2d3h`.
pub fn lasting(millis: u64) -> String {
    let (seconds, minutes, hours) = (millis / 1000, millis / 60_000, millis / 3_600_000);
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 if seconds % 60 == 0 => format!("{minutes}m"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..172_800 if minutes % 60 == 0 => format!("{hours}h"),
        3600..172_800 => format!("{hours}h{:02}m", minutes % 60),
        _ if hours % 24 == 0 => format!("{}d", hours / 24),
        _ => format!("{}d{}h", hours / 24, hours % 24),
    }
}

/// A rate of so many bytes in a time, in bits a second with decimal units: `812`, `12.4k`, `70.3M`.
pub fn bit_rate(bytes: u64, millis: u64) -> String {
    count(bits_per_second(bytes, millis))
}

/// So many bytes in a time, in bits a second.
pub fn bits_per_second(bytes: u64, millis: u64) -> u64 {
    per_second(bytes.saturating_mul(8), millis)
}

/// The zone of this machine at a moment, short: `UTC`, `+09`, `-03:30`.
pub fn zone(at: UnixMillis) -> String {
    let moment = jiff::Timestamp::from_millisecond(at as i64).unwrap_or_default();
    match moment.to_zoned(jiff::tz::TimeZone::system()).strftime("%:z").to_string() {
        utc if utc == "+00:00" => "UTC".to_owned(),
        offset => offset.strip_suffix(":00").map(str::to_owned).unwrap_or(offset),
    }
}

/// From one moment to another, in this machine's time zone, the date once where it is the same:
/// `2026-01-31 16:03:22.1 to 16:04:01.9`.
pub fn from_to(from: UnixMillis, to: UnixMillis) -> String {
    let written = |at: UnixMillis| {
        let moment = jiff::Timestamp::from_millisecond(at as i64).unwrap_or_default();
        let zoned = moment.to_zoned(jiff::tz::TimeZone::system());
        (zoned.strftime("%Y-%m-%d").to_string(), zoned.strftime("%H:%M:%S.%1f").to_string())
    };
    let ((day, time), (last_day, last_time)) = (written(from), written(to));
    if day == last_day {
        format!("{day} {time} to {last_time}")
    } else {
        format!("{day} {time} to {last_day} {last_time}")
    }
}

/// A moment's time of day in this machine's time zone: `12:03:22`.
pub fn time_of_day(at: UnixMillis) -> String {
    let moment = jiff::Timestamp::from_millisecond(at as i64).unwrap_or_default();
    moment.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// A moment in this machine's time zone: `2026-01-31 16:03`.
pub fn date_and_time(at: UnixMillis) -> String {
    let moment = jiff::Timestamp::from_millisecond(at as i64).unwrap_or_default();
    moment.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// A moment in UTC, for machines: `2026-01-31T16:03:22.125Z`.
pub fn rfc3339(at: UnixMillis) -> String {
    let moment = jiff::Timestamp::from_millisecond(at as i64).unwrap_or_default();
    moment.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Whether Kubernetes takes it as a namespace's name (RFC 1123).
pub fn is_dns_label(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(inside) && !name.starts_with('-') && !name.ends_with('-')
}

/// A duration as the command line takes it: `30s`, `5m`, `1h30m` or bare seconds. Nothing of a session takes longer than a session
/// may, so [`LONGEST_BUDGET`] is its bound.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    within(text, LONGEST_BUDGET, "30d")
}

/// The same for a time back from now: as far as any log group remembers.
pub fn parse_past(text: &str) -> Result<Duration, String> {
    within(text, LONGEST_PAST, "3653d")
}

/// The same for what comes again and again: at least once a day.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    within(text, LONGEST_INTERVAL, "1d")
}

fn within(text: &str, longest: Duration, named: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut total: Option<u64> = Some(0);
    // Units get smaller, as in 3h59m.
    let mut before = u64::MAX;
    while before == u64::MAX || !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let behind = behind.trim_start();
        let seconds = match behind.chars().next() {
            None if before == u64::MAX => 1,
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            None | Some(_) => return Err(bad_duration(text)),
        };
        if number.is_empty() || seconds >= before {
            return Err(bad_duration(text));
        }
        before = seconds;
        // Digits that are no number are too many.
        let more = number.parse().ok().and_then(|number: u64| number.checked_mul(seconds));
        total = total.and_then(|total| total.checked_add(more?));
        rest = behind.get(1..).unwrap_or_default().trim_start();
    }
    match total {
        Some(0) => Err(bad_duration(text)),
        Some(total) if total <= longest.as_secs() => Ok(Duration::from_secs(total)),
        Some(_) | None => Err(format!("{text:?} is too long: write at most {named}")),
    }
}

/// A duration for which agents may run: nothing that is meant to be ephemeral outlives [`LONGEST_BUDGET`].
pub fn parse_budget(text: &str) -> Result<Duration, String> {
    let budget = within(text, LONGEST_BUDGET, "30d");
    budget.map_err(|error| error.replace("too long", "too long for agents that are meant to go"))
}

fn bad_duration(text: &str) -> String {
    format!("invalid duration {text:?}: use 30s, 5m, 1h30m or whole seconds above 0")
}

/// A size as the command line takes it: `64MiB`, `1GB` or bare bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("invalid size {text:?}: use 64MiB, 1GB or whole bytes above 0");
    let (number, unit) = split_unit(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(bad()),
    };
    if number.is_empty() {
        return Err(bad());
    }
    match number.parse().ok().and_then(|number: u64| number.checked_mul(factor)) {
        Some(0) => Err(bad()),
        Some(total) if total <= LARGEST_SIZE => Ok(total),
        Some(_) | None => Err(format!("{text:?} is too large: write at most 65536GiB")),
    }
}

/// How many bytes of a packet are kept. Which numbers make sense is the protocol's to say.
pub fn parse_snaplen(text: &str) -> Result<u32, String> {
    let expected =
        || format!("invalid number of bytes {text:?}: use a whole number from 1 to {}", CaptureSpec::MAX_SNAPLEN);
    text.trim().parse().map_err(|_| expected())
}

/// A number of packets above 0.
pub fn parse_packets(text: &str) -> Result<u64, String> {
    let number = text.trim();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) || number.bytes().all(|byte| byte == b'0')
    {
        return Err(format!("invalid number of packets {text:?}: use a whole number above 0"));
    }
    let bounded = number.parse().ok().filter(|&packets: &u64| packets <= MOST_PACKETS);
    bounded.ok_or_else(|| format!("{text:?} is too many packets: write at most {MOST_PACKETS}"))
}

/// The leading digits, and what follows them.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Bytes from hexadecimal; `None` where it is none.
pub fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    hex.as_bytes().chunks_exact(2).map(|pair| u8::try_from((digit(pair[0])? << 4) | digit(pair[1])?).ok()).collect()
}

/// A name from outside as one part of a path or key; Kubernetes' own names pass unchanged.
pub fn safe_component(name: &str) -> String {
    let safe: String = name
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' })
        .collect();
    if safe.chars().all(|character| character == '.') { "_".repeat(safe.len().max(1)) } else { safe }
}

/// What is kept of packets: `headers`, `dns` or `full`.
pub fn parse_content(text: &str) -> Result<Content, String> {
    let found = Content::ALL.into_iter().find(|content| content.word() == text);
    found.ok_or_else(|| format!("invalid capture content {text:?}: use headers, dns or full"))
}

/// What a flight recorder keeps: a time, or a time and a size as in `2m,512MiB`.
pub fn parse_recorder(text: &str) -> Result<Recorder, String> {
    let (time, size) = match text.split_once(',') {
        Some((time, size)) => (time, Some(size)),
        None => (text, None),
    };
    let default = Recorder::default();
    let bytes = size.map(parse_size).transpose()?.unwrap_or(default.bytes);
    Ok(Recorder { seconds: parse_duration(time)?.into(), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_cannot_steer_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\u{202e}c\u{9b}"), "a\\u{1b}[2Jb\\u{202e}c\\u{9b}");
        let line = json_line(&serde_json::json!({"name": "a\u{9b}2J\u{1b}\u{7f}"}));
        assert!(line.is_ascii() && line.contains("\\u009b2J\\u001b\\u007f"), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect("JSON")["name"], "a\u{9b}2J\u{1b}\u{7f}");
    }

    #[test]
    fn what_hides_itself_is_seen_and_breaks_no_line() {
        for hidden in
            ["\u{200b}", "\u{2066}", "\u{61c}", "\u{e0041}", "\u{fe0f}", "\u{ad}", "\u{3164}", "\u{feff}", "\u{85}"]
        {
            let character = hidden.chars().next().expect("one");
            assert_eq!(visible(hidden), format!("\\u{{{:x}}}", character as u32));
            let json = json_line(&serde_json::json!({"name": hidden}));
            assert!(json.is_ascii(), "{json}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON")["name"], hidden);
            let pretty = json_pretty(&[hidden]).expect("JSON");
            assert!(pretty.is_ascii() && pretty.lines().count() == 3, "{pretty}");
            assert_eq!(serde_json::from_str::<Vec<String>>(&pretty).expect("JSON"), [hidden]);
        }
        assert_eq!(visible("Zürich 東京 ñ"), "Zürich 東京 ñ");
        assert_eq!(line("denied:\n - no\r\n\tnever\u{1b}[2J\u{2028}x\n"), "denied: - no never\\u{1b}[2J x");
    }

    #[test]
    fn a_command_is_one_that_a_shell_takes_apart_again() {
        assert_eq!(
            command(["cleanup", "7f3a91c2", "--s3", "s3://b/a"]),
            "nodewatch-tui cleanup 7f3a91c2 --s3 s3://b/a"
        );
        let words = [
            "",
            "a b",
            "$HOME",
            "a;b&c|d",
            "it's",
            "\"",
            "{prod}",
            "~",
            "*",
            "!x",
            "a\\b",
            "#",
            "a\u{1b}[2J'\n\\",
            "\u{202e}x",
        ];
        for word in words {
            let line = command([word]);
            assert!(!line.chars().any(is_hidden), "{line:?}");
            let script =
                format!("for word in {}; do printf %s \"$word\"; done", line.trim_start_matches("nodewatch-tui "));
            let output = std::process::Command::new("bash").args(["-c", &script]).output().expect("bash");
            assert_eq!(String::from_utf8(output.stdout).expect("text"), word, "{line}");
        }
    }

    #[test]
    fn a_node_name_stays_one_folder() {
        assert_eq!(safe_component("ip-10-0-1-12.eu-west-1"), "ip-10-0-1-12.eu-west-1");
        assert_eq!(safe_component("../../etc"), ".._.._etc");
        assert_eq!(safe_component(".."), "__");
    }

    #[test]
    fn three_digits_whatever_the_size() {
        let sizes = [0, 1023, 1024, 12_900_000, 1_048_575, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.00 KiB", "12.3 MiB", "1.00 MiB", "16384 PiB"]);
        assert_eq!([999, 12_345, 999_999].map(count), ["999", "12.3k", "1.00M"]);
    }

    #[test]
    fn durations_and_sizes_are_read_and_nonsense_is_named() {
        assert_eq!(parse_duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("4h"), Ok(Duration::from_secs(14_400)));
        assert_eq!(parse_size("64MiB"), Ok(67_108_864));
        assert_eq!(parse_size("1 GB"), Ok(1_000_000_000));
        for text in ["", "s", "0", "-1s", "3 fortnights", "99999999999999999h", "1.5h"] {
            assert!(parse_duration(text).is_err_and(|error| error.contains(&format!("{text:?}"))), "{text}");
        }
        assert_eq!(parse_budget("30d"), Ok(LONGEST_BUDGET));
        assert!(parse_budget("31d").is_err_and(|error| error.contains("\"31d\" is too long for agents")));
        let digits = "18446744073709551616";
        for text in
            ["31d", "106751991167301d", "18446744073709551615", "9223372036854775807", digits, "99999999999999999h"]
        {
            assert!(parse_duration(text).is_err_and(|error| error.contains("too long: write at most 30d")), "{text}");
            assert!(parse_interval(text).is_err_and(|error| error.contains("at most 1d")), "{text}");
        }
        assert_eq!(parse_past("3653d"), Ok(Duration::from_secs(3653 * 86_400)));
        assert!(parse_past("3654d").is_err() && parse_interval("86401").is_err() && parse_interval("1d").is_ok());
        assert_eq!(parse_size("65536GiB"), Ok(LARGEST_SIZE));
        for text in ["65537GiB", "99999999999GiB", digits] {
            assert!(parse_size(text).is_err_and(|error| error.contains("too large")), "{text}");
        }
        assert_eq!((parse_snaplen("96"), parse_snaplen("0")), (Ok(96), Ok(0)));
        for text in ["", "abc", "-1", "64KiB", digits] {
            assert!(
                parse_snaplen(text).is_err_and(|error| error.contains("a whole number from 1 to 262144")),
                "{text}"
            );
        }
        assert_eq!((parse_packets("1"), parse_packets("1000000000000")), (Ok(1), Ok(MOST_PACKETS)));
        for text in ["", "0", "-1", "x", "1.5", "1000000000001", digits] {
            assert!(parse_packets(text).is_err_and(|error| error.contains(&format!("{text:?}"))), "{text}");
        }
        for text in ["", "0", "MiB", "12XB", "99999999999GiB"] {
            assert!(parse_size(text).is_err_and(|error| error.contains(&format!("{text:?}"))), "{text}");
        }
    }

    #[test]
    fn an_axis_ends_with_a_round_number_above_what_it_shows() {
        for (value, end) in
            [(0.001, "0.001"), (1.0, "1"), (1.1, "1.2"), (9.1, "10"), (66.2, "80"), (100.8, "120"), (260.0, "300")]
        {
            assert_eq!(axis_label(axis_end(value)), end);
        }
        assert_eq!(axis_label(axis_end(1.5) / 2.0), "0.75");
    }
}
