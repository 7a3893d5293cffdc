//! Captures on this machine that a session has left: named at the next start, listed, removed.
//!
//! Owns what is said of them, and the question before they go.

use serde_json::{Value, json};

use super::{ExitCode, output, records};
use crate::{
    agents::rings::{LeftRing, RingError, Rings},
    base::text::{bytes, command, counted},
    cli::{CleanupArgs, Format},
    model::{Holder, Notice, SessionId},
};

/// What a left ring holds, in a few words.
fn what(ring: &LeftRing) -> String {
    format!("{}, {} in {}", counted(ring.files, "capture file"), bytes(ring.bytes), ring.folder.display())
}

/// A warning for each that nobody has open.
pub fn warnings(rings: &Rings) -> Vec<Notice> {
    let left = rings.all().into_iter().filter(|ring| !ring.in_use);
    left.map(|ring| {
        let headline = format!("session {} on this machine ended without cleanup", ring.session);
        let session = ring.session.as_str();
        let (again, away) = (command(["attach", session, "--local"]), command(["cleanup", session, "--local"]));
        Notice::warning(headline, what(&ring), format!("{again} fetches them, {away} removes them"))
    })
    .collect()
}

/// Says them before a command begins.
pub fn warn(rings: &Rings) {
    for warning in warnings(rings) {
        output::say(&format!("warning: {}", warning.line()));
    }
}

/// As `sessions` lists them.
pub(super) fn row(ring: &LeftRing) -> Vec<String> {
    let (id, holder) = (ring.session.to_string(), holder(ring).word().to_owned());
    let dash = || "-".to_owned();
    vec![id, holder, dash(), "this machine".to_owned(), dash(), dash(), what(ring), dash()]
}

/// The same for programs.
pub(super) fn json(ring: &LeftRing) -> Value {
    json!({"id": ring.session, "context": null, "holder": holder(ring), "folder": ring.folder, "files": ring.files,
        "bytes": ring.bytes, "objects": []})
}

fn holder(ring: &LeftRing) -> Holder {
    if ring.in_use { Holder::Running } else { Holder::Abandoned }
}

/// Removes the captures of these sessions on this machine, or of all where none is named; the sessions that were found
/// here, and what came of it.
pub async fn cleanup(rings: &Rings, arguments: &CleanupArgs) -> (Vec<SessionId>, ExitCode) {
    let named = |ring: &LeftRing| arguments.sessions.is_empty() || arguments.sessions.contains(&ring.session);
    let chosen: Vec<LeftRing> = rings.all().into_iter().filter(named).collect();
    let mut exit = ExitCode::Done;
    let (open, left): (Vec<LeftRing>, Vec<LeftRing>) = chosen.into_iter().partition(|ring| ring.in_use);
    let found = left.iter().chain(&open).map(|ring| ring.session.clone()).collect();
    for ring in &open {
        let session = &ring.session;
        if arguments.sessions.is_empty() {
            output::say(&format!("session {session} is open in another nodewatch-tui here: left alone"));
        } else {
            output::say(&format!(
                "error: session {session} is open in another nodewatch-tui here: quit it there first"
            ));
            exit = ExitCode::LeftBehind;
        }
    }
    for ring in &left {
        exit = exit.or(remove(rings, ring, arguments).await);
    }
    (found, exit)
}

async fn remove(rings: &Rings, ring: &LeftRing, arguments: &CleanupArgs) -> ExitCode {
    let session = &ring.session;
    if arguments.dry_run {
        match arguments.output.format {
            Format::Json | Format::Yaml => {
                let value = json!({"session": session, "action": "delete", "ring": json(ring)});
                output::print_values(&records::PLANNED_REMOVAL, std::iter::once(value), arguments.output.format);
            }
            Format::Name => output::print_names(std::iter::once(format!("ring/{session}"))),
            Format::Table | Format::Wide => {
                output::say(&format!("would remove session {session} on this machine: {}", what(ring)));
            }
        }
        return ExitCode::Done;
    }
    if !(arguments.yes || super::ask::asked(&format!("Remove session {session}, {}? [y/N]", what(ring))).await) {
        output::say(&format!("session {session} on this machine is kept: {}", what(ring)));
        return ExitCode::BadUsage;
    }
    let removed = rings
        .open(session)
        .and_then(|held| held.remove().map_err(|source| RingError::Folder { below: ring.folder.clone(), source }));
    let reason = removed.err().map(|error| crate::base::text::chain(&error)).unwrap_or_default();
    let outcome = if reason.is_empty() { "removed" } else { "left" };
    match (arguments.output.format, outcome) {
        (Format::Json | Format::Yaml, _) => {
            let value = json!({"session": session, "ring": json(ring), "outcome": outcome, "reason": reason});
            output::print_values(&records::REMOVAL, std::iter::once(value), arguments.output.format);
        }
        (Format::Name, "removed") => output::print_names(std::iter::once(format!("ring/{session}"))),
        (_, "removed") => {
            output::say(&format!("removed  session {session} on this machine: {}", what(ring)));
        }
        _ => {
            output::say(&format!("LEFT  session {session} on this machine: {}: {reason}", what(ring)));
        }
    }
    if outcome == "removed" { ExitCode::Done } else { ExitCode::LeftBehind }
}
