//! Captures that the laptop has, into one.
//!
//! Owns the work of that effect, and how a merge that failed is told.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::sync::mpsc;

use super::outlets::Outlet;
use crate::{
    base::{clock, text},
    captures::{
        manifest,
        merge::{Merge, MergeError, Merged},
    },
    model::{Failure, Notice, Severity},
    packets::pairs::WITHIN,
    session::{Event, Job, files::MadeFile},
};

impl Outlet {
    /// Makes one file; with `pair`, of each packet that several nodes have one copy.
    pub(super) async fn merge(self, inputs: Vec<PathBuf>, pair: bool, events: mpsc::Sender<Event>) -> Event {
        let stamp = clock::file_stamp(clock::unix_millis());
        let what = if pair { "merged-pairs" } else { "merged" };
        let path = self.outlets.folder.join(format!("{what}-{stamp}.pcapng"));
        let mut names = manifest::names_for(&inputs);
        if names.is_empty() {
            names = self.site.names().await;
        }
        let out = path.clone();
        // When the program ends before the merge does, nobody else takes the part away.
        let part = Part(Merge::part_of(&path));
        let work = move || Merge { inputs, window: 0..=u64::MAX, names, pair: pair.then_some(WITHIN) }.into_file(&out);
        let merged = tokio::task::spawn_blocking(work).await;
        drop(part);
        if let Ok(Ok(merged)) = &merged {
            let file = MadeFile::merged(path.clone(), merged.files, merged.packets, merged.size);
            // The app being gone ends everything anyway.
            let _ = events.send(Event::Made(file)).await;
        }
        Event::Ended(
            Job::Merge,
            match merged {
                Ok(Ok(merged)) => told(&merged, &path),
                Ok(Err(error)) => notice_here(&error),
                Err(error) => Notice::error("nothing was merged", error.to_string(), "try again"),
            },
        )
    }
}

/// A file that is not to stay.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // After a merge that was done it is not there.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn told(merged: &Merged, path: &Path) -> Notice {
    let packets = text::counted(merged.packets as usize, "packet");
    let headline = format!("{packets} of {} in {}", text::counted(merged.files, "file"), path.display());
    let mut said = merged.notes.lines();
    if merged.again > 0 {
        said.push(format!("{} of overlapping files written once", merged.again));
    }
    let next_step = match (&merged.paired, merged.side_filter()) {
        (Some(paired), _) => {
            said.push(format!("{} on two nodes, {} on one only", paired.pairs, paired.one_sided));
            "{follow} opens it; in Wireshark frame.comment contains \"only\" shows those of one side".to_owned()
        }
        (None, Some(filter)) => format!("{{follow}} opens it; in Wireshark {filter} shows one side"),
        (None, None) => "{follow} opens it".to_owned(),
    };
    let notes = merged.notes.lines().len();
    let cause = match said.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first, more @ ..] => format!("{first}; and {} more", more.len()),
    };
    let severity = if notes > 0 { Severity::Warning } else { Severity::Info };
    Notice { severity, cause, next_step, ..Notice::info(headline) }.naming_keys()
}

/// A merge that failed on the screen, where no option names another place.
fn notice_here(error: &MergeError) -> Notice {
    let notice = merge_notice(error);
    let next_step = match error {
        MergeError::Output { source, .. } => match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free disk space",
            _ => "sessions that begin with --out write elsewhere",
        },
        _ => return notice,
    };
    Notice { next_step: next_step.to_owned(), ..notice }
}

/// A merge that failed, for the user.
pub fn merge_notice(error: &MergeError) -> Notice {
    if let MergeError::Output { path, source } = error
        && source.kind() == io::ErrorKind::AlreadyExists
    {
        let cause = format!("{} exists already: name another with --into", path.display());
        return Notice::error("nothing was merged", cause, "").of(Failure::BadInput);
    }
    let (next_step, failure) = match error {
        MergeError::Nothing { passed_over, .. } if !passed_over.is_empty() => {
            let (path, why) = &passed_over[0];
            let cause = format!("{}; skipped: {} ({why})", text::chain(error), path.display());
            return Notice::error("nothing was merged", cause, "give files, or a folder with captures")
                .of(Failure::BadInput);
        }
        MergeError::Output { path, source } if source.kind() == io::ErrorKind::AlreadyExists => {
            let cause = format!("{} exists already", path.display());
            let next_step = "name another file with -w: existing ones are not overwritten";
            return Notice::error("nothing was merged", cause, next_step).of(Failure::BadInput);
        }
        MergeError::Nothing { .. } => ("give files, or a folder with captures", Failure::BadInput),
        MergeError::Open { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => ("check its name", Failure::BadInput),
            io::ErrorKind::PermissionDenied => ("run this as its owner, or leave it out", Failure::BadInput),
            _ => ("raise the limit of open files (ulimit -n), or leave it out", Failure::Other),
        },
        MergeError::Input { .. } => ("leave it out, or fetch it again", Failure::BadInput),
        MergeError::Aside { .. } => ("free space there, or give fewer files at once", Failure::Other),
        MergeError::Output { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => ("create its folder first", Failure::BadInput),
            io::ErrorKind::BrokenPipe => ("the reader closed the pipe", Failure::Other),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                ("free disk space, or write elsewhere with -w", Failure::Other)
            }
            _ => ("write elsewhere with -w", Failure::Other),
        },
    };
    Notice::error("nothing was merged", text::chain(error), next_step).of(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_decides_the_exit_code_and_the_advice() {
        let output = |kind: io::ErrorKind| MergeError::Output { path: "out".into(), source: kind.into() };
        for (error, failure, advice) in [
            (output(io::ErrorKind::StorageFull), Failure::Other, "free disk space"),
            (output(io::ErrorKind::ReadOnlyFilesystem), Failure::Other, "elsewhere"),
            (output(io::ErrorKind::BrokenPipe), Failure::Other, "reader"),
            (output(io::ErrorKind::AlreadyExists), Failure::BadInput, "another"),
            (
                MergeError::Open { path: "in".into(), source: io::Error::from_raw_os_error(24) },
                Failure::Other,
                "ulimit -n",
            ),
            (MergeError::Open { path: "in".into(), source: io::ErrorKind::NotFound.into() }, Failure::BadInput, "name"),
        ] {
            let notice = merge_notice(&error);
            assert!(!notice_here(&error).line().contains("-w"), "no key is called so");
            assert_eq!(notice.failure, failure, "{error}");
            assert!(notice.line().contains(advice), "{}", notice.line());
        }
    }
}
