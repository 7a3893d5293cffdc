//! N-14: lost between two nodes.

use std::collections::BTreeSet;

use nodewatch_protocol::Role;

use crate::{
    Certainty, Code, Segment,
    paths::{TapId, Trouble},
    view::{Draft, ENOUGH, View},
};

const LIMITS: [&str; 4] = [
    "ena.conntrack_allowance_exceeded",
    "ena.pps_allowance_exceeded",
    "ena.bw_in_allowance_exceeded",
    "ena.bw_out_allowance_exceeded",
];
/// Ports that Linux takes by itself.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| match &trouble.segment {
        Some(Segment::Between { from, to }) if trouble.is_lost() && is_outside(view, trouble) => {
            Some((from.as_str(), to.as_str(), trouble.backend.1))
        }
        _ => None,
    });
    groups.into_iter().filter_map(|((from, to, port), hurt)| of(view, (from, to), port, hurt)).collect()
}

/// It was seen last, and not seen next, at nodes' own interfaces: between others lie the insides of the nodes too.
fn is_outside(view: &View<'_>, trouble: &Trouble) -> bool {
    // Of files that do not say which interface it is, nobody knows.
    let is_nodes = |id: TapId| view.tap(id).is_some_and(|tap| tap.role == Role::Node || tap.interface.is_empty());
    trouble.edge.is_some_and(|(last, next)| is_nodes(last) && is_nodes(next))
}

/// Files whose names do not say of which interface of which node they are may be of one node.
fn are_named(view: &View<'_>, hurt: &[usize]) -> bool {
    hurt.iter().all(|&at| {
        let trouble = view.troubles[at];
        let taps = trouble.seen.iter().map(|it| it.tap).chain(trouble.missing.iter().copied());
        taps.filter_map(|tap| view.tap(tap)).all(|tap| !tap.interface.is_empty())
    })
}

fn of(view: &View<'_>, (from, to): (&str, &str), port: u16, hurt: Vec<usize>) -> Option<Draft> {
    let (of, answered) = view.attempts_of(&hurt);
    if !view.enough(&hurt, of, ENOUGH) {
        return None;
    }
    let limited =
        [from, to].into_iter().any(|node| LIMITS.iter().any(|limit| !view.steps(node, limit, &hurt).is_empty()));
    if limited {
        return None;
    }
    let ports: BTreeSet<u16> =
        hurt.iter().map(|&at| view.troubles[at].seen[view.troubles[at].seen.len() - 1].case.ports.0).collect();
    let outside = ports.iter().filter(|port| !EPHEMERAL.contains(port)).count();
    let depends = outside * 10 >= ports.len() * 9
        && answered > 0
        && ports.len() >= ENOUGH
        && view.passes_only(port, |of| {
            // Those that pass come from inside, all but a few.
            EPHEMERAL.contains(&of)
        });
    let all = answered == 0;
    let how = if all {
        "none passes: a security group, network ACL or route".to_owned()
    } else if depends {
        "those from ports outside 32768-60999 do not pass: a network ACL or firewall with a port range".to_owned()
    } else {
        format!("{answered} others passed")
    };
    let text =
        format!("{} of {of} connections to port {port} left {from} and did not arrive at {to}: {how}", hurt.len());
    let mut draft = Draft::of(Code::WireLoss, Certainty::Verdict, text);
    draft.place.segment = Some(Segment::Between { from: from.to_owned(), to: to.to_owned() });
    draft.place.target = view.one_target(&hurt).filter(|_| all);
    draft.of = of;
    draft.ruled_out =
        vec!["both nodes: it was seen leaving one, and not seen at the other, which saw others".to_owned()];
    if [from, to].iter().all(|node| LIMITS.iter().all(|limit| view.signals.has(node, limit))) {
        draft.ruled_out.push("limits of the instances: none of their counters moved".to_owned());
    } else {
        draft.not_seen = vec!["counters of the nodes' interfaces".to_owned()];
    }
    draft.next = vec![
        format!(
            "aws ec2 create-network-insights-path --source ENI-OF-{from} --destination ENI-OF-{to} --protocol tcp --destination-port {port}"
        ),
        "security groups and network ACLs of both interfaces; VPC flow log: REJECT; AWS Health".to_owned(),
    ];
    if !are_named(view, &hurt) {
        draft.certainty = Some(Certainty::Likely);
        draft.ruled_out.clear();
        draft.not_seen.push(format!("whether {from} and {to} are two nodes: their files' names do not say it"));
    }
    draft.hurt = hurt;
    Some(draft.with_its_doubts(view))
}
