//! What files of others are called, and what that says: whose each is, and which are parts of one capture.
//!
//! Owns no file: names alone, and the folder that the program runs in.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

use crate::captures::taps::of_file;

/// How files of others are called, where that says whose each is.
pub(super) struct FileNames {
    /// Nodes, by their names in files, of which several folders have files; so are files that name none.
    several: HashSet<String>,
    /// What tells those folders apart.
    folders: HashMap<PathBuf, String>,
}

/// The node that a file's name has: none where it is named after an interface alone, and what names none is of its own.
fn node_of(stem: &str) -> &str {
    of_file(stem).map_or(stem, |(node, _)| node)
}

impl FileNames {
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        let mut folders: HashMap<String, BTreeSet<PathBuf>> = HashMap::new();
        let mut several = HashSet::new();
        for path in paths {
            let stem = stem_of(path);
            // Two interfaces of one node may lie in two folders; two files of one interface are of two nodes.
            let what = if node_of(&stem).is_empty() { "" } else { &stem };
            let those = folders.entry(what.to_owned()).or_default();
            those.insert(folder_of(path));
            if those.len() > 1 {
                several.insert(node_of(&stem).to_owned());
            }
        }
        let of_several = paths.iter().filter(|path| several.contains(node_of(&stem_of(path))));
        Self { folders: apart(&of_several.map(|path| folder_of(path)).collect()), several }
    }

    /// With the folder where the name alone is that of several.
    pub(super) fn name(&self, path: &Path) -> String {
        let stem = stem_of(path);
        match self.folders.get(&folder_of(path)).filter(|_| self.several.contains(node_of(&stem))) {
            Some(folder) => format!("{folder}.{stem}"),
            None => stem,
        }
    }
}

fn folder_of(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.parent().map(Path::to_owned).unwrap_or_default()
}

/// What tells these folders apart: the last part that is not the same in all of them, or all that is not the same.
fn apart(folders: &BTreeSet<PathBuf>) -> HashMap<PathBuf, String> {
    let parts = |folder: &PathBuf| -> Vec<String> {
        folder.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let all: Vec<Vec<String>> = folders.iter().map(parts).collect();
    let Some(first) = all.first() else { return HashMap::new() };
    let same = |at: &dyn Fn(&Vec<String>) -> Option<String>| all.iter().all(|one| at(one) == at(first));
    let shortest = all.iter().map(Vec::len).min().unwrap_or(0);
    let end = (0..shortest).take_while(|back| same(&|one| one.iter().rev().nth(*back).cloned())).count();
    let begin = (0..shortest).take_while(|at| same(&|one| one.get(*at).cloned())).count();
    let last = |one: &Vec<String>| one.iter().rev().nth(end).cloned().unwrap_or_default();
    let lasts: HashSet<String> = all.iter().map(last).collect();
    let are_unlike = lasts.len() == all.len() && !lasts.contains("");
    let name = |one: &Vec<String>| {
        if are_unlike { last(one) } else { one.get(begin..).unwrap_or_default().join("-") }
    };
    folders.iter().cloned().zip(all.iter().map(name)).collect()
}

/// What a file is called, without what its name says of its form.
fn stem_of(path: &Path) -> String {
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = [".zst", ".gz"].iter().fold(&*stem, |stem, end| stem.trim_end_matches(end));
    // Without one of these it is none of a capture's: `worker-1.eth0`.
    let is_known = |end: &str| {
        ["pcap", "cap", "dmp", "dump", "snoop", "trc", "erf"]
            .iter()
            .any(|known| end.to_ascii_lowercase().starts_with(known))
    };
    stem.rsplit_once('.').filter(|(_, end)| is_known(end)).map_or(stem, |(stem, _)| stem).to_owned()
}

/// What files of others have in common that a program has begun one after the other: these differ in their numbers and
/// times. So do those of nodes that are numbered, which are not one after the other.
pub(super) fn source_of(name: &str) -> String {
    // The number of an interface is none of a file.
    if let Some((node, interface)) = of_file(name) {
        return format!("{node}.{interface}");
    }
    let common = name.trim_end_matches(|letter: char| {
        letter.is_ascii_digit() || matches!(letter, '-' | '_' | '.' | ':' | 'T' | 'Z')
    });
    if common.is_empty() { name.to_owned() } else { common.to_owned() }
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
        for (paths, expected) in [
            (
                ["worker-1/eth0.pcap", "worker-2/eth0.pcap.gz", "worker-2/pod.pcap", "trace.pcap"],
                ["worker-1.eth0", "worker-2.eth0", "worker-2.pod", "trace"],
            ),
            // Interfaces of pods have other names on each node.
            (
                ["worker-1/vetha1b2.pcap", "worker-2/vethc3d4.pcap", "a.eth0.pcap", "b.eth0.pcap"],
                ["worker-1.vetha1b2", "worker-2.vethc3d4", "a.eth0", "b.eth0"],
            ),
            (
                ["x/A.pod.pcap", "w/A.eth.pcap", "y/trace.pcap", "z/trace.pcap"],
                ["A.pod", "A.eth", "y.trace", "z.trace"],
            ),
            (
                ["w1/caps/eth0.pcap", "w2/caps/eth0.pcap", "w1/caps/pod.pcap", "w1/caps/eth0.pcap1"],
                ["w1.eth0", "w2.eth0", "w1.pod", "w1.eth0"],
            ),
            (
                ["a/x/c/eth0.pcap", "b/x/c/eth0.pcap", "b/y/c/eth0.pcap", "b/y/c/pod.pcap"],
                ["a-x-c.eth0", "b-x-c.eth0", "b-y-c.eth0", "b-y-c.pod"],
            ),
            (
                ["w1/capture-eth0.pcap", "w2/capture-eth0.pcap", "w2/capture-pod.pcap", "w1/a.pod.pcap"],
                ["w1.capture-eth0", "w2.capture-eth0", "w2.capture-pod", "a.pod"],
            ),
            (
                ["caps/eth0.pcap", "caps/pod.pcap", "caps/eth0.pcap1", "caps/trace.pcap"],
                ["eth0", "pod", "eth0", "trace"],
            ),
        ] {
            assert_eq!(names(paths), expected);
        }
    }

    #[test]
    fn files_of_one_capture_have_one_source() {
        let source = |name: &str| source_of(&stem_of(Path::new(name)));
        assert_eq!(source("/a/dump.pcap"), "dump");
        assert_eq!(source("dump.pcap12"), "dump");
        assert_eq!(source("b/eth0_00001_20260101120000.pcapng.gz"), source("b/eth0.pcapng"));
        assert_ne!(source("a.eni1.pcap"), source("a.eni2.pcap"));
        assert_eq!(source("web-2026-01-01T12:00.pcap"), source("web-2026-01-01T13:00.pcap"));
        assert_ne!(source("node-a.pcap"), source("node-b.pcap"));
        assert_eq!(source("20260101.pcap"), "20260101");
    }
}
