//! What the user takes away besides captures: saved tables and the session's report.
//!
//! Owns the files' places and modes. Nothing is written over.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{
    model::{Notice, Summary},
    report,
};

/// Tries for a name that is still free.
const NAMES: u32 = 1000;

/// Writes a file that only its owner can read. A name alone goes into the folder; a name that is taken gets a number.
pub fn write(folder: &Path, name: &str, contents: &str) -> io::Result<PathBuf> {
    let path = if name.contains('/') { PathBuf::from(name) } else { folder.join(name) };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let (stem, extension) = match path.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once('.'))
    {
        Some((stem, extension)) => (stem.to_owned(), format!(".{extension}")),
        None => (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), String::new()),
    };
    for number in 1..=NAMES {
        let numbered =
            if number == 1 { path.clone() } else { path.with_file_name(format!("{stem}-{number}{extension}")) };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&numbered) {
            Ok(mut file) => {
                file.write_all(contents.as_bytes())?;
                return Ok(numbered);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{NAMES} files of that name are there already")))
}

/// Writes a session's report in both forms.
pub fn write_report(folder: &Path, summary: &Summary) -> io::Result<[PathBuf; 2]> {
    let name = |extension: &str| format!("report-{}.{extension}", summary.session);
    let markdown = write(folder, &name("md"), &report::markdown(summary))?;
    let page = write(folder, &name("html"), &report::html(summary))?;
    Ok([markdown, page])
}

/// The same, as it is told.
pub(super) fn report_notice(folder: &Path, summary: &Summary) -> Notice {
    match write_report(folder, summary) {
        Ok([markdown, page]) => Notice::info(format!("report: {} and {}", markdown.display(), page.display())),
        Err(error) => failed("the report was not written", folder, &error),
    }
}

pub(super) fn save_notice(folder: &Path, name: &str, contents: &str) -> Notice {
    match write(folder, name, contents) {
        Ok(path) => Notice::info(format!("saved {}", path.display())),
        Err(error) => failed("the table was not saved", folder, &error),
    }
}

fn failed(headline: &str, folder: &Path, error: &io::Error) -> Notice {
    let cause = format!("{}: {error}", folder.display());
    Notice::error(headline, cause, "make room or mend its rights, or begin with another --out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_over_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("new");
        let first = write(&out, "ports.csv", "1").expect("written");
        let second = write(&out, "ports.csv", "2").expect("written");
        assert_eq!((first.clone(), second), (out.join("ports.csv"), out.join("ports-2.csv")));
        assert_eq!(std::fs::read_to_string(&first).expect("there"), "1");
        let mode = std::os::unix::fs::PermissionsExt::mode(&first.metadata().expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);
        let elsewhere = folder.path().join("there.json");
        assert_eq!(write(&out, elsewhere.to_str().expect("text"), "").expect("written"), elsewhere);
        assert!(save_notice(Path::new("/proc/none"), "a", "").line().contains("/proc/none"));
    }
}
