//! N-15: an address on the link is not resolved.

use std::{collections::BTreeSet, net::IpAddr};

use nodewatch_protocol::{Finding, Role, Symptom};

use super::conntrack_full::node_of;
use crate::{
    Certainty, Code, Pod, Source,
    paths::Trouble,
    view::{Draft, ENOUGH, ENOUGH_EXACT, View},
};

/// Of each family of addresses.
const FULL: [&str; 2] = ["arp.table_fulls", "ndisc.table_fulls"];

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let mut drafts = Vec::new();
    let family = |trouble: &Trouble| usize::from(trouble.backend.0.is_ipv6());
    for ((node, family), hurt) in view.grouped(|trouble| node_of(view, trouble).map(|node| (node, family(trouble)))) {
        let counters = view.counted(node, FULL[family], &hurt);
        if counters.is_empty() || hurt.len() < ENOUGH {
            continue;
        }
        let (of, _) = view.attempts_of(&hurt);
        let text = format!(
            "{} connections were lost in {node}: its neighbour table is full, so it cannot ask for addresses",
            hurt.len()
        );
        let mut draft = Draft::of(Code::Neighbour, Certainty::Verdict, text);
        draft.place.node = Some(node.to_owned());
        draft.of = of;
        draft.counters = counters;
        draft.next = vec![
            format!(
                "ip -s neigh | wc -l    # on {node}; net.{}.neigh.default.gc_thresh3 of four times its pods and nodes",
                ["ipv4", "ipv6"][family]
            ),
            "Bottlerocket: settings.kernel.sysctl".to_owned(),
        ];
        draft.hurt = hurt;
        drafts.push(draft);
    }
    drafts.extend(silent(view));
    drafts
}

/// Somebody who should be there does not answer for its address, and connections to it fail.
fn silent(view: &View<'_>) -> Vec<Draft> {
    let asked = view.grouped(|trouble| {
        let unanswered = trouble.what == Finding::Symptom(Symptom::NeighbourUnanswered);
        unanswered.then(|| (trouble.backend.0, view.last_node(trouble).to_owned()))
    });
    let mut drafts = Vec::new();
    for ((address, node), mut hurt) in asked {
        let failed = view.troubles.iter().enumerate().filter(|(_, trouble)| {
            let what =
                matches!(trouble.what, Finding::Symptom(Symptom::Unanswered | Symptom::Unreachable | Symptom::Delayed));
            what && trouble.backend.0 == address
        });
        let failed: Vec<usize> = failed.map(|(at, _)| at).collect();
        // A pod that is gone answers for nothing; that is another cause.
        let gone = view.journal.pod_at(address, view.window.1).is_some_and(|pod| pod.phase == crate::PodPhase::Gone);
        let (of, _) = view.attempts_of(&failed);
        if gone {
            continue;
        }
        if failed.len() < ENOUGH_EXACT {
            drafts.extend(in_pod(view, address, &node, hurt));
            continue;
        }
        let text = format!(
            "{} connections to {address} failed: nobody answers for that address on the link of {node}",
            failed.len()
        );
        let sure = view.journal.pod_at(address, view.window.1).is_some();
        let mut draft = Draft::of(Code::Neighbour, if sure { Certainty::Verdict } else { Certainty::Likely }, text);
        draft.place.node = Some(node.clone());
        draft.place.target = Some((address, 0));
        draft.of = of;
        draft.not_seen = view.unheard(&[Source::Pods]);
        draft.next =
            vec![format!("ip neigh show {address}    # on {node}: FAILED; is the address still that of an interface")];
        hurt.extend(failed);
        draft.hurt = hurt;
        drafts.push(draft);
    }
    drafts
}

/// A pod asks again and again and can send nothing: of its connections no packet was ever seen. Of addresses that nobody has,
/// as in a scan, that is right.
fn in_pod(view: &View<'_>, address: IpAddr, node: &str, hurt: Vec<usize>) -> Option<Draft> {
    // What is not heard any more may have changed.
    view.journal.since(Source::Pods)?;
    // On a bridge the node's own questions reach all pods' interfaces.
    let is_own = |pod: &Pod| pod.node == node && !pod.on_host;
    let asks =
        |address| !view.nodes.contains_key(&address) && view.journal.pod_at(address, view.window.1).is_some_and(is_own);
    let pods = |&at: &usize| {
        let first = view.troubles[at].seen.first().filter(|it| asks(it.case.source))?;
        view.tap(first.tap).filter(|tap| tap.role == Role::Pod).map(|tap| tap.interface.as_str())
    };
    let of_pods: Vec<usize> = hurt.into_iter().filter(|at| pods(at).is_some()).collect();
    let is_there = view.nodes.contains_key(&address) || view.journal.pod_at(address, view.window.1).is_some();
    if of_pods.len() < ENOUGH_EXACT || !is_there {
        return None;
    }
    let interfaces: BTreeSet<&str> = of_pods.iter().filter_map(pods).collect();
    let who = match interfaces.len() {
        1 => view.name((view.troubles[of_pods[0]].first().source, 0), view.window.1),
        several => format!("{several} pods"),
    };
    let name = view.name((address, 0), view.window.1);
    let text = format!(
        "{who} cannot send to {name}: {} times nobody on {node} has answered who has that address",
        of_pods.len()
    );
    let mut draft = Draft::of(Code::Neighbour, Certainty::Likely, text);
    draft.place.node = Some(node.to_owned());
    draft.place.interface = interfaces.first().filter(|_| interfaces.len() == 1).map(|name| (*name).to_owned());
    draft.place.target = Some((address, 0));
    draft.of = of_pods.len() as u64;
    draft.not_seen = vec!["how many connections that is: none of their packets can leave the pod".to_owned()];
    draft.next = vec![
        format!("kubectl exec POD -- ip neigh show {address}    # FAILED; kubectl exec POD -- ip route get {address}"),
        format!(
            "sysctl net.ipv4.conf.all.proxy_arp; ip -d link    # on {node}: the pod's end, and its bridge if it has one"
        ),
    ];
    draft.hurt = of_pods;
    Some(draft)
}
