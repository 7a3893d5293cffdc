//! Answers that stand, and those that are over.
//!
//! Owns which answer of a moment is one that was there before, what it has hurt in all, and when it is over. Nothing latches:
//! an answer without new evidence for long is over, and stays in history with its times and the numbers of its worst minute.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
};

use rustc_hash::FxHashSet;

use crate::{Answer, Certainty, view::Key};

/// Without new evidence for so long, in milliseconds, an answer is over. Some of what has failed is known only after 10 s.
const OVER: u64 = 60_000 + 15_000;
/// Evidence that is so much older than the first, in milliseconds, is stamped by another clock.
const OLDER: u64 = 60_000;
/// Answers that stand.
const MOST_ANSWERS: usize = 500;
/// Answers that are over.
const MOST_HISTORY: usize = 200;

/// An answer as the rules have found it.
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) answer: Answer,
    /// The numbers of all that it has hurt.
    pub(crate) hurt: Vec<u64>,
}

/// What is remembered of an answer that stands.
#[derive(Debug, Clone)]
struct Memory {
    key: Key,
    /// As it was when it hurt most.
    worst: Answer,
    /// What it has hurt, and is still known.
    counted: FxHashSet<u64>,
}

/// All answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    answers: Vec<Answer>,
    memories: BTreeMap<u64, Memory>,
    history: VecDeque<Answer>,
    last_id: u64,
}

impl Standing {
    /// Those that stand: causes, then places, those that hurt most first of each.
    pub(crate) fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// Those that are over, the latest first.
    pub(crate) fn history(&self) -> impl Iterator<Item = &Answer> {
        self.history.iter().rev()
    }

    /// What is found at this moment. `over`: nothing more will be; `alive` are the numbers of all that is still known.
    pub(crate) fn keep(&mut self, found: Vec<Found>, (now, over): (u64, bool), alive: &FxHashSet<u64>) {
        let mut before = std::mem::take(&mut self.answers);
        for found in found {
            let is_same = |known: &Answer| self.memories.get(&known.id).is_some_and(|memory| memory.key == found.key);
            let same = before.iter().position(is_same).map(|at| before.swap_remove(at));
            let answer = self.go_on(same, found, alive);
            self.answers.push(if over { self.at_worst(answer) } else { answer });
        }
        // What only counters say ends with them; other evidence is older than a window now, and may come again.
        before.retain(|answer| answer.certainty != Certainty::Note);
        let (over_now, waiting): (Vec<Answer>, Vec<Answer>) =
            before.into_iter().partition(|answer| over || now.saturating_sub(answer.last) >= OVER);
        self.answers.extend(waiting);
        self.end(over_now);
        // Those that hurt least go, where there are very many.
        self.answers.sort_by(|one, other| {
            let order = |answer: &Answer| {
                let note = answer.certainty == Certainty::Note;
                // Where something is lost says less than why.
                (note, !answer.certainty.is_answer(), Reverse(answer.failed), answer.certainty, answer.code)
            };
            order(one).cmp(&order(other)).then_with(|| one.text.cmp(&other.text))
        });
        self.answers.truncate(MOST_ANSWERS);
        let ids: FxHashSet<u64> = self.answers.iter().map(|answer| answer.id).collect();
        self.memories.retain(|id, _| ids.contains(id));
    }

    /// All that stands is over.
    pub(crate) fn end_all(&mut self) {
        let mut standing = std::mem::take(&mut self.answers);
        standing.retain(|answer| answer.certainty != Certainty::Note);
        self.end(standing);
        self.memories.clear();
    }

    /// One that is found anew goes on where it was there before.
    fn go_on(&mut self, before: Option<Answer>, found: Found, alive: &FxHashSet<u64>) -> Answer {
        let Found { key, mut answer, hurt } = found;
        let Some(known) = before else {
            self.last_id += 1;
            answer.id = self.last_id;
            let memory = Memory { key, worst: answer.clone(), counted: hurt.into_iter().collect() };
            self.memories.insert(answer.id, memory);
            return answer;
        };
        answer.id = known.id;
        if answer.since.saturating_add(OLDER) >= known.since {
            answer.since = answer.since.min(known.since);
        } else {
            answer.since = known.since;
        }
        answer.last = answer.last.max(known.last);
        if let Some(memory) = self.memories.get_mut(&known.id) {
            let more = hurt.iter().filter(|number| memory.counted.insert(**number)).count();
            answer.in_all = known.in_all.saturating_add(more as u64);
            if memory.counted.len() > 2 * hurt.len() + 64 {
                memory.counted.retain(|number| alive.contains(number));
            }
            if answer.failed >= memory.worst.failed {
                memory.worst = answer.clone();
            }
        }
        answer
    }

    /// With the numbers and the proof of the moment when it hurt most.
    fn at_worst(&self, answer: Answer) -> Answer {
        let Some(memory) = self.memories.get(&answer.id).filter(|memory| memory.worst.failed > answer.failed) else {
            return answer;
        };
        let Answer { since, last, in_all, .. } = answer;
        Answer { since, last, in_all, ..memory.worst.clone() }
    }

    fn end(&mut self, over: Vec<Answer>) {
        for answer in over {
            let answer = self.at_worst(answer);
            self.history.push_back(Answer { until: Some(answer.last), ..answer });
        }
        while self.history.len() > MOST_HISTORY {
            self.history.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_stands_above_where_however_many_that_has_hurt() {
        let found = |certainty, failed| {
            let answer = Answer { certainty, failed, ..Answer::nothing() };
            Found { key: Key::default(), answer, hurt: Vec::new() }
        };
        let mut standing = Standing::default();
        let all = [(Certainty::Located, 50), (Certainty::Verdict, 5), (Certainty::Note, 0), (Certainty::Likely, 9)];
        let all = all.into_iter().map(|(certainty, failed)| found(certainty, failed)).collect();
        standing.keep(all, (1_000, false), &FxHashSet::default());
        let order: Vec<u64> = standing.answers().iter().map(|answer| answer.failed).collect();
        assert_eq!(order, [9, 5, 50, 0]);
    }
}
