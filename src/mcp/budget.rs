//! How much tools may change: nodes at once, time of one, bytes of all.
//!
//! Owns the sums, and the words of what goes beyond. What is held is given back when it is dropped.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::refusal::Refusal;
use crate::base::text::{bytes, counted, lasting};

/// The budget as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nodes with an agent at once.
    pub nodes: u32,
    /// How long one tool watches or captures.
    pub duration: Duration,
    /// Size of all captures.
    pub bytes: u64,
}

/// What of it is spent.
#[derive(Debug, Default)]
struct Spent {
    nodes: u32,
    bytes: u64,
}

/// A budget and what of it is spent.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    spent: Mutex<Spent>,
}

/// Nodes that a command has agents on, as long as it runs.
#[derive(Debug)]
pub(super) struct Nodes {
    budget: Arc<Budget>,
    count: u32,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, spent: Mutex::default() })
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes so many nodes.
    pub(super) fn nodes(self: &Arc<Self>, count: usize) -> Result<Nodes, Refusal> {
        let most = self.limits.nodes;
        let mut spent = self.spent();
        let wanted = u32::try_from(count).unwrap_or(u32::MAX);
        if wanted > most.saturating_sub(spent.nodes) {
            let now = match spent.nodes {
                0 => String::new(),
                nodes => format!(", and tools are on {nodes} now"),
            };
            let message = format!("{} asked for; the budget is {most} at once{now}", counted(count, "node"));
            let next_step = "name fewer nodes, stop a capture, or have the server started with a larger --max-nodes";
            return Err(Refusal::over_budget(message, next_step));
        }
        spent.nodes += wanted;
        Ok(Nodes { budget: self.clone(), count: wanted })
    }

    /// Whether something may last so long.
    pub(super) fn time(&self, seconds: u64) -> Result<u64, Refusal> {
        let most = self.limits.duration.as_secs();
        if seconds == 0 || seconds > most {
            let message = format!("{seconds} s asked for; the budget is 1 to {most} s ({})", lasting(most * 1000));
            let next_step = "ask for less, or have the server started with a longer --max-duration";
            return Err(Refusal::over_budget(message, next_step));
        }
        Ok(seconds)
    }

    /// Takes so many bytes; what was not used is given back with [`Self::refund`].
    pub(super) fn bytes(&self, count: u64) -> Result<(), Refusal> {
        let most = self.limits.bytes;
        let mut spent = self.spent();
        let left = most.saturating_sub(spent.bytes);
        if count == 0 || count > left {
            let message =
                format!("{} asked for; {} of the budget of {} are left", bytes(count), bytes(left), bytes(most));
            let next_step = "ask for fewer bytes or nodes, or have the server started with a larger --max-bytes";
            return Err(Refusal::over_budget(message, next_step));
        }
        spent.bytes += count;
        Ok(())
    }

    /// Gives back bytes that were taken and not used.
    pub(super) fn refund(&self, count: u64) {
        let mut spent = self.spent();
        spent.bytes = spent.bytes.saturating_sub(count);
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let mut spent = self.budget.spent();
        spent.nodes = spent.nodes.saturating_sub(self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Arc<Budget> {
        Budget::new(Limits { nodes: 3, duration: Duration::from_secs(60), bytes: 1000 })
    }

    #[test]
    fn nodes_are_free_again_when_a_command_is_over() {
        let budget = budget();
        let two = budget.nodes(2).expect("within it");
        let refused = budget.nodes(2).expect_err("beyond it");
        assert_eq!(refused.code, "over_budget");
        assert_eq!(refused.message, "2 nodes asked for; the budget is 3 at once, and tools are on 2 now");
        let one = budget.nodes(1).expect("the last one");
        drop(two);
        assert!(budget.nodes(3).is_err() && budget.nodes(2).is_ok());
        drop(one);
        assert!(budget.nodes(3).is_ok() && budget.nodes(4).is_err() && budget.nodes(usize::MAX).is_err());
    }

    #[test]
    fn bytes_that_were_used_are_spent_for_good() {
        let budget = budget();
        budget.bytes(600).expect("within it");
        let refused = budget.bytes(401).expect_err("beyond it");
        assert_eq!(refused.message, "401 B asked for; 400 B of the budget of 1000 B are left");
        budget.refund(500);
        assert!(budget.bytes(901).is_err() && budget.bytes(900).is_ok() && budget.bytes(1).is_err());
        assert!(budget.bytes(0).is_err() && budget.bytes(u64::MAX).is_err());
    }

    #[test]
    fn one_tool_takes_as_long_as_the_budget_says_at_most() {
        let budget = budget();
        assert!(budget.time(60).is_ok() && budget.time(61).is_err() && budget.time(0).is_err());
    }
}
