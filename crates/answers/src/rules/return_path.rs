//! N-13: the answer, or the request, takes another way than the node expects.

use super::conntrack_full::node_of;
use crate::{
    Certainty, Code, Segment,
    view::{Draft, ENOUGH_EXACT, View},
};

const SIGNAL: &str = "ip.reverse_path_drops";

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| {
        let between = match &trouble.segment {
            // What the node drops on its way in was seen there by a capture, and not by those behind it.
            Some(Segment::Between { to, .. }) => Some(to.as_str()),
            _ => None,
        };
        node_of(view, trouble).or(between)
    });
    let mut drafts = Vec::new();
    for (node, hurt) in groups {
        let counters = view.steps(node, SIGNAL, &hurt);
        if counters.is_empty() || hurt.len() < ENOUGH_EXACT {
            continue;
        }
        let (of, _) = view.attempts_of(&hurt);
        let trouble = &view.troubles[hurt[0]];
        let (at, target) = (trouble.millis(), trouble.backend());
        let text = format!(
            "{} connections to {} were dropped by {node}: they came in by an interface that the way back does not take",
            hurt.len(),
            view.name(target, at)
        );
        let mut draft = Draft::of(Code::ReturnPath, Certainty::Verdict, text);
        draft.place = view.place_of(target, at);
        draft.place.node = Some(node.to_owned());
        draft.of = of;
        draft.counters = counters;
        draft.ruled_out = vec!["policy: the kernel has counted them as wrong by their reverse path".to_owned()];
        draft.next = vec![
            format!(
                "sysctl net.ipv4.conf.all.rp_filter    # on {node}: 2 (loose) for interfaces with several ways; ip rule"
            ),
            "AWS_VPC_CNI_NODE_PORT_SUPPORT=true; source/dest check of the interface; preserve_client_ip.enabled=false"
                .to_owned(),
        ];
        draft.hurt = hurt;
        drafts.push(draft);
    }
    drafts
}
