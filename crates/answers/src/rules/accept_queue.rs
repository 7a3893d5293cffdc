//! N-11: the server's accept queue is full.

use std::net::{IpAddr, SocketAddr};

use nodewatch_protocol::{Case, Finding, Symptom};

use crate::{
    Certainty, Code, Runner, Segment,
    paths::Trouble,
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
    // What answered before the first of them may be dead since.
    let first = view.troubles[hurt[0]].first().began;
    let later = |case: &Case| (case.destination, case.ports.1) == target && case.began > first;
    let lives = || {
        hurt.iter().any(|&at| view.troubles[at].what == Finding::Symptom(Symptom::Delayed))
            || view.joined.answered().any(later)
            || view.answers_after(target, view.troubles[hurt[0]].millis())
    };
    if !is_exact && counters.is_empty() && !lives() {
        return None;
    }
    // Where data is lost as often as beginnings are, it is the way.
    if !is_exact && reached == 0 && counters.is_empty() && loses_data(view, target, &hurt, of) {
        return None;
    }
    let at = view.troubles[hurt[0]].millis();
    let socket = SocketAddr::new(target.0, target.1);
    let name = view.name(target, at);
    let sure = is_exact || reached * 2 > hurt.len() || !counters.is_empty();
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
