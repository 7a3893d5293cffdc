//! A capture file with the names of addresses in it, for the viewer.
//!
//! Owns the copy that the viewer reads: a fetched file stays as it was on its node, so that its checksum holds. Copies
//! go with the session; a viewer that has one open goes on reading it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::outlets::Outlet;
use crate::captures::{manifest, merge::Merge};

/// A larger file is opened as it is: copying it would take longer than names are worth.
const MOST: u64 = 512 * 1024 * 1024;
/// All copies together: the folder for temporary files is in memory on many machines.
const MOST_OF_ALL: u64 = 2 * MOST;

impl Outlet {
    /// Where a copy with names is; `None` where there are none, or the file has them already.
    pub(super) async fn named(&self, file: &Path) -> Option<PathBuf> {
        let name = file.file_name()?.to_string_lossy().into_owned();
        // A merged file has them.
        if name.starts_with("merged") || file.metadata().ok()?.len() > MOST {
            return None;
        }
        let inputs = vec![file.to_owned()];
        let mut names = manifest::names_for(&inputs);
        if names.is_empty() {
            names = self.site.names().await;
        }
        if names.is_empty() {
            return None;
        }
        let folder = self.copies.get_or_init(|| tempfile::Builder::new().prefix("nodewatch-").tempdir().ok());
        let node = file.parent().and_then(Path::file_name).map(|node| node.to_string_lossy().into_owned());
        let into = folder.as_ref()?.path().join(format!("{}-{name}", node.unwrap_or_default()));
        if into.exists() {
            return Some(into);
        }
        make_room(into.parent()?, MOST_OF_ALL.saturating_sub(file.metadata().ok()?.len()));
        let merge = Merge { inputs, window: 0..=u64::MAX, names, pair: None };
        let out = into.clone();
        let merged = tokio::task::spawn_blocking(move || merge.into_file(&out)).await;
        merged.is_ok_and(|merged| merged.is_ok()).then_some(into)
    }
}

/// Removes the oldest copies until the others have no more bytes than that. Who reads one goes on reading it.
fn make_room(folder: &Path, most: u64) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let facts = entries.filter_map(|entry| entry.metadata().ok().map(|facts| (entry.path(), facts)));
    let mut copies: Vec<(SystemTime, u64, PathBuf)> =
        facts.filter_map(|(path, facts)| Some((facts.modified().ok()?, facts.len(), path))).collect();
    copies.sort();
    let mut bytes: u64 = copies.iter().map(|(_, length, _)| length).sum();
    for (_, length, path) in copies {
        if bytes <= most {
            return;
        }
        // One that stays takes room and nothing else.
        let _ = fs::remove_file(path);
        bytes -= length;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    #[test]
    fn the_oldest_copies_go_when_there_are_too_many() {
        let folder = tempfile::tempdir().expect("a folder");
        for (age, name) in [(30, "oldest"), (10, "newest"), (20, "older")] {
            let file = File::create(folder.path().join(name)).expect("created");
            file.set_len(100).expect("sized");
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("dated");
        }
        let left = || {
            let entries = fs::read_dir(folder.path()).expect("there");
            let mut names: Vec<String> =
                entries.map(|entry| entry.expect("one").file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        make_room(folder.path(), 300);
        assert_eq!(left(), ["newest", "older", "oldest"]);
        make_room(folder.path(), 150);
        assert_eq!(left(), ["newest"]);
        make_room(folder.path(), 0);
        assert_eq!(left(), [""; 0]);
    }
}
