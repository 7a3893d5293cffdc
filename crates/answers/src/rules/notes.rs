//! What counters alone say: never more than a note.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    Certainty,
    view::{Draft, View},
};

/// A table that is fuller, in hundredths, is worth a note.
const WORTH: u64 = 80;
/// Targets that one note names.
const NAMED: usize = 3;
/// Local ports of which more are in use, in hundredths, may soon be none.
const SCARCE: u64 = 90;
/// Counters that are worth a note, from which rise in a minute on, and what they mean.
const COUNTERS: [(&str, u64, &str); 8] = [
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
    ("ndisc.table_fulls", 1, "the neighbour table of IPv6 was full; no connection is missed"),
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
        drafts.extend(local_ports(view, node));
        for (signal, least, meaning) in COUNTERS {
            if view.rise(node, signal) >= least {
                let mut draft = note(node, format!("{node}: {meaning}"), format!("nodewatch-tui: :signals, {signal}"));
                draft.counters = view.signals.steps(node, signal, view.window);
                drafts.push(draft);
            }
        }
    }
    drafts.extend(searches(view));
    drafts.extend(dead(view));
    drafts
}

/// Attempts to reach who is not there: no failure of anything that works.
fn dead(view: &View<'_>) -> Option<Draft> {
    let targets: BTreeSet<(IpAddr, u16)> = view.dead.iter().map(|trouble| trouble.backend).collect();
    let named: Vec<String> = targets.iter().take(NAMED).map(|target| view.name(*target, view.window.1)).collect();
    let more = if targets.len() > NAMED { format!(" and {} more", targets.len() - NAMED) } else { String::new() };
    (!targets.is_empty()).then(|| {
        let text = format!(
            "{} attempts to reach who has answered nobody for 15 min and is no service's: {}{more}",
            view.dead.len(),
            named.join(", ")
        );
        let next = "an old setting, or a scan: who asks is in :connections".to_owned();
        Draft { certainty: Some(Certainty::Note), text, next: vec![next], ..Draft::default() }
    })
}

/// When no local port is free, a connection fails without a packet: what is seen is how few are left.
fn local_ports<'a>(view: &'a View<'_>, node: &'a str) -> impl Iterator<Item = Draft> + 'a {
    let range = view.signals.value(node, "tcp.ephemeral_range").filter(|range| *range > 0);
    let of_range = move |(path, used)| range.map(|range| (path, used, range));
    let paths = view.signals.items(node, "tcp.ephemeral_ports").filter_map(of_range);
    let scarce = paths.filter(|&(_, used, range)| used.saturating_mul(100) >= range.saturating_mul(SCARCE));
    scarce.map(move |(path, used, range)| {
        let text = format!(
            "{used} of {range} local ports of {node} are in use on {path}: when none is free, connect() fails and no packet shows it"
        );
        let to = path.rsplit(' ').next().unwrap_or(path);
        note(node, text, format!("ss -Htan | grep -cF {to}    # on {node}; then keep-alive in the client's pool"))
    })
}

fn note(node: &str, text: String, next: String) -> Draft {
    let mut draft = Draft { certainty: Some(Certainty::Note), text, next: vec![next], ..Draft::default() };
    draft.place.node = Some(node.to_owned());
    draft
}

/// Names that are looked up in many domains: more questions than need be.
fn searches(view: &View<'_>) -> Option<Draft> {
    const MANY: u64 = 4;
    let dns = view.pairs.targets().filter(|target| target.dns).flat_map(|target| view.pairs.of(target));
    let (asked, names) = dns.fold((0_u64, 0_u64), |sum, (_, sums)| {
        (sum.0.saturating_add(sums.attempts), sum.1.saturating_add(sums.lookups))
    });
    (names >= 100 && asked >= names.saturating_mul(MANY)).then(|| {
        let text = format!("search lists: {:.1} questions to DNS a name", asked as f64 / names as f64);
        let next = "dnsConfig ndots:2, or names that end with a dot".to_owned();
        Draft { certainty: Some(Certainty::Note), text, next: vec![next], ..Draft::default() }
    })
}
