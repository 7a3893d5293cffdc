//! Why connections fail, as far as the session's agents and API server let it be known.
//!
//! Owns what the rules are told, by one clock: what a node has stamped is put into the laptop's time. Also which codes are
//! silenced. Pure: judged once a second, on a tick.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nodewatch_answers::{Answer, Code, Engine, Looked, Told, is_wanted, words};
use nodewatch_protocol::{AgentFacts, NotJudged, SignalsUpdate, Symptoms, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{Effect, Session, node::NodeState};
use crate::{
    base::text::{counted, lasting},
    model::{self, AnswersSummary, NodeName},
};

/// Nothing new comes of what was told so long ago, in milliseconds.
const SILENT: u64 = 10_000;
/// Milliseconds between two judgements.
const EVERY: u64 = 1_000;
/// A line is no older than this, in milliseconds.
const LATE: u64 = 30_000;
/// Lines of a node by which its clock is known.
const LINES: usize = 20;
/// Nodes that are named where they are not watched.
const NAMED: usize = 3;

/// Which answer it is, whatever is known of it meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerId(u64);

impl AnswerId {
    /// Of this one.
    pub fn of(answer: &Answer) -> Self {
        Self(answer.id)
    }

    /// Whether it is that one.
    pub fn is(&self, answer: &Answer) -> bool {
        self.0 == answer.id
    }
}

/// What is known of why connections fail.
#[derive(Debug, Clone, Default)]
pub struct Answering {
    pub(super) engine: Box<Engine>,
    /// How far each node's clock was behind the laptop's when its last lines came, in milliseconds.
    clocks: BTreeMap<NodeName, VecDeque<i64>>,
    judged: UnixMillis,
    /// When something was told last.
    told: UnixMillis,
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

    /// Answers of a code that stand, shown or not.
    pub fn standing(&self, code: Code) -> usize {
        self.engine.answers().iter().filter(|answer| answer.code == Some(code)).count()
    }

    /// The ends that a service leads to, as far as the API server has told.
    pub fn backends(&self, service: &str) -> Vec<(std::net::IpAddr, u16)> {
        self.engine.journal.ready(service).into_iter().collect()
    }

    /// Codes that are silenced and have answers, also those that are over, and how many these are.
    pub fn withheld(&self) -> Option<String> {
        let over = |code: Code| self.engine.history().filter(|answer| answer.code == Some(code)).count();
        let all = |code: &Code| (*code, self.standing(*code) + over(*code));
        let some: Vec<(Code, usize)> = self.silenced.iter().map(all).filter(|(_, count)| *count > 0).collect();
        let all = some.iter().map(|(_, count)| count).sum();
        let codes = some.iter().map(|(code, _)| code.text()).collect::<Vec<_>>().join(", ");
        (all > 0).then(|| format!("{} silenced ({codes})", counted(all, "answer")))
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
        // No line is so late: its clock was set back, or another machine has its name.
        if known.back().is_some_and(|last| behind.saturating_sub(*last).unsigned_abs() > LATE) {
            known.clear();
        }
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
        self.answers.told = self.now;
    }

    /// Some of a node's signals will be no more after this update, or all that it does not tell anew.
    pub(super) fn forget_signals(&mut self, name: &NodeName, update: &SignalsUpdate) {
        let Some(state) = self.nodes.get(name) else { return };
        let gone = |id: &u32| update.since.is_some() || update.gone.contains(id);
        let series = state.seen.signals.series.iter().filter(|(id, _)| gone(id)).map(|(_, state)| state);
        // Of a counter it matters how it has risen, whoever tells on.
        for series in series.filter(|series| !series.info().is_counter() && is_wanted(series.info().name)) {
            self.answers.engine.signal_is_gone((&name.0, series.info().name, &series.item));
        }
    }

    /// Signals of a node have moved, as it has them now.
    pub(super) fn hear_signals(&mut self, name: &NodeName, update: &SignalsUpdate) {
        let wall = self.wall(self.now);
        let Some(NodeState { seen, .. }) = self.nodes.get(name) else { return };
        // All that stands is told where nothing was told for a time.
        self.answers.engine.signals_are_told(wall, &name.0, update.since.is_some());
        let told = update.told.iter().map(|told| told.id).chain(update.moved.iter().map(|moved| moved.0));
        for state in told.filter_map(|id| seen.signals.series.get(&id)) {
            let info = state.info();
            if is_wanted(info.name) {
                let value = if info.is_counter() { state.total } else { state.value };
                self.answers.engine.signal(wall, (&name.0, info.name, &state.item), value);
                self.answers.told = self.now;
            }
        }
    }

    /// Judges, where it is time to; answers that are new are events of their nodes, and what flight recorders are to freeze on
    /// makes them.
    pub(super) fn judge(&mut self) -> Vec<Effect> {
        let due = self.now.saturating_sub(self.answers.judged) >= EVERY;
        // What was told last is judged when all have had the time to tell of it.
        let silent = self.now.saturating_sub(self.answers.told) > SILENT;
        let nothing_to_judge = silent && self.answers.engine.answers().is_empty();
        if !due || nothing_to_judge {
            return Vec::new();
        }
        let before: BTreeSet<u64> = self.answers.engine.answers().iter().map(|answer| answer.id).collect();
        let addresses = self.nodes.iter().flat_map(|(name, state)| {
            // What its agent has found is more than what the API server knows.
            let found = state.facts.iter().flat_map(AgentFacts::own_addresses);
            state.node.addresses.iter().copied().chain(found).map(|address| (address, name.0.as_str()))
        });
        self.answers.engine.nodes_have(addresses);
        self.answers.judged = self.now;
        let wall = self.wall(self.now);
        self.answers.engine.judge(wall, false);
        let now = self.now;
        for answer in self.answers.current().filter(|answer| answer.certainty.is_answer()) {
            if before.contains(&answer.id) {
                continue;
            }
            // One that is about more than one node happens on each of them.
            let nodes = answer.place.node.as_deref().map_or_else(|| words::nodes(answer), |node| [node].into());
            for node in nodes {
                if let Some(state) = self.nodes.get_mut(&NodeName(node.to_owned())) {
                    state.note(now, format!("{}: {}", answer.title(), answer.text));
                }
            }
        }
        self.note_for_reports();
        self.freeze_by_answers()
    }

    /// What this laptop's reports say of each node: the answers that name it.
    fn note_for_reports(&mut self) {
        if !self.reports.as_ref().is_some_and(|reports| reports.settings.way == model::Way::Grant) {
            return;
        }
        let mut by_node: BTreeMap<&str, Vec<&Answer>> = BTreeMap::new();
        for answer in self.answers.current().filter(|answer| answer.certainty.is_answer()) {
            for node in words::nodes(answer) {
                by_node.entry(node).or_default().push(answer);
            }
        }
        for (node, answers) in by_node {
            if let Some(state) = self.nodes.get_mut(&NodeName(node.to_owned())) {
                state.reporting.answers.note(answers.into_iter());
            }
        }
    }

    /// What could not be seen, and so is not behind any answer, a sentence each.
    pub fn blind_spots(&self) -> Vec<String> {
        self.blind_spots_beside(|state| state.is_analysing(self.now))
    }

    /// The same, where those nodes are, or were, watched.
    pub fn blind_spots_beside(&self, is_watched: impl Fn(&NodeState) -> bool) -> Vec<String> {
        let mut spots = Vec::new();
        let unwatched = self.nodes.values().filter(|state| !is_watched(state));
        let unwatched: Vec<&str> = unwatched.map(|state| state.node.name.0.as_str()).collect();
        if !unwatched.is_empty() {
            let more = unwatched.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let named = unwatched.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
            spots.push(format!("{} without a watch: {named}{more}", counted(unwatched.len(), "node")));
        }
        let blind = self.answers.blind();
        if self.terms.place == model::Place::Local {
            spots.push("what is changed in a cluster: this machine has no API server".to_owned());
        } else if !blind.is_empty() {
            spots.push(format!("what is changed in the cluster: nothing is heard of {}", blind.join(", ")));
        }
        let mut unseen = [(0_u64, "dropped"), (0, "behind"), (0, "gone"), (0, "not told")];
        for state in self.nodes.values() {
            let watch = &state.seen.watch;
            let of = watch.unseen(self.now);
            for (sum, millis) in unseen.iter_mut().zip([of.dropped, of.behind, of.gone, of.untold]) {
                sum.0 = sum.0.saturating_add(millis);
            }
        }
        let parts = unseen.iter().filter(|(millis, _)| *millis >= 1_000);
        let parts: Vec<String> = parts.map(|(millis, why)| format!("{} {why}", lasting(*millis))).collect();
        if !parts.is_empty() {
            spots.push(format!("time of watched nodes: {}", parts.join(", ")));
        }
        spots.extend(self.not_judged());
        let Looked { left_out, unplaced, .. } = self.answers.looked();
        if unplaced > 0 {
            spots.push(format!("{} beyond the number that answers know", counted(unplaced, "interface")));
        }
        if left_out > 0 {
            spots.push(format!("{} with a symptom that had no room", counted(left_out as usize, "connection")));
        }
        spots.push("what never leaves a pod, and what encrypted connections say".to_owned());
        spots
    }

    /// How many attempts and questions were not judged, and why.
    pub fn not_judged(&self) -> Vec<String> {
        let unjudged = self.nodes.values().map(|state| &state.seen.watch.not_judged);
        let all = |of: fn(&NotJudged) -> u64| unjudged.clone().map(of).fold(0, u64::saturating_add);
        let counts = [
            (all(|it| it.one_direction), "as no answer of the kind was ever seen there"),
            (all(|it| it.first_seconds), "as watching had just begun"),
            (all(|it| it.dropped), "as packets were dropped around then"),
            (all(|it| it.undecided), "as watching ended first"),
        ];
        let some = counts.into_iter().filter(|(count, _)| *count > 0);
        some.map(|(count, why)| format!("{count} not judged, {why}")).collect()
    }

    /// All of it, for reports.
    pub(super) fn answers_summary(&self) -> AnswersSummary {
        // Its proof stands for the connections of each.
        let written = |answer: &Answer| Answer { hurt: Vec::new(), ..answer.clone() };
        AnswersSummary {
            standing: self.answers.current().map(written).collect(),
            over: self.answers.history().map(written).collect(),
            looked: self.answers.looked(),
            not_seen: self.blind_spots(),
            withheld: self.answers.withheld(),
        }
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
