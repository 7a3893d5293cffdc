//! Connections and questions that show something, one by one.
//!
//! Owns the bound of what is kept until it is told, and which of the attempts that were answered are told of: those with
//! the lowest numbers, so that several interfaces and nodes choose the same ones. Must not know what a case proves.

use nodewatch_protocol::{Case, MOST_ANSWERED};

/// Cases that are kept until they are told.
const MOST: usize = 384;
/// Strays whose connection is looked for until they are told: all connections are looked through for each.
const LOOKED_FOR: u32 = 16;

/// What was not told yet.
#[derive(Debug, Default)]
pub(crate) struct Cases {
    kept: Vec<Case>,
    answered: Vec<(u32, Case)>,
    looked_for: u32,
    /// Cases that had no room.
    left_out: u64,
}

impl Cases {
    /// Whether one more connection may be looked for.
    pub(crate) fn may_look(&mut self) -> bool {
        self.looked_for += 1;
        self.looked_for <= LOOKED_FOR
    }

    pub(crate) fn put(&mut self, case: Case) {
        if self.kept.len() < MOST {
            self.kept.push(case);
        } else {
            self.left_out += 1;
        }
    }

    /// An attempt with these numbers would be among those that are told of.
    #[inline]
    pub(crate) fn wants(&self, lot: u32) -> bool {
        self.answered.len() < MOST_ANSWERED || self.answered.iter().any(|(known, _)| lot < *known)
    }

    pub(crate) fn put_answered(&mut self, lot: u32, case: Case) {
        if self.answered.len() >= MOST_ANSWERED {
            let highest = self.answered.iter().enumerate().max_by_key(|(_, (lot, _))| *lot).map(|(at, _)| at);
            highest.map(|at| self.answered.swap_remove(at));
        }
        self.answered.push((lot, case));
    }

    /// Gives out those of interfaces that have lost nothing; how many there were besides.
    pub(crate) fn tell(&mut self, lost: impl Fn(u16) -> bool, give: impl FnMut(Case)) -> u64 {
        let answered = self.answered.drain(..).map(|(_, case)| case);
        self.kept.drain(..).chain(answered).filter(|case| !lost(case.interface)).for_each(give);
        self.looked_for = 0;
        std::mem::take(&mut self.left_out)
    }
}
