//! N-02: the node's policy drops it.

use std::net::{IpAddr, SocketAddr};

use nodewatch_protocol::{Finding, Role, Service, Symptom};

use crate::{
    Certainty, Code, Place, PodPhase, Runner, Segment, Source,
    paths::{KnownWay, TapId, Trouble},
    rules,
    view::{Draft, ENOUGH, View, inside},
};

/// Codes of ICMP, and of ICMPv6, that say that an administrator forbids it.
const FORBIDDEN: [&[u32]; 2] = [&[9, 10, 13], &[1]];
/// A pod so young, in milliseconds, may be ahead of its policies.
const YOUNG: u64 = 15_000;
/// Counters that say that something else has dropped it inside the node.
const OTHERS: [&str; 6] = [
    "conntrack.insert_failed",
    "conntrack.drop",
    "ip.reverse_path_drops",
    "arp.table_fulls",
    "ndisc.table_fulls",
    "tcp.listen_overflows",
];
/// Those of them that every node has.
const USUAL: usize = 4;

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = view
        .grouped(rejected_by)
        .into_iter()
        .filter_map(|((teller, target), hurt)| rejected(view, teller, target, &hurt))
        .collect();
    let rejected: Vec<Place> = drafts.iter().map(|draft| draft.place.clone()).collect();
    let mut dropped = view.grouped(|trouble| {
        let node = inside(trouble.segment.as_ref()).filter(|_| trouble.is_lost_attempt());
        node.map(|node| (node.to_owned(), trouble.backend))
    });
    // Not every rejection is told: ICMP errors are limited.
    dropped.retain(|(_, target), hurt| match rejected.iter().position(|place| place.target == Some(*target)) {
        Some(at) => {
            drafts[at].hurt.append(hurt);
            false
        }
        None => true,
    });
    drafts.extend(dropped.into_iter().filter_map(|((node, target), hurt)| dropped_in(view, &node, target, &hurt)));
    let refused = view.grouped(|trouble| {
        // How that is known is told too.
        refused_by(view, trouble).map(|node| (node, trouble.backend, !trouble.missing.is_empty()))
    });
    let refused = refused.into_iter();
    drafts.extend(refused.filter_map(|((node, target, stays), hurt)| refused_in(view, node, (target, stays), &hurt)));
    drafts
}

/// The node that has refused a connection itself, with a reset that has passed no other: the beginning came into the node and
/// did not leave it, as others to that end do, or as it should for a pod of another node.
fn refused_by<'a>(view: &View<'a>, trouble: &Trouble) -> Option<&'a str> {
    if trouble.what != Finding::Symptom(Symptom::Refused) {
        return None;
    }
    let last = trouble.seen.last()?;
    let here = view.tap(last.tap)?;
    let is_made_here = matches!(last.case.refusal_hops, Some(64 | 128 | 255));
    // What is for the node itself is refused by what does not listen there.
    let is_its_own = view.nodes.contains_key(&trouble.backend.0);
    let stays = trouble.missing.iter().filter_map(|tap| view.tap(*tap)).any(|tap| tap.node == here.node);
    let goes_on = || stays || is_for_another_node(view, trouble);
    (is_made_here && !is_its_own && goes_on()).then_some(here.node.as_str())
}

/// Its pod's own interface is the only one that has seen it, and the pod that is asked is not of that node.
fn is_for_another_node(view: &View<'_>, trouble: &Trouble) -> bool {
    let Some(tap) = trouble.seen.last().and_then(|it| view.tap(it.tap)) else { return false };
    let begun_here = matches!(trouble.last().hops, Some(64 | 128 | 255));
    // What is not heard any more may have changed.
    let is_heard = view.journal.since(Source::Pods).is_some();
    let asked = view.journal.pod_at(trouble.backend.0, trouble.millis()).filter(|_| is_heard);
    let elsewhere =
        asked.is_some_and(|pod| !pod.node.is_empty() && pod.node != tap.node && pod.phase != PodPhase::Gone);
    trouble.way == KnownWay::No && tap.role == Role::Pod && begun_here && elsewhere
}

/// `stays`: they were not seen where others go; else which way they would go is not known, as none was ever answered.
fn refused_in(view: &View<'_>, node: &str, (target, stays): ((IpAddr, u16), bool), hurt: &[usize]) -> Option<Draft> {
    let (of, _) = view.attempts_of(hurt);
    if !view.enough(hurt, of, ENOUGH) {
        return None;
    }
    let at = view.troubles[hurt[0]].millis();
    let why = if stays { "they did not leave it" } else { "that pod is on another node" };
    let text = format!(
        "{} connections to {} were refused by {node} itself: {why}, and the reset has passed no other host",
        hurt.len(),
        view.name(target, at)
    );
    // On a bridge, a pod's packets have passed no host either.
    let is_pods = |tap: &TapId| view.tap(*tap).is_some_and(|tap| tap.node == node && tap.role == Role::Pod);
    let sure = stays && !hurt.iter().any(|&at| view.troubles[at].missing.iter().any(is_pods));
    let mut draft = Draft::of(Code::PolicyDrop, if sure { Certainty::Verdict } else { Certainty::Likely }, text);
    draft.place = view.place_of(target, at);
    draft.place.node = Some(node.to_owned());
    draft.of = of;
    if sure {
        let server = "the server: its resets would have been seen coming into the node, with fewer hops left";
        draft.ruled_out = vec![server.to_owned()];
    } else {
        let other = if stays {
            "whether the pod itself has refused: its interface is of the same node".to_owned()
        } else {
            format!("whether a proxy on {node} answers for others, or pods of several nodes are on one bridge")
        };
        draft.not_seen = vec![other];
    }
    draft.next = vec![format!("iptables-save | grep REJECT    # on {node}: --reject-with tcp-reset; nft list ruleset")];
    draft.next.extend(commands(view, target, at));
    draft.hurt = hurt.to_vec();
    Some(draft.with_its_doubts(view))
}

/// Who has said of a connection that it is forbidden.
fn rejected_by(trouble: &Trouble) -> Option<(IpAddr, (IpAddr, u16))> {
    if trouble.what != Finding::Symptom(Symptom::Unreachable) {
        return None;
    }
    let case = trouble.first();
    let forbidden = FORBIDDEN[usize::from(case.source.is_ipv6())].contains(&case.amount);
    // The end itself says that nothing listens there.
    case.other.filter(|_| forbidden && case.service == Service::Tcp).map(|teller| (teller, trouble.backend))
}

fn rejected(view: &View<'_>, teller: IpAddr, target: (IpAddr, u16), hurt: &[usize]) -> Option<Draft> {
    let (of, _) = view.attempts_of(hurt);
    if !view.enough(hurt, of, ENOUGH) {
        return None;
    }
    let at = view.troubles[hurt[0]].millis();
    let text = format!(
        "{} connections to {} were rejected by {teller}: administratively prohibited",
        hurt.len(),
        view.name(target, at)
    );
    // Anybody can say so; a node is asked about its own.
    let sure = view.nodes.is_empty() || view.nodes.contains_key(&teller);
    let mut draft = Draft::of(Code::PolicyDrop, if sure { Certainty::Verdict } else { Certainty::Likely }, text);
    if !sure {
        draft.not_seen = vec![format!("whose {teller} is: it is no node's address")];
    }
    draft.place = view.place_of(target, at);
    draft.of = of;
    draft.ruled_out = vec!["loss: an ICMP error has come back for each".to_owned()];
    draft.next = vec![format!("iptables-save | grep REJECT    # on the node with {teller}; nft list ruleset")];
    draft.next.extend(commands(view, target, at));
    draft.hurt = hurt.to_vec();
    Some(draft)
}

fn dropped_in(view: &View<'_>, node: &str, target: (IpAddr, u16), hurt: &[usize]) -> Option<Draft> {
    let (of, _) = view.attempts_of(hurt);
    let moved = OTHERS.iter().any(|name| !view.steps(node, name, hurt).is_empty());
    if moved || !view.enough(hurt, of, ENOUGH) {
        return None;
    }
    let trouble = &view.troubles[hurt[0]];
    let at = trouble.millis();
    // What is for the node itself does not leave it.
    if view.nodes.get(&target.0).is_some_and(|owner| owner == node) {
        return None;
    }
    // A policy is enforced on its pod's node: of who asks what goes out, of who is asked what comes in.
    let pod = |address| view.journal.pod_at(address, at).filter(|pod| pod.node == node);
    let (client, server) = (pod(trouble.first().source), pod(target.0));
    let pods: Vec<_> = [client, server].into_iter().flatten().collect();
    let out = client.into_iter().flat_map(|pod| view.journal.policies_of(pod)).filter(|policy| policy.egress);
    let within = server.into_iter().flat_map(|pod| view.journal.policies_of(pod)).filter(|policy| policy.ingress);
    let policies: Vec<&str> = out.chain(within).map(|policy| policy.name.as_str()).collect();
    let young = pods.iter().find(|pod| at < pod.started.saturating_add(YOUNG));
    let heard = view.journal.since(Source::Policies).is_some() && view.journal.since(Source::Pods).is_some();
    // Nothing selects the pods: their drop is another's.
    if heard && policies.is_empty() {
        return None;
    }
    let counters = OTHERS[..USUAL].iter().all(|name| view.signals.has(node, name));
    let why = match (policies.first(), young) {
        (Some(policy), Some(pod)) => format!(": {} had begun less than 15 s before, and {policy} selects it", pod.name),
        (Some(policy), None) => format!(": {policy} selects an end of them"),
        (None, _) => String::new(),
    };
    let back = hurt.iter().filter(|&&at| matches!(view.troubles[at].segment, Some(Segment::Node { back: true, .. })));
    let what = if back.count() * 2 > hurt.len() { "answers to connections" } else { "connections" };
    let text = format!("{} {what} to {} entered {node} and did not leave it{why}", hurt.len(), view.name(target, at));
    let sure = heard && counters;
    let mut draft = Draft::of(Code::PolicyDrop, if sure { Certainty::Verdict } else { Certainty::Likely }, text);
    draft.place = view.place_of(target, at);
    draft.place.node = Some(node.to_owned());
    draft.of = of;
    if counters {
        draft.ruled_out = vec!["conntrack, reverse path and neighbour table: none of their counters moved".to_owned()];
    } else {
        draft.not_seen.push(format!("counters of {node}"));
        draft.runner_up = Some(Runner { code: Code::ReturnPath, check: rules::check(Code::ReturnPath).to_owned() });
    }
    draft.not_seen.extend(view.unheard(&[Source::Policies, Source::Pods]));
    draft.next = commands(view, target, at);
    draft.hurt = hurt.to_vec();
    Some(draft.with_its_doubts(view))
}

fn commands(view: &View<'_>, (address, port): (IpAddr, u16), at: u64) -> Vec<String> {
    let namespace = view.journal.pod_at(address, at).and_then(|pod| pod.name.split('/').next().map(str::to_owned));
    let scope = namespace.map_or_else(|| "-A".to_owned(), |namespace| format!("-n {namespace}"));
    vec![
        format!("kubectl get networkpolicy {scope}"),
        format!(
            "grep {} /var/log/aws-routed-eni/network-policy-agent.log    # on the node, where the VPC CNI enforces",
            SocketAddr::new(address, port).ip()
        ),
    ]
}
