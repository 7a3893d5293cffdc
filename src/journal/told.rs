//! What a journal tells of a session: for its report, and for whoever takes it up.
//!
//! Owns how the summary that was written down when a program left is joined with what the journal has since.

use nodewatch_protocol::UnixMillis;

use super::{Entry, Journals, Record, entry::Line};
use crate::model::{Moment, ObjectFate, ObjectSummary, Span, Summary};

impl Journals {
    /// What is known of a session: what was seen of it when it was last left, and what its journal has beside that.
    pub fn told(&self, record: &Record) -> Summary {
        let header = &record.header;
        let lines = self.lines(&header.session);
        let known = self.summary(&header.session);
        let since = known.as_ref().map_or(0, |known| known.written);
        let mut summary = known.unwrap_or_else(|| Summary {
            began: Some(header.began),
            ends: Some(record.ends),
            by: header.owner.clone(),
            ..Summary::new(header.session.clone(), format!("cluster {}", header.cluster.context))
        });
        let by_journal_alone = summary.written == 0;
        let new = || lines.iter().filter(|line| line.at >= since);
        summary.timeline.extend(new().flat_map(moments));
        summary.timeline.sort_by_key(|moment| moment.at);
        // A program that was killed has left no summary of what it saw.
        summary.watched.extend(attended(new(), by_journal_alone, record.last));
        for object in objects(&lines) {
            tell_of(&mut summary.objects, object);
        }
        if let Some(last) = new().filter(|line| gone_of(line).is_some()).map(|line| line.at).max() {
            summary.gone_at = Some(last);
        }
        if record.is_over() {
            summary.detached = false;
        }
        if by_journal_alone {
            summary.written = record.last;
            summary.receipt = record.objects.iter().map(|(_, object)| format!("LEFT     {}", object.text())).collect();
        }
        summary
    }
}

/// What a line says was done, node by node where it says so.
fn moments(line: &Line) -> Vec<Moment> {
    match &line.entry {
        Entry::Did(acts) => acts.clone(),
        entry => entry.text().map(|text| Moment { at: line.at, node: None, text }).into_iter().collect(),
    }
}

fn gone_of(line: &Line) -> Option<&crate::model::MadeObject> {
    if let Entry::Gone(made) = &line.entry { made.as_object() } else { None }
}

/// What the journal says of an object, beside what was seen of it: by its lines in their order and not by their times,
/// as the clock may have been set meanwhile.
fn tell_of(seen: &mut Vec<ObjectSummary>, by_journal: ObjectSummary) {
    match seen.iter_mut().find(|object| object.name == by_journal.name) {
        // It was made by a program that was killed, after another one had told of what it saw.
        None => seen.push(by_journal),
        Some(object) if by_journal.fate == ObjectFate::Gone => *object = by_journal,
        Some(_) => {}
    }
}

/// When a program was attached, by the lines that one writes as it comes and goes.
fn attended<'a>(lines: impl Iterator<Item = &'a Line>, from_the_start: bool, last: UnixMillis) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut from = None;
    let mut seen = None;
    for line in lines {
        match &line.entry {
            Entry::Began(_) if from_the_start => from = Some(line.at),
            Entry::Attached => {
                // One that was killed has written nothing at its end.
                spans.extend(from.map(|from| Span { from, until: seen }));
                from = Some(line.at);
            }
            Entry::Detached => spans.extend(from.take().map(|from| Span { from, until: Some(line.at) })),
            _ => {}
        }
        seen = Some(line.at);
    }
    spans.extend(from.map(|from| Span { from, until: Some(last) }));
    spans
}

/// What a journal says was made in the cluster, and whether it was seen gone since.
fn objects(lines: &[Line]) -> Vec<ObjectSummary> {
    let mut objects: Vec<ObjectSummary> = Vec::new();
    for line in lines {
        let (made, fate) = match &line.entry {
            Entry::Made(made) => (made.as_object(), ObjectFate::Left),
            Entry::Gone(made) => (made.as_object(), ObjectFate::Gone),
            _ => continue,
        };
        let Some(name) = made.map(|object| format!("{} {}", object.kind.word(), object.name)) else { continue };
        match objects.iter_mut().find(|object| object.name == name) {
            Some(object) => object.fate = fate,
            // One that was never made is not told of as gone.
            None if fate == ObjectFate::Gone => {}
            None => objects.push(ObjectSummary { name, in_cluster: true, fate, why: String::new() }),
        }
    }
    objects
}
