//! N-03: the VPC's resolver drops a node's questions.

use std::net::IpAddr;

use nodewatch_protocol::{Finding, Symptom};

use crate::{
    Certainty, Code,
    view::{Draft, ENOUGH, View},
};

const SIGNAL: &str = "ena.linklocal_allowance_exceeded";
/// Questions a second and interface that the resolver takes (AWS, "DNS quotas" of the VPC).
const QUOTA: u32 = 1024;

/// The second address of a VPC's network, or that of every VPC.
fn is_resolver(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[3] == 2 || address.octets() == [169, 254, 169, 253],
        IpAddr::V6(address) => address.segments() == [0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x253],
    }
}

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| {
        let asks = trouble.what == Finding::Symptom(Symptom::DnsUnanswered) && is_resolver(trouble.backend.0);
        asks.then(|| (view.last_node(trouble).to_owned(), trouble.backend))
    });
    groups.into_iter().filter_map(|((node, resolver), hurt)| of(view, node, resolver, hurt)).collect()
}

fn of(view: &View<'_>, node: String, resolver: (IpAddr, u16), hurt: Vec<usize>) -> Option<Draft> {
    let counters = view.steps(&node, SIGNAL, &hurt);
    let (asked, answered) = view.attempts_of(&hurt);
    if counters.is_empty() || !view.enough(&hurt, asked, ENOUGH) {
        return None;
    }
    let text = format!(
        "{} of {asked} questions of {node} to the VPC's resolver {} were dropped: more than {QUOTA} a second and interface",
        hurt.len(),
        resolver.0
    );
    let mut draft = Draft::of(Code::DnsThrottled, Certainty::Verdict, text);
    draft.place.node = Some(node);
    draft.place.target = Some(resolver);
    draft.of = asked;
    draft.counters = counters;
    draft.ruled_out = vec![format!("a resolver that is away: it has answered {answered} questions")];
    draft.next = vec![
        "kubectl get pod -n kube-system -l k8s-app=kube-dns -o wide".to_owned(),
        "NodeLocal DNSCache, CoreDNS on more nodes, or ndots:2 in dnsConfig for fewer questions".to_owned(),
    ];
    draft.hurt = hurt;
    Some(draft)
}
