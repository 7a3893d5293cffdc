//! Where it is lost, where no cause is known.

use std::{borrow::Cow, net::IpAddr};

use crate::{
    Certainty, Segment,
    view::{Draft, ENOUGH, View},
};

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| {
        // What was answered for an older connection is not lost.
        let segment = trouble.segment.as_ref().filter(|_| trouble.is_lost() && !trouble.reused)?;
        // What is for the node that has seen it last goes no further.
        let owner = view.nodes.get(&trouble.backend.0);
        let here =
            owner.filter(|owner| matches!(segment, Segment::Beyond { .. }) && **owner == view.last_node(trouble));
        let inside = here.map(|node| Segment::Node { node: node.clone(), back: false });
        Some((inside.map_or(Cow::Borrowed(segment), Cow::Owned), trouble.backend))
    });
    let mut drafts = Vec::new();
    for ((segment, target), hurt) in groups.into_iter().filter(|(_, hurt)| hurt.len() >= ENOUGH) {
        let port = target.1;
        let (of, answered) = view.attempts_of(&hurt);
        if !view.enough(&hurt, of, ENOUGH) {
            continue;
        }
        let trouble = &view.troubles[hurt[0]];
        let at = trouble.millis();
        let became = if matches!(*segment, Segment::Node { back: true, .. }) { "had their" } else { "were" };
        let lost = segment.text();
        let text = format!("{} of {of} attempts to reach {} {became} {lost}", hurt.len(), view.name(target, at));
        let mut draft = Draft { certainty: Some(Certainty::Located), text, ..Draft::default() };
        let segment = segment.as_ref();
        draft.place.segment = Some(segment.clone());
        draft.place.target = Some(target);
        draft.place.node = segment.node().map(str::to_owned);
        draft.of = of;
        let is_far = matches!(segment, Segment::Beyond { .. }) && is_public(target.0);
        draft.not_seen = match segment {
            Segment::Beyond { tap } => vec![format!("what is beyond {tap}: watch the node of {}", target.0)],
            Segment::Pod { .. } if answered == 0 => {
                vec!["why the pod answers nothing: dead, frozen, or shut off by rules of its own".to_owned()]
            }
            _ => vec!["the mechanism".to_owned()],
        };
        draft.next = match segment {
            Segment::Beyond { .. } => vec![format!(
                "nodewatch-tui: watch (a) the node that has {}, to tell the network from the server on port {port}",
                target.0
            )],
            Segment::Node { node, .. } if view.nodes.get(&target.0) == Some(node) => {
                vec![format!("ss -ltn 'sport = :{port}'; nft list ruleset    # on {node}, which has {}", target.0)]
            }
            Segment::Node { node, .. } => vec![format!("nft list ruleset; ip rule; ip -s link    # on {node}")],
            Segment::Pod { .. } => vec![format!("kubectl exec POD -- ss -ltn 'sport = :{port}'")],
            Segment::Between { from, to } => vec![format!("security groups and routes between {from} and {to}")],
        };
        if is_far {
            draft.not_seen.push("whether a NAT gateway on the way had a port left".to_owned());
            draft.next.push(
                "aws cloudwatch get-metric-statistics --namespace AWS/NATGateway --metric-name ErrorPortAllocation \
                 --dimensions Name=NatGatewayId,Value=NAT --start-time START --end-time END --period 60 --statistics Sum"
                    .to_owned(),
            );
        }
        draft.hurt = hurt;
        drafts.push(draft);
    }
    drafts
}

/// It is reached through a NAT gateway, if there is one.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xC0 == 64;
            let is_own = v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared;
            !(is_own || v4.is_multicast() || v4.is_unspecified())
        }
        // IPv6 is not translated there.
        IpAddr::V6(_) => false,
    }
}
