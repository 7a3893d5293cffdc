//! A capture file with the names of addresses in it, for the viewer.
//!
//! Owns the copy that the viewer reads: a fetched file stays as it was on its node, so that its checksum holds. Copies
//! go with the session; a viewer that has one open goes on reading it.

use std::path::{Path, PathBuf};

use super::outlets::Outlet;
use crate::captures::{manifest, merge::Merge};

/// A larger file is opened as it is: copying it would take longer than names are worth.
const MOST: u64 = 512 * 1024 * 1024;

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
        let merge = Merge { inputs, window: 0..=u64::MAX, names, pair: None };
        let out = into.clone();
        let merged = tokio::task::spawn_blocking(move || merge.into_file(&out)).await;
        merged.is_ok_and(|merged| merged.is_ok()).then_some(into)
    }
}
