//! N-13: the answer, or the request, takes another way than the node expects.

use std::net::IpAddr;

use nodewatch_protocol::{Finding, Role};

use super::conntrack_full::node_of;
use crate::{
    Certainty, Code, Segment,
    paths::{Sighting, Tap, Trouble},
    view::{Draft, ENOUGH_EXACT, View},
};

const SIGNAL: &str = "ip.reverse_path_drops";
/// One that comes in and goes out again passes an interface twice in each turn: nobody repeats a beginning so often.
const TURNS: u32 = 16;
/// Its hops are nearly used up then.
const FEW_HOPS: u8 = 8;

type End = (IpAddr, u16);

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let ways = [dropped, elsewhere, sent_back, in_circles];
    ways.iter().flat_map(|way| way(view)).collect()
}

/// One of them on a node. Without enough connections it is none.
fn draft(view: &View<'_>, node: &str, target: End, hurt: Vec<usize>, text: String) -> Option<Draft> {
    if hurt.len() < ENOUGH_EXACT {
        return None;
    }
    let mut draft = Draft::of(Code::ReturnPath, Certainty::Verdict, text);
    draft.place = view.place_of(target, view.troubles[hurt[0]].millis());
    draft.place.node = Some(node.to_owned());
    draft.of = view.attempts_of(&hurt).0;
    draft.hurt = hurt;
    Some(draft)
}

/// The kernel has counted them as wrong by their reverse path.
fn dropped(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| {
        let between = match &trouble.segment {
            // What the node drops on its way in is seen by a capture at the interface by which it comes.
            Some(Segment::Between { to, .. }) if !is_watched_outside(view, trouble, to) => Some(to.as_str()),
            _ => None,
        };
        node_of(view, trouble).or(between)
    });
    let of = |(node, hurt): (&str, Vec<usize>)| {
        let counters = view.counted(node, SIGNAL, &hurt);
        let trouble = &view.troubles[hurt[0]];
        let target = trouble.backend;
        let text = format!(
            "{} connections to {} were dropped by {node}: they came in by an interface that the way back does not take",
            hurt.len(),
            view.name(target, trouble.millis())
        );
        let mut draft = draft(view, node, target, hurt, text).filter(|_| !counters.is_empty())?;
        draft.counters = counters;
        draft.ruled_out = vec!["policy: the kernel has counted them as wrong by their reverse path".to_owned()];
        draft.next = vec![
            format!(
                "sysctl net.ipv4.conf.all.rp_filter    # on {node}: 2 (loose) for interfaces with several ways; ip rule"
            ),
            "AWS_VPC_CNI_NODE_PORT_SUPPORT=true; source/dest check of the interface; preserve_client_ip.enabled=false"
                .to_owned(),
        ];
        Some(draft)
    };
    groups.into_iter().filter_map(of).collect()
}

/// An interface of the node that is not a pod's own is watched, and has not seen it.
fn is_watched_outside(view: &View<'_>, trouble: &Trouble, node: &str) -> bool {
    let missing = trouble.missing.iter().filter_map(|tap| view.tap(*tap));
    missing.into_iter().any(|tap| tap.node == node && tap.role != Role::Pod)
}

/// Where one was seen that is not the pods' own.
fn outer<'a>(view: &View<'a>, sighting: &Sighting) -> Option<&'a Tap> {
    view.tap(sighting.tap).filter(|tap| tap.role != Role::Pod)
}

/// Its answer has left by an interface on which it did not come in, and who asks has not heard it.
fn elsewhere(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| {
        // Of who asks no packet was seen there.
        let alone = |it: &&Sighting| it.case.what == Finding::AnswerRepeated && it.case.hops.is_none();
        let answer = trouble.seen.iter().filter(|_| trouble.is_lost_attempt()).find(alone)?;
        let left = outer(view, answer)?;
        let mut came = trouble.seen.iter().filter(|it| it.case.hops.is_some()).filter_map(|it| outer(view, it));
        let came = came.rfind(|tap| tap.node == left.node && tap.interface != left.interface);
        let target = (answer.case.destination, answer.case.ports.1);
        Some((left.node.as_str(), target, left.interface.as_str(), came.map(|tap| tap.interface.as_str())))
    });
    let of = |((node, target, left, came), hurt): ((&str, End, &str, Option<&str>), Vec<usize>)| {
        let trouble = &view.troubles[hurt[0]];
        let came = came.map_or_else(|| "by another one".to_owned(), |came| format!("by {came}"));
        let name = view.name(target, trouble.millis());
        let text = format!(
            "{} connections to {name} do not come about: their answers leave {node} by {left}, and they came in {came}",
            hurt.len()
        );
        let mut draft = draft(view, node, target, hurt, text)?;
        draft.exact = true;
        draft.place.interface = Some(left.to_owned());
        draft.ruled_out =
            vec![format!("a server that does not answer: its answers were seen leaving by {left}, again and again")];
        draft.next = vec![
            format!(
                "ip rule show; ip route get {} from {}    # on {node}: which interface",
                trouble.first().source,
                target.0
            ),
            format!("source/dest check and security groups of {left}; EC2 console > Network interfaces"),
        ];
        Some(draft)
    };
    groups.into_iter().filter_map(of).collect()
}

/// A beginning that has left its node for one address and has come back to it for another, from the same port: where it
/// was to go and where it has gone.
fn turned<'a>(view: &View<'a>, trouble: &Trouble) -> Option<(&'a str, End, End)> {
    let first = trouble.seen.first()?;
    let node = view.tap(first.tap)?;
    let is_its = |it: &&Sighting| outer(view, it).is_some_and(|tap| tap.node == node.node);
    let begun_here = node.role == Role::Pod || matches!(first.case.hops, Some(64 | 128 | 255));
    let out = trouble.seen.iter().find(is_its).filter(|_| begun_here)?;
    let end = |it: &Sighting| (it.case.destination, it.case.ports.1);
    let same_source = |it: &&Sighting| (it.case.source, it.case.ports.0) == (out.case.source, out.case.ports.0);
    let mut later = trouble.seen.iter().filter(|it| it.case.hops.is_some() && it.case.hops < out.case.hops);
    let back = later.find(|it| is_its(it) && same_source(it) && end(it) != end(out))?;
    // What is only sent on, to another node, is no such thing.
    let target = end(back);
    let in_pod = |it: &Sighting| {
        view.tap(it.tap).is_some_and(|tap| tap.role == Role::Pod && tap.node == node.node) && end(it) == target
    };
    let pod = view.journal.pod_at(target.0, trouble.millis()).is_some_and(|pod| pod.node == node.node);
    let ends_here = target.0 == out.case.source || pod || trouble.seen.iter().any(in_pod);
    ends_here.then_some((node.node.as_str(), end(out), target))
}

/// A load balancer has sent it back to where it came from, with its source: the answer does not pass the balancer.
fn sent_back(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| {
        let is_hurt = trouble.what.is_felt() || trouble.what == Finding::Stray;
        if is_hurt && trouble.is_translated { turned(view, trouble) } else { None }
    });
    let of = |((node, asked, target), hurt): ((&str, End, End), Vec<usize>)| {
        let at = view.troubles[hurt[0]].millis();
        let (asked, name) = (view.name(asked, at), view.name(target, at));
        let itself = view.troubles[hurt[0]].first().source == target.0;
        let how = if itself { "to who had asked" } else { "as they were, so that the answers do not pass it" };
        let text = format!(
            "{} connections from {node} to {asked} failed: it has sent them back to {name} on the same node, {how}",
            hurt.len()
        );
        let mut draft = draft(view, node, target, hurt, text)?;
        draft.exact = true;
        draft.ruled_out = vec![format!("loss: each was seen leaving {node} for {asked} and coming back for {name}")];
        draft.next = vec![
            "aws elbv2 modify-target-group-attributes --target-group-arn ARN --attributes Key=preserve_client_ip.enabled,Value=false"
                .to_owned(),
            "inside the cluster the service's own name, and not the load balancer's".to_owned(),
        ];
        Some(draft)
    };
    groups.into_iter().filter_map(of).collect()
}

/// It goes out again by the interface by which it came in, until no hop is left: the node has no way to the pod.
fn in_circles(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| {
        let turns = |it: &&Sighting| it.case.repeats >= TURNS && it.case.hops.is_some_and(|hops| hops < FEW_HOPS);
        let sighting = trouble.seen.iter().rev().filter(|_| trouble.is_lost_attempt()).find(turns)?;
        let tap = outer(view, sighting)?;
        Some((tap.node.as_str(), tap.interface.as_str(), (sighting.case.destination, sighting.case.ports.1)))
    });
    let of = |((node, interface, target), hurt): ((&str, &str, End), Vec<usize>)| {
        let at = view.troubles[hurt[0]].millis();
        let text = format!(
            "{} connections to {} go in circles: {node} sends them out by {interface} again, by which they came in",
            hurt.len(),
            view.name(target, at)
        );
        let mut draft = draft(view, node, target, hurt, text)?;
        draft.exact = true;
        draft.place.interface = Some(interface.to_owned());
        draft.ruled_out = vec![format!("loss: each has passed {interface} until its hops were used up")];
        draft.next = vec![
            format!(
                "ip route get {}; ip rule show | grep {}    # on {node}: the pod's route and rule",
                target.0, target.0
            ),
            "restart the CNI's pod on that node, then the pod that has none (kubectl delete pod)".to_owned(),
        ];
        Some(draft)
    };
    groups.into_iter().filter_map(of).collect()
}
