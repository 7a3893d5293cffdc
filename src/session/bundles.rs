//! Bundles: a node's network state beside its captures, or by key.
//!
//! Owns when one is taken, one at a time for each node, and where they are. Pure.

use std::collections::{BTreeMap, BTreeSet};

use nodewatch_protocol::{CaptureState, UnixMillis};

use super::{Effect, Session};
use crate::model::{BundleFiles, NodeName, Notice};

/// What was taken of one capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Begin,
    End,
}

/// Every node's bundles.
#[derive(Debug, Clone, Default)]
pub struct Bundles {
    /// Nodes of which one is to be taken as soon as they have an agent that can be asked.
    wanted: BTreeSet<NodeName>,
    /// Nodes of which one is being taken.
    under_way: BTreeSet<NodeName>,
    /// What was taken of each node's last capture, which began then.
    captures: BTreeMap<NodeName, (UnixMillis, Taken)>,
    /// Those that are here, in the order in which they came.
    pub files: Vec<(NodeName, BundleFiles)>,
}

impl Bundles {
    /// One is on its way.
    pub fn is_awaited(&self) -> bool {
        !self.under_way.is_empty()
    }
}

impl Session {
    /// Takes one of these nodes now, or once their agents can be asked.
    pub(crate) fn take_bundles(&mut self, names: &[NodeName]) -> Vec<Effect> {
        self.transfers.bundles.wanted.extend(names.iter().cloned());
        names.iter().filter_map(|name| self.bundle_due(name)).collect()
    }

    /// What is to be taken of a node now. Whoever only looks at another program's session takes none.
    pub(super) fn bundle_due(&mut self, name: &NodeName) -> Option<Effect> {
        let state = self.nodes.get(name).filter(|state| state.agent.has_tunnel() && self.life.began.is_some())?;
        let bundles = &mut self.transfers.bundles;
        if bundles.under_way.contains(name) {
            return None;
        }
        let known = bundles.captures.get(name).copied();
        let taken = match &state.capture {
            CaptureState::Running { since, spec, .. } if spec.bundle && known.is_none_or(|(of, _)| of != *since) => {
                Some((*since, Taken::Begin))
            }
            CaptureState::Stopped { since, .. } if known == Some((*since, Taken::Begin)) => Some((*since, Taken::End)),
            _ if bundles.wanted.remove(name) => None,
            _ => return None,
        };
        if let Some(taken) = taken {
            bundles.captures.insert(name.clone(), taken);
        }
        bundles.under_way.insert(name.clone());
        Some(Effect::TakeBundle(name.clone(), taken.map(|(since, _)| since)))
    }

    /// It is here, or will not be.
    pub(super) fn bundled(&mut self, name: &NodeName, outcome: Result<BundleFiles, Notice>) -> Vec<Effect> {
        let now = self.now;
        let bundles = &mut self.transfers.bundles;
        bundles.under_way.remove(name);
        let notice = match outcome {
            Ok(files) => {
                let text = files.text.display().to_string();
                bundles.files.retain(|(_, known)| known.json != files.json);
                bundles.files.push((name.clone(), files));
                Notice::info(format!("bundle of {name}: {text}")).as_answer()
            }
            Err(notice) => notice,
        };
        if let Some(state) = self.nodes.get_mut(name) {
            state.note(now, notice.line());
        }
        self.notify(notice);
        let mut effects: Vec<Effect> = self.bundle_due(name).into_iter().collect();
        effects.extend(self.check_leaving());
        effects
    }
}
