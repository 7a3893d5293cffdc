//! A session as the lines of its journal add up to it.
//!
//! Owns what each line changes. Must not know files.

use std::collections::BTreeSet;

use nodewatch_protocol::UnixMillis;

use super::entry::{Entry, Header, Line};
use crate::model::{LogsSettings, Made, MadeObject, StorageSettings};

/// A session as its journal tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How it began.
    pub header: Header,
    /// When its agents end by themselves.
    pub ends: UnixMillis,
    /// What may exist: being made or made, and not seen gone. With the time of its making.
    pub objects: Vec<(UnixMillis, MadeObject)>,
    /// What was in its own namespace before anything of it.
    pub before: BTreeSet<String>,
    /// Where in S3 its captures go.
    pub storage: Option<StorageSettings>,
    /// Where they went before, and still are.
    pub earlier_storage: Vec<StorageSettings>,
    /// Where its reports go, as long as something of them is to be removed or may be.
    pub logs: Option<LogsSettings>,
    /// Left running on purpose.
    pub detached: bool,
    /// The last line's time.
    pub last: UnixMillis,
}

impl Record {
    /// There may be alarms of it.
    pub fn has_alarms(&self) -> bool {
        self.logs.as_ref().is_some_and(|logs| logs.alarms)
    }

    /// Everywhere in S3 that it has captures.
    pub fn places(&self) -> impl Iterator<Item = &StorageSettings> {
        self.storage.iter().chain(&self.earlier_storage)
    }

    /// Nothing of it can be left.
    pub fn is_over(&self) -> bool {
        self.objects.is_empty()
    }

    fn apply(&mut self, line: Line) {
        self.last = line.at;
        match line.entry {
            Entry::Began(_) | Entry::Did(_) | Entry::Receipt(_) => {}
            Entry::Making(Made::Object(object)) => self.objects.push((line.at, object)),
            Entry::Made(Made::Object(object)) => {
                let making = |known: &MadeObject| known.uid.is_none() && known.is_named_as(&object);
                match self.objects.iter_mut().find(|(_, known)| making(known)) {
                    Some(known) => known.1 = object,
                    None => self.objects.push((line.at, object)),
                }
            }
            Entry::Making(made) | Entry::Made(made) => self.go_to(made),
            Entry::Gone(made) => self.forget(&made),
            Entry::Before(before) => self.before = before,
            Entry::Moved(cluster) => self.header.cluster = cluster,
            Entry::Ends(ends) => self.ends = ends,
            Entry::Image(image) => {
                if let Some(agents) = &mut self.header.agents {
                    agents.image = image;
                }
            }
            Entry::Detached => self.detached = true,
            Entry::Attached => self.detached = false,
        }
    }

    /// Captures or reports go there from now on.
    fn go_to(&mut self, made: Made) {
        match made {
            Made::Object(_) => {}
            Made::Captures { captures } => {
                self.earlier_storage.extend(self.storage.take());
                self.earlier_storage.retain(|then| !then.is_at_the_place_of(&captures));
                self.storage = Some(captures);
            }
            Made::Reports { reports } => {
                let alarms = reports.alarms || self.has_alarms();
                self.logs = Some(LogsSettings { alarms, ..reports });
            }
            Made::Alarms { alarms } => self.logs = Some(LogsSettings { alarms: true, ..alarms }),
        }
    }

    fn forget(&mut self, gone: &Made) {
        match gone {
            Made::Object(object) => self.objects.retain(|(_, known)| !known.is(object)),
            Made::Captures { captures } => {
                let stay = |then: &StorageSettings| !then.is_at_the_place_of(captures);
                self.storage = self.storage.take().filter(stay);
                self.earlier_storage.retain(stay);
            }
            // Alarms may outlive what they look at.
            Made::Reports { .. } => self.logs = self.logs.take().filter(|logs| logs.alarms),
            Made::Alarms { .. } => {
                if let Some(logs) = &mut self.logs {
                    logs.alarms = false;
                }
            }
        }
    }
}

/// The session that these lines tell of; `None` when the first one is damaged.
pub(super) fn replay(bytes: &[u8]) -> Option<Record> {
    let mut lines = bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    let Line { at, entry: Entry::Began(header) } = lines.next()? else { return None };
    let mut record = Record {
        ends: header.ends,
        header,
        objects: Vec::new(),
        before: BTreeSet::new(),
        storage: None,
        earlier_storage: Vec::new(),
        logs: None,
        detached: false,
        last: at,
    };
    lines.for_each(|line| record.apply(line));
    Some(record)
}
