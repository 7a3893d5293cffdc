//! Bundles: a node's network state beside its captures, or by key.
//!
//! Owns when one is taken, one at a time for each node, where they are, and what is missing from them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use nodewatch_protocol::{CaptureState, UnixMillis};

use super::{
    Effect, Session,
    exit::{Leaving, Phase, STOP_WITHIN},
    node::Agent,
};
use crate::{
    base::text,
    model::{BundleFiles, BundleOf, NodeName, Notice},
};

/// A begin or an end that fails is tried so often.
const TRIES: u8 = 2;

/// One of the two of a capture.
#[derive(Debug, Clone, Default)]
struct Half {
    tries: u8,
    here: bool,
    /// Why it is not here.
    why: Option<String>,
}

impl Half {
    fn is_due(&self) -> bool {
        !self.here && self.tries < TRIES
    }

    fn tried(&mut self) {
        self.tries += 1;
    }
}

/// The bundle of one capture.
#[derive(Debug, Clone)]
struct Course {
    node: NodeName,
    /// When the capture began, by the agent's clock.
    since: UnixMillis,
    begin: Half,
    end: Half,
}

impl Course {
    fn half(&mut self, of: BundleOf) -> &mut Half {
        match of {
            BundleOf::Begin { .. } => &mut self.begin,
            BundleOf::End { .. } => &mut self.end,
        }
    }

    fn missing(&self) -> impl Iterator<Item = (&'static str, &Half)> {
        [("begin", &self.begin), ("end", &self.end)].into_iter().filter(|(_, half)| !half.here)
    }
}

/// Every node's bundles.
#[derive(Debug, Clone, Default)]
pub struct Bundles {
    /// Nodes of which one is to be taken as soon as they have an agent that can be asked.
    wanted: BTreeSet<NodeName>,
    /// Nodes of which one is being taken, and what of a capture it is.
    under_way: BTreeMap<NodeName, Option<BundleOf>>,
    /// Captures that ask for one, in order; a node's last one may go on.
    courses: Vec<Course>,
    /// Those that are here, in the order in which they came.
    pub files: Vec<(NodeName, BundleFiles)>,
}

impl Bundles {
    /// One is on its way.
    pub fn is_awaited(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// A capture of that node was seen to run that asks for one.
    pub fn is_begun(&self, name: &NodeName) -> bool {
        self.courses.iter().any(|course| course.node == *name)
    }

    /// What has failed, and once it is `over` what has not come.
    fn missing(&self, name: &NodeName, over: bool) -> Vec<String> {
        let courses = self.courses.iter().filter(|course| course.node == *name);
        let halves = courses.flat_map(|course| course.missing().map(move |(word, half)| (course.since, word, half)));
        let told = halves.filter_map(|(since, word, half)| {
            let why = half.why.as_deref().or(over.then_some("it was not read in time"))?;
            Some(format!("the bundle of the capture of {} has no {word}: {why}", text::rfc3339(since)))
        });
        told.collect()
    }

    /// Nodes whose capture goes on and will have no end in its bundle.
    pub(super) fn without_end(&self) -> Vec<&NodeName> {
        let open = self.courses.iter().filter(|course| !course.end.here && course.end.why.is_none());
        open.map(|course| &course.node).collect()
    }

    /// Takes none of that node any more because of a key; whether one was wanted.
    pub(super) fn forget(&mut self, name: &NodeName) -> bool {
        self.wanted.remove(name)
    }

    fn last(&mut self, name: &NodeName) -> Option<&mut Course> {
        self.courses.iter_mut().rfind(|course| course.node == *name)
    }

    fn half(&mut self, name: &NodeName, of: BundleOf) -> Option<&mut Half> {
        let course = self.courses.iter_mut().rfind(|course| course.node == *name && course.since == of.since());
        course.map(|course| course.half(of))
    }

    /// What of a node's capture as it stands is to be taken now.
    fn due(&mut self, name: &NodeName, capture: &CaptureState) -> Option<BundleOf> {
        let of = match *capture {
            CaptureState::Running { since, .. } => BundleOf::Begin { since },
            CaptureState::Stopped { since, at, .. } => BundleOf::End { since, at },
            CaptureState::Idle => return None,
        };
        self.half(name, of).filter(|half| half.is_due()).map(Half::tried)?;
        Some(of)
    }
}

impl Session {
    /// Takes one of these nodes now, or once their agents can be asked.
    pub(crate) fn take_bundles(&mut self, names: &[NodeName]) -> Vec<Effect> {
        self.transfers.bundles.wanted.extend(names.iter().cloned());
        let is_away = |name: &&NodeName| {
            self.nodes.get(*name).is_some_and(|state| matches!(state.agent, Agent::Lost { .. } | Agent::Connecting))
        };
        let away: Vec<&str> = names.iter().filter(is_away).map(|name| name.0.as_str()).collect();
        if let Some((first, rest)) = away.split_first() {
            let others = match rest.len() {
                0 => String::new(),
                more => format!(" and {}", text::counted(more, "other node")),
            };
            let headline = format!("no bundle of {first}{others} yet");
            let next_step = "it is taken as soon as the tunnel is up";
            self.notify(Notice::warning(headline, "there is no tunnel to its agent", next_step));
        }
        names.iter().filter_map(|name| self.bundle_due(name)).collect()
    }

    /// What is to be taken of a node now. Whoever only looks at another program's session takes none.
    pub(super) fn bundle_due(&mut self, name: &NodeName) -> Option<Effect> {
        let state = self.nodes.get(name).filter(|state| state.agent.has_tunnel() && self.life.began.is_some())?;
        let capture = state.capture.clone();
        if let CaptureState::Running { since, spec, .. } = &capture {
            self.follow_capture(name, *since, spec.bundle);
        }
        let bundles = &mut self.transfers.bundles;
        if bundles.under_way.contains_key(name) {
            return None;
        }
        let of = bundles.due(name, &capture);
        if of.is_none() && !bundles.wanted.remove(name) {
            return None;
        }
        bundles.under_way.insert(name.clone(), of);
        Some(Effect::TakeBundle(name.clone(), of))
    }

    /// A capture runs: perhaps another one than before.
    fn follow_capture(&mut self, name: &NodeName, since: UnixMillis, asks: bool) {
        if self.transfers.bundles.last(name).is_some_and(|course| course.since == since) {
            return;
        }
        self.no_end_of_bundle(name, "the next capture had begun before it was read");
        if asks {
            let course = Course { node: name.clone(), since, begin: Half::default(), end: Half::default() };
            self.transfers.bundles.courses.push(course);
        }
    }

    /// What has not come of the bundle of the node's capture will not.
    pub(super) fn no_end_of_bundle(&mut self, name: &NodeName, why: &str) {
        let bundles = &mut self.transfers.bundles;
        let coming = bundles.under_way.get(name).copied().flatten();
        let Some(course) = bundles.last(name) else { return };
        // One that is on its way says itself what becomes of it.
        let ends = |of: BundleOf| matches!(of, BundleOf::End { since, .. } if since == course.since);
        let new = course.end.is_due() && !coming.is_some_and(ends);
        course.end.tries = TRIES;
        if new {
            course.end.why = Some(why.to_owned());
            self.tell_bundle(name, Notice::warning(format!("the end of the bundle of {name} was not read"), why, ""));
        }
    }

    /// It is here, or will not be.
    pub(super) fn bundled(&mut self, name: &NodeName, outcome: Result<BundleFiles, Notice>) -> Vec<Effect> {
        let bundles = &mut self.transfers.bundles;
        let of = bundles.under_way.remove(name).flatten();
        let half = of.and_then(|of| bundles.half(name, of));
        let mut failed = None;
        match outcome {
            Ok(files) => {
                if let Some(half) = half {
                    half.here = true;
                }
                let text = files.text.display().to_string();
                bundles.files.retain(|(_, known)| known.json != files.json);
                bundles.files.push((name.clone(), files));
                self.tell_bundle(name, Notice::info(format!("bundle of {name}: {text}")).as_answer());
            }
            Err(notice) => {
                if let Some(half) = half {
                    half.why = Some(notice.cause.clone());
                }
                failed = Some(notice);
            }
        }
        let next = self.bundle_due(name);
        let again = of.is_some() && matches!(&next, Some(Effect::TakeBundle(_, of_next)) if *of_next == of);
        if let Some(notice) = failed.filter(|_| !again) {
            self.tell_bundle(name, notice);
        }
        // While they come they are waited for.
        if let Leaving::Going(exit) = &mut self.leaving
            && matches!(exit.phase, Phase::Stopping { .. })
        {
            exit.phase = Phase::Stopping { until: self.now + STOP_WITHIN };
        }
        let mut effects: Vec<Effect> = next.into_iter().collect();
        effects.extend(self.check_leaving());
        effects
    }

    /// What is not in the bundles of a node's captures, and why.
    pub(super) fn missing_of_bundles(&self, name: &NodeName) -> Vec<String> {
        // Where agents are left alone there is no failure in what has not come.
        let over = self.ended().is_some_and(|exit| !matches!(exit.phase, Phase::Detaching { .. }));
        self.transfers.bundles.missing(name, over)
    }

    fn tell_bundle(&mut self, name: &NodeName, notice: Notice) {
        let now = self.now;
        if let Some(state) = self.nodes.get_mut(name) {
            state.note(now, notice.line());
        }
        self.notify(notice);
    }
}
