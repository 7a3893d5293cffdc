//! Results on standard output, as a table or as one JSON value a line; everything else on standard error.
//!
//! Owns the forms, and what becomes of them when nobody reads or reads too slowly. Nothing here waits for a reader.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::sleep;
use unicode_width::UnicodeWidthStr;

use super::{ExitCode, signals::Signals};
use crate::{
    base::text::{bytes, counted, json_line, line, visible},
    cli::Format,
    model::FetchProgress,
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

/// A reader that has gone away (as `head` does) is no failure of ours, and cleanup goes on.
pub(super) fn print(text: &str) {
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
        Format::Json => print_json([json!({"event": "left_out", "results": results})].into_iter()),
        Format::Table => print(&format!("# {} skipped here: output was not read in time\n", were(results, "result"))),
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

pub(super) fn print_json(values: impl Iterator<Item = Value>) {
    for value in values {
        print(&format!("{}\n", json_line(&value)));
    }
}

/// Rows under their heads, every column as wide as it needs.
pub(super) fn print_table(heads: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&heads]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell}{}", " ".repeat(width - cell.width())))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    print(&[&heads].into_iter().chain(&rows).map(line).collect::<String>());
}

pub(super) fn nodes<'a>(states: impl Iterator<Item = &'a NodeState>, format: Format) {
    let nodes = states.map(|state| &state.node);
    match format {
        Format::Json => print_json(nodes.map(|node| {
            json!({
                "name": node.name,
                "status": node.readiness.word(),
                "cordoned": node.cordoned,
                "zone": node.zone,
                "type": node.instance_type,
                "addresses": node.addresses,
                "version": node.version,
                // Why no agent can run there.
                "no_agent": node.cannot_run().map(|reason| reason.to_string()),
            })
        })),
        Format::Table => {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let rows: Vec<Vec<String>> = nodes
                .map(|node| {
                    vec![
                        node.name.0.clone(),
                        node.status(),
                        or_dash(&node.zone),
                        or_dash(&node.instance_type),
                        node.addresses.first().map_or_else(|| "-".to_owned(), ToString::to_string),
                        or_dash(&node.version),
                    ]
                })
                .collect();
            print_table(&["NAME", "STATUS", "ZONE", "TYPE", "ADDRESS", "VERSION"], &rows);
        }
    }
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
        Format::Json => print_json(files.map(|(state, file, here)| {
            let (path, sha256) = here.unzip();
            json!({
                "node": state.node.name, "file": file.name, "path": path, "bytes": file.size,
                "packets": file.packets, "sha256": sha256.or_else(|| file.sha256.clone()), "dropped": file.dropped,
                "delivered": delivered(state, file),
                "compared": delivered(state, file).map(|_| file.delivery.is_proved()), "incomplete": file.incomplete,
                "reason": reason(state, file, storage),
            })
        })),
        Format::Table => {
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
                    ]
                })
                .collect();
            if rows.is_empty() {
                return say("nothing was captured: no files");
            }
            print_table(&["NODE", "PACKETS", "SIZE", "DROPPED k/i/q", "FILE"], &rows);
        }
    }
}
