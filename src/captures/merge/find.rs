//! Which files are captures.
//!
//! Owns what is taken out of folders, and what is passed over. Must not know what captures hold.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    MergeError,
    source::{OpenError, Place, STDIN},
};

/// What is there to merge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Files as they were named, and those of a folder by name.
    pub captures: Vec<PathBuf>,
    /// What lies in a folder and is not merged, and why.
    pub passed_over: Vec<(PathBuf, String)>,
    /// Files that were named more than once, under whatever name: each is merged once.
    pub again: Vec<PathBuf>,
}

/// Capture files among these, and below those that are folders.
pub fn find(places: &[PathBuf]) -> Result<Found, MergeError> {
    let mut found = Found::default();
    for place in places {
        if place.as_os_str() == STDIN {
            found.captures.push(place.clone());
            continue;
        }
        let facts = fs::metadata(place).map_err(|source| MergeError::Open { path: place.clone(), source })?;
        if facts.is_dir() { walk(place, &mut found) } else { found.captures.push(place.clone()) }
    }
    let mut seen = std::collections::HashSet::new();
    let (once, again) = std::mem::take(&mut found.captures).into_iter().partition(|path| seen.insert(which(path)));
    (found.captures, found.again) = (once, again);
    if found.captures.is_empty() {
        return Err(MergeError::Nothing { places: places.to_vec(), passed_over: found.passed_over });
    }
    Ok(found)
}

/// What tells a file from others: of a link, and of one with several names, the file itself.
#[derive(PartialEq, Eq, Hash)]
enum Which {
    File(u64, u64),
    Named(PathBuf),
}

fn which(path: &Path) -> Which {
    match fs::metadata(path) {
        Ok(facts) if facts.is_file() && path.as_os_str() != STDIN => Which::File(facts.dev(), facts.ino()),
        _ => Which::Named(path.to_owned()),
    }
}

fn walk(folder: &Path, found: &mut Found) {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                found.passed_over.push((folder, error.to_string()));
                continue;
            }
        };
        for entry in entries {
            match entry.and_then(|entry| entry.file_type().map(|kind| (entry.path(), kind))) {
                Ok((path, kind)) if kind.is_dir() => folders.push(path),
                Ok((path, _)) => files.push(path),
                Err(error) => found.passed_over.push((folder.clone(), error.to_string())),
            }
        }
    }
    files.sort();
    for path in files {
        match why_not(&path) {
            None => found.captures.push(path),
            Some(Reason::Known) => {}
            Some(Reason::Said(why)) => found.passed_over.push((path, why)),
        }
    }
}

enum Reason {
    /// A session's own list, which everybody expects there.
    Known,
    Said(String),
}

fn why_not(path: &Path) -> Option<Reason> {
    let said = |why: &str| Some(Reason::Said(why.to_owned()));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if nodewatch_protocol::is_manifest(&name) {
        return Some(Reason::Known);
    }
    match fs::metadata(path) {
        Ok(facts) if facts.is_file() => {}
        Ok(facts) if facts.is_dir() => return said("a link to a folder"),
        Ok(_) => return said("not a file"),
        Err(error) => return said(&error.to_string()),
    }
    if path.extension().is_some_and(|extension| extension == "part") {
        return said("still being written");
    }
    if name.starts_with("merged") {
        return said("result of a merge");
    }
    let named_so = [".pcap", ".pcapng", ".cap"]
        .iter()
        .any(|end| name.trim_end_matches(".gz").trim_end_matches(".zst").ends_with(end));
    match Place::new(path.to_owned()).and_then(|place| place.open(4096)) {
        Err(OpenError::NoCapture) if !named_so => said("not a capture"),
        // Named like one: what is wrong with it is said when it is read.
        Ok(_) | Err(_) => None,
    }
}
