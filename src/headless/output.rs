//! Results on standard output, as a table, as names or as one value a line; everything else on standard error.
//!
//! Owns the forms and how much is said, and what becomes of them when nobody reads or reads too slowly. Nothing here waits for a reader.

use std::{
    io::{self, IsTerminal},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::sleep;
use unicode_width::UnicodeWidthStr;

use super::{
    ExitCode,
    records::{self, Record},
    signals::Signals,
};
use crate::{
    base::{
        text::{self, bytes, counted, json_line, line, visible},
        yaml,
    },
    cli::{Format, OutputArgs},
    model::{BundleFiles, FetchProgress, NodeName},
    runtime::spool,
    session::node::NodeState,
};

/// So many bytes wait for a reader, at most, before what comes anew is left out.
const BEHIND: usize = 1 << 20;
/// A reader that keeps up has this long, so that both outputs in one place come in order.
const AT_ONCE: Duration = Duration::from_millis(20);
/// What still waits for its reader when the program was told to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Lines for people that were left out.
static UNSAID: AtomicU64 = AtomicU64::new(0);

/// How the one command of this program was asked to write.
static ASKED: OnceLock<OutputArgs> = OnceLock::new();

/// From now on it is written so: with heads over tables or without, with progress or without.
pub fn write_as(asked: OutputArgs) {
    // There is one command in a program, and it is asked once.
    let _ = ASKED.set(asked);
}

/// Only what goes wrong is to be said.
pub(super) fn is_quiet() -> bool {
    ASKED.get().is_some_and(|asked| asked.quiet)
}

/// Nobody watches: what passes is not told step by step.
pub(super) fn is_terse() -> bool {
    !io::stderr().is_terminal()
}

/// How things go, for people on standard error, where they want to know.
pub(super) fn progress(text: &str) {
    if !is_quiet() {
        say(text);
    }
}

/// A line for people on standard error. What others have broken into lines is one.
pub(super) fn say(text: &str) {
    say_lines(&[text]);
}

/// Lines for people on standard error.
pub(super) fn say_lines(lines: &[&str]) {
    let out = spool::stderr();
    if out.waiting() > BEHIND {
        UNSAID.fetch_add(lines.len() as u64, Ordering::Relaxed);
        return;
    }
    let lines: Vec<String> = lines.iter().map(|text| line(text)).collect();
    let unsaid = match UNSAID.swap(0, Ordering::Relaxed) {
        0 => String::new(),
        lines => format!("{} skipped here: output was not read in time\n", were(lines, "line")),
    };
    put(out, format!("{unsaid}{}\n", lines.join("\n")));
}

/// The one way of results to standard output. A reader that has gone away (as `head` does) is no failure of ours, and
/// cleanup goes on; what cannot be written is told by [`settle`].
pub fn print(text: &str) {
    put(spool::stdout(), text.to_owned());
}

fn put(out: &spool::Spool, text: String) {
    let keeps_up = out.waiting() == 0;
    out.push(text.into_bytes());
    if keeps_up {
        out.written_within(AT_ONCE);
    }
}

/// So much waits for the reader of results that what only adds to it is to be left out.
pub(super) fn is_behind() -> bool {
    spool::stdout().waiting() > BEHIND
}

/// Nobody reads results any more.
pub(super) async fn reader_gone() {
    spool::stdout().gone().await;
}

/// Whether nobody reads results any more.
pub(super) fn is_reader_gone() -> bool {
    spool::stdout().is_gone()
}

/// Says in the results themselves that some of them were left out.
pub(super) fn print_left_out(results: u64, format: Format) {
    match format {
        Format::Json | Format::Yaml => {
            print_values(&records::LEFT_OUT, [json!({"event": "left_out", "results": results})].into_iter(), format);
        }
        Format::Name => {}
        Format::Table | Format::Wide => {
            print(&format!("# {} skipped here: output was not read in time\n", were(results, "result")));
        }
    }
}

fn were(count: u64, what: &str) -> String {
    format!("{} {}", counted(count as usize, what), if count == 1 { "was" } else { "were" })
}

/// What standard output was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// What a command was asked for.
    Results,
    /// Screens: what a terminal has not taken was for people alone.
    Screens,
}

/// Lets readers have what still waits for them, before the program ends. A signal ends the waiting; after one there is
/// little time.
pub async fn settle(exit: ExitCode, shown: Shown) -> ExitCode {
    let (out, err) = (spool::stdout(), spool::stderr());
    let exit = settled(exit, shown).await;
    if shown == Shown::Screens {
        return exit;
    }
    let Some(reason) = out.failure() else { return exit };
    say(&format!("error: cannot write standard output: {reason}"));
    err.written_within(LAST_WORDS);
    match exit {
        // What is wrong besides is told already, and is worse.
        ExitCode::BadUsage | ExitCode::LeftBehind | ExitCode::NotPermitted => exit,
        ExitCode::Done | ExitCode::Failed | ExitCode::Partly | ExitCode::Found | ExitCode::Interrupted => {
            ExitCode::Failed
        }
    }
}

async fn settled(exit: ExitCode, shown: Shown) -> ExitCode {
    let (out, err) = (spool::stdout(), spool::stderr());
    if out.waiting() + err.waiting() == 0 {
        return exit;
    }
    let drained = async {
        out.drained().await;
        err.drained().await;
    };
    let hurried = spool::is_hurried();
    let told_to_end = async {
        let Ok(mut signals) = Signals::listen() else { return sleep(LAST_WORDS).await };
        tokio::select! {
            () = signals.next() => {}
            () = sleep(LAST_WORDS), if hurried => {}
        }
    };
    tokio::select! {
        () = drained => exit,
        // Results that nobody got are missing; what was for people alone is not.
        () = told_to_end => if out.waiting() > 0 && shown == Shown::Results { exit.or(ExitCode::Partly) } else { exit },
    }
}

/// Records for programs: one value a line, or a document each.
pub fn print_values(record: &Record, values: impl Iterator<Item = Value>, format: Format) {
    print_each(values.map(|value| {
        let value = recorded(record, value);
        if format == Format::Yaml { yaml::document(&value) } else { format!("{}\n", json_line(&value)) }
    }));
}

/// Many texts, as many at once as a pipe takes: the thread that writes is not woken for each of 30,000 lines.
fn print_each(texts: impl Iterator<Item = String>) {
    const CHUNK: usize = 64 * 1024;
    let mut chunk = String::new();
    for text in texts {
        chunk.push_str(&text);
        if chunk.len() >= CHUNK {
            print(&chunk);
            chunk.clear();
        }
    }
    if !chunk.is_empty() {
        print(&chunk);
    }
}

/// With what every record says: its kind, the form of all, and each moment as a text too.
fn recorded(record: &Record, mut value: Value) -> Value {
    with_times(&mut value);
    value["kind"] = json!(record.kind);
    value["schema"] = json!(records::SCHEMA);
    debug_assert_eq!(records::undocumented(record, &value), Vec::<String>::new(), "not in the reference");
    debug_assert_eq!(records::schema::faults(record, &value), Vec::<String>::new(), "not as its schema has it");
    value
}

fn with_times(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(with_times),
        Value::Object(fields) => {
            fields.values_mut().for_each(with_times);
            let times: Vec<(String, Value)> = records::TIMES
                .iter()
                .filter_map(|name| Some((format!("{name}_time"), fields.get(*name)?)))
                .map(|(name, at)| (name, json!(at.as_u64().map(text::rfc3339))))
                .collect();
            fields.extend(times);
        }
        _ => {}
    }
}

/// Only names, one a line.
pub fn print_names(names: impl Iterator<Item = String>) {
    print_each(names.map(|name| format!("{}\n", line(&name))));
}

/// Rows under their heads, every column as wide as it needs.
pub(super) fn print_table(heads: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let columns = heads.len();
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let heads = (!ASKED.get().is_some_and(|asked| asked.no_headers)).then_some(&heads);
    let width = |column: usize| {
        let cells = rows.iter().chain(heads).filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell}{}", " ".repeat(width - cell.width())))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    print(&heads.into_iter().chain(&rows).map(line).collect::<String>());
}

/// The key of a file that S3 has.
fn delivered(state: &NodeState, file: &nodewatch_protocol::CaptureFile) -> Option<String> {
    match &file.delivery {
        nodewatch_protocol::Delivery::Delivered { key, .. } if state.is_in_s3(file) => Some(key.clone()),
        _ => None,
    }
}

/// What is said of a file whose copy in S3 nobody has compared, and which is not here.
pub(super) const NOT_COMPARED: &str = "in S3, not compared";

/// Why a file is not where it was to go; `None` when it is.
fn reason(state: &NodeState, file: &nodewatch_protocol::CaptureFile, storage: bool) -> Option<String> {
    match state.fetches.get(&file.name) {
        _ if state.is_proved_in_s3(file) => None,
        Some(FetchProgress::Done { .. }) if state.is_in_s3(file) || !storage => None,
        _ if state.is_in_s3(file) => Some(NOT_COMPARED.to_owned()),
        _ if storage => Some(state.why_undelivered(file)),
        Some(FetchProgress::Failed(notice)) => Some(notice.cause.clone()),
        _ => Some("it was not fetched".to_owned()),
    }
}

/// Rows with their first cells, or with all of them.
pub(super) fn cut(rows: Vec<Vec<String>>, wide: bool, narrow: usize) -> Vec<Vec<String>> {
    if wide {
        return rows;
    }
    let first = |mut row: Vec<String>| {
        row.truncate(narrow);
        row
    };
    rows.into_iter().map(first).collect()
}

/// A capture file for programs. With `storage` S3 is where it should be.
pub(super) fn file_value(state: &NodeState, file: &nodewatch_protocol::CaptureFile, storage: bool) -> Value {
    let (path, sha256) = match state.fetches.get(&file.name) {
        Some(FetchProgress::Done { path, sha256 }) => (Some(path.display().to_string()), Some(sha256.clone())),
        _ => (None, None),
    };
    json!({
        "node": state.node.name, "file": file.name, "path": path, "bytes": file.size,
        "packets": file.packets, "sha256": sha256.or_else(|| file.sha256.clone()), "dropped": file.dropped,
        "delivered": delivered(state, file), "compared": delivered(state, file).map(|_| file.delivery.is_proved()),
        "incomplete": (!file.incomplete.is_empty()).then_some(&file.incomplete),
        "reason": reason(state, file, storage),
    })
}

/// Where a capture file is, in a word.
pub(super) fn file_name(state: &NodeState, file: &nodewatch_protocol::CaptureFile) -> String {
    match state.fetches.get(&file.name) {
        Some(FetchProgress::Done { path, .. }) => path.display().to_string(),
        _ => delivered(state, file).unwrap_or_else(|| file.name.clone()),
    }
}

/// Every bundle, and where it is.
pub(super) fn bundles(bundles: &[(NodeName, BundleFiles)], format: Format) {
    match format {
        Format::Json | Format::Yaml => {
            let value = |(node, files): &(NodeName, BundleFiles)| json!({"node": node, "path": files.json, "text_path": files.text, "taken": files.taken});
            print_values(&records::BUNDLE_FILES, bundles.iter().map(value), format);
        }
        // Names are those of captures, for what reads these.
        Format::Name => {}
        Format::Table | Format::Wide => {
            for (node, files) in bundles {
                progress(&format!("{node}: bundle {}", files.text.display()));
            }
        }
    }
}

/// Every file, and where it is. With `storage` S3 is where it should be.
pub(super) fn files(states: &[&NodeState], storage: bool, format: Format) {
    let files = states.iter().flat_map(|state| {
        state.gone.former.iter().chain(state.all_files()).map(move |file| {
            let here = match state.fetches.get(&file.name) {
                Some(FetchProgress::Done { path, sha256 }) => Some((path.display().to_string(), sha256.clone())),
                _ => None,
            };
            (*state, file, here)
        })
    });
    match format {
        Format::Json | Format::Yaml => {
            let values = files.map(|(state, file, _)| file_value(state, file, storage));
            print_values(&records::CAPTURE_FILE, values, format);
        }
        Format::Name => print_names(files.map(|(state, file, _)| file_name(state, file))),
        Format::Table | Format::Wide => {
            let wide = format == Format::Wide;
            let rows: Vec<Vec<String>> = files
                .map(|(state, file, here)| {
                    let dropped = file.dropped;
                    vec![
                        state.node.name.0.clone(),
                        file.packets.to_string(),
                        bytes(file.size),
                        format!("{}/{}/{}", dropped.kernel, dropped.interface, dropped.queue),
                        here.map(|(path, _)| path)
                            .or_else(|| {
                                let compared = if file.delivery.is_proved() { "" } else { " (not compared)" };
                                Some(format!("{}{compared}", delivered(state, file)?))
                            })
                            .unwrap_or_else(|| "not fetched".to_owned()),
                        if file.incomplete.is_empty() { "-".to_owned() } else { file.incomplete.clone() },
                        file.sha256.clone().unwrap_or_else(|| "-".to_owned()),
                    ]
                })
                .collect();
            if rows.is_empty() {
                return say("nothing was captured: no files");
            }
            let heads = ["NODE", "PACKETS", "SIZE", "DROPPED k/i/q", "FILE", "INCOMPLETE", "SHA-256"];
            print_table(if wide { &heads } else { &heads[..5] }, &cut(rows, wide, 5));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_has_its_kind_and_each_moment_as_a_text() {
        let value = json!({"node": "a", "at": 1_700_000_000_999_u64, "excluded": 0, "gaps": [], "without_socket": [],
            "ports": [{"protocol": "tcp", "address": "::", "device": null, "v6only": null, "port": 1, "scope": "all",
                "first_seen": 0, "last_seen": 1, "class": null, "why": null, "owner": null}]});
        let value = recorded(&records::PORT_REPORT, value);
        assert_eq!((&value["kind"], &value["schema"]), (&json!("port_report"), &json!(1)));
        assert_eq!(value["at_time"], "2023-11-14T22:13:20.999Z");
        let port = &value["ports"][0];
        assert_eq!(port["first_seen_time"], "1970-01-01T00:00:00.000Z");
        assert!(port["last_seen_time"].is_string() && port.get("at_time").is_none(), "{port}");
        let mut value = json!({"files": 0, "from": null});
        with_times(&mut value);
        assert_eq!(value, json!({"files": 0, "from": null, "from_time": null}));
    }
}
