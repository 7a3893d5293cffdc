//! The Answers screen: why connections fail, a row an answer, and below one that is opened a row a part of it.
//!
//! Owns which rows there are, in which order, and what a key does to one. What is found is the session's. Pure.

use std::cmp::{Ordering, Reverse};

use nodewatch_answers::{Answer, Certainty, Code, words};
use nodewatch_protocol::UnixMillis;

use super::{
    App, Layer, Screen,
    action::Action,
    cursor::{AnswerKey, Cursor},
    order::{Column, Order},
    why::Why,
};
use crate::{
    base::text,
    model::{NodeName, Notice},
    session::{Effect, Permission, answers::AnswerId, files::FileRow, filter::TextFilter, node::NodeState},
};

/// What a filter can name.
pub(super) const FIELDS: &[&str] = &["code", "certainty", "node", "pod", "service", "place", "text"];
/// Columns that answers can be sorted by.
pub(super) const COLUMNS: &[Column] = &[Column::Name, Column::Drops, Column::Time];
/// Rows that a page key moves.
const PAGE: usize = 10;

/// The screen's own state.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// The row under the cursor; the first, as long as it was not moved.
    pub cursor: Cursor<AnswerKey>,
    /// The filter and its text.
    pub filter: (String, TextFilter),
    /// The order of rows; what hurts most first, when there is none.
    pub order: Option<Order>,
    /// Those that are opened.
    open: Vec<AnswerId>,
    /// The pair that the user asks about: of answers, and of connections.
    pub why: Option<Why>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerRow<'a> {
    /// An answer, and whether it is opened.
    Answer(&'a Answer, bool),
    /// A part of one that is opened.
    Part {
        /// Of which.
        of: &'a Answer,
        /// Its place among the parts.
        at: usize,
        /// What it is called; empty where it goes on.
        name: &'static str,
        /// What it says.
        text: String,
    },
    /// A code that is silenced, and how many of its answers stand.
    Silenced(Code, usize),
}

impl<'a> AnswerRow<'a> {
    /// The answer that it is of.
    pub fn answer(&self) -> Option<&'a Answer> {
        match self {
            Self::Answer(answer, _) | Self::Part { of: answer, .. } => Some(answer),
            Self::Silenced(..) => None,
        }
    }

    /// Which row it is.
    pub fn key(&self) -> AnswerKey {
        match self {
            Self::Answer(answer, _) => AnswerKey::Answer(Box::new(AnswerId::of(answer)), None),
            Self::Part { of, at, .. } => AnswerKey::Answer(Box::new(AnswerId::of(of)), Some(*at)),
            Self::Silenced(code, _) => AnswerKey::Silenced(*code),
        }
    }

    fn is(&self, key: &AnswerKey) -> bool {
        match (self, key) {
            (Self::Answer(answer, _), AnswerKey::Answer(id, None)) => id.is(answer),
            (Self::Part { of, at, .. }, AnswerKey::Answer(id, Some(part))) => at == part && id.is(of),
            (Self::Silenced(code, _), AnswerKey::Silenced(known)) => code == known,
            _ => false,
        }
    }
}

/// A moment of the evidence, as the screen's clock shows it.
fn exact(nanos: i64) -> String {
    let millis = u64::try_from(nanos / 1_000_000).unwrap_or(0);
    format!("{}.{:03}", text::time_of_day(millis), millis % 1000)
}

/// When it was seen: `14:05-now`, or from when to when.
pub fn when(answer: &Answer) -> String {
    let minute = |at: UnixMillis| text::time_of_day(at).chars().take(5).collect::<String>();
    let until = answer.until.map_or_else(|| "now".to_owned(), minute);
    format!("{}-{until}", minute(answer.since))
}

/// All parts of an answer, in lines with the names of those that they begin.
fn parts(answer: &Answer) -> Vec<(&'static str, String)> {
    let from = text::time_of_day(answer.since);
    let until = answer.until.map_or_else(
        || format!("last seen at {}", text::time_of_day(answer.last)),
        |until| format!("was over at {}", text::time_of_day(until)),
    );
    let many = if answer.in_all > answer.failed { format!(", {} in all", answer.in_all) } else { String::new() };
    let mut lines = vec![("", answer.text.clone())];
    let place = answer.place.text();
    if !place.is_empty() {
        lines.push(("where", place));
    }
    lines.push(("when", format!("since {from}, {until}{many}")));
    for part in words::parts(answer, exact) {
        let names = std::iter::once(part.name).chain(std::iter::repeat(""));
        lines.extend(names.zip(part.lines));
    }
    lines
}

impl App {
    /// What the screen shows: what stands first, then notes, then what is over, then what is silenced.
    pub fn answer_rows(&self) -> Vec<AnswerRow<'_>> {
        let answering = &self.session.answers;
        let order = self.answers.order;
        let mut found: Vec<&Answer> =
            answering.current().chain(answering.history()).filter(|answer| self.shows_answer(answer)).collect();
        if order.is_some() {
            found.sort_by(|a, b| (!a.is_current()).cmp(&!b.is_current()).then_with(|| compare(order, a, b)));
        }
        let mut rows = Vec::new();
        for answer in found {
            let open = self.answers.open.iter().any(|id| id.is(answer));
            rows.push(AnswerRow::Answer(answer, open));
            if open {
                let parts = parts(answer).into_iter().enumerate();
                rows.extend(parts.map(|(at, (name, text))| AnswerRow::Part { of: answer, at, name, text }));
            }
        }
        let silenced = answering.silenced().iter();
        rows.extend(silenced.map(|code| AnswerRow::Silenced(*code, answering.standing(*code))));
        rows
    }

    fn shows_answer(&self, answer: &Answer) -> bool {
        let asked = self.answers.why.as_ref().is_none_or(|why| why.is_about(answer));
        let faulty = answer.is_current() && answer.certainty != Certainty::Note;
        asked && (faulty || !self.layout.faults_only) && shows(&self.answers.filter.1, answer)
    }

    /// Where the cursor is among the rows that are shown.
    pub fn answer_place(&self, rows: &[AnswerRow<'_>]) -> usize {
        self.answers.cursor.place(rows, AnswerRow::is)
    }

    /// The row under the cursor.
    pub(super) fn answer_row(&self) -> Option<AnswerRow<'_>> {
        let mut rows = self.answer_rows();
        let at = self.answer_place(&rows);
        (at < rows.len()).then(|| rows.swap_remove(at))
    }

    /// The next row takes the place of one that has gone.
    pub(super) fn settle_answers(&mut self) {
        let mut cursor = self.answers.cursor.clone();
        cursor.settle(&self.answer_rows(), AnswerRow::is, AnswerRow::key);
        self.answers.cursor = cursor;
        // What is forgotten is not open any more.
        let answering = &self.session.answers;
        let known = |id: &AnswerId| answering.current().chain(answering.history()).any(|answer| id.is(answer));
        let open = self.answers.open.iter().filter(|id| known(id)).copied().collect();
        self.answers.open = open;
    }

    fn move_in_answers(&mut self, to: impl Fn(usize) -> usize) {
        let rows = self.answer_rows();
        let at = to(self.answer_place(&rows)).min(rows.len().saturating_sub(1));
        // On the first row it stays on the first, whichever that is.
        let key = rows.get(at).filter(|_| at > 0).map(AnswerRow::key);
        self.answers.cursor.put(at, key);
    }

    /// Puts the cursor on a row, where that is still there.
    pub(super) fn put_on_answer(&mut self, key: &AnswerKey) {
        let at = self.answer_rows().iter().position(|row| row.is(key));
        if let Some(at) = at {
            self.answers.cursor.put(at, Some(key.clone()));
        }
    }

    /// Watches the chosen nodes where none of them is watched yet; otherwise shows why connections fail.
    pub(super) fn answers_or_watch(&mut self) -> Vec<Effect> {
        let chosen = matches!(self.screen, Screen::Nodes | Screen::Node(_) | Screen::Pods);
        let targets = if chosen { self.targets() } else { Vec::new() };
        let watched = |name: &NodeName| {
            let state = self.session.nodes.get(name);
            state.is_some_and(|state| state.is_watching() || state.is_to_watch())
        };
        let read_only = self.session.permission == Permission::ReadOnly;
        if read_only || targets.iter().all(watched) {
            self.open_answers();
            return Vec::new();
        }
        let unwatched: Vec<NodeName> = targets.iter().filter(|name| !watched(name)).cloned().collect();
        self.watch_nodes(&unwatched)
    }

    pub(super) fn open_answers(&mut self) {
        self.screen = Screen::Answers;
        self.answers.cursor = Cursor::default();
    }

    /// A key on the Answers screen; `None` when it means what it means everywhere.
    pub(super) fn answers_key(&mut self, action: Action) -> Option<Vec<Effect>> {
        match action {
            Action::Up => self.move_in_answers(|at| at.saturating_sub(1)),
            Action::Down => self.move_in_answers(|at| at + 1),
            Action::PageUp => self.move_in_answers(|at| at.saturating_sub(PAGE)),
            Action::PageDown => self.move_in_answers(|at| at + PAGE),
            Action::Top => self.move_in_answers(|_| 0),
            Action::Bottom => self.move_in_answers(|_| usize::MAX),
            Action::Sort(column) if COLUMNS.contains(&column) => self.sort_answers(column),
            Action::Faults => {
                self.layout.faults_only = !self.layout.faults_only;
                self.settle_answers();
            }
            Action::Back => self.leave_answers(),
            Action::Open => self.open_or_close_answer(),
            Action::Silence => self.silence_code(),
            Action::Follow => return Some(self.view_answer()),
            _ => return None,
        }
        Some(Vec::new())
    }

    pub(super) fn sort_answers(&mut self, column: Column) {
        self.answers.order = Some(Order::toggled(self.answers.order, column));
    }

    /// What narrows the screen goes first.
    fn leave_answers(&mut self) {
        if self.answers.why.is_some() {
            self.end_why();
        } else if !self.answers.filter.0.is_empty() {
            self.answers.filter = <(String, TextFilter)>::default();
        } else if self.layout.faults_only {
            self.layout.faults_only = false;
        } else if self.answers.order.is_some() {
            self.answers.order = None;
        } else {
            self.screen = Screen::Nodes;
        }
    }

    fn open_or_close_answer(&mut self) {
        let key = self.answer_row().map(|row| row.key());
        let id = match key {
            Some(AnswerKey::Answer(id, _)) => id,
            Some(AnswerKey::Silenced(code)) => return self.unsilence_hint(code),
            None => return self.say_dead(Action::Open),
        };
        match self.answers.open.iter().position(|known| *known == *id) {
            Some(at) => drop(self.answers.open.remove(at)),
            None => self.answers.open.push(*id),
        }
        self.put_on_answer(&AnswerKey::Answer(id, None));
    }

    fn unsilence_hint(&mut self, code: Code) {
        let notice = Notice::info(format!("{} {} is silenced", code.text(), code.name()));
        let notice = Notice { next_step: "{silence} shows it".to_owned(), ..notice };
        self.session.notify(notice.naming_keys().as_answer());
    }

    /// Silences the code under the cursor, or shows it again.
    fn silence_code(&mut self) {
        let code = self.answer_row().map(|row| match row {
            AnswerRow::Silenced(code, _) => Some(code),
            row => row.answer().and_then(|answer| answer.code),
        });
        let Some(code) = code else { return self.say_dead(Action::Silence) };
        let Some(code) = code else {
            let cause = "only what has a code can be, and this has none";
            let next_step = "{filter} and {faults} narrow what is shown";
            let notice = Notice::warning("nothing was silenced", cause, next_step);
            self.session.notify(notice.naming_keys().as_answer());
            return;
        };
        let silenced = self.session.silence(code);
        let (said, next_step) = if silenced {
            ("is silenced in this session, and not counted", "{silence} on its line shows it again")
        } else {
            ("is shown again", "")
        };
        let notice = Notice::info(format!("{} {} {said}", code.text(), code.name()));
        self.session.notify(Notice { next_step: next_step.to_owned(), ..notice }.naming_keys());
        let key = silenced.then_some(AnswerKey::Silenced(code));
        self.settle_answers();
        if let Some(key) = key {
            self.put_on_answer(&key);
        }
    }

    /// What is copied: what to do of the row under the cursor, or the first that is to be done.
    pub(super) fn answer_text(&self) -> Option<String> {
        match self.answer_row()? {
            AnswerRow::Part { text, at, of, .. } if is_step(of, at) => Some(text),
            row => row.answer()?.next.first().cloned(),
        }
    }

    /// The node that the row under the cursor is about.
    pub(super) fn answer_node(&self) -> Option<NodeName> {
        let answer = self.answer_row()?.answer()?;
        let nodes = answer.place.node.as_deref().into_iter().chain(words::nodes(answer));
        nodes.map(NodeName::from).find(|name| self.session.nodes.contains_key(name))
    }

    /// Opens what a cause means: of that code, or of the answer under the cursor.
    pub(super) fn explain(&mut self, typed: &str) -> Result<Vec<Effect>, String> {
        let own = || self.answer_row().and_then(|row| row.answer()?.code).filter(|_| self.screen == Screen::Answers);
        let code = match typed {
            "" => own().ok_or_else(|| "explain CODE: N-01 to N-16".to_owned())?,
            typed => typed.parse::<Code>().map_err(|error| error.to_string())?,
        };
        self.open_reading(Layer::Explanation(code));
        Ok(Vec::new())
    }

    /// Opens its packets in the viewer: a file that is here, otherwise what its nodes capture now; and where there is neither,
    /// says how there would be.
    fn view_answer(&mut self) -> Vec<Effect> {
        let Some(answer) = self.answer_row().and_then(|row| row.answer().cloned()) else {
            self.say_dead(Action::Follow);
            return Vec::new();
        };
        let filter = answer.filter();
        if filter.is_empty() {
            let cause = "a counter says it, and no connection";
            self.session.notify(Notice::warning("it has no packets", cause, ""));
            return Vec::new();
        }
        if let Some((file, held)) = self.file_with(&answer) {
            let of = answer.in_all.max(held as u64);
            if (held as u64) < of {
                let why = "the others are not in this file, or are not known one by one any more";
                self.session
                    .notify(Notice::info(format!("{held} of {of} connections of this answer are shown: {why}")));
            }
            return vec![Effect::ViewOf { file, filter }];
        }
        let nodes: Vec<NodeName> = words::nodes(&answer)
            .into_iter()
            .map(NodeName::from)
            .filter(|name| self.session.nodes.contains_key(name))
            .collect();
        let of = |so: &dyn Fn(&NodeState) -> bool| -> Vec<NodeName> {
            nodes.iter().filter(|name| self.session.nodes.get(*name).is_some_and(so)).cloned().collect()
        };
        let recorders = of(&NodeState::has_recorder);
        let running = of(&|state| state.agent.has_tunnel() && state.is_capturing() && !state.has_recorder());
        let elsewhere = self.covers(&answer).find(|row| row.on_node.is_some_and(|file| file.ended > 0));
        let elsewhere = elsewhere.map(|row| row.key.text());
        let named = |nodes: &[NodeName]| nodes.iter().map(|node| node.0.as_str()).collect::<Vec<_>>().join(", ");
        let notice = if let Some(file) = elsewhere {
            let next_step = "{files}, then {open} fetches the file";
            Notice::warning("its packets are not on this laptop", format!("they are in {file}"), next_step)
        } else if !recorders.is_empty() {
            let cause = format!("a flight recorder runs on {}", named(&recorders));
            let next_step = "{freeze} saves its last seconds; then {files} and {open} fetch the file";
            Notice::warning("its packets are not saved yet", cause, next_step)
        } else if !running.is_empty() {
            let shown = format!("what {} captures from now on is shown; of this answer: {filter}", named(&running));
            self.session.notify(Notice::info(shown));
            return self.session.show(running);
        } else {
            let next_step = "{capture} captures there now; {capture-options} arms a flight recorder, whose last seconds \
                             {freeze} saves";
            Notice::warning("its packets were not kept", "no capture ran there then", next_step)
        };
        self.session.notify(notice.naming_keys());
        Vec::new()
    }

    /// Files of its nodes that were written when its connections have failed.
    fn covers<'a>(&'a self, answer: &'a Answer) -> impl Iterator<Item = FileRow<'a>> {
        let nodes = words::nodes(answer);
        let own = self
            .session
            .all_files()
            .into_iter()
            .filter(move |row| row.key.session.is_none() && nodes.contains(row.key.node.as_str()));
        own.filter(move |row| shown_in(row, answer) > 0)
    }

    /// The file here that has most of its connections, and how many.
    fn file_with(&self, answer: &Answer) -> Option<(std::path::PathBuf, usize)> {
        let here = self.covers(answer).filter(|row| row.path().is_some());
        let counted = here.map(|row| (shown_in(&row, answer), row));
        counted.max_by_key(|(count, _)| *count).and_then(|(count, row)| Some((row.path()?.clone(), count)))
    }
}

/// So far the clocks of a node and of this laptop may be apart, in milliseconds.
const APART: u64 = 2_000;

/// How many of its connections have failed while a file was written.
fn shown_in(row: &FileRow<'_>, answer: &Answer) -> usize {
    let Some(file) = row.on_node else { return 0 };
    let until = if file.ended == 0 { UnixMillis::MAX } else { file.ended.saturating_add(APART) };
    let span = file.started.saturating_sub(APART)..=until;
    let failed = answer.connections().into_iter().map(|hurt| u64::try_from(hurt.at / 1_000_000).unwrap_or(0));
    failed.filter(|at| span.contains(at)).count()
}

/// Whether a part is something to do: these come last.
fn is_step(answer: &Answer, at: usize) -> bool {
    at + answer.next.len() >= parts(answer).len()
}

/// Whether a filter shows an answer.
fn shows(filter: &TextFilter, answer: &Answer) -> bool {
    if matches!(filter, TextFilter::All) {
        return true;
    }
    let (title, place) = (answer.title(), answer.place.text());
    let mut fields: Vec<(&str, &str)> =
        vec![("code", &title), ("certainty", answer.certainty.word()), ("place", &place), ("text", &answer.text)];
    let known = [("node", &answer.place.node), ("pod", &answer.place.pod), ("service", &answer.place.service)];
    fields.extend(known.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
    // Also where it was seen, and whose counters have moved.
    let counted = answer.counters.iter().map(|step| step.node.as_str());
    fields.extend(words::nodes(answer).into_iter().chain(counted).map(|node| ("node", node)));
    filter.shows(&fields)
}

/// The order of two answers as chosen, and of equal ones causes before places, and what hurts most first.
fn compare(order: Option<Order>, a: &Answer, b: &Answer) -> Ordering {
    let ordering = order.map_or(Ordering::Equal, |order| {
        order.directed(match order.column {
            Column::Drops => a.failed.cmp(&b.failed),
            Column::Time => a.since.cmp(&b.since),
            _ => a.code.is_none().cmp(&b.code.is_none()).then_with(|| a.code.cmp(&b.code)),
        })
    });
    let usual = |answer: &Answer| (!answer.certainty.is_answer(), Reverse(answer.failed));
    ordering.then_with(|| usual(a).cmp(&usual(b)))
}

#[cfg(test)]
mod tests {
    use nodewatch_answers::Place;

    use super::*;

    fn answer(code: Option<Code>, certainty: Certainty, failed: u64, since: UnixMillis) -> Answer {
        Answer {
            id: since,
            code,
            certainty,
            text: String::new(),
            place: Place::default(),
            since,
            until: None,
            last: since,
            failed,
            of: 99,
            in_all: failed,
            proof: Vec::new(),
            hurt: Vec::new(),
            clocks: Vec::new(),
            counters: Vec::new(),
            ruled_out: Vec::new(),
            not_seen: Vec::new(),
            runner_up: None,
            next: Vec::new(),
        }
    }

    #[test]
    fn equal_answers_have_causes_before_places_whatever_they_are_sorted_by() {
        let place = answer(None, Certainty::Located, 9, 1);
        let worse = answer(Some(Code::WireLoss), Certainty::Likely, 9, 1);
        let sure = answer(Some(Code::WireLoss), Certainty::Verdict, 4, 2);
        let other = answer(Some(Code::AcceptQueue), Certainty::Likely, 4, 2);
        let sorted = |column, descending| {
            let mut found = [(0, &place), (1, &sure), (2, &other), (3, &worse)];
            found.sort_by(|(_, a), (_, b)| compare(Some(Order { column, descending }), a, b));
            found.map(|(number, _)| number)
        };
        assert_eq!(sorted(Column::Drops, true), [3, 0, 1, 2]);
        assert_eq!(sorted(Column::Drops, false), [1, 2, 3, 0]);
        assert_eq!(sorted(Column::Time, true), [1, 2, 3, 0]);
        assert_eq!(sorted(Column::Time, false), [3, 0, 1, 2]);
        assert_eq!(sorted(Column::Name, false), [2, 3, 1, 0], "by code, and of one code what hurts most");
    }
}
