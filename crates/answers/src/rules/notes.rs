//! What counters alone say: never more than a note.

use crate::{
    Certainty,
    view::{Draft, View},
};

/// A table that is fuller, in hundredths, is worth a note.
const WORTH: u64 = 80;
/// Counters that are worth a note, from which rise in a minute on, and what they mean.
const COUNTERS: [(&str, u64, &str); 7] = [
    ("ena.bw_in_allowance_exceeded", 10, "over the instance's incoming bandwidth; nothing was lost that was seen"),
    ("ena.bw_out_allowance_exceeded", 10, "over the instance's outgoing bandwidth; nothing was lost that was seen"),
    ("ena.pps_allowance_exceeded", 10, "over the instance's packets a second; nothing was lost that was seen"),
    (
        "ena.linklocal_allowance_exceeded",
        1,
        "over the limit of questions to the VPC's services; all were answered that were seen",
    ),
    ("conntrack.insert_failed", 1, "connections found no place in the table; none is missed"),
    ("arp.table_fulls", 1, "the neighbour table was full; no connection is missed"),
    ("softnet.dropped", 1, "packets were dropped before they were looked at: a CPU had too many"),
];

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for node in view.signals.nodes() {
        if let Some((count, most)) =
            view.fill(node).filter(|(count, most)| count.saturating_mul(100) >= most.saturating_mul(WORTH))
        {
            let text = format!(
                "the connection table of {node} is {} % full, nothing is lost",
                count.saturating_mul(100) / most
            );
            drafts.push(note(node, text, "sysctl net.netfilter.nf_conntrack_max".to_owned()));
        }
        for (signal, least, meaning) in COUNTERS {
            if view.rise(node, signal) >= least {
                let mut draft = note(node, format!("{node}: {meaning}"), format!("nodewatch-tui: :signals, {signal}"));
                draft.counters = view.signals.steps(node, signal, view.window);
                drafts.push(draft);
            }
        }
    }
    drafts.extend(searches(view));
    drafts
}

fn note(node: &str, text: String, next: String) -> Draft {
    let mut draft = Draft { certainty: Some(Certainty::Note), text, next: vec![next], ..Draft::default() };
    draft.place.node = Some(node.to_owned());
    draft
}

/// Names that are looked up in many domains: more questions than need be.
fn searches(view: &View<'_>) -> Option<Draft> {
    const MANY: u64 = 4;
    let dns = view.pairs.iter().filter(|(target, _)| target.dns).flat_map(|(_, taps)| taps);
    let (asked, names) = dns.fold((0_u64, 0_u64), |sum, (_, sums)| {
        (sum.0.saturating_add(sums.attempts), sum.1.saturating_add(sums.lookups))
    });
    (names >= 100 && asked >= names.saturating_mul(MANY)).then(|| {
        let text = format!("search lists: {:.1} questions to DNS a name", asked as f64 / names as f64);
        let next = "dnsConfig ndots:2, or names that end with a dot".to_owned();
        Draft { certainty: Some(Certainty::Note), text, next: vec![next], ..Draft::default() }
    })
}
