//! What files of others are called, and what that says: whose each is, and which are parts of one capture.
//!
//! Owns no file: names alone. Pure.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

/// How files of others are called, where that says whose each is.
pub(super) struct FileNames {
    /// Several have one name, in folders of their own: `worker-1/eth0.pcap`.
    with_folders: bool,
}

impl FileNames {
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        let mut seen = HashSet::new();
        Self { with_folders: paths.iter().any(|path| !seen.insert(stem_of(path))) }
    }

    pub(super) fn name(&self, path: &Path) -> String {
        let stem = stem_of(path);
        let folder = path.parent().and_then(Path::file_name).filter(|_| self.with_folders);
        folder.map_or_else(|| stem.clone(), |folder| format!("{}.{stem}", folder.to_string_lossy()))
    }
}

/// What a file is called, without what its name says of its form.
fn stem_of(path: &Path) -> String {
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = [".zst", ".gz"].iter().fold(&*stem, |stem, end| stem.trim_end_matches(end));
    stem.rsplit_once('.').map_or(stem, |(stem, _)| stem).to_owned()
}

/// What files of others have in common that a program has begun one after the other: these differ in their numbers and
/// times. So do those of nodes that are numbered, which are not one after the other.
pub(super) fn source_of(path: &Path) -> String {
    let stem = stem_of(path);
    let common = stem.trim_end_matches(|letter: char| {
        letter.is_ascii_digit() || matches!(letter, '-' | '_' | '.' | ':' | 'T' | 'Z')
    });
    if common.is_empty() { stem.clone() } else { common.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_name_are_called_after_their_folders_too() {
        let names = |paths: [&str; 4]| {
            let paths = paths.map(PathBuf::from);
            let names = FileNames::of(&paths);
            paths.map(|path| names.name(&path))
        };
        let several = ["worker-1/eth0.pcap", "worker-2/eth0.pcap.gz", "worker-2/pod.pcap", "trace.pcap"];
        assert_eq!(names(several), ["worker-1.eth0", "worker-2.eth0", "worker-2.pod", "trace"]);
        let apart = ["x/A.pod.pcap", "x/A.eth.pcap", "y/B.eth.pcap", "y/B.pod.pcap"];
        assert_eq!(names(apart), ["A.pod", "A.eth", "B.eth", "B.pod"]);
    }

    #[test]
    fn files_of_one_capture_have_one_source() {
        let source = |name: &str| source_of(Path::new(name));
        assert_eq!(source("/a/dump.pcap"), "dump");
        assert_eq!(source("dump.pcap12"), "dump");
        assert_eq!(source("b/eth0_00001_20260101120000.pcapng.gz"), "eth");
        assert_eq!(source("web-2026-01-01T12:00.pcap"), source("web-2026-01-01T13:00.pcap"));
        assert_ne!(source("node-a.pcap"), source("node-b.pcap"));
        assert_eq!(source("20260101.pcap"), "20260101");
    }
}
