//! Captures of pods, whichever nodes these are on: what is aimed at, and how a capture goes with it.
//!
//! Owns which nodes capture because a target's pod is there, what they were given, and when that has to be another: a pod
//! that came, went, or got another address. What is said of that is told once. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use nodewatch_protocol::{CaptureFile, CaptureSpec, CaptureState, Request, StopReason, UnixMillis};

use super::{
    Effect, Permission, Session,
    node::{Agent, Asked, NodeState, Pending},
    pending::Running,
};
use crate::model::{Aimed, Failure, MOST_ADDRESSES, Missing, NodeName, Notice, Target, targets_text};

/// Lines that are kept of what became of the targets.
const LINES: usize = 200;
/// A node that was given a capture has so long to get an agent before the others are through without it, in milliseconds.
const COMES_WITHIN: UnixMillis = 300_000;

/// What is aimed at.
#[derive(Debug, Clone)]
pub struct Aim {
    /// The targets, as they were asked for.
    pub targets: Vec<Target>,
    /// What they are; `None` until that is known.
    pub now: Option<Aimed>,
    /// Why that is not known, when it was last asked.
    pub trouble: Option<Notice>,
    /// The capture as it was asked for, and when it began.
    capture: Option<(CaptureSpec, UnixMillis)>,
    /// What nodes were given.
    given: BTreeMap<NodeName, Given>,
    /// Nodes on which somebody has ended it.
    left: BTreeSet<NodeName>,
    /// What was said of them, and how many lines there were in all.
    lines: (VecDeque<String>, usize),
}

/// What a node was given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    addresses: BTreeSet<IpAddr>,
    since: UnixMillis,
    /// The newest file that was there before.
    after: Option<u64>,
}

impl Aim {
    fn new(targets: Vec<Target>) -> Self {
        Self {
            targets,
            now: None,
            trouble: None,
            capture: None,
            given: BTreeMap::new(),
            left: BTreeSet::new(),
            lines: (VecDeque::new(), 0),
        }
    }

    /// Nodes that capture because of it.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.given.keys()
    }

    /// The capture has begun somewhere.
    pub fn captures(&self) -> bool {
        self.capture.is_some()
    }

    /// What has been said since so many lines, and how many there are now.
    pub fn lines_since(&self, told: usize) -> (impl Iterator<Item = &str>, usize) {
        let new = self.lines.1.saturating_sub(told).min(self.lines.0.len());
        (self.lines.0.iter().skip(self.lines.0.len() - new).map(String::as_str), self.lines.1)
    }

    fn say(&mut self, line: String) {
        if self.lines.0.len() == LINES {
            self.lines.0.pop_front();
        }
        self.lines.0.push_back(line);
        self.lines.1 += 1;
    }

    /// What is left now of the capture; `None` where none has begun, or its time is over.
    fn capture_now(&self, now: UnixMillis) -> Option<CaptureSpec> {
        let (spec, since) = self.capture.clone()?;
        let elapsed = now.saturating_sub(since) / 1000;
        let over = spec.limit_seconds.is_some_and(|limit| limit.duration().as_secs() <= elapsed);
        let limit_seconds = spec.limit_seconds.map(|limit| limit.less(elapsed));
        (!over).then_some(CaptureSpec { limit_seconds, ..spec })
    }
}

/// Packets that are the user's, and from or to one of these addresses.
pub fn narrowed(filter: Option<&str>, addresses: &BTreeSet<IpAddr>) -> Option<String> {
    let hosts: Vec<String> = addresses.iter().map(|address| format!("host {address}")).collect();
    let hosts = hosts.join(" or ");
    match filter.map(str::trim).filter(|filter| !filter.is_empty()) {
        Some(filter) if addresses.is_empty() => Some(filter.to_owned()),
        Some(filter) => Some(format!("({filter}) and ({hosts})")),
        None => (!addresses.is_empty()).then_some(hosts),
    }
}

/// Why targets that are not there cannot be captured, naming each with what is like it.
pub fn not_found(missing: &[Missing]) -> Option<Notice> {
    let first = missing.first()?;
    let named: Vec<Target> = missing.iter().map(|one| one.target.clone()).collect();
    let headline = match &named[..] {
        [pods @ Target::Pods { .. }] => format!("no {pods}"),
        _ => format!("not found: {}", targets_text(&named)),
    };
    let near: Vec<&str> = missing.iter().flat_map(|one| &one.near).map(String::as_str).take(5).collect();
    let cause = if near.is_empty() { String::new() } else { format!("there is {}", near.join(", ")) };
    let next_step = match &first.target {
        Target::Pods { .. } => "check the labels and the namespace: kubectl get pods -A --show-labels",
        Target::Pod(_) => "name it as NAMESPACE/NAME: see kubectl get pods -A",
        Target::Service(_) => "name it as NAMESPACE/NAME: see kubectl get services -A",
    };
    Some(Notice::error(headline, cause, next_step).of(Failure::BadInput))
}

/// That a node has more pods of the targets than one filter can name.
pub fn too_many(aimed: &Aimed) -> Option<Notice> {
    let (node, count) = aimed.overfull()?;
    let headline = format!("{count} addresses on {node} are more than one filter takes");
    let next_step = "choose fewer pods, or capture the node itself with a filter, e.g. --nodes with 'net 10.1.0.0/16'";
    Some(Notice::error(headline, format!("at most {MOST_ADDRESSES} on a node"), next_step).of(Failure::BadInput))
}

impl Session {
    /// From now on these are aimed at, in place of any others; what captured for those goes with the next look.
    pub(crate) fn aim_at(&mut self, targets: Vec<Target>) -> Vec<Effect> {
        if targets.is_empty() {
            return self.aim_at_nothing();
        }
        let mut aim = Aim::new(targets.clone());
        if let Some(before) = self.aim.take() {
            (aim.given, aim.lines) = (before.given, before.lines);
        }
        self.aim = Some(aim);
        vec![Effect::Aim(targets)]
    }

    /// Nothing is followed any more; captures go on as they are.
    pub(crate) fn aim_at_nothing(&mut self) -> Vec<Effect> {
        self.aim.take().map(|_| Effect::Aim(Vec::new())).into_iter().collect()
    }

    /// From now on these are aimed at: the capture that runs goes on for them.
    pub(crate) fn retarget(&mut self, targets: Vec<Target>) -> Vec<Effect> {
        let capture = self.aim.as_ref().and_then(|aim| aim.capture.clone());
        let effects = self.aim_at(targets);
        if let Some(aim) = &mut self.aim {
            aim.capture = capture;
        }
        effects
    }

    /// Captures end on all nodes that have them because of the targets, and nothing is followed any more.
    pub(crate) fn stop_targets(&mut self) -> Vec<Effect> {
        let names: Vec<NodeName> = self.aim.iter().flat_map(Aim::nodes).cloned().collect();
        let of = |so: fn(&NodeState) -> bool| -> Vec<NodeName> {
            names.iter().filter(|name| self.nodes.get(*name).is_some_and(so)).cloned().collect()
        };
        let waiting = of(NodeState::is_to_start);
        let running = of(|state| state.agent.has_tunnel() && state.is_capturing() && state.asked != Asked::Stop);
        let mut effects = self.aim_at_nothing();
        if !waiting.is_empty() {
            effects.extend(self.take_back(&waiting));
        }
        effects.extend(self.stop_captures(running));
        effects
    }

    /// What targets are now.
    pub(super) fn aimed(&mut self, targets: &[Target], found: Result<Aimed, Notice>) -> Vec<Effect> {
        let Some(aim) = self.aim.as_mut().filter(|aim| aim.targets == targets) else { return Vec::new() };
        match found {
            Ok(aimed) => {
                aim.trouble = None;
                let before = aim.now.replace(aimed);
                self.tell_moves(before);
            }
            Err(notice) => {
                let is_new = aim.trouble.as_ref().is_none_or(|known| known.headline != notice.headline);
                aim.trouble = Some(notice.clone());
                if is_new && aim.now.is_some() {
                    aim.say(format!("pods are not followed for now: {}", notice.line()));
                    self.notify(notice);
                }
            }
        }
        self.follow_targets()
    }

    /// Says what has become of the targets since they were looked at before, each thing once.
    fn tell_moves(&mut self, before: Option<Aimed>) {
        let Some(aim) = &mut self.aim else { return };
        let (Some(before), Some(aimed)) = (before, &aim.now) else { return };
        let places = |aimed: &Aimed| -> BTreeMap<String, (NodeName, Vec<IpAddr>)> {
            let of_node = |(node, pods): (&NodeName, &Vec<crate::model::AimedPod>)| {
                pods.iter().map(|pod| (pod.name.clone(), (node.clone(), pod.addresses.clone()))).collect::<Vec<_>>()
            };
            aimed.nodes.iter().flat_map(of_node).collect()
        };
        let (was, is) = (places(&before), places(aimed));
        let mut said: Vec<(Option<NodeName>, String)> = Vec::new();
        for (name, (node, addresses)) in &is {
            let shown = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            match was.get(name) {
                Some((known, same)) if known == node && same == addresses => {}
                Some((known, _)) if known == node => {
                    said.push((Some(node.clone()), format!("pod {name} has another address: {shown}")));
                }
                Some((known, _)) => {
                    said.push((Some(node.clone()), format!("pod {name} moved from {known} to {node} ({shown})")));
                }
                None => said.push((Some(node.clone()), format!("pod {name} is on {node} ({shown})"))),
            }
        }
        for (name, (node, _)) in was.iter().filter(|(name, _)| !is.contains_key(*name)) {
            said.push((Some(node.clone()), format!("pod {name} is gone from {node}")));
        }
        let gaps = aimed.gaps.iter().filter(|gap| !before.gaps.contains(gap));
        said.extend(gaps.map(|gap| (None, gap.clone())));
        for missing in aimed.missing.iter().filter(|one| !before.missing.iter().any(|old| old.target == one.target)) {
            let back = "what is asked of it goes on when there is one again";
            said.push((None, format!("{} is not there any more; {back}", missing.target)));
        }
        let now = self.now;
        for (node, line) in said {
            aim.say(line.clone());
            if let Some(state) = node.and_then(|node| self.nodes.get_mut(&node)) {
                state.note(now, line.clone());
            }
            self.notices.push_back((now, Notice::info(line)));
        }
        while self.notices.len() > super::MAX_NOTICES {
            self.notices.pop_front();
        }
    }

    /// A capture was asked for on these nodes: the first one after something was aimed at is that of the targets, a later one
    /// is for itself.
    pub(super) fn capture_of_targets(&mut self, names: &[NodeName], spec: &CaptureSpec) {
        let now = self.now;
        let Some(aim) = &mut self.aim else { return };
        if aim.capture.is_none() {
            aim.capture = Some((spec.clone(), now));
        } else {
            aim.left.extend(names.iter().cloned());
        }
        let wanted: Vec<NodeName> = names.iter().filter(|name| !aim.left.contains(*name)).cloned().collect();
        for name in wanted {
            self.give(&name);
        }
    }

    /// A node has what its pods' addresses are now.
    fn give(&mut self, name: &NodeName) {
        let now = self.now;
        let newest = self.nodes.get(name).and_then(|state| state.every_file().map(|file| file.sequence).max());
        let Some(aim) = &mut self.aim else { return };
        let Some(aimed) = &aim.now else { return };
        let addresses = aimed.addresses(name);
        if addresses.is_empty() {
            return;
        }
        let given =
            aim.given.entry(name.clone()).or_insert(Given { addresses: BTreeSet::new(), since: now, after: newest });
        given.addresses = addresses;
    }

    /// The hosts of a capture's filter are known: that of the targets has their addresses from now on.
    pub(super) fn targets_resolved(&mut self, asked: &CaptureSpec, found: &CaptureSpec) {
        if let Some((spec, _)) =
            self.aim.as_mut().and_then(|aim| aim.capture.as_mut()).filter(|(spec, _)| spec == asked)
        {
            *spec = found.clone();
        }
    }

    /// Somebody ends captures on these nodes: there it does not begin again.
    pub(super) fn targets_left(&mut self, names: &[NodeName]) -> Vec<Effect> {
        let Some(aim) = self.aim.as_mut().filter(|aim| aim.capture.is_some()) else { return Vec::new() };
        aim.left.extend(names.iter().filter(|name| aim.given.contains_key(*name)).cloned());
        let all = !aim.given.is_empty() && aim.given.keys().all(|name| aim.left.contains(name));
        if all { self.aim_at_nothing() } else { Vec::new() }
    }

    /// What a node is asked to capture: as it was asked for, of its pods alone, and no more than is left of it.
    pub(super) fn for_targets(&self, name: &NodeName, spec: CaptureSpec) -> CaptureSpec {
        let given = self.aim.as_ref().filter(|aim| !aim.left.contains(name)).and_then(|aim| aim.given.get(name));
        let Some(Given { addresses, after, .. }) = given else { return spec };
        let files = || {
            let later = |file: &&CaptureFile| after.is_none_or(|after| file.sequence > after);
            self.nodes.get(name).into_iter().flat_map(NodeState::every_file).filter(later)
        };
        let (bytes, packets) =
            files().fold((0, 0), |(bytes, packets), file| (bytes + file.size, packets + file.packets));
        CaptureSpec {
            toward: addresses.iter().copied().collect(),
            filter: narrowed(spec.filter.as_deref(), addresses),
            // At least one: a limit of none is refused, and what is over by a packet ends at once.
            limit_bytes: spec.limit_bytes.map(|limit| limit.saturating_sub(bytes).max(1)),
            limit_packets: spec.limit_packets.map(|limit| limit.saturating_sub(packets).max(1)),
            ..spec
        }
    }

    /// Gives nodes where the targets' pods are now the capture, and ends it where none is any more.
    pub(super) fn follow_targets(&mut self) -> Vec<Effect> {
        let now = self.now;
        let Some(aim) = self.aim.as_ref().filter(|aim| aim.captures()) else { return Vec::new() };
        if self.is_leaving() {
            return Vec::new();
        }
        let Some(spec) = aim.capture_now(now) else { return self.aim_at_nothing() };
        let Some(aimed) = &aim.now else { return Vec::new() };
        let names: BTreeSet<NodeName> = aim.given.keys().chain(aimed.nodes.keys()).cloned().collect();
        let mut effects = Vec::new();
        for name in names.into_iter().collect::<Vec<_>>() {
            let Some(aim) = &self.aim else { break };
            let wanted = aim.now.as_ref().map(|aimed| aimed.addresses(&name)).unwrap_or_default();
            let given = aim.given.get(&name).map(|given| &given.addresses);
            match given {
                _ if aim.left.contains(&name) => {}
                Some(given) if *given == wanted => {}
                None if wanted.is_empty() => {}
                Some(_) if wanted.is_empty() => effects.extend(self.end_on(&name)),
                Some(_) | None => effects.extend(self.serve_target(&name, &spec, wanted.len())),
            }
        }
        effects
    }

    /// No pod of the targets is on that node any more.
    fn end_on(&mut self, name: &NodeName) -> Vec<Effect> {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return Vec::new() };
        // It is asked again once that is answered.
        if state.asked != Asked::Nothing {
            return Vec::new();
        }
        state.pending = Pending::Nothing;
        let runs = state.is_capturing();
        if runs && !state.agent.has_tunnel() && state.agent.runs() {
            return Vec::new();
        }
        let line = format!("{name}: no pod of the targets is there any more, its capture ends");
        state.note(now, line.clone());
        let asks = runs && state.agent.has_tunnel();
        if asks {
            state.asked = Asked::Stop;
        }
        if let Some(aim) = &mut self.aim {
            aim.given.remove(name);
            aim.say(line);
        }
        if asks { vec![Effect::Ask(name.clone(), Request::StopCapture)] } else { Vec::new() }
    }

    /// That node captures what its pods are now, as soon as it can.
    fn serve_target(&mut self, name: &NodeName, spec: &CaptureSpec, addresses: usize) -> Vec<Effect> {
        let Some(state) = self.nodes.get(name).filter(|state| state.present) else { return Vec::new() };
        let new = self.aim.as_ref().is_some_and(|aim| !aim.given.contains_key(name));
        let spent = !new && is_spent(state);
        let reason = if addresses > MOST_ADDRESSES {
            Some(format!("{addresses} addresses are more than one filter takes ({MOST_ADDRESSES})"))
        } else {
            state.node.cannot_run().map(|reason| reason.to_string())
        };
        if reason.is_some() || spent {
            self.give(name);
            if let (Some(reason), Some(aim)) = (reason, &mut self.aim) {
                aim.say(format!("{name}: not captured: {reason}"));
                self.notify(Notice::warning(format!("pods on {name} are not captured"), reason, ""));
            }
            return Vec::new();
        }
        let deploys = state.agent.is_missing();
        if deploys && self.permission == Permission::ReadOnly {
            return Vec::new();
        }
        // What was asked and is not answered yet, or a tunnel that is away: it is looked at again.
        if !(deploys || state.can_start() || state.can_replace()) {
            return Vec::new();
        }
        let mut effects = if deploys { self.deploy(vec![name.clone()]) } else { Vec::new() };
        let what = match (new, deploys) {
            (true, true) => "an agent and the capture are added",
            (true, false) => "the capture is added",
            (false, _) => "its capture goes on in the next file, with the pods' addresses as they are now",
        };
        self.give(name);
        if let Some(aim) = &mut self.aim {
            aim.say(format!("{name}: {what}"));
        }
        effects.extend(self.begin_on(std::slice::from_ref(name), spec, Running::IsReplaced));
        effects
    }

    /// Every node that captures because of the targets has come to a limit, or will never begin.
    pub fn targets_are_through(&self) -> bool {
        let Some(aim) = self.aim.as_ref().filter(|aim| aim.captures()) else { return false };
        let waits = aim.now.as_ref().is_none_or(|aimed| aimed.nodes.keys().any(|node| !aim.given.contains_key(node)));
        let through = |(name, given): (&NodeName, &Given)| {
            let Some(state) = self.nodes.get(name) else { return true };
            let late = self.now.saturating_sub(given.since) >= COMES_WITHIN;
            match &state.agent {
                _ if state.refusal.is_some() || aim.left.contains(name) => true,
                Agent::Failed(_) | Agent::Ended(_) => true,
                Agent::Live => is_spent(state) && state.asked == Asked::Nothing && !state.is_to_start(),
                _ => late && !state.is_capturing(),
            }
        };
        !waits && !aim.given.is_empty() && aim.given.iter().all(through)
    }
}

/// Its capture has ended, and not because somebody asked.
fn is_spent(state: &NodeState) -> bool {
    let by_itself = |reason: &StopReason| !matches!(reason, StopReason::Asked | StopReason::AgentEnds);
    matches!(&state.capture, CaptureState::Stopped { reason, .. } if by_itself(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count: u32, v6: bool) -> BTreeSet<IpAddr> {
        let v4 = |number: u32| IpAddr::from((0x0a00_0000 + number * 7).to_be_bytes());
        let of =
            |number: u32| if v6 { IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 1, number as u16 * 7]) } else { v4(number) };
        (1..=count).map(of).collect()
    }

    #[test]
    fn the_users_filter_holds_beside_the_addresses() {
        let one = addresses(1, false);
        assert_eq!(narrowed(None, &one).as_deref(), Some("host 10.0.0.7"));
        assert_eq!(narrowed(Some(" "), &one).as_deref(), Some("host 10.0.0.7"));
        let two = addresses(2, false);
        let both = "(tcp or udp) and (host 10.0.0.7 or host 10.0.0.14)";
        assert_eq!(narrowed(Some("tcp or udp"), &two).as_deref(), Some(both));
    }

    #[test]
    fn as_many_addresses_as_a_node_may_have_make_a_filter_that_compiles() {
        for v6 in [false, true] {
            let filter = narrowed(Some("tcp port 80"), &addresses(MOST_ADDRESSES as u32, v6)).expect("a filter");
            nodewatch_filter::check(&filter).expect("it compiles");
        }
    }

    #[test]
    fn what_is_not_there_is_refused_by_name_with_what_is_like_it() {
        let missing = |target: Target, near: &[&str]| Missing {
            target,
            near: near.iter().map(|name| (*name).to_owned()).collect(),
        };
        let pod = missing(Target::pod("shop/wep").expect("a pod"), &["shop/web"]);
        let told = not_found(std::slice::from_ref(&pod)).expect("told");
        assert_eq!((told.headline.as_str(), told.failure), ("not found: pod shop/wep", Failure::BadInput));
        assert!(told.cause.contains("shop/web"), "{told:?}");
        let labels = missing(Target::pods(Some("shop"), "app=x").expect("labels"), &[]);
        assert_eq!(not_found(&[labels]).expect("told").headline, "no pods with app=x in shop");
        assert_eq!(not_found(&[]), None);
    }
}
