//! The worst of each code since it was told last: what reports count.
//!
//! Owns that what came and went between two reports is in one of them. Must not know reports.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::{Answer, Code};

/// How many each code has hurt at once, and what its gravest answer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worst(BTreeMap<Code, (u64, String)>);

impl Worst {
    /// Answers stand at a moment, those first that hurt most. What is no verdict and not likely does not count.
    pub fn note<'a>(&mut self, answers: impl Iterator<Item = &'a Answer>) {
        let mut now: BTreeMap<Code, (u64, &str)> = BTreeMap::new();
        for answer in answers.filter(|answer| answer.certainty.is_answer()) {
            let Some(code) = answer.code else { continue };
            let (sum, _) = now.entry(code).or_insert((0, &answer.text));
            *sum = sum.saturating_add(answer.failed);
        }
        for (code, (sum, text)) in now {
            match self.0.entry(code) {
                Entry::Occupied(known) if known.get().0 > sum => {}
                Entry::Occupied(mut known) => *known.get_mut() = (sum, text.to_owned()),
                Entry::Vacant(new) => drop(new.insert((sum, text.to_owned()))),
            }
        }
    }

    /// What was noted since this was asked last: each code, how many it has hurt at once, and what was said of it.
    pub fn take(&mut self) -> Vec<(Code, u64, String)> {
        std::mem::take(&mut self.0).into_iter().map(|(code, (sum, text))| (code, sum, text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Certainty, Place};

    fn answer(code: Option<Code>, certainty: Certainty, failed: u64) -> Answer {
        let text = format!("{failed} are hurt");
        let place = Place::default();
        Answer { code, certainty, text, place, failed, of: failed, ..Answer::nothing() }
    }

    #[test]
    fn of_each_code_the_worst_moment_is_kept_until_it_is_told() {
        let (queue, policy) = (Some(Code::AcceptQueue), Some(Code::PolicyDrop));
        let mut worst = Worst::default();
        let first = [
            answer(queue, Certainty::Verdict, 7),
            answer(queue, Certainty::Likely, 5),
            answer(policy, Certainty::Note, 9),
            answer(None, Certainty::Located, 9),
        ];
        worst.note(first.iter());
        worst.note([answer(queue, Certainty::Verdict, 3), answer(policy, Certainty::Likely, 1)].iter());
        let told = [(Code::PolicyDrop, 1, "1 are hurt".into()), (Code::AcceptQueue, 12, "7 are hurt".into())];
        assert_eq!(worst.take(), told);
        assert_eq!(worst.take(), []);
    }
}
