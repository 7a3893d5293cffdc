//! `merge`: one capture of many.
//!
//! Owns what it prints, the exit code, and that an interrupted one leaves nothing.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use nodewatch_pcapng::Time;
use serde_json::json;
use tokio::sync::oneshot;

use super::{ExitCode, output, records, signals::Signals};
use crate::{
    base::{
        clock::{self, Moment},
        text::{bytes, counted},
    },
    captures::{
        manifest,
        merge::{self, Found, Merge, MergeError, Merged},
    },
    cli::{Format, MergeArgs},
    model::{Failure, Notice},
    packets::{
        pairs::{self, Paired},
        time_of_day,
    },
    runtime::{merge_notice, spool},
};

/// Names of files that are said; of more only the number.
const NAMED: usize = 5;

/// Makes one capture of many.
pub async fn merge(arguments: MergeArgs, out: Option<&Path>) -> ExitCode {
    let target = target(&arguments, out);
    let part = Merge::part_of(&target);
    // Before there is a file that an interrupt would leave.
    let signals = Signals::listen();
    let interrupted = async {
        match signals {
            Ok(mut signals) => signals.next().await,
            // What cannot be listened to never comes.
            Err(_) => std::future::pending().await,
        }
    };
    let (done, result) = oneshot::channel();
    // Not one of the runtime's threads: an input may keep it waiting, and the program ends without it.
    std::thread::spawn(move || done.send(merged(&arguments, &target)));
    let outcome = tokio::select! {
        result = result => result.unwrap_or_else(|_| Err(Notice::error("nothing was merged", "the merge thread ended", "try again"))),
        () = interrupted => {
            spool::hurry();
            let _ = fs::remove_file(&part);
            Err(Notice::error("nothing was merged", "interrupted", ""))
        }
    };
    outcome.unwrap_or_else(|notice| {
        output::say(&format!("error: {}", notice.line()));
        ExitCode::of(&notice)
    })
}

/// Where a merged capture goes: into a file, or into a folder that there is.
fn target(arguments: &MergeArgs, out: Option<&Path>) -> PathBuf {
    const NAME: &str = "merged.pcapng";
    match arguments.into.as_deref().or(out) {
        None => PathBuf::from(NAME),
        Some(place) if place.is_dir() => place.join(NAME),
        Some(place) => place.to_owned(),
    }
}

fn merged(arguments: &MergeArgs, out: &Path) -> Result<ExitCode, Notice> {
    let nanos = |moment: &Option<Moment>| moment.as_ref().map(|moment| moment.unix_nanos(arguments.local_time));
    let from = nanos(&arguments.from).unwrap_or(0);
    let to = nanos(&arguments.to).unwrap_or(u64::MAX);
    if from > to {
        let headline = "empty time window";
        return Err(Notice::error(headline, "--from is later than --to", "swap them").of(Failure::BadInput));
    }
    let found = merge::find(&arguments.files).map_err(|error| merge_notice(&error))?;
    if let Some(what) = passed_over(&found.passed_over) {
        output::say(&what);
    }
    if let Some(what) = named_again(&found.again) {
        output::say(&what);
    }
    let to_stdout = out.as_os_str() == "-";
    let names = manifest::names_for(&found.captures);
    let within = arguments.pair_within.map(|within| i64::try_from(within.as_nanos()).unwrap_or(i64::MAX));
    let pair = arguments.pair.then_some(within.unwrap_or(pairs::WITHIN));
    let inputs = found.captures.clone();
    let merge = Merge { inputs, window: from..=to, names, pair };
    let done = if to_stdout { merge.write(std::io::stdout().lock(), out) } else { merge.into_file(out) };
    let merged = match done {
        // A reader that has enough, as `head` or `tshark -c` do, is no failure.
        Err(MergeError::Output { source, .. }) if to_stdout && source.kind() == ErrorKind::BrokenPipe => {
            return Ok(ExitCode::Done);
        }
        done => done.map_err(|error| merge_notice(&error))?,
    };
    for line in merged.notes.lines() {
        output::say(&format!("warning: {line}"));
    }
    if let Some(paired) = &merged.paired {
        told_pairs(paired, arguments.output.format, to_stdout);
    }
    match arguments.output.format {
        format @ (Format::Json | Format::Yaml) if !to_stdout => {
            output::print_values(&records::MERGED_FILE, [as_json(&merged, out, &found)].into_iter(), format);
            if let Some(nothing) = nothing(&merged) {
                output::say(&nothing);
            }
        }
        Format::Name if !to_stdout && !merged.is_outside() => {
            output::print_names(std::iter::once(out.display().to_string()));
        }
        _ => match nothing(&merged) {
            Some(nothing) => output::say(&nothing),
            None => output::progress(&what(&merged, out)),
        },
    }
    // Of a file that was not written there is nothing to say.
    if let (Some(filter), None, false) = (merged.side_filter(), &merged.paired, merged.is_outside()) {
        output::say(&format!(
            "each packet is in it once a node: in Wireshark {filter} shows one side; --pair writes one of each"
        ));
    }
    Ok(match (merged.is_outside(), merged.notes.damaged.is_empty()) {
        (true, _) => ExitCode::Failed,
        (false, true) => ExitCode::Done,
        (false, false) => ExitCode::Partly,
    })
}

fn as_json(merged: &Merged, out: &Path, found: &Found) -> serde_json::Value {
    let mut value = json!({
        "path": (!merged.is_outside()).then_some(out), "files": merged.files,
        "packets": merged.packets, "cut": merged.cut, "identical": merged.again, "bytes": merged.size,
        "warnings": merged.notes.lines(),
        "passed_over": found.passed_over.iter().map(|(path, _)| path).collect::<Vec<_>>(),
        "named_again": found.again, "filter": merged.side_filter(),
    });
    if let Some(paired) = &merged.paired {
        let clocks = paired.clocks.iter().map(|clock| {
            json!({"of": clock.of, "against": clock.against, "ahead_ns": clock.ahead, "one_way_ns": clock.delay,
                "packets": clock.matches})
        });
        value["paired"] = json!({
            "pairs": paired.pairs, "one_side": paired.one_sided, "segments": paired.segments,
            "left_out": paired.left_out, "one_node": paired.one_node, "outside": paired.outside,
            "not_compared": paired.let_go + paired.others, "clocks": clocks.collect::<Vec<_>>(),
        });
    }
    value
}

/// What pairing found: a line each for people, and what one side alone has as rows.
fn told_pairs(paired: &Paired, format: Format, to_stdout: bool) {
    if matches!(format, Format::Json | Format::Yaml) && !to_stdout {
        let rows = paired.rows.iter().map(|row| {
            let time = exact(row.time);
            json!({"time": time, "node": row.node, "not_on": row.not_on, "packet": row.packet,
                "part": (!row.part.is_empty()).then_some(&row.part)})
        });
        output::print_values(&records::ONE_SIDE, rows, format);
        let conversations = paired.conversations.iter().map(|one| {
            let (a, b) = one.between;
            json!({"node": one.node, "between": [a.to_string(), b.to_string()], "packets": one.packets})
        });
        output::print_values(&records::ONE_NODE, conversations, format);
    } else if !to_stdout && format != Format::Name {
        let rows = paired.rows.iter().map(|row| {
            let part = if row.part.is_empty() { String::new() } else { format!(" ({})", row.part) };
            vec![exact(row.time), row.node.clone(), row.not_on.join(","), format!("{}{part}", row.packet)]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        if !rows.is_empty() {
            output::print_table(&["TIME", "ONLY ON", "NOT ON", "PACKET"], &rows);
        }
        let more = paired.one_sided - paired.rows.len() as u64;
        if more > 0 {
            output::print(&format!("# and {} of one side\n", counted(more as usize, "more packet")));
        }
    }
    for line in paired.lines() {
        output::say(&line);
    }
    for one in paired.conversations.iter().take(NAMED) {
        let (a, b) = one.between;
        output::say(&format!("  only on {}: {a} and {b}, {}", one.node, counted(one.packets as usize, "packet")));
    }
}

/// What a window without packets says.
fn nothing(merged: &Merged) -> Option<String> {
    let (first, last) = merged.span.filter(|_| merged.is_outside())?;
    let millis = |time: Time| time.unix_nanos() / 1_000_000;
    let span = clock::span_in_both_zones(millis(first), millis(last));
    let files = if merged.files == 1 { "the file holds" } else { "the files hold" };
    Some(format!("nothing: {files} {} from {span}; no file was written", counted(merged.cut as usize, "packet")))
}

fn what(merged: &Merged, out: &Path) -> String {
    let more = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    format!(
        "{} of {}{}{}, {} in {}",
        counted(merged.packets as usize, "packet"),
        counted(merged.files, "file"),
        more(merged.cut, "outside the window"),
        more(merged.again, "identical ones of overlapping files written once"),
        bytes(merged.size),
        out.display()
    )
}

/// A time in UTC, to the microsecond.
pub(super) fn exact(nanos: i64) -> String {
    let millis = u64::try_from(nanos / 1_000_000).unwrap_or(0);
    let day = clock::rfc3339(millis);
    format!("{}T{}Z", day.split('T').next().unwrap_or_default(), time_of_day(nanos))
}

/// What lies in a folder beside the captures.
pub(super) fn passed_over(files: &[(PathBuf, String)]) -> Option<String> {
    if files.is_empty() {
        return None;
    }
    let named: Vec<String> =
        files.iter().take(NAMED).map(|(path, why)| format!("{} ({why})", path.display())).collect();
    let more = files.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("skipped {}: {}{more}", counted(files.len(), "file"), named.join(", ")))
}

/// Files that somebody has named more than once.
pub(super) fn named_again(files: &[PathBuf]) -> Option<String> {
    let names: std::collections::BTreeSet<String> = files.iter().map(|path| path.display().to_string()).collect();
    let more = names.len().saturating_sub(NAMED);
    let named: Vec<String> = names.into_iter().take(NAMED).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| format!("named more than once, merged once: {}{more}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_is_named_and_bounded() {
        assert_eq!(passed_over(&[]), None);
        let files: Vec<_> =
            (0..7).map(|number| (PathBuf::from(format!("{number}.txt")), "no capture".into())).collect();
        let said = passed_over(&files).expect("said");
        assert!(said.starts_with("skipped 7 files: 0.txt (no capture), "), "{said}");
        assert!(said.ends_with("4.txt (no capture) and 2 more"), "{said}");
    }
}
