//! Why connections fail, as far as the session's agents and API server let it be known.
//!
//! Owns what the rules are told, by one clock: what a node has stamped is put into the laptop's time. Also which codes are
//! silenced. Pure: judged once a second, on a tick.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nodewatch_answers::{Answer, Code, Engine, Looked, Told, is_wanted};
use nodewatch_protocol::{SignalsUpdate, Symptoms, UnixMillis};

use super::{Effect, Session, node::NodeState};
use crate::model::NodeName;

/// Milliseconds between two judgements.
const EVERY: u64 = 1_000;
/// A line is no older than this, in milliseconds.
const LATE: u64 = 30_000;
/// Lines of a node by which its clock is known.
const LINES: usize = 20;

/// What is known of why connections fail.
#[derive(Debug, Clone, Default)]
pub struct Answering {
    pub(super) engine: Engine,
    /// How far each node's clock was behind the laptop's when its last lines came, in milliseconds.
    clocks: BTreeMap<NodeName, VecDeque<i64>>,
    judged: UnixMillis,
    /// Something was told since.
    fresh: bool,
    silenced: BTreeSet<Code>,
    /// The API server is heard, until then at least.
    pub(super) hears_until: Option<UnixMillis>,
}

impl Answering {
    /// Answers that stand and are not silenced, those first that hurt most.
    pub fn current(&self) -> impl Iterator<Item = &Answer> {
        self.engine.answers().iter().filter(|answer| !self.is_silenced(answer.code))
    }

    /// Those that are over, the latest first.
    pub fn history(&self) -> impl Iterator<Item = &Answer> {
        self.engine.history().filter(|answer| !self.is_silenced(answer.code))
    }

    /// Verdicts and likely answers that stand and are not silenced.
    pub fn count(&self) -> usize {
        self.current().filter(|answer| answer.certainty.is_answer()).count()
    }

    /// What was looked at.
    pub fn looked(&self) -> Looked {
        self.engine.looked()
    }

    /// What is known where nothing more will be told: answers that stand, then those that are over, and what was looked at.
    pub fn concluded(&self, now: UnixMillis) -> (Vec<Answer>, Looked) {
        let mut ended = self.clone();
        ended.engine.judge(now, true);
        (ended.current().chain(ended.history()).cloned().collect(), ended.looked())
    }

    /// Codes that are not shown.
    pub fn silenced(&self) -> &BTreeSet<Code> {
        &self.silenced
    }

    fn is_silenced(&self, code: Option<Code>) -> bool {
        code.is_some_and(|code| self.silenced.contains(&code))
    }

    /// Kinds of the API's journal that are not heard.
    pub fn blind(&self) -> Vec<&'static str> {
        self.engine.journal.blind().into_iter().map(nodewatch_answers::Source::resource).collect()
    }

    /// How far a node's clock is behind: the fastest of the last lines has waited least.
    fn behind(&mut self, node: &NodeName, behind: i64) -> i64 {
        let known = self.clocks.entry(node.clone()).or_default();
        known.push_back(behind);
        if known.len() > LINES {
            known.pop_front();
        }
        known.iter().copied().min().unwrap_or(behind)
    }
}

impl Session {
    /// A node has told of a second.
    pub(super) fn hear_symptoms(&mut self, name: &NodeName, symptoms: &Symptoms) {
        let wall = self.wall(self.now);
        let by = self.answers.behind(name, (wall as i64).saturating_sub_unsigned(symptoms.at));
        // Whatever it says, it is told now.
        let at = symptoms.at.saturating_add_signed(by).clamp(wall.saturating_sub(LATE), wall);
        let mut told = Told::by(&name.0, symptoms, at);
        for case in &mut told.cases {
            let nanos = by.saturating_mul(1_000_000);
            (case.began, case.at) = (case.began.saturating_add(nanos), case.at.saturating_add(nanos));
        }
        self.answers.engine.hear(&told);
        self.answers.fresh = true;
    }

    /// Signals of a node have moved, as it has them now.
    pub(super) fn hear_signals(&mut self, name: &NodeName, update: &SignalsUpdate) {
        let wall = self.wall(self.now);
        let Some(NodeState { seen, .. }) = self.nodes.get(name) else { return };
        let told = update.told.iter().map(|told| told.id).chain(update.moved.iter().map(|moved| moved.0));
        for state in told.filter_map(|id| seen.signals.series.get(&id)) {
            let info = state.info();
            if is_wanted(info.name) {
                let value = if info.is_counter() { state.total } else { state.value };
                self.answers.engine.signal(wall, (&name.0, info.name, &state.item), value);
                self.answers.fresh = true;
            }
        }
    }

    /// Judges, where it is time to; answers that are new are events of their nodes, and what flight recorders are to freeze on
    /// makes them.
    pub(super) fn judge(&mut self) -> Vec<Effect> {
        let due = self.now.saturating_sub(self.answers.judged) >= EVERY;
        let nothing_to_judge = !self.answers.fresh && self.answers.engine.answers().is_empty();
        if !due || nothing_to_judge {
            return Vec::new();
        }
        let before: Vec<(Option<Code>, nodewatch_answers::Place)> =
            self.answers.engine.answers().iter().map(|answer| (answer.code, answer.place.clone())).collect();
        let addresses = self.nodes.values().flat_map(|state| state.node.addresses.iter().copied());
        self.answers.engine.nodes_have(addresses);
        self.answers.judged = self.now;
        self.answers.fresh = false;
        let wall = self.wall(self.now);
        self.answers.engine.judge(wall, false);
        let found: Vec<(Option<String>, String)> = self
            .answers
            .current()
            .filter(|answer| answer.certainty.is_answer() && !before.contains(&(answer.code, answer.place.clone())))
            .map(|answer| (answer.place.node.clone(), format!("{}: {}", answer.title(), answer.text)))
            .collect();
        for (node, text) in found {
            let now = self.now;
            if let Some(state) = node.and_then(|node| self.nodes.get_mut(&NodeName(node))) {
                state.note(now, text);
            }
        }
        self.freeze_by_answers()
    }

    /// Silences a code, or shows it again; whether it is silenced now.
    pub(crate) fn silence(&mut self, code: Code) -> bool {
        let silenced = &mut self.answers.silenced;
        if !silenced.remove(&code) {
            silenced.insert(code);
            return true;
        }
        false
    }
}
