//! Why connections failed: the answers that stand and those that are over, with what proves them.
//!
//! Owns what is told of them in both forms of the report; the words of their parts are those of the screen.

use nodewatch_answers::{Answer, Certainty, words};

use super::times::{Days, length};
use crate::{
    base::text::counted,
    model::{AnswersSummary, Span, Summary},
};

/// So many are told whole, and named on the first page.
const MOST: usize = 50;
const NAMED: usize = 10;

/// What the section is called.
pub(super) const HEADING: &str = "Why connections fail";

/// An answer as the report tells it.
pub(super) struct Told<'a> {
    pub answer: &'a Answer,
    /// Certainty, title and place.
    pub head: String,
    /// When, and how many it hurt.
    pub when: String,
}

impl<'a> Told<'a> {
    fn of(answer: &'a Answer, days: Days) -> Self {
        let place = answer.place.text();
        let at = if place.is_empty() { String::new() } else { format!(": {place}") };
        let title = if answer.certainty == Certainty::Note { String::new() } else { format!(" {}", answer.title()) };
        let many = words::many(answer);
        let many = if many.is_empty() { many } else { format!("; {many} in a minute, {} in all", answer.in_all) };
        Self {
            answer,
            head: format!("{}{title}{at}", answer.certainty.word().to_uppercase()),
            when: format!("{}{many}", days.span(Span { from: answer.since, until: answer.until })),
        }
    }

    /// Names and lines of its parts but for what is to be done.
    pub fn parts(&self, days: Days) -> Vec<(&'static str, String)> {
        let time = |nanos: i64| {
            let millis = u64::try_from(nanos / 1_000_000).unwrap_or(0);
            format!("{}.{:03}", days.time(millis), millis % 1000)
        };
        let parts = words::parts(self.answer, time).into_iter();
        let told = parts.filter(|part| part.name != words::DO && part.name != words::THEN);
        told.flat_map(|part| std::iter::once(part.name).chain(std::iter::repeat("")).zip(part.lines)).collect()
    }
}

pub(super) fn all(answers: &AnswersSummary, days: Days) -> Vec<Told<'_>> {
    let all = answers.standing.iter().chain(&answers.over);
    all.take(MOST).map(|answer| Told::of(answer, days)).collect()
}

/// What was looked at, and what of the answers is left out.
pub(super) fn opening(answers: &AnswersSummary, days: Days) -> Vec<String> {
    if !answers.has_looked() {
        return vec!["Not looked at: no packets were watched.".to_owned()];
    }
    let looked = &answers.looked;
    let over = length(looked.until.saturating_sub(looked.since));
    let span = format!("from {} to {}", days.time(looked.since), days.time(looked.until));
    let mut lines = Vec::new();
    let found = answers.standing.iter().chain(&answers.over).any(|answer| answer.certainty != Certainty::Note);
    if found {
        lines.push(format!(
            "Looked at {span} ({over}): {} attempts, {} failed, {} delayed{}.",
            looked.attempts,
            looked.failed,
            looked.delayed,
            words::by_each(looked)
        ));
        lines.extend(answers.withheld.iter().map(|what| format!("Not told here: {what}.")));
    } else if let Some(what) = &answers.withheld {
        lines.push(format!(
            "No answer is told here: {what}. Looked at {span} ({over}): {} attempts, {} failed, {} delayed{}.",
            looked.attempts,
            looked.failed,
            looked.delayed,
            words::by_each(looked)
        ));
    } else {
        lines.push(format!("Found: {}, {span}.", words::nothing(looked, &over)));
    }
    if looked.unexplained > 0 {
        lines.push(format!("Not explained: {} of the last minute.", counted(looked.unexplained as usize, "symptom")));
    }
    if !answers.not_seen.is_empty() {
        lines.push(format!("Not seen: {}.", answers.not_seen.join("; ")));
    }
    let left_out = (answers.standing.len() + answers.over.len()).saturating_sub(MOST);
    if left_out > 0 {
        lines.push(format!("Left out here: {}, the oldest.", counted(left_out, "answer")));
    }
    lines
}

/// The sentences of the first page, of those that say why, or where; and whether each is grave.
pub(super) fn sentences(summary: &Summary, days: Days) -> Vec<(String, bool)> {
    let answers = &summary.answers;
    let felt = answers.standing.iter().chain(&answers.over).filter(|answer| answer.certainty != Certainty::Note);
    let told = felt.take(NAMED).map(|answer| {
        let Told { head, when, .. } = Told::of(answer, days);
        (format!("{head}, {when}: {}.", answer.text), answer.certainty.is_answer())
    });
    told.collect()
}
