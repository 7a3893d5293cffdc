//! The nodes of a command: those that are waited for, those that take part, those that are gone.
//!
//! Owns when a command goes on without a node, what is said of it, and what that makes of the exit code. Must not know
//! what a command does with its nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    ExitCode, listed, outcome, output,
    run::{Run, Stop},
    select::{self, Choice},
};
use crate::{
    base::text,
    model::{Failure, NodeName, Notice, Place, Readiness},
    session::{
        Event, Session,
        node::{Agent, NodeState},
        targets::Aim,
    },
};

/// Before any agent has come up, they are waited for so long.
const FIRST_WITHIN: Duration = Duration::from_secs(300);
/// The others have so long after the first.
const OTHERS_WITHIN: Duration = Duration::from_secs(60);
/// Nodes that are not Ready have so long: nothing starts there.
const UNREADY_WITHIN: Duration = Duration::from_secs(15);
/// A container that has ended comes back within this, or its node's part has ended.
const BACK_WITHIN: Duration = Duration::from_secs(15);
/// So long after the session's end nothing is waited for, whatever anybody says.
const END_SEEN_WITHIN: u64 = 60_000;

/// The nodes of a command.
pub(super) struct Team {
    chosen: Vec<NodeName>,
    /// Whether a node that has joined takes part; `None` where none does.
    later: Option<fn(&NodeState) -> bool>,
    /// Those that take part, or did.
    members: BTreeSet<NodeName>,
    /// Why chosen nodes do not take part.
    missing: BTreeMap<NodeName, Notice>,
    /// Why parts have ended before their time.
    fallen: BTreeMap<NodeName, Notice>,
    /// Members without a tunnel: since when, and what was last said of them.
    away: BTreeMap<NodeName, (Instant, Option<Notice>)>,
}

impl Team {
    /// Deploys to the chosen nodes and waits for them: for all for a while, and no longer for those that cannot come. Where
    /// all are chosen nodes that join take part too, as soon as they are as `later` wants them.
    pub(super) async fn gather(
        run: &mut Run,
        choice: &Choice,
        later: Option<fn(&NodeState) -> bool>,
    ) -> Result<Self, Stop> {
        listed(run).await?;
        let (chosen, all) = match choice {
            Choice::Nodes(arguments) => (select::nodes(run.session(), arguments)?, arguments.all),
            Choice::Targets(targets) => (select::aimed(run, targets).await?, false),
        };
        let later = later.filter(|_| all && run.session().terms.place != Place::Local);
        if later.is_some() {
            output::progress("nodes that join later are included");
            run.handle(Event::MeanLaterNodes);
        }
        run.handle(Event::DeployTo(chosen.clone()));
        let mut team = Self {
            chosen,
            later,
            members: BTreeSet::new(),
            missing: BTreeMap::new(),
            fallen: BTreeMap::new(),
            away: BTreeMap::new(),
        };
        let begun = Instant::now();
        // When the first was up.
        let mut first: Option<Instant> = None;
        loop {
            let states = || team.chosen.iter().filter_map(|name| run.session().nodes.get(name));
            if first.is_none() && states().any(is_ready) {
                first = Some(Instant::now());
            }
            let waited = first.map(|first| first.elapsed());
            let hopeless = |state: &NodeState| {
                state.node.readiness != Readiness::Ready && waited.is_some_and(|waited| waited >= UNREADY_WITHIN)
            };
            if states().all(|state| is_settled(state) || hopeless(state))
                || waited.map_or(begun.elapsed() >= FIRST_WITHIN, |waited| waited >= OTHERS_WITHIN)
            {
                break;
            }
            run.step().await?;
        }
        let waited = begun.elapsed();
        for name in &team.chosen {
            let state = run.session().nodes.get(name);
            if let Some(notice) = why_missing(name, state, waited) {
                output::say(&format!("error: {}", notice.line()));
                team.missing.insert(name.clone(), notice);
            }
        }
        Ok(team)
    }

    /// Nodes whose agents are up and that do not take part yet, which from now on they do.
    pub(super) fn recruits(&mut self, session: &Session) -> Vec<NodeName> {
        if let Some(later) = self.later {
            let joined = session.joining.joined().map(|(name, _)| name);
            let new = joined.filter(|name| !self.chosen.contains(name) && session.nodes.get(*name).is_some_and(later));
            let new: Vec<NodeName> = new.cloned().collect();
            self.chosen.extend(new);
        }
        let followed: Vec<NodeName> = session.aim.iter().flat_map(Aim::nodes).cloned().collect();
        self.chosen.extend(followed.into_iter().filter(|name| !self.chosen.contains(name)).collect::<Vec<_>>());
        let ready = |name: &&NodeName| !self.members.contains(*name) && session.nodes.get(*name).is_some_and(is_ready);
        let new: Vec<NodeName> = self.chosen.iter().filter(ready).cloned().collect();
        for name in &new {
            if self.missing.remove(name).is_some() {
                output::progress(&format!("{name}: now included"));
            }
            self.members.insert(name.clone());
        }
        new
    }

    /// A part that has ended goes on where its node is back.
    pub(super) fn take_back(&mut self, session: &Session) {
        self.fallen.retain(|name, _| {
            let back = session.nodes.get(name).is_some_and(is_ready);
            if back {
                output::progress(&format!("{name}: included again"));
            }
            !back
        });
    }

    /// Those that take part, or did.
    pub(super) fn members(&self) -> Vec<NodeName> {
        self.members.iter().cloned().collect()
    }

    /// Whose part has ended before its time.
    pub(super) fn has_fallen(&self, name: &NodeName) -> bool {
        self.fallen.contains_key(name)
    }

    /// It was chosen and did not come up, which was told.
    pub(super) fn is_missing(&self, name: &NodeName) -> bool {
        self.missing.contains_key(name)
    }

    /// What was last said of the agent of a node that was away.
    pub(super) fn last_word(&self, name: &NodeName) -> Option<&Notice> {
        self.fallen.get(name).or_else(|| self.away.get(name)?.1.as_ref())
    }

    /// Sees which members have gone for good, and says so; `over` are those that have nothing to do any more.
    pub(super) fn look(&mut self, session: &Session, over: impl Fn(&NodeState) -> bool) {
        let now = Instant::now();
        for name in &self.members {
            if self.fallen.contains_key(name) {
                continue;
            }
            let state = session.nodes.get(name);
            let (since, word) = match state.map(|state| &state.agent) {
                Some(Agent::Live) => {
                    // Its last word stays: it may say why what is live is another agent.
                    if let Some((since, _)) = self.away.get_mut(name) {
                        *since = now;
                    }
                    continue;
                }
                agent => {
                    let (since, word) = self.away.entry(name.clone()).or_insert((now, None));
                    if let Some(Agent::Failed(notice) | Agent::Ended(notice)) = agent {
                        *word = Some(notice.clone());
                    }
                    (*since, word.clone())
                }
            };
            let Some(state) = state else { continue };
            if over(state) {
                continue;
            }
            let patience = match &state.agent {
                // The container is there, and the agent holds on for as long as its lease.
                Agent::Connecting | Agent::Lost { .. } if state.present => session.terms.lease,
                _ => BACK_WITHIN,
            };
            let spent = session.life.ends.is_some_and(|ends| session.now >= ends + END_SEEN_WITHIN);
            if now.duration_since(since) >= patience || spent {
                let notice = why_fallen(name, state, word, session);
                output::say(&format!("error: {}", notice.line()));
                self.fallen.insert(name.clone(), notice);
            }
        }
    }

    /// No member has anything to do any more.
    pub(super) fn is_through(&self, session: &Session, over: impl Fn(&NodeState) -> bool) -> bool {
        let through = |name: &NodeName| self.has_fallen(name) || session.nodes.get(name).is_none_or(&over);
        self.members.iter().all(through)
    }

    /// What became of it: so many parts worked, and these failures are not of nodes that are missing or gone.
    pub(super) fn outcome(&self, worked: usize, others: Vec<Notice>) -> ExitCode {
        outcome(worked, &self.failures().cloned().chain(others).collect::<Vec<_>>())
    }

    /// Why chosen nodes do not take part, or no longer.
    pub(super) fn failures(&self) -> impl Iterator<Item = &Notice> {
        self.missing.values().chain(self.fallen.values())
    }
}

/// Its agent is up and has told what there is.
fn is_ready(state: &NodeState) -> bool {
    state.agent == Agent::Live && state.ports.known && state.facts.is_some()
}

/// Waiting for it changes nothing.
fn is_settled(state: &NodeState) -> bool {
    match state.agent {
        Agent::Live => is_ready(state),
        Agent::Failed(_) | Agent::Ended(_) => true,
        _ => !state.present,
    }
}

/// Why a node does not take part; `None` for one that does.
fn why_missing(name: &NodeName, state: Option<&NodeState>, waited: Duration) -> Option<Notice> {
    let gone = || Notice::error(format!("{name} has left the cluster"), "", "");
    let Some(state) = state.filter(|state| state.present || state.agent == Agent::Live) else { return Some(gone()) };
    let cause = match &state.agent {
        Agent::Live if is_ready(state) => return None,
        Agent::Failed(notice) | Agent::Ended(notice) => {
            return Some(of_node(name, notice.clone()));
        }
        Agent::Live => "it sends no data".to_owned(),
        Agent::Absent => "not deployed".to_owned(),
        Agent::Deploying(step) => step.clone(),
        Agent::Connecting => "its container is running, but the tunnel to it does not open".to_owned(),
        Agent::Lost { reason, .. } => format!("the tunnel to it is lost: {reason}"),
    };
    let readiness = state.node.readiness;
    let node =
        if readiness == Readiness::Ready { String::new() } else { format!("; the node is {}", readiness.word()) };
    let headline = format!("{name}: no agent after {} s", waited.as_secs());
    Some(Notice::error(headline, format!("{cause}{node}"), "it is included if it comes up later"))
}

/// The same with the node's name, and without keys, which there are none of.
fn of_node(name: &NodeName, notice: Notice) -> Notice {
    let headline =
        if notice.headline.contains(&name.0) { notice.headline } else { format!("{name}: {}", notice.headline) };
    let next_step = match (notice.failure, notice.names_keys) {
        (Failure::Image, _) => {
            "name an image that this node can pull with --image, or load it onto the node".to_owned()
        }
        (_, true) => String::new(),
        (_, false) => notice.next_step,
    };
    Notice { headline, next_step, names_keys: false, ..notice }
}

fn why_fallen(name: &NodeName, state: &NodeState, word: Option<Notice>, session: &Session) -> Notice {
    let cause = match (&state.agent, word) {
        _ if session.life.ends.is_some_and(|ends| session.now >= ends) => {
            format!("the session's budget of {} is spent", text::lasting(session.terms.budget.as_millis() as u64))
        }
        (_, Some(notice)) => return of_node(name, notice),
        _ if !state.present => "the node has left the cluster".to_owned(),
        (Agent::Lost { reason, .. }, None) => {
            let lease = session.terms.lease.as_secs();
            format!("its tunnel has been down for {lease} s, the agent's lease: {reason}")
        }
        (_, None) => "its agent has ended".to_owned(),
    };
    Notice::error(format!("{name}: the agent is gone"), cause, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_are_no_keys_an_image_that_failed_is_named_by_option() {
        let node = NodeName::from("node-7");
        let failed = Notice::error("the image i cannot be pulled", "not found", "{command}image NAME, then {deploy}");
        let told = of_node(&node, failed.naming_keys().of(Failure::Image)).line();
        assert!(told.starts_with("node-7: the image i cannot be pulled") && told.contains("--image"), "{told}");
        let ended =
            Notice::warning("the agent on node-7 has ended", "", "press {deploy} to deploy again").naming_keys();
        assert_eq!(of_node(&node, ended).line(), "the agent on node-7 has ended");
    }
}
