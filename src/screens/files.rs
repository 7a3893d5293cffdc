//! The Files screen: every capture file of the session, on nodes, on the way, here and in S3, and those of older
//! sessions.
//!
//! Owns which rows there are, marks on them, and what a key does to a file. Pure.

use std::{cmp::Ordering, collections::BTreeSet, path::PathBuf};

use nodewatch_protocol::{CaptureFile, Delivery, FileState};

use super::{
    App, Confirm, Layer, Screen,
    action::Action,
    cursor::Cursor,
    order::{Column, Order},
};
use crate::{
    base::text,
    model::{FetchProgress, NodeName, Notice},
    session::{
        Effect,
        files::{FileKey, FileRow, Whereabouts},
        filter::TextFilter,
    },
};

/// What a filter can name.
pub(super) const FIELDS: &[&str] = &["node", "file", "place"];

/// The screen's own state.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The file under the cursor.
    pub cursor: Cursor<FileKey>,
    /// Marked rows.
    pub marks: BTreeSet<FileKey>,
    /// The filter and its text.
    pub filter: (String, TextFilter),
    /// The order of rows; as they come, when there is none.
    pub order: Option<Order>,
    /// While files are merged: the row that was under the cursor as that began, and the marks.
    merging: Option<(Option<FileKey>, BTreeSet<FileKey>)>,
}

impl Files {
    /// The same choices over what there is now.
    pub(super) fn look_like(&mut self, other: &Self) {
        let merging = self.merging.take();
        self.clone_from(other);
        self.merging = merging;
    }
}

impl Order {
    /// Two files in this order; equal ones by node and name.
    pub(super) fn files(self, a: &FileRow<'_>, b: &FileRow<'_>) -> Ordering {
        let packets = FileRow::packets;
        let drops = |row: &FileRow<'_>| {
            row.on_node.map_or(0, |file| file.dropped.kernel + file.dropped.interface + file.dropped.queue)
        };
        let time = |row: &FileRow<'_>| {
            row.on_node.map(|file| file.started).or(row.stored.map(|stored| stored.modified)).unwrap_or_default()
        };
        let ordering = match self.column {
            Column::Packets => packets(a).cmp(&packets(b)),
            Column::Bytes => a.size().cmp(&b.size()),
            Column::Drops => drops(a).cmp(&drops(b)),
            Column::Time => time(a).cmp(&time(b)),
            _ => a.key.cmp(&b.key),
        };
        self.directed(ordering).then_with(|| a.key.cmp(&b.key))
    }
}

impl App {
    /// The rows that the screen shows, in order.
    pub fn file_rows(&self) -> Vec<FileRow<'_>> {
        let mut rows = self.session.all_files();
        let files = &self.files;
        rows.retain(|row| {
            let fields = [("node", row.key.node.as_str()), ("file", &row.key.name), ("place", row.place().word())];
            (!self.layout.faults_only || row.is_fault()) && files.filter.1.shows(&fields)
        });
        if let Some(order) = files.order {
            rows.sort_by(|a, b| order.files(a, b));
        }
        rows
    }

    /// Opens the screen; asks S3 for what it has.
    pub(super) fn open_files(&mut self) -> Vec<Effect> {
        self.screen = Screen::Files;
        self.files.cursor = Cursor::default();
        self.session.list_stored()
    }

    /// Where the cursor is among the rows that are shown.
    pub fn file_place(&self, rows: &[FileRow<'_>]) -> usize {
        self.files.cursor.place(rows, |row, key| row.key == *key)
    }

    /// The next file takes the place of one that has gone.
    pub(super) fn settle_files(&mut self) {
        let mut cursor = self.files.cursor.clone();
        cursor.settle(&self.file_rows(), |row, key| row.key == *key, |row| row.key.clone());
        self.files.cursor = cursor;
    }

    /// Puts the cursor on a file that has come to be, unless somebody has gone on to others while it was made.
    pub(super) fn point_at_file(&mut self, key: FileKey) {
        let Some((under_cursor, marks)) = self.files.merging.take() else { return };
        if marks != self.files.marks || under_cursor != self.file_under_cursor().map(|row| row.key) {
            return;
        }
        // They are in it now.
        self.files.marks.clear();
        let at = self.file_rows().iter().position(|row| row.key == key);
        if let Some(at) = at {
            self.files.cursor.put(at, Some(key));
        }
    }

    fn move_in_files(&mut self, to: impl Fn(usize) -> usize) {
        let rows = self.file_rows();
        let at = to(self.file_place(&rows)).min(rows.len().saturating_sub(1));
        let key = rows.get(at).map(|row| row.key.clone());
        self.files.cursor.put(at, key);
    }

    /// A key on the Files screen; `None` when it means what it means everywhere.
    pub(super) fn files_key(&mut self, action: Action) -> Option<Vec<Effect>> {
        match action {
            Action::Up => self.move_in_files(|at| at.saturating_sub(1)),
            Action::Down => self.move_in_files(|at| at + 1),
            Action::PageUp => self.move_in_files(|at| at.saturating_sub(10)),
            Action::PageDown => self.move_in_files(|at| at + 10),
            Action::Top => self.move_in_files(|_| 0),
            Action::Bottom => self.move_in_files(|_| usize::MAX),
            Action::Back if !self.files.marks.is_empty() => self.files.marks.clear(),
            Action::Back if !self.files.filter.0.is_empty() => self.files.filter = <(String, TextFilter)>::default(),
            Action::Back if self.layout.faults_only => self.layout.faults_only = false,
            Action::Back => self.screen = Screen::Nodes,
            Action::Sort(column) => self.files.order = Some(Order::toggled(self.files.order, column)),
            Action::ClearMarks => self.files.marks.clear(),
            Action::Mark => {
                let key = self.file_under_cursor().map(|row| row.key);
                if let Some(key) = key
                    && !self.files.marks.remove(&key)
                {
                    self.files.marks.insert(key);
                }
                self.move_in_files(|at| at + 1);
            }
            Action::Open => return Some(self.bring_home()),
            Action::Copy => return Some(self.copy_place()),
            Action::Remove => self.ask_remove(),
            Action::Merge => return Some(self.merge_marked(false)),
            Action::Follow => return Some(self.view_file()),
            Action::Files => return Some(self.session.list_stored()),
            _ => return None,
        }
        Some(Vec::new())
    }

    /// The row under the cursor.
    pub(super) fn file_under_cursor(&self) -> Option<FileRow<'_>> {
        let mut rows = self.file_rows();
        let at = self.file_place(&rows);
        (at < rows.len()).then(|| rows.swap_remove(at))
    }

    /// Marked files, also those that the filter hides, or the one under the cursor.
    pub(super) fn chosen_files(&self) -> Vec<FileRow<'_>> {
        if self.files.marks.is_empty() {
            return self.file_under_cursor().into_iter().collect();
        }
        self.session.all_files().into_iter().filter(|row| self.files.marks.contains(&row.key)).collect()
    }

    /// Marked files that are not on the screen.
    pub fn hidden_files(&self) -> Vec<FileKey> {
        if self.files.marks.is_empty() {
            return Vec::new();
        }
        let shown: BTreeSet<FileKey> = self.file_rows().into_iter().map(|row| row.key).collect();
        let there = self.session.all_files().into_iter().map(|row| row.key);
        there.filter(|key| self.files.marks.contains(key) && !shown.contains(key)).collect()
    }

    /// Fetches from the node where its agent is there, otherwise from S3.
    fn bring_home(&mut self) -> Vec<Effect> {
        enum From {
            Node(NodeName, CaptureFile),
            S3 { key: String, node: String, session: Option<String> },
        }
        let mut wanted = Vec::new();
        let (mut writing, mut lost) = (0, 0);
        let mut here = None;
        for row in self.chosen_files() {
            if !matches!(row.here, None | Some(FetchProgress::Failed(_))) {
                here = here.or_else(|| Some(no_fetch(&row)));
                continue;
            }
            let node = NodeName(row.key.node.clone());
            let live = self.session.nodes.get(&node).is_some_and(|state| state.agent.has_tunnel());
            match (row.on_node.filter(|_| !row.ring_is_gone), row.stored) {
                (Some(file), _) if file.state == FileState::Open => writing += 1,
                (Some(file), stored) if live || stored.is_none() => wanted.push(From::Node(node, file.clone())),
                (_, Some(stored)) => wanted.push(From::S3 {
                    key: stored.key.clone(),
                    node: row.key.node.clone(),
                    session: row.key.session.clone(),
                }),
                _ => lost += 1,
            }
        }
        if lost > 0 {
            let what = text::counted(lost, "file");
            self.session.notify(Notice::warning(
                format!("{what} cannot be fetched"),
                "the ring was removed with its agent",
                "",
            ));
        }
        if writing > 0 {
            let what = text::counted(writing, "file");
            self.session.notify(Notice::warning(format!("{what} still being written"), "", "stop the capture first"));
        }
        if let Some(notice) = here.filter(|_| wanted.is_empty() && writing + lost == 0) {
            self.session.notify(notice.as_answer());
        }
        let begin = |from| match from {
            From::Node(name, file) => self.session.fetch_file(&name, file),
            From::S3 { key, node, session } => Some(self.session.download(key, node, session)),
        };
        wanted.into_iter().filter_map(begin).collect()
    }

    fn copy_place(&mut self) -> Vec<Effect> {
        let rows = self.chosen_files();
        let place = |row: &FileRow<'_>| {
            let in_s3 = row.stored.map(|stored| stored.key.as_str());
            let delivered = row.on_node.and_then(|file| match &file.delivery {
                Delivery::Delivered { key, .. } if !row.removed => Some(key.as_str()),
                _ => None,
            });
            let uri = match in_s3 {
                Some(key) => self.session.terms.storage.as_ref().map(|storage| storage.url.object(key)),
                None => delivered.and_then(|key| self.session.object_uri(key)),
            };
            uri.or_else(|| row.path().map(|path| path.display().to_string()))
        };
        let places: Vec<String> = rows.iter().filter_map(place).collect();
        if places.is_empty() {
            let next_step = rows.first().map_or("", way_home);
            let cause = "the file is not in S3 or on this laptop";
            self.session.notify(Notice::warning("nothing was copied", cause, next_step).naming_keys());
            return Vec::new();
        }
        self.session.notify(Notice::info(format!("copied {}", places.join(" "))).as_answer());
        vec![Effect::copy(places.iter().map(String::as_str))]
    }

    fn ask_remove(&mut self) {
        let mut on_nodes = Vec::new();
        let mut stored = Vec::new();
        let mut bytes = 0;
        let mut lost = Vec::new();
        let mut why_not = "";
        for row in self.chosen_files() {
            bytes += row.size();
            why_not = if row.made.is_some() {
                "it was made here: {copy} copies its path, for rm"
            } else if row.place() == Whereabouts::Writing {
                "stop its capture first"
            } else if row.key.session.is_some() {
                "it is an older session's: cleanup SESSION --captures"
            } else {
                "neither a node nor S3 has it any more"
            };
            on_nodes.extend(
                row.on_node
                    .filter(|file| file.state == FileState::Closed && !row.ring_is_gone)
                    .map(|file| (NodeName(row.key.node.clone()), file.name.clone())),
            );
            // Another session's captures are that session's to remove.
            if row.key.session.is_none() {
                stored.extend(row.stored.map(|stored| stored.key.clone()));
            }
            let goes = row.on_node.is_some_and(|file| file.state == FileState::Closed) || row.stored.is_some();
            let proved = row.on_node.is_some_and(|file| file.delivery.is_proved());
            let elsewhere = proved && row.stored.is_none() && !row.removed;
            let stays = row.path().is_some() || elsewhere || (row.key.session.is_some() && row.stored.is_some());
            let fetched = row.on_node.is_some_and(|file| file.fetched);
            if goes && !stays && !fetched {
                lost.push(row.key.clone());
            }
        }
        if on_nodes.is_empty() && stored.is_empty() {
            self.session.notify(Notice::warning("nothing to remove here", "", why_not).naming_keys());
        } else {
            self.open(Layer::Confirm(Confirm::RemoveFiles { on_nodes, stored, bytes, lost }));
        }
    }

    pub(super) fn merge_marked(&mut self, pair: bool) -> Vec<Effect> {
        let rows = self.chosen_files();
        if let Some(table) = rows.iter().find(|row| row.is_table()) {
            let cause = format!("{} is a table and no capture", text::visible(&table.key.name));
            self.session.notify(Notice::warning("nothing was merged", cause, "{mark} marks captures").naming_keys());
            return Vec::new();
        }
        let (here, away): (Vec<_>, Vec<_>) = rows.iter().map(FileRow::path).partition(Option::is_some);
        let paths: Vec<PathBuf> = here.into_iter().flatten().cloned().collect();
        let missing = away.len();
        if paths.is_empty() || missing > 0 {
            let cause = format!("{} not on this laptop", text::counted(missing.max(1), "selected file"));
            self.session.notify(
                Notice::warning("nothing was merged", cause, "{open} fetches them; {mark} marks several").naming_keys(),
            );
            return Vec::new();
        }
        self.files.merging = Some((self.file_under_cursor().map(|row| row.key), self.files.marks.clone()));
        self.session.notify(Notice::info(format!("merging {}", text::counted(paths.len(), "file"))));
        vec![if pair { Effect::MergePairs(paths) } else { Effect::Merge(paths) }]
    }

    fn view_file(&mut self) -> Vec<Effect> {
        let row = self.file_under_cursor();
        if row.as_ref().is_some_and(FileRow::is_table) {
            let next_step = "{copy} copies its path, for a program that reads CSV or JSON";
            self.session.notify(Notice::warning("a table is not for Wireshark", "", next_step).naming_keys());
            return Vec::new();
        }
        let Some(path) = row.as_ref().and_then(|row| row.path().cloned()) else {
            let next_step = row.as_ref().map_or("", way_home);
            self.session.notify(Notice::warning("the file is not on this laptop", "", next_step).naming_keys());
            return Vec::new();
        };
        vec![Effect::View(path)]
    }

    /// Sets every file on its way that is on its node alone, or says that there is none.
    pub(super) fn fetch_all_by_key(&mut self) -> Vec<Effect> {
        let effects = self.session.fetch_all();
        if effects.is_empty() {
            self.session.notify(Notice::info("nothing to fetch: every finished file is here, being fetched or in S3"));
        }
        effects
    }
}

/// What brings a file here that is not.
fn way_home(row: &FileRow<'_>) -> &'static str {
    match row.place() {
        Whereabouts::Writing => "it is being written: {follow} on its node shows it live",
        Whereabouts::Coming { .. } => "it is on its way",
        Whereabouts::Lost | Whereabouts::Gone => "it is gone",
        Whereabouts::Here(_) => "",
        Whereabouts::OnNode | Whereabouts::InS3 { .. } | Whereabouts::Uploading { .. } => "{open} fetches it",
    }
}

/// That a file need not be fetched.
pub(super) fn no_fetch(row: &FileRow<'_>) -> Notice {
    match row.path() {
        Some(path) => Notice::info(format!("already on this laptop: {}", path.display())),
        None => Notice::info(format!("{} is on its way", row.key.name)),
    }
}
