//! N-05: something between has forgotten an idle connection.

use std::net::IpAddr;

use nodewatch_protocol::{Finding, Symptom};

use crate::{
    Certainty, Code, Runner,
    paths::Trouble,
    rules,
    view::{Draft, ENOUGH, ENOUGH_EXACT, View},
};

/// Times after which devices and services are known to forget, in milliseconds: NAT and load balancers of AWS, firewalls.
const KNOWN: [u64; 6] = [60_000, 120_000, 240_000, 350_000, 600_000, 900_000];
/// Times that differ by less, in hundredths, are the same timer's.
const SPREAD: u64 = 5;

fn silence(view: &View<'_>, trouble: &Trouble) -> Option<u64> {
    let failed = matches!(trouble.what, Finding::Symptom(Symptom::Reset | Symptom::ForeignReset) | Finding::Stuck);
    let longest = trouble.seen.iter().filter(|_| failed).map(|it| it.case.silence_millis).max()?;
    (longest >= view.idle).then_some(longest)
}

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| silence(view, trouble).map(|_| trouble.backend));
    groups.into_iter().filter_map(|(target, hurt)| of(view, target, hurt)).collect()
}

fn of(view: &View<'_>, target: (IpAddr, u16), hurt: Vec<usize>) -> Option<Draft> {
    let mut silences: Vec<u64> = hurt.iter().filter_map(|&at| silence(view, view.troubles[at])).collect();
    silences.sort_unstable();
    let (shortest, median, longest) = (silences[0], silences[silences.len() / 2], silences[silences.len() - 1]);
    let foreign = hurt.iter().filter(|&&at| is_foreign(view, view.troubles[at])).count();
    let clustered = (longest - shortest).saturating_mul(100) <= median.saturating_mul(2 * SPREAD);
    let is_known = KNOWN.iter().any(|known| known.abs_diff(median).saturating_mul(100) <= known * SPREAD);
    let exact = foreign * 2 > hurt.len();
    let own = hurt.iter().filter(|&&at| is_servers_own(view, view.troubles[at])).count();
    // The server's own end has made them, where it is watched.
    if !exact && hurt.iter().filter(|&&at| at_servers_pod(view, view.troubles[at])).count() * 2 > hurt.len() {
        return None;
    }
    let least = if exact || clustered { ENOUGH_EXACT } else { ENOUGH };
    let (of, answered) = view.attempts_of(&hurt);
    if hurt.len() < least {
        return None;
    }
    let at = view.troubles[hurt[0]].millis();
    let stuck = hurt.iter().filter(|&&at| view.troubles[at].what == Finding::Stuck).count();
    let how = if stuck * 2 > hurt.len() { "got no answer any more" } else { "were reset" };
    let name = view.name(target, at);
    let text = format!(
        "{} connections to {name} {how} with the first packet after {} and more without one",
        hurt.len(),
        seconds(shortest)
    );
    // New connections work: it is neither the server nor the path as a whole.
    let forgotten = stuck * 2 > hurt.len() && answered > 0 && (clustered || is_known);
    let sure = exact || forgotten;
    let mut draft = Draft::of(Code::IdleCut, if sure { Certainty::Verdict } else { Certainty::Likely }, text);
    draft.place = view.place_of(target, at);
    draft.of = of;
    if exact {
        draft.ruled_out.push(format!("the server: {foreign} of the resets came from another place than its packets"));
    }
    if answered > 0 {
        draft.ruled_out.push(format!("the server and the path: {answered} new connections were answered meanwhile"));
    }
    if !sure {
        // A process that was started anew answers old connections with a reset of its own.
        let other = if own > 0 { Code::EndpointGone } else { Code::KeepAliveRace };
        draft.runner_up = Some(Runner { code: other, check: rules::check(other).to_owned() });
        draft.not_seen = vec!["who has made the resets: watch the server's node too".to_owned()];
    }
    let below = (shortest / 1000).saturating_sub(10).clamp(10, 300);
    draft.next = vec![
        format!(
            "sysctl net.ipv4.tcp_keepalive_time={below}    # the pod's securityContext.sysctls, with SO_KEEPALIVE in the client"
        ),
        "NLB: target group > attributes > TCP idle timeout; NAT gateway: 350 s, CloudWatch IdleTimeoutCount".to_owned(),
    ];
    draft.hurt = hurt;
    Some(draft)
}

/// The reset was made by neither end: it came from another distance, or the server's own interface has not seen it.
fn is_foreign(view: &View<'_>, trouble: &Trouble) -> bool {
    let case = trouble.first();
    let other_distance = case.refusal_hops.zip(case.usual_hops).is_some_and(|(this, usual)| this != usual);
    let far_end =
        trouble.missing.iter().filter_map(|tap| view.tap(*tap)).any(|tap| tap.role == nodewatch_protocol::Role::Pod);
    trouble.shows(Finding::Symptom(Symptom::ForeignReset)) || (other_distance && case.by_server) || far_end
}

/// The reset has come from as far as the server's own packets.
fn is_servers_own(view: &View<'_>, trouble: &Trouble) -> bool {
    let case = trouble.first();
    let same = case.refusal_hops.zip(case.usual_hops).is_some_and(|(this, usual)| this == usual);
    (same && case.by_server) || at_servers_pod(view, trouble)
}

/// The interface of the server's own pod has seen the reset.
fn at_servers_pod(view: &View<'_>, trouble: &Trouble) -> bool {
    let resets = trouble.seen.iter().filter(|it| matches!(it.case.what, Finding::Symptom(Symptom::Reset)));
    resets
        .filter(|it| it.case.by_server && !matches!(it.case.hops, Some(64 | 128 | 255)))
        .any(|it| view.tap(it.tap).is_some_and(|tap| tap.role == nodewatch_protocol::Role::Pod))
}

fn seconds(millis: u64) -> String {
    if millis < 10_000 { format!("{:.1} s", millis as f64 / 1000.0) } else { format!("{} s", millis / 1000) }
}
