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
        clock,
        text::{bytes, counted},
    },
    captures::{
        manifest,
        merge::{self, Merge, MergeError, Merged},
    },
    cli::{Format, MergeArgs},
    model::{Failure, Notice},
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
    let from = arguments.from.unwrap_or(0);
    let to = arguments.to.unwrap_or(u64::MAX);
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
    let merge = Merge { inputs: found.captures, window: from..=to, names };
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
    match arguments.output.format {
        Format::Json | Format::Yaml if !to_stdout => output::print_values(
            &records::MERGED_FILE,
            [json!({"path": (!merged.is_outside()).then_some(out), "files": merged.files, "packets": merged.packets, "cut": merged.cut,
                "bytes": merged.size, "warnings": merged.notes.lines(),
                "passed_over": found.passed_over.iter().map(|(path, _)| path).collect::<Vec<_>>(),
                "named_again": found.again})]
            .into_iter(),
            arguments.output.format,
        ),
        Format::Name if !to_stdout && !merged.is_outside() => {
            output::print_names(std::iter::once(out.display().to_string()));
        }
        _ if merged.is_outside() && !to_stdout => output::say(&format!("{}: no file was written", what(&merged))),
        _ => output::progress(&format!("{}, {} in {}", what(&merged), bytes(merged.size), out.display())),
    }
    Ok(if merged.notes.damaged.is_empty() { ExitCode::Done } else { ExitCode::Partly })
}

fn what(merged: &Merged) -> String {
    let cut = match merged.span {
        // Where nothing is found it helps to know where something is.
        Some((first, last)) if merged.is_outside() => {
            format!(", {} outside the window, from {} to {}", merged.cut, time(first), time(last))
        }
        Some(_) => format!(", {} outside the window", merged.cut),
        None => String::new(),
    };
    format!("{} of {}{cut}", counted(merged.packets as usize, "packet"), counted(merged.files, "file"))
}

/// As `--from` takes it, to the microsecond.
fn time(time: Time) -> String {
    let nanos = time.unix_nanos();
    let whole = clock::rfc3339(nanos / 1_000_000);
    format!("{}.{:06}Z", whole.trim_end_matches('Z'), nanos % 1_000_000_000 / 1000)
}

/// What lies in a folder beside the captures.
fn passed_over(files: &[(PathBuf, String)]) -> Option<String> {
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
fn named_again(files: &[PathBuf]) -> Option<String> {
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
