//! `ports --watch`, `watch` and `diagnose`: times in which nobody looked at a node.
//!
//! Owns when such a time begins and ends, and its line.

use std::{collections::HashMap, mem::replace};

use nodewatch_protocol::UnixMillis;
use serde_json::{Value, json};

use super::team::Team;
use crate::{
    base::text::{self, time_of_day},
    model::{NodeName, Notice},
    session::{
        Session,
        node::{Agent, NodeState},
    },
};

/// A node's agent as it was last live.
struct Watched {
    /// When its process began: another one knows nothing of what this one has seen.
    process: UnixMillis,
    /// It is not now.
    away: bool,
    /// When that last began.
    left: UnixMillis,
}

/// A time in which nobody looked at a node.
pub(super) struct Gap {
    node: NodeName,
    from: UnixMillis,
    until: UnixMillis,
    reason: String,
}

/// Whose agents look, and since when one does not.
#[derive(Default)]
pub(super) struct Gaps {
    watched: HashMap<NodeName, Watched>,
    /// How many there were.
    pub count: usize,
}

impl Gaps {
    /// Sees whether another agent looks than before. What has changed while the tunnel to the same one was down is seen
    /// in its next picture.
    pub(super) fn look(&mut self, state: &NodeState, session: &Session, why: Option<&Notice>) -> Option<Gap> {
        let (node, now) = (&state.node.name, session.wall(session.now));
        let live = state.facts.as_ref().filter(|_| state.agent == Agent::Live).map(|facts| facts.started);
        let from = match (self.watched.get_mut(node), live) {
            (None, None) => return None,
            (None, Some(process)) => {
                self.watched.insert(node.clone(), Watched { process, away: false, left: now });
                return None;
            }
            (Some(watched), None) => {
                if !replace(&mut watched.away, true) {
                    watched.left = now;
                }
                return None;
            }
            (Some(watched), Some(process)) => {
                // A tunnel that is up again says a moment later which process it leads to.
                watched.away = false;
                if replace(&mut watched.process, process) == process {
                    return None;
                }
                watched.left
            }
        };
        self.count += 1;
        let reason = why.map_or_else(|| "its agent was replaced".to_owned(), Notice::fact);
        Some(Gap { node: node.clone(), from, until: now, reason })
    }

    /// Those that have not ended when the watch does, of nodes that are meant until then.
    pub(super) fn at_end(&mut self, session: &Session, team: &Team, is_meant: impl Fn(&NodeName) -> bool) -> Vec<Gap> {
        let until = session.wall(session.now);
        let away = |name: &NodeName| session.nodes.get(name).filter(|state| state.agent != Agent::Live);
        let gap = |name: NodeName| {
            let state = away(&name)?;
            let from = self.watched.get(&name).filter(|watched| watched.away).map_or(until, |watched| watched.left);
            let reason = match (team.last_word(&name), &state.agent) {
                (_, Agent::Lost { reason, .. }) => format!("the tunnel to its agent is lost: {reason}"),
                (Some(notice), _) => notice.fact(),
                (None, _) => "its agent is gone".to_owned(),
            };
            Some(Gap { node: name, from, until, reason })
        };
        let gaps: Vec<Gap> = team.members().into_iter().filter(is_meant).filter_map(gap).collect();
        self.count += gaps.len();
        gaps
    }

    /// Of an agent that is reached and has not told what it saw last.
    pub(super) fn untold(&mut self, state: &NodeState, session: &Session) -> Gap {
        self.count += 1;
        let heard = state.seen.watch.heard().map_or(session.now, |(_, last)| last);
        let reason = "its agent did not tell what it saw last".to_owned();
        Gap { node: state.node.name.clone(), from: session.wall(heard), until: session.wall(session.now), reason }
    }
}

impl Gap {
    /// For programs.
    pub(super) fn value(&self) -> Value {
        let Self { node, from, until, reason } = self;
        json!({"event": "gap", "node": node, "from": from, "until": until, "reason": reason})
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        text::visible(&format!("{}  {}", time_of_day(self.until), self.text("  ")))
    }

    /// The same where it is one of several things.
    pub(super) fn blind_spot(&self) -> String {
        text::visible(&self.text(" "))
    }

    fn text(&self, between: &str) -> String {
        let Self { node, from, until, reason } = self;
        let (from, until) = (time_of_day(*from), time_of_day(*until));
        format!("{node}{between}not watched from {from} to {until}: {reason}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nodewatch_protocol::{AgentFacts, CaptureAbility, Update};

    use super::*;
    use crate::model::{Node, Place, SessionId};

    fn facts(started: UnixMillis) -> Update {
        Update::Agent(AgentFacts {
            hostname: "a".into(),
            started,
            now: 9,
            interfaces: vec![],
            default_interfaces: vec![],
            capture: CaptureAbility::Ready,
            ring: String::new(),
        })
    }

    #[test]
    fn another_agent_than_before_is_a_gap_and_a_tunnel_that_returns_is_none() {
        let mut session = Session::plain(Place::Local, SessionId::new(1), Duration::from_secs(1));
        let mut state = NodeState::new(Node::named("a".into()));
        state.apply(facts(1), 1);
        let mut gaps = Gaps::default();
        let mut at = |now, agent: Agent, started: Option<u64>| {
            session.now = now;
            state.agent = agent;
            if let Some(started) = started {
                state.apply(facts(started), now);
            }
            gaps.look(&state, &session, None).map(|gap| (gap.from, gap.until))
        };
        let lost = || Agent::Lost { reason: "cut".into(), attempts: 1, since: 0 };
        assert_eq!(at(1000, Agent::Live, None), None);
        assert_eq!(at(2000, lost(), None), None);
        assert_eq!(at(3000, Agent::Live, Some(1)), None, "it has looked meanwhile");
        assert_eq!(at(4000, lost(), None), None);
        assert_eq!(at(4500, lost(), None), None);
        // The tunnel is up before it has said whose it is.
        assert_eq!(at(5000, Agent::Live, None), None);
        assert_eq!(at(5001, Agent::Live, Some(2)), Some((4000, 5001)));
        assert_eq!(at(6000, Agent::Live, Some(2)), None, "once");
        assert_eq!(gaps.count, 1);
    }

    #[test]
    fn a_gap_says_from_when_until_when_and_why() {
        let (from, until) = (1_700_000_000_000, 1_700_000_060_000);
        let gap = Gap { node: "a".into(), from, until, reason: "evicted".into() };
        let json = r#"{"event":"gap","from":1700000000000,"node":"a","reason":"evicted","until":1700000060000}"#;
        assert_eq!(gap.value().to_string(), json);
        let text = gap.line();
        assert!(text.ends_with(": evicted") && text.contains("not watched from "), "{text}");
    }
}
