//! From the wish to leave to the end of the program.
//!
//! Owns the steps of the guided exit, and of detaching, on the whole session. Pure.

use std::collections::BTreeSet;

use nodewatch_protocol::{Request, Response, Terms as AgentTerms};

use super::{
    Effect, Session,
    delivery::STALLED,
    exit::{DETACH_WITHIN, Exit, Later, Leaving, Phase, STOCK_EVERY, STOOD_IN_WITHIN, STOP_WITHIN},
    ledger::{Found, Ledger, What},
    node::{Asked, NodeState},
};
use crate::model::{FetchProgress, Group, Keep, MadeObject, NodeName, Notice, Place, Removal, SeenObject, StoredFile};

impl Session {
    /// Opens the guided exit, or ends at once when nothing was made.
    pub(crate) fn leave(&mut self, unattended: bool) -> Vec<Effect> {
        if self.ended().is_some() || !self.nodes.values().any(|state| state.agent.is_deployed()) {
            return self.quit(unattended);
        }
        if let Leaving::Going(exit) = &mut self.leaving {
            exit.unattended |= unattended;
        } else {
            let storage = self.terms.storage.as_ref().map(|storage| storage.session(&self.terms.id));
            let mut exit = Exit::new(unattended, storage);
            exit.expect_captures(self.earlier_places());
            exit.keep.extend(self.terms.files.keep_files.then_some(Group::Files));
            if let Some(reports) = &self.reports {
                exit.ledger.expect(Group::Reports, What::Cloud(self.reports_there(reports)));
                if reports.settings.alarms {
                    let what = format!("alarms of session {} in CloudWatch", self.terms.id);
                    exit.ledger.expect(Group::Alarms, What::Cloud(what));
                }
                // They were sent there to stay.
                exit.keep.insert(Group::Reports);
            }
            self.leaving = Leaving::Going(exit);
        }
        if unattended {
            return self.go_on_leaving();
        }
        let groups = [
            self.terms.storage.is_some().then_some(Group::Storage),
            self.reports.is_some().then_some(Group::Reports),
            self.reports.is_some().then_some(Group::Alarms),
        ];
        let mut effects: Vec<Effect> =
            [Effect::TakeStock].into_iter().chain(groups.into_iter().flatten().map(Effect::Stock)).collect();
        if !self.delivered_here().is_empty() {
            // What somebody has removed there is to be fetched while its agent runs.
            effects.extend(self.list_stored());
        }
        effects
    }

    /// Ctrl-C: opens the exit; again it detaches, as long as nothing has been removed; while removing it goes without
    /// waiting for the rest, of which the list may not know yet.
    pub(crate) fn interrupt(&mut self) -> Vec<Effect> {
        match self.exit_phase() {
            None => self.leave(false),
            Some(phase) if phase.is_before_removal() => self.detach(),
            Some(Phase::Removing) => vec![Effect::Abandon],
            Some(_) => self.finish_now(),
        }
    }

    /// What the cluster says there is, as long as nothing of it was touched.
    pub(super) fn stock(&mut self, stock: Result<Vec<SeenObject>, Notice>) {
        if let Leaving::Going(exit) = &mut self.leaving
            && exit.phase.is_before_removal()
        {
            exit.stock(stock);
        }
    }

    /// Asks again for what the cluster could not say.
    pub(super) fn take_stock_again(&self) -> Vec<Effect> {
        let due = (self.now / 1000).is_multiple_of(STOCK_EVERY);
        match &self.leaving {
            Leaving::Going(exit) if due && exit.trouble.is_some() && exit.phase.is_before_removal() => {
                vec![Effect::TakeStock]
            }
            _ => Vec::new(),
        }
    }

    /// From where the exit stands to its next phase.
    pub(super) fn go_on_leaving(&mut self) -> Vec<Effect> {
        let until = self.now + STOP_WITHIN;
        match self.exit_phase() {
            // Captures go on with their agents.
            Some(Phase::Asking) if self.keeps(Group::Agents) => {
                if self.keeps(Group::Files) || self.undelivered() > 0 {
                    // What a sink takes goes on getting there.
                    self.detach()
                } else {
                    self.enter(Phase::Fetching)
                }
            }
            Some(Phase::Asking | Phase::FetchFailed) => {
                let dropped = self.dropped_recorders();
                if let Leaving::Going(exit) = &mut self.leaving {
                    exit.end.dropped = dropped;
                }
                self.enter(Phase::Stopping { until })
            }
            Some(Phase::RemoveFailed) => {
                if let Leaving::Going(exit) = &mut self.leaving {
                    (exit.end.holds, exit.end.sure) = (Vec::new(), false);
                }
                self.enter(Phase::Removing)
            }
            _ => Vec::new(),
        }
    }

    fn keeps(&self, group: Group) -> bool {
        matches!(&self.leaving, Leaving::Going(exit) if exit.keeps(group))
    }

    pub(super) fn after_files(&mut self) -> Vec<Effect> {
        if self.keeps(Group::Agents) {
            return self.detach();
        }
        self.enter(Phase::Removing)
    }

    pub(super) fn exit_phase(&self) -> Option<Phase> {
        match &self.leaving {
            Leaving::Going(exit) => Some(exit.phase),
            Leaving::Not | Leaving::Over(_) => None,
        }
    }

    pub(super) fn enter(&mut self, phase: Phase) -> Vec<Effect> {
        self.drop_pending();
        let mut keep = Keep::new();
        if let Leaving::Going(exit) = &mut self.leaving {
            exit.phase = phase;
            exit.since = self.now;
            keep.clone_from(&exit.keep);
            if phase == Phase::Removing {
                exit.trouble = None;
            }
        }
        let mut effects = match phase {
            Phase::Fetching => self.fetch_all(),
            // The last numbers, before those who tell them are gone.
            Phase::Removing => self.measure().into_iter().chain(self.remove_everything(&keep)).collect(),
            _ => Vec::new(),
        };
        effects.extend(self.check_leaving());
        effects
    }

    /// What was made in the cluster, and in S3 what is not to be kept; the manifest is gathered first.
    fn remove_everything(&mut self, keep: &Keep) -> Vec<Effect> {
        let nodes = self.nodes.values().filter(|state| state.agent.runs() && !state.files.is_empty());
        let captured = nodes.map(|state| state.node.clone()).collect();
        let mut effects = vec![Effect::CleanUp { captured, known: self.known_rings(), keep: keep.clone() }];
        if let Leaving::Going(exit) = &mut self.leaving {
            effects.extend(exit.ledger.begin(keep).into_iter().map(Effect::Remove));
        }
        effects
    }

    /// What S3 or CloudWatch says there is of a group.
    pub(super) fn stocked(&mut self, group: Group, found: &Result<Found, Notice>) {
        if let Leaving::Going(exit) = &mut self.leaving {
            exit.ledger.stock(group, found);
        }
    }

    /// What S3 or CloudWatch had to say of the removal of a group.
    pub(super) fn removed(&mut self, group: Group, outcome: &Result<Found, Notice>) -> Vec<Effect> {
        let Leaving::Going(exit) = &mut self.leaving else { return Vec::new() };
        let ended = exit.group_removed(group, outcome);
        if ended && (exit.phase == Phase::Done || exit.unattended) { self.finish() } else { Vec::new() }
    }

    /// It is being left, or was.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving != Leaving::Not
    }

    /// Nothing is to be made any more.
    pub(super) fn is_removing(&self) -> bool {
        match &self.leaving {
            Leaving::Not => false,
            Leaving::Going(exit) => !exit.phase.is_before_removal(),
            Leaving::Over(_) => true,
        }
    }

    /// Agents are being removed, or were: none of them is left alone.
    pub(super) fn removes_agents(&self) -> bool {
        match &self.leaving {
            Leaving::Not => false,
            Leaving::Going(exit) | Leaving::Over(exit) => {
                let stays = exit.phase.is_before_removal() || matches!(exit.phase, Phase::Detaching { .. });
                !stays && !exit.end.stranded
            }
        }
    }

    /// The guided exit, while it goes on.
    pub fn exit(&self) -> Option<&Exit> {
        match &self.leaving {
            Leaving::Going(exit) => Some(exit),
            Leaving::Not | Leaving::Over(_) => None,
        }
    }

    /// What came of the exit, once it is through.
    pub fn ended(&self) -> Option<&Exit> {
        match &self.leaving {
            Leaving::Over(exit) => Some(exit),
            Leaving::Not | Leaving::Going(_) => None,
        }
    }

    /// Tells every agent to go on alone, and ends the program when they have confirmed it.
    fn detach(&mut self) -> Vec<Effect> {
        self.drop_pending();
        let deployed = self.nodes.values().filter(|state| state.agent.runs()).map(|state| state.node.name.clone());
        // The agent of this machine ends with this program, and is told nothing.
        let untold = if self.terms.place == Place::Local { BTreeSet::new() } else { deployed.collect() };
        let until = self.now + DETACH_WITHIN;
        let stand_in = self.stand_in();
        if let Leaving::Going(exit) = &mut self.leaving {
            exit.phase = Phase::Detaching { until };
            exit.untold = untold;
            if stand_in.is_some() {
                exit.end.later = Later::Asked { until: self.now + STOOD_IN_WITHIN };
            }
        }
        let mut effects: Vec<Effect> = self.measure().into_iter().collect();
        effects.extend(self.tell_terms());
        effects.extend(stand_in.map(|what| Effect::StandIn(Box::new(what))));
        effects.extend(self.check_leaving());
        effects
    }

    /// Nodes that join later are seen to, or not.
    pub(super) fn stood_in(&mut self, outcome: Result<String, Notice>) -> Vec<Effect> {
        self.joining.stood_in |= outcome.is_ok();
        if let Leaving::Going(exit) = &mut self.leaving {
            exit.end.later = match outcome {
                Ok(by) => Later::Served(by),
                Err(notice) => Later::Failed(notice),
            };
        }
        self.check_leaving()
    }

    /// How long agents may go on: no lease binds them once nobody is there to renew it.
    pub(super) fn terms(&self) -> Option<AgentTerms> {
        let ends = self.life.ends?;
        let left_seconds = (ends.saturating_sub(self.now) / 1000).into();
        // A tunnel may come back after the end, while something else is waited for.
        let detaching = matches!(&self.leaving, Leaving::Going(exit) | Leaving::Over(exit)
            if matches!(exit.phase, Phase::Detaching { .. }));
        Some(AgentTerms { left_seconds, lease_seconds: (!detaching).then(|| self.terms.lease.into()) })
    }

    /// Tells all live agents their terms.
    pub(super) fn tell_terms(&self) -> Vec<Effect> {
        let Some(terms) = self.terms() else { return Vec::new() };
        let live = self.nodes.values().filter(|state| state.agent.has_tunnel());
        live.map(|state| Effect::Ask(state.node.name.clone(), Request::Terms(terms))).collect()
    }

    /// An agent has heard its terms.
    pub(super) fn terms_heard(&mut self, name: &NodeName, response: Option<&Response>) {
        if let (Leaving::Going(exit), Some(_)) = (&mut self.leaving, response) {
            exit.untold.remove(name);
        }
    }

    /// Sees whether the phase that is waited for has come about.
    pub(super) fn check_leaving(&mut self) -> Vec<Effect> {
        match self.exit_phase() {
            // What a flight recorder was asked to save is waited for before it ends.
            Some(Phase::Stopping { .. }) if self.saving().is_some() => {
                if let Leaving::Going(exit) = &mut self.leaving {
                    exit.phase = Phase::Stopping { until: self.now + STOP_WITHIN };
                }
                Vec::new()
            }
            Some(Phase::Stopping { until }) => {
                // A tunnel that was lost meanwhile is told again when it is back.
                let mut effects = self.stop_all_captures();
                // A capture that has ended may still have the second half of its bundle to come.
                let awaited = self.transfers.bundles.is_awaited();
                if self.now >= until || !(awaited || self.nodes.values().any(NodeState::is_writing)) {
                    let next = match (self.undelivered(), self.keeps(Group::Files)) {
                        (1.., _) => Phase::Delivering { until: self.now + STALLED },
                        (0, true) => Phase::Removing,
                        (0, false) => Phase::Fetching,
                    };
                    effects.extend(self.enter(next));
                }
                effects
            }
            Some(Phase::Delivering { until }) => {
                let (now, moved) = (self.now, self.delivery_progress());
                if let Leaving::Going(exit) = &mut self.leaving
                    && moved > exit.delivered
                {
                    exit.delivered = moved;
                    exit.phase = Phase::Delivering { until: now + STALLED };
                }
                if self.undelivered() > 0 && now < until {
                    return Vec::new();
                }
                // The last resort: over the tunnel.
                self.enter(if self.keeps(Group::Files) { Phase::Removing } else { Phase::Fetching })
            }
            Some(Phase::Fetching) => {
                // A capture that goes on closes files meanwhile.
                let new = self.fetch_new();
                if !new.is_empty() {
                    return new;
                }
                let outcomes = self.nodes.values().flat_map(|state| {
                    state
                        .unfetched()
                        .map(|file| matches!(state.fetches.get(&file.name), Some(FetchProgress::Failed(_))))
                });
                let (failed, on_their_way): (Vec<bool>, Vec<bool>) = outcomes.partition(|&failed| failed);
                let late = self.nodes.values().any(|state| state.late_files().next().is_some());
                // A ring may let a file go before its last bytes are checked here.
                if late || !on_their_way.is_empty() || self.nodes.values().any(NodeState::is_receiving) {
                    return Vec::new();
                }
                let complete =
                    failed.is_empty() && (self.keeps(Group::Agents) || !self.nodes.values().any(NodeState::is_writing));
                if !complete && !self.is_unattended() {
                    self.enter(Phase::FetchFailed)
                } else if !complete && self.rings_hold_files() {
                    self.strand()
                } else {
                    self.after_files()
                }
            }
            Some(Phase::Detaching { until }) => {
                let Leaving::Going(exit) = &self.leaving else { return Vec::new() };
                let untold = !exit.untold.is_empty() && self.now < until;
                let later = matches!(exit.end.later, Later::Asked { until } if self.now < until);
                if untold || later { Vec::new() } else { self.finish() }
            }
            _ => Vec::new(),
        }
    }

    /// A ring that is still there has what nobody else has.
    fn rings_hold_files(&self) -> bool {
        let holds = |state: &NodeState| state.unfetched().next().is_some() || state.is_writing();
        self.nodes.values().any(|state| state.agent.runs() && holds(state))
    }

    /// Nobody is there to ask: the only copies stay where they are, and so does the session.
    fn strand(&mut self) -> Vec<Effect> {
        if let Leaving::Going(exit) = &mut self.leaving {
            exit.end.stranded = true;
        }
        self.detach()
    }

    /// What S3 has of the session in the end.
    pub(super) fn in_bucket(&mut self, found: Result<Vec<StoredFile>, Notice>) {
        if let Ok(files) = &found {
            // Nothing gets there any more.
            let due = self.delivered_here();
            self.hold_against(&due, files);
        }
        let bucket = self.terms.storage.as_ref().map(|storage| storage.url.clone());
        if let (Leaving::Going(exit), Some(bucket)) = (&mut self.leaving, bucket) {
            let named = |file: StoredFile| (bucket.object(&file.key), file.size);
            exit.end.in_bucket = Some(found.map(|files| files.into_iter().map(named).collect()));
        }
    }

    /// The session's manifest is not where it should be.
    pub(super) fn no_manifest(&mut self, notice: Notice) {
        if let Leaving::Going(exit) = &mut self.leaving {
            exit.end.no_manifest.push(notice);
        }
    }

    fn is_unattended(&self) -> bool {
        matches!(&self.leaving, Leaving::Going(exit) if exit.unattended)
    }

    /// Cleanup went on.
    pub(super) fn removal(&mut self, removal: Removal) -> Vec<Effect> {
        let Leaving::Going(exit) = &mut self.leaving else { return Vec::new() };
        let ended = exit.apply(removal);
        if ended && (exit.phase == Phase::Done || exit.unattended) { self.finish() } else { Vec::new() }
    }

    /// The program ends now. What it has made and not seen gone may still be there, and so may the files of its rings.
    pub(super) fn abandon(&mut self, made: Vec<MadeObject>) -> Vec<Effect> {
        match &self.leaving {
            Leaving::Not => {
                let storage = self.terms.storage.as_ref().map(|storage| storage.session(&self.terms.id));
                let mut exit = Exit::new(true, storage);
                exit.expect_captures(self.earlier_places());
                self.leaving = Leaving::Going(exit);
            }
            Leaving::Going(_) => {}
            // What came of it is known.
            Leaving::Over(_) => return self.quit_now(),
        }
        let local = self.terms.place == Place::Local;
        if let Leaving::Going(exit) = &mut self.leaving {
            exit.end.abandoned = true;
            exit.ledger.add_objects(made);
            if local {
                // Its files stay, as after leaving them on purpose.
                exit.phase = Phase::Detaching { until: self.now };
            }
        }
        self.finish_now()
    }

    pub(super) fn finish(&mut self) -> Vec<Effect> {
        let unattended = self.is_unattended();
        let mut effects = self.conclude();
        effects.extend(self.quit(unattended));
        effects
    }

    /// Without waiting for anything.
    fn finish_now(&mut self) -> Vec<Effect> {
        let mut effects = self.conclude();
        effects.extend(self.quit_now());
        effects
    }

    /// What came of the exit is what the receipt tells.
    fn conclude(&mut self) -> Vec<Effect> {
        match std::mem::take(&mut self.leaving) {
            Leaving::Going(exit) => {
                let detached = matches!(exit.phase, Phase::Detaching { .. });
                self.leaving = Leaving::Over(exit);
                if detached { vec![Effect::Detach] } else { Vec::new() }
            }
            other => {
                self.leaving = other;
                Vec::new()
            }
        }
    }

    pub(super) fn stop_all_captures(&mut self) -> Vec<Effect> {
        let running: Vec<NodeName> = self
            .nodes
            .values_mut()
            .filter(|state| state.agent.has_tunnel() && state.is_capturing() && state.asked != Asked::Stop)
            .map(|state| {
                state.asked = Asked::Stop;
                state.node.name.clone()
            })
            .collect();
        let mut effects = self.aim_at_nothing();
        effects.extend(running.into_iter().map(|name| Effect::Ask(name, Request::StopCapture)));
        effects
    }

    /// Sets every file on its way that is neither here nor under way.
    pub(crate) fn fetch_all(&mut self) -> Vec<Effect> {
        self.fetch_where(|fetch| matches!(fetch, None | Some(FetchProgress::Failed(_))))
    }

    /// Those alone that nobody has tried to fetch.
    fn fetch_new(&mut self) -> Vec<Effect> {
        self.fetch_where(|fetch| fetch.is_none())
    }

    fn fetch_where(&mut self, due: impl Fn(Option<&FetchProgress>) -> bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        for state in self.nodes.values_mut() {
            let wanted: Vec<_> = state.unfetched().filter(|file| due(state.fetches.get(&file.name))).cloned().collect();
            for file in wanted {
                state.fetches.insert(file.name.clone(), FetchProgress::Bytes(0));
                effects.push(Effect::Fetch(state.node.name.clone(), file));
            }
        }
        effects
    }

    /// What was made, as it stands now: the last reports may have changed what there is to say of them.
    pub(super) fn ledger_now(&self, exit: &Exit) -> Ledger {
        let mut ledger = exit.ledger.clone();
        if let Some(reports) = &self.reports {
            ledger.rename(Group::Reports, &self.reports_there(reports));
        }
        ledger
    }
}
