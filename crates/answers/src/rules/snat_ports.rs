//! N-08: no free source port to translate to.

use std::net::IpAddr;

use super::conntrack_full::node_of;
use crate::{
    Certainty, Code,
    view::{Draft, ENOUGH, View},
};

const SIGNAL: &str = "conntrack.insert_failed";
/// A table that is fuller, in hundredths, is another cause.
const FULL: u64 = 90;

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| node_of(view, trouble).map(|node| (node, trouble.backend)));
    groups.into_iter().filter_map(|((node, target), hurt)| of(view, node, target, hurt)).collect()
}

fn of(view: &View<'_>, node: &str, target: (IpAddr, u16), hurt: Vec<usize>) -> Option<Draft> {
    let counters = view.counted(node, SIGNAL, &hurt);
    let fill = view.fill(node);
    let is_full = fill.is_some_and(|(count, most)| count.saturating_mul(100) >= most.saturating_mul(FULL));
    if counters.is_empty() || is_full || hurt.len() < ENOUGH {
        return None;
    }
    let at = view.troubles[hurt[0]].millis();
    let (of, _) = view.attempts_of(&hurt);
    let text = format!(
        "{} connections to {} were lost in {node}: no source port was free to translate them to",
        hurt.len(),
        view.name(target, at)
    );
    let mut draft = Draft::of(Code::SnatPorts, Certainty::Verdict, text);
    draft.place = view.place_of(target, at);
    draft.place.node = Some(node.to_owned());
    draft.of = of;
    draft.counters = counters;
    if let Some((count, most)) = fill {
        draft.ruled_out = vec![format!("a full connection table: {count} of {most}")];
    }
    draft.next = vec![
        "iptables -t nat -S AWS-SNAT-CHAIN-0 | grep random-fully    # on the node; AWS_VPC_K8S_CNI_RANDOMIZESNAT=prng"
            .to_owned(),
        "keep-alive in the clients' pools, or more addresses to translate to (a second NAT gateway address)".to_owned(),
    ];
    draft.hurt = hurt;
    Some(draft)
}
