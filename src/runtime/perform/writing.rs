//! What is written into the session's folder because somebody wants it there: tables, the report.
//!
//! Owns what is said of it. Must not know what is in it.

use std::path::Path;

use super::Performer;
use crate::{
    model::Notice,
    runtime::handoff,
    session::{Event, Job, files::MadeFile},
};

impl Performer {
    /// Writes something into the session's folder; what is to be said of that is what the work returns.
    pub(super) fn write(&mut self, work: impl FnOnce(&Path) -> Notice + Send + 'static) {
        let folder = self.outlet.folder().to_owned();
        self.tell(async move { Event::Ended(Job::Write, work(&folder)) });
    }

    /// Writes a table into the session's folder or where its name says, where it is a file of the session.
    pub(super) fn save(&mut self, name: String, contents: String, rows: usize) {
        let (folder, events) = (self.outlet.folder().to_owned(), self.events.clone());
        self.tell(async move {
            let saved = handoff::save(&folder, &name, &contents);
            if let Ok(path) = &saved {
                let file = MadeFile::table(path.clone(), &folder, rows, contents.len() as u64);
                // The app being gone ends everything anyway.
                let _ = events.send(Event::Made(file)).await;
            }
            let told = saved.map_or_else(|notice| notice, |path| Notice::info(format!("saved {}", path.display())));
            Event::Ended(Job::Write, told)
        });
    }
}
