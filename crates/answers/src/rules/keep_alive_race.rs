//! N-06: the server closes idle connections that the client still uses.

use std::net::IpAddr;

use nodewatch_protocol::{Case, Finding, Symptom};

use crate::{
    Certainty, Code,
    view::{Draft, ENOUGH_EXACT, View},
};

/// Shorter rests are no idle timer's, in milliseconds.
const RESTED: u64 = 900;
/// Rests that differ by less, in hundredths, are one timer's.
const SPREAD: u64 = 5;
/// Timers that differ by less, in milliseconds, are the same one: a reader wakes up late.
const JITTER: u64 = 250;

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| {
        let closed = trouble.what == Finding::Symptom(Symptom::ClosedTooSoon);
        let raced = |case: &Case| case.by_server && case.silence_millis >= RESTED;
        (closed && raced(trouble.first())).then_some(trouble.backend)
    });
    groups.into_iter().filter_map(|(target, hurt)| of(view, target, hurt)).collect()
}

fn of(view: &View<'_>, target: (IpAddr, u16), hurt: Vec<usize>) -> Option<Draft> {
    let mut rests: Vec<u64> = hurt.iter().map(|&at| view.troubles[at].first().silence_millis).collect();
    rests.sort_unstable();
    let median = rests[rests.len() / 2];
    let near = |rest: &&u64| rest.abs_diff(median) <= (median.saturating_mul(SPREAD) / 100).max(JITTER);
    let same = rests.iter().filter(near).count();
    if hurt.len() < ENOUGH_EXACT || same * 4 < rests.len() * 3 {
        return None;
    }
    let at = view.troubles[hurt[0]].millis();
    let (of, _) = view.attempts_of(&hurt);
    let timer = format!("{:.1} s", median as f64 / 1000.0);
    let text = format!(
        "{} connections failed because {} closes them after {timer} of silence while the client still uses them",
        hurt.len(),
        view.name(target, at)
    );
    let mut draft = Draft::of(Code::KeepAliveRace, Certainty::Verdict, text);
    draft.place = view.place_of(target, at);
    draft.of = of;
    draft.ruled_out = vec![
        format!("a restart or a shutdown: {same} of {} were closed after the same time of silence", rests.len()),
        "something between: the server itself has sent its FIN first".to_owned(),
    ];
    draft.next = vec![
        format!(
            "the server's keep-alive timeout ({timer}) must be longer than the client's or load balancer's idle timeout"
        ),
        "Node.js: server.keepAliveTimeout = 65000; gunicorn: --keep-alive 75; or a shorter idle timeout of the pool"
            .to_owned(),
    ];
    draft.hurt = hurt;
    Some(draft)
}
