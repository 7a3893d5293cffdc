//! What the user takes away besides captures: saved tables and the session's report.
//!
//! Owns the files' places and modes. Nothing is written over.

use std::path::{Path, PathBuf};

use crate::{
    base::{
        disk::{self, DiskError},
        text,
    },
    handover,
    model::{Notice, Summary},
};

/// Writes a file that only its owner can read. A name alone goes into the folder; a name that is taken gets a number.
pub fn write(folder: &Path, name: &str, contents: &str) -> Result<PathBuf, DiskError> {
    let path = if name.contains('/') { PathBuf::from(name) } else { folder.join(name) };
    disk::write_new(&path, contents.as_bytes())
}

/// Writes a session's report in both forms.
pub fn write_report(folder: &Path, summary: &Summary) -> Result<[PathBuf; 2], DiskError> {
    let name = |extension: &str| format!("report-{}.{extension}", summary.session);
    let markdown = write(folder, &name("md"), &handover::markdown(summary))?;
    let page = write(folder, &name("html"), &handover::html(summary))?;
    Ok([markdown, page])
}

/// The same, as it is told.
pub(super) fn report_notice(folder: &Path, summary: &Summary) -> Notice {
    match write_report(folder, summary) {
        Ok([markdown, page]) => Notice::info(format!("report: {} and {}", markdown.display(), page.display())),
        Err(error) => failed("the report was not written", &error),
    }
}

/// Writes a table; where, or why not.
pub(super) fn save(folder: &Path, name: &str, contents: &str) -> Result<PathBuf, Notice> {
    let named = Path::new(name).parent().filter(|_| name.contains('/'));
    if let Some(missing) = named.filter(|folder| !folder.is_dir()) {
        let cause = format!("there is no folder {}", missing.display());
        return Err(Notice::error("the table was not saved", cause, "make it first, or name another one"));
    }
    write(folder, name, contents).map_err(|error| failed("the table was not saved", &error))
}

fn failed(headline: &str, error: &DiskError) -> Notice {
    Notice::error(headline, text::chain(error), "free disk space or fix its permissions, or start with another --out")
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
        assert!(save(Path::new("/proc/none"), "a", "").expect_err("no folder").line().contains("/proc/none"));
        let missing = folder.path().join("none/there.csv");
        let told = save(&out, missing.to_str().expect("text"), "").expect_err("no folder").line();
        assert!(told.contains("there is no folder") && !folder.path().join("none").exists(), "{told}");
    }
}
