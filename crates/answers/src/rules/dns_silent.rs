//! N-04: a DNS server does not answer, or a client is stuck on one that is gone.

use std::{collections::BTreeSet, net::IpAddr};

use nodewatch_protocol::{Case, Finding, Service, Symptom};

use crate::{
    Certainty, Code, Segment, Source,
    paths::Trouble,
    view::{Draft, ENOUGH, View, least_share},
};

/// A server's share must be so many times that of the others.
const TIMES: f64 = 5.0;
const LEAST: f64 = 0.01;

fn is_of_it(trouble: &Trouble) -> bool {
    let what = |finding| trouble.what == finding;
    what(Finding::Symptom(Symptom::DnsUnanswered))
        || what(Finding::AnswerTooLate)
        || what(Finding::Symptom(Symptom::DnsLate))
}

/// The server's own host says that nothing listens there.
fn is_closed(trouble: &Trouble) -> bool {
    let of_dns = |case: &Case| case.service == Service::Dns && case.other == Some(trouble.backend.0);
    trouble.what == Finding::Symptom(Symptom::Unreachable) && of_dns(trouble.first())
}

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| is_of_it(trouble).then_some(trouble.backend));
    let all: usize = groups.values().map(Vec::len).sum();
    let (asked, _) = view.attempts(|ends| ends.dns);
    let many = groups.into_iter().filter(|(_, hurt)| hurt.len() >= ENOUGH);
    many.filter_map(|(server, hurt)| of(view, server, hurt, (all, asked))).collect()
}

fn of(view: &View<'_>, server: (IpAddr, u16), hurt: Vec<usize>, (all, asked): (usize, u64)) -> Option<Draft> {
    let (own, answered) = view.attempts(|ends| ends.dns && ends.destination == server.0);
    let own = own.max(hurt.len() as u64);
    let (others, of_others) = ((all - hurt.len()) as u64, asked.saturating_sub(own));
    let share = hurt.len() as f64 / own as f64;
    let of_the_others = if of_others == 0 { 0.0 } else { others as f64 / of_others as f64 };
    let stands_out = share >= TIMES * of_the_others || (of_others == 0 && answered > 0) || answered == 0;
    if !view.enough(&hurt, own, ENOUGH)
        || least_share(hurt.len() as u64, own) < LEAST.min(share / 2.0)
        || share < LEAST
        || !stands_out
    {
        return None;
    }
    let at = view.troubles[hurt[hurt.len() - 1]].millis();
    let left = view.journal.left(server.0, server.1, at);
    let ports: BTreeSet<u16> = hurt.iter().map(|&at| view.troubles[at].first().ports.0).collect();
    let late = hurt.iter().filter(|&&at| view.troubles[at].what != Finding::Symptom(Symptom::DnsUnanswered)).count();
    let stuck = ports.len() == 1 && hurt.len() >= ENOUGH;
    let name = view.name(server, at);
    let count = hurt.len();
    let (how, sure) = match (left, view.segment_of(&hurt)) {
        (Some(left), _) => {
            (format!("it has been no endpoint for {} s: the mapping is stale", at.saturating_sub(left) / 1000), true)
        }
        (None, _) if late * 2 > count => {
            // Where most come in time, it is some names that take long.
            let most = late as u64 * 2 > own;
            let why = if most { "it is overloaded" } else { "it is overloaded, or those names' own servers are slow" };
            (format!("{late} answers came after a second and more: {why}"), most)
        }
        (None, Some(Segment::Pod { .. })) => ("the questions have reached its pod".to_owned(), true),
        (None, Some(Segment::Between { .. } | Segment::Node { .. })) => return None,
        _ if stuck => ("one client port asks it again and again, as with a stale mapping".to_owned(), false),
        _ if answered > 0 => (format!("{answered} others were answered"), false),
        _ => ("none was answered".to_owned(), false),
    };
    let text = format!("{count} of {own} questions to the DNS server {name} were not answered in time: {how}");
    let mut draft = Draft::of(Code::DnsSilent, if sure { Certainty::Verdict } else { Certainty::Likely }, text);
    draft.place = view.place_of(server, at);
    draft.of = own;
    if of_others > 0 {
        draft.ruled_out = vec![format!("DNS as a whole: other servers missed {others} of {of_others}")];
    }
    let told = view.troubles.iter().filter(|it| is_closed(it) && it.backend == server).count();
    if told > 0 {
        draft.ruled_out.push(format!("loss: {told} ICMP errors say that nothing listens on that port"));
    } else if !sure {
        draft.not_seen = vec![format!("whether the questions have reached {name}: watch its node")];
    }
    draft.not_seen.extend(view.unheard(&[Source::Endpoints]));
    draft.next = next(view, server, at);
    draft.hurt = hurt;
    Some(draft)
}

fn next(view: &View<'_>, (address, port): (IpAddr, u16), at: u64) -> Vec<String> {
    let mut next = Vec::new();
    if let Some((namespace, name)) = view.journal.pod_at(address, at).and_then(|pod| pod.name.split_once('/')) {
        next.push(format!("kubectl -n {namespace} logs {name} --tail=200 | grep -c timeout"));
        next.push(format!("kubectl -n {namespace} top pod {name}"));
    } else {
        next.push("kubectl get pod -n kube-system -l k8s-app=kube-dns -o wide".to_owned());
    }
    next.push(format!(
        "conntrack -L -p udp --dport {port} | grep {address}    # on the client's node; -D deletes a stale mapping"
    ));
    next
}
