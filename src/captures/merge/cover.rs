//! When each node captured, as its files say.
//!
//! Owns the spans. Between two files nothing is known, so nothing is claimed.

use std::collections::HashMap;

use crate::packets::pairs::Coverage;

/// Spans of a node that are known one by one.
const MOST: usize = 100_000;

/// Spans of time, by node.
#[derive(Debug, Default)]
pub(super) struct Cover(HashMap<String, Vec<(i64, i64)>>);

impl Cover {
    /// A span holds that time too; which one, a new one where there was none.
    pub(super) fn extend(&mut self, node: &str, span: Option<usize>, time: i64) -> usize {
        if !self.0.contains_key(node) {
            self.0.insert(node.to_owned(), Vec::new());
        }
        let Some(spans) = self.0.get_mut(node) else { return 0 };
        if let Some((at, (from, to))) = span.and_then(|at| Some((at, spans.get_mut(at)?))) {
            (*from, *to) = ((*from).min(time), (*to).max(time));
            return at;
        }
        if spans.len() < MOST {
            spans.push((time, time));
        }
        spans.len() - 1
    }
}

impl Coverage for Cover {
    fn covers(&self, node: &str, time: i64) -> bool {
        self.0.get(node).is_some_and(|spans| spans.iter().any(|(from, to)| (*from..=*to).contains(&time)))
    }
}
