//! N-01: traffic to a backend that is leaving or gone.

use std::net::{IpAddr, SocketAddr};

use nodewatch_protocol::{Finding, Service, Symptom};

use crate::{
    Certainty, Code, PodPhase, Runner, Source,
    paths::Trouble,
    rules,
    view::{Draft, ENOUGH, ENOUGH_EXACT, View},
};

/// Rules of a node that are this much older than the change of the endpoints, in milliseconds, are stale.
const STALE: u64 = 10_000;
/// A pod that is younger than this, in milliseconds, may have the address of another one.
const YOUNG: u64 = 120_000;

fn is_of_it(trouble: &Trouble) -> bool {
    let what = |symptom| trouble.what == Finding::Symptom(symptom);
    what(Symptom::Refused) || what(Symptom::Unanswered) || what(Symptom::Unreachable)
}

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| is_of_it(trouble).then_some(trouble.backend));
    // What the API server says of its pods and endpoints is more than what others answer.
    let is_heard = [Source::Pods, Source::Endpoints].iter().all(|source| view.journal.since(*source).is_some());
    groups
        .into_iter()
        .filter(|(_, hurt)| hurt.len() >= ENOUGH)
        .filter_map(|(backend, hurt)| {
            known(view, backend, &hurt)
                .or_else(|| rejected(view, backend, &hurt))
                .or_else(|| if is_heard { None } else { seen(view, backend, &hurt) })
        })
        .collect()
}

/// Codes of ICMP and of ICMPv6 that say that a port is not reachable, as kube-proxy does for a service without endpoints.
const NO_PORT: [u32; 2] = [3, 4];

/// A node rejects it before it reaches the address.
fn rejected(view: &View<'_>, (address, port): (IpAddr, u16), hurt: &[usize]) -> Option<Draft> {
    let told: Vec<IpAddr> = hurt
        .iter()
        .filter_map(|&at| {
            let case = view.troubles[at].first();
            let is_port = case.amount == NO_PORT[usize::from(case.source.is_ipv6())];
            let says = view.troubles[at].what == Finding::Symptom(Symptom::Unreachable) && is_port;
            case.other.filter(|other| says && case.service == Service::Tcp && *other != address)
        })
        .collect();
    let teller = *told.first()?;
    let (of, answered) = view.attempts_at((address, port));
    let of = of.max(hurt.len() as u64);
    // ICMP errors are limited: not each is told.
    if answered > 0 || told.len() < ENOUGH_EXACT || !view.enough(hurt, of, ENOUGH) {
        return None;
    }
    let at = view.troubles[hurt[0]].millis();
    let service = view.journal.service_at(address, port);
    let empty = service.is_some_and(|service| view.journal.ready(service).is_empty());
    let sure = empty && view.journal.since(Source::Endpoints).is_some();
    let name = view.name((address, port), at);
    let text = format!(
        "{} connections to {name} were rejected by {teller}, port unreachable, as those to a service without endpoints are",
        hurt.len()
    );
    let mut draft = Draft::of(Code::EndpointGone, if sure { Certainty::Verdict } else { Certainty::Likely }, text);
    draft.place = view.place_of((address, port), at);
    draft.of = of;
    draft.ruled_out = vec![format!("loss: {} ICMP errors have come back", told.len())];
    if !sure {
        draft.not_seen = view.unheard(&[Source::Endpoints, Source::Services]);
        draft.runner_up = Some(Runner { code: Code::PolicyDrop, check: rules::check(Code::PolicyDrop).to_owned() });
    }
    draft.next = next(service, None);
    draft.hurt = hurt.to_vec();
    Some(draft)
}

/// What the API's journal knows of the backend at that moment.
fn known(view: &View<'_>, (address, port): (IpAddr, u16), hurt: &[usize]) -> Option<Draft> {
    let at = view.troubles[hurt[0]].millis();
    let last = view.troubles[hurt[hurt.len() - 1]].millis();
    // What is not heard any more may have changed since.
    let hears = |source| view.journal.since(source).is_some();
    let pod = view.journal.pod_at(address, last).filter(|_| hears(Source::Pods));
    let left = view.journal.left(address, port, last).filter(|_| hears(Source::Endpoints));
    let leaving = pod.filter(|pod| matches!(pod.phase, PodPhase::Terminating | PodPhase::Gone));
    let (of, answered) = view.attempts_of(hurt);
    if !view.enough(hurt, of, ENOUGH) {
        return None;
    }
    let target = SocketAddr::new(address, port);
    let refused = hurt.iter().all(|&at| view.troubles[at].what == Finding::Symptom(Symptom::Refused));
    let first = view.troubles[hurt[0]].first();
    let translated = (first.destination, first.ports.1) != (address, port);
    let service = view.journal.service_at(address, port).or_else(|| view.journal.service_of(address, port));
    let whose = service.map_or_else(|| target.to_string(), |service| format!("{service} ({target})"));
    let count = hurt.len();
    let text = if let Some(pod) = leaving {
        let how = if pod.phase == PodPhase::Gone { "is gone" } else { "is being deleted" };
        let late = pod.deleted.or(left).map(|since| last.saturating_sub(since)).filter(|late| *late > STALE);
        let stale =
            late.map_or_else(String::new, |late| format!(", {} s after that: its rules are stale", late / 1000));
        format!("{count} connections went to {whose} although its pod {} {how}{stale}", pod.name)
    } else if let Some(left) = left {
        let late = last.saturating_sub(left);
        format!("{count} connections went to {whose}, which has taken no traffic for {} s", late / 1000)
    } else if let Some(pod) = pod.filter(|pod| refused && restarted_before(pod.restarts.1, at)) {
        format!("{count} connections to {whose} were refused while {} was restarted", pod.name)
    } else if let Some(pod) = pod.filter(|pod| {
        // Who asks the pod itself, as a peer or a scraper does, knows that it starts.
        translated && pod.phase == PodPhase::NotReady && last < pod.started.saturating_add(YOUNG)
    }) {
        format!("{count} connections went to {whose}: the address is that of {}, which is not ready yet", pod.name)
    } else {
        return None;
    };
    let mut draft = Draft::of(Code::EndpointGone, Certainty::Verdict, text);
    draft.place = view.place_of((address, port), last);
    draft.of = of;
    draft.next = next(service, pod.map(|pod| pod.name.as_str()));
    draft.ruled_out = vec![format!("the service as a whole: {answered} of {of} attempts were answered")];
    draft.hurt = hurt.to_vec();
    Some(draft)
}

/// A container of it was started anew before that, and not long ago.
fn restarted_before(restarted: Option<u64>, at: u64) -> bool {
    // Times of the API server have whole seconds.
    restarted.is_some_and(|when| when <= at.saturating_add(1_000) && when.saturating_add(YOUNG) >= at)
}

/// Without the journal: other backends of the same service answer, and this one does not.
fn seen(view: &View<'_>, (address, port): (IpAddr, u16), hurt: &[usize]) -> Option<Draft> {
    let first = view.troubles[hurt[0]].first();
    let translated = (first.destination, first.ports.1) != (address, port);
    let refused = hurt.iter().all(|&at| !matches!(view.troubles[at].what, Finding::Symptom(Symptom::Unanswered)));
    let (own, own_answered) = view.attempts_at((address, port));
    let (of, answered) = view.attempts_at((first.destination, first.ports.1));
    let others_answer = translated && answered > own_answered;
    // One that answers now and then is no backend that is gone; nor is one that has never answered.
    let is_gone = others_answer && own_answered.saturating_mul(2) < own.max(1);
    if !is_gone || !view.enough(hurt, of, ENOUGH) {
        return None;
    }
    let how = if refused { "refuses" } else { "does not answer" };
    let (whole, target) = (SocketAddr::new(first.destination, first.ports.1), SocketAddr::new(address, port));
    let text = format!(
        "{} of {of} connections to {whole} went to {target}, which {how}; the other backends answer",
        hurt.len()
    );
    let mut draft = Draft::of(Code::EndpointGone, Certainty::Likely, text);
    draft.place = view.place_of((address, port), view.troubles[hurt[0]].millis());
    draft.of = of;
    draft.next = next(view.journal.service_at(first.destination, first.ports.1), None);
    draft.not_seen = view.unheard(&[Source::Pods, Source::Endpoints]);
    draft.not_seen.push("whether its process was restarted".to_owned());
    draft.ruled_out = vec![format!("the service as a whole: {answered} of {of} attempts were answered")];
    draft.hurt = hurt.to_vec();
    Some(draft)
}

fn next(service: Option<&str>, pod: Option<&str>) -> Vec<String> {
    let mut next = Vec::new();
    if let Some((namespace, name)) = service.and_then(|service| service.split_once('/')) {
        next.push(format!("kubectl get endpointslice -n {namespace} -l kubernetes.io/service-name={name} -o wide"));
    }
    if let Some((namespace, name)) = pod.and_then(|pod| pod.split_once('/')) {
        next.push(format!("kubectl get pod -n {namespace} {name} -o jsonpath='{{.metadata.deletionTimestamp}}'"));
    }
    if next.is_empty() {
        next.push("kubectl get endpointslice -A -o wide".to_owned());
    }
    next.push(
        "a preStop sleep of 15 s and more, and a readiness probe, so that traffic ends before the pod does".to_owned(),
    );
    next
}
