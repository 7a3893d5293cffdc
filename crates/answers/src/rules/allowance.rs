//! N-10: a limit of the instance.

use std::collections::BTreeSet;

use crate::{
    Certainty, Code, Runner, Segment, rules,
    view::{Draft, ENOUGH, View},
};

/// The limits, what each is, and from which rise on it is believed.
const LIMITS: [(&str, &str, u64); 4] = [
    ("ena.conntrack_allowance_exceeded", "connections that its security groups track", 1),
    ("ena.pps_allowance_exceeded", "packets a second", 10),
    ("ena.bw_in_allowance_exceeded", "incoming bandwidth", 10),
    ("ena.bw_out_allowance_exceeded", "outgoing bandwidth", 10),
];

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for node in view.signals.nodes() {
        let risen = LIMITS.iter().find(|(signal, _, least)| view.rise(node, signal) >= *least);
        let Some((signal, what, _)) = risen else { continue };
        let hurt: Vec<usize> = view
            .troubles
            .iter()
            .enumerate()
            .filter(|(_, trouble)| trouble.is_lost())
            .filter(|(_, trouble)| match &trouble.segment {
                Some(Segment::Between { from, to }) => from == node || to == node,
                Some(Segment::Beyond { .. }) => view.nodes_of(trouble).contains(node),
                _ => false,
            })
            // One that answers nobody is no sign of a limit.
            .filter(|(_, trouble)| {
                matches!(trouble.segment, Some(Segment::Between { .. })) || view.attempts_at(trouble.backend).1 > 0
            })
            .map(|(at, _)| at)
            .collect();
        let counters = view.steps(node, signal, &hurt);
        let peers: BTreeSet<_> = hurt.iter().map(|&at| view.troubles[at].backend.0).collect();
        let (of, _) = view.attempts_of(&hurt);
        if hurt.is_empty() || counters.is_empty() || !view.enough(&hurt, of, ENOUGH) {
            continue;
        }
        let between = hurt.iter().any(|&at| matches!(view.troubles[at].segment, Some(Segment::Between { .. })));
        let sure = between || peers.len() >= 3;
        let text = format!(
            "{} connections of {node} were lost on the wire while it was over its instance's limit of {what}",
            hurt.len()
        );
        let mut draft = Draft::of(Code::Allowance, if sure { Certainty::Verdict } else { Certainty::Likely }, text);
        draft.place.node = Some(node.to_owned());
        draft.of = of;
        draft.counters = counters;
        if between {
            draft.ruled_out = vec!["the nodes themselves: it has left one and not reached the other".to_owned()];
        }
        if !sure {
            draft.runner_up = Some(Runner { code: Code::WireLoss, check: rules::check(Code::WireLoss).to_owned() });
            draft.not_seen = vec!["the other ends' nodes".to_owned()];
        }
        draft.next = vec![
            "EC2 console > the instance > type > network: a larger type, or one with \"n\"".to_owned(),
            "spread the pods that send most (:connections sorts by bytes), or pace them".to_owned(),
        ];
        draft.hurt = hurt;
        drafts.push(draft);
    }
    drafts
}
