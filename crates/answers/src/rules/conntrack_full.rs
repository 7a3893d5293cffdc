//! N-07: the node's connection table is full.

use crate::{
    Certainty, Code, Segment,
    paths::Trouble,
    view::{Draft, ENOUGH, View},
};

/// So many hundredths of the table are full.
const FULL: u64 = 95;

/// Nodes in which it may have been lost: the one that is known, or the last one into which it has come.
pub(super) fn node_of<'a>(view: &View<'a>, trouble: &'a Trouble) -> Option<&'a str> {
    if !trouble.is_lost() {
        return None;
    }
    match &trouble.segment {
        Some(Segment::Node { node, .. }) => Some(node),
        Some(Segment::Beyond { .. }) => view.came_into(trouble),
        _ => None,
    }
}

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    view.grouped(|trouble| node_of(view, trouble)).into_iter().filter_map(|(node, hurt)| of(view, node, hurt)).collect()
}

fn of(view: &View<'_>, node: &str, hurt: Vec<usize>) -> Option<Draft> {
    let (count, most) = view.fill(node)?;
    let mut counters = view.counted(node, "conntrack.drop", &hurt);
    counters.extend(view.counted(node, "conntrack.early_drop", &hurt));
    let is_full = count.saturating_mul(100) >= most.saturating_mul(FULL);
    let others = !view.steps(node, "conntrack.insert_failed", &hurt).is_empty();
    if !is_full || counters.is_empty() || others || hurt.len() < ENOUGH {
        return None;
    }
    let (of, _) = view.attempts_of(&hurt);
    let text =
        format!("{} new connections were lost in {node}: its connection table is full ({count} of {most})", hurt.len());
    let mut draft = Draft::of(Code::ConntrackFull, Certainty::Verdict, text);
    draft.place.node = Some(node.to_owned());
    draft.of = of;
    draft.counters = counters;
    draft.ruled_out = vec!["clashing source ports: conntrack.insert_failed has not moved".to_owned()];
    draft.not_seen = vec!["tables of other network namespaces on the node, as a mesh sidecar's".to_owned()];
    draft.next = vec![
        format!("sysctl net.netfilter.nf_conntrack_max    # on {node}: raise it; kube-proxy: conntrack.maxPerCore"),
        "conntrack -L 2>/dev/null | awk '{print $5}' | sort | uniq -c | sort -rn | head    # who fills it".to_owned(),
    ];
    draft.hurt = hurt;
    Some(draft)
}
