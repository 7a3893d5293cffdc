//! N-11: the server's accept queue is full.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use nodewatch_protocol::{Finding, Symptom};

use crate::{
    Certainty, Code, Runner, Segment,
    paths::{Sighting, TapId, Trouble},
    rules,
    view::{Draft, ENOUGH, ENOUGH_EXACT, View},
};

/// An attempt that the server's end has not taken, as far as is known.
fn is_of_it(trouble: &Trouble) -> bool {
    // The server has answered at once, for an older connection between the same ports.
    if trouble.reused {
        return false;
    }
    let not_taken = matches!(trouble.segment, Some(Segment::Pod { .. } | Segment::Beyond { .. }));
    trouble.shows(Finding::NotAccepted) || (trouble.is_lost_attempt() && not_taken)
}

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| is_of_it(trouble).then_some(trouble.backend));
    let many = groups.into_iter().filter(|(_, hurt)| hurt.len() >= ENOUGH_EXACT);
    many.filter_map(|(target, hurt)| of(view, target, hurt)).collect()
}

fn of(view: &View<'_>, target: (IpAddr, u16), hurt: Vec<usize>) -> Option<Draft> {
    let exact = hurt.iter().filter(|&&at| view.troubles[at].shows(Finding::NotAccepted)).count();
    let reached = hurt.iter().filter(|&&at| matches!(view.troubles[at].segment, Some(Segment::Pod { .. }))).count();
    // Of a service only what this one of its backends has answered counts.
    let (at_it, answered) = view.attempts_at(target);
    let of = at_it.max(hurt.len() as u64);
    // The counter is of the node's own sockets, and of all of them.
    let owner = view.nodes.get(&target.0);
    let counters = owner.map_or_else(Vec::new, |node| view.counted(node, "tcp.listen_overflows", &hurt));
    let is_exact = exact >= ENOUGH_EXACT;
    // One that answers nothing at all is dead or shut off, and not overrun, but where its node counts it.
    if (answered == 0 && counters.is_empty()) || !(is_exact || view.enough(&hurt, of, ENOUGH)) {
        return None;
    }
    let (others, among_them) = answered_meanwhile(view, target, &hurt);
    // What answers only before and after them is dead, or was.
    if !is_exact && counters.is_empty() && !others {
        return None;
    }
    // Where data is lost as often as beginnings are, it is the way.
    if !is_exact && reached == 0 && counters.is_empty() && loses_data(view, target, &hurt, of) {
        return None;
    }
    let at = view.troubles[hurt[0]].millis();
    let socket = SocketAddr::new(target.0, target.1);
    let name = view.name(target, at);
    let sure = is_exact || (reached * 2 > hurt.len() && among_them) || !counters.is_empty();
    let how = if !counters.is_empty() {
        "its node counts overflows of accept queues".to_owned()
    } else if is_exact {
        format!("{exact} handshakes were complete and not taken")
    } else if reached * 2 > hurt.len() {
        format!("{reached} have reached its pod")
    } else {
        "their first packets were lost".to_owned()
    };
    let text = format!(
        "{} of {of} connections to {name} were not accepted in time: {how}, {answered} others were answered",
        hurt.len()
    );
    let mut draft = Draft::of(Code::AcceptQueue, if sure { Certainty::Verdict } else { Certainty::Likely }, text);
    draft.place = view.place_of(target, at);
    draft.of = of;
    if !is_exact && counters.is_empty() && !among_them {
        draft
            .not_seen
            .push("whether it answers those who ask in vain at all: it was others that it answered".to_owned());
    }
    if reached > 0 {
        draft.ruled_out.push("loss and policy: the attempts have reached the pod".to_owned());
    }
    if answered > 0 {
        draft.ruled_out.push(format!("a dead server: it has answered {answered} attempts in the same minute"));
    }
    if counters.is_empty() {
        draft.not_seen.push("the pod's own counters (ListenOverflows)".to_owned());
    }
    draft.counters = counters;
    if !sure {
        draft.runner_up = Some(Runner { code: Code::WireLoss, check: rules::check(Code::WireLoss).to_owned() });
    }
    let pod = view.journal.pod_at(target.0, at).and_then(|pod| pod.name.split_once('/'));
    draft.next = vec![
        match pod {
            Some((namespace, pod)) => format!("kubectl exec -n {namespace} {pod} -- ss -ltn 'sport = :{}'", target.1),
            None => format!("ss -ltn 'sport = :{}'    # where {socket} listens: is Recv-Q above Send-Q", target.1),
        },
        "raise the backlog of listen() and net.core.somaxconn (securityContext.sysctls), or add replicas".to_owned(),
    ];
    draft.exact = is_exact;
    draft.hurt = hurt;
    Some(draft)
}

/// Between the first and the last of these it has answered others, and some of those who ask in vain too: each by the clock of
/// one place, that which has seen it last.
fn answered_meanwhile(view: &View<'_>, target: (IpAddr, u16), hurt: &[usize]) -> (bool, bool) {
    let lasts = || hurt.iter().filter_map(|&at| Some((view.troubles[at].what, view.troubles[at].seen.last()?)));
    let mut spans: BTreeMap<TapId, (i64, i64)> = BTreeMap::new();
    for (_, it) in lasts() {
        let span = spans.entry(it.tap).or_insert((it.case.began, it.case.began));
        *span = (span.0.min(it.case.began), span.1.max(it.case.began));
    }
    let within =
        |it: &Sighting, at: i64| spans.get(&it.tap).is_some_and(|(first, last)| (first + 1..*last).contains(&at));
    // One that was taken at a later try was answered too.
    let tries = lasts().filter(|(what, it)| *what == Finding::Symptom(Symptom::Delayed) && within(it, it.case.at));
    let to_it = |it: &&Sighting| (it.case.destination, it.case.ports.1) == target && within(it, it.case.began);
    let mut sources =
        view.joined.answered().filter(to_it).chain(tries.map(|(_, it)| it)).map(|it| it.case.source).peekable();
    let others = sources.peek().is_some();
    let fails: BTreeSet<IpAddr> = lasts().map(|(_, it)| it.case.source).collect();
    (others, sources.any(|source| fails.contains(&source)))
}

/// Of the segments of all connections to it at least half as large a share was sent again as of the beginnings was lost.
fn loses_data(view: &View<'_>, target: (IpAddr, u16), hurt: &[usize], of: u64) -> bool {
    let lost = hurt.len() as u64;
    let sums = view.sums_at(target);
    let data = sums.segments.saturating_sub(sums.attempts.saturating_mul(3));
    // A beginning is sent again too.
    let begun: u64 = hurt.iter().map(|&at| u64::from(view.troubles[at].first().repeats).max(1)).sum();
    let again = sums.retransmitted.saturating_sub(begun);
    again >= 5 && data > 0 && again.saturating_mul(2).saturating_mul(of) >= data.saturating_mul(lost) / 2
}
