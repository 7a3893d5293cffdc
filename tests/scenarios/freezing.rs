//! Flight recorders that freeze by themselves, as far as it is the laptop's to say.

use nodewatch_protocol::{
    CaptureFile, Case, Freeze, FreezeCause, FreezeOn, Froze, Recorder, Refusal, RefusalKind, Response, RingState, Role,
    Sums, Symptoms, WatchedInterface, WatchedPair,
};
use serde_json::json;

use super::*;
use crate::sample::{file, pair};

/// The clock, second by second.
const SECOND: u64 = 1_000;

/// Nodes a, b and c with armed recorders, of which the last one is frozen by key alone.
fn armed() -> App {
    let mut app = live();
    for (name, freeze_on) in [("a", Some(FreezeOn::Verdict)), ("b", Some(FreezeOn::Verdict)), ("c", None)] {
        let spec = CaptureSpec { recorder: Some(Recorder::default()), freeze_on, ..CaptureSpec::default() };
        let state = CaptureState::Running { since: NOW, interfaces: vec!["eth0".into()], spec };
        feed(&mut app, [tunnel(name, Update::Capture(state))]);
    }
    app
}

/// A connection from 10.0.0.1 to 10.0.0.2 as a node's interface has seen it.
fn case(what: &str, port: u16, at: u64, hops: u8) -> Case {
    let nanos = at as i64 * 1_000_000;
    let case = json!({
        "what": what, "source": "10.0.0.1", "destination": "10.0.0.2", "ports": [port, 443], "service": "tcp",
        "interface": 0, "began": nanos, "at": nanos, "id": [port, 1], "hops": hops,
    });
    serde_json::from_value(case).expect("a case")
}

/// A second of a node.
fn told(at: u64, cases: Vec<Case>) -> Update {
    let pairs = if cases.is_empty() {
        Vec::new()
    } else {
        vec![WatchedPair { attempts: 20, answered: 15, ..pair("10.0.0.1", "10.0.0.2", 443, &[]) }]
    };
    let sums = pairs.iter().map(Sums::of).fold(Sums::default(), |mut all, one| {
        all += one;
        all
    });
    let interface =
        WatchedInterface { name: "eth0".into(), role: Role::Node, packets: 9, ..WatchedInterface::default() };
    let symptoms = Symptoms {
        captured: true,
        at,
        millis: SECOND,
        interfaces: vec![interface],
        pairs,
        cases,
        sums,
        ..Symptoms::default()
    };
    Update::Symptoms(Box::new(symptoms))
}

/// What both nodes tell from the moment on for so many seconds: of five connections the first knows that nobody answered, and
/// the other one has not seen them.
fn lost_between(app: &mut App, from: u64, seconds: u64) -> Vec<Effect> {
    let mut effects = Vec::new();
    for at in (0..seconds).map(|second| from + second * SECOND) {
        let (here, there) = match (at - from) / SECOND {
            1 => {
                let ways = |hops| (40_000..40_003).map(|port| case("answered", port, at, hops)).collect();
                (ways(63), ways(62))
            }
            3 => ((41_000..41_005).map(|port| case("unanswered", port, at - SECOND, 63)).collect(), Vec::new()),
            _ => (Vec::new(), Vec::new()),
        };
        effects.extend(update(app, tunnel("a", told(at, here)), at));
        effects.extend(update(app, tunnel("b", told(at, there)), at));
        effects.extend(update(app, Event::Tick, at));
    }
    effects
}

fn freezes(effects: Vec<Effect>) -> Vec<(NodeName, Freeze)> {
    let freeze = |effect| match effect {
        Effect::Ask(name, Request::Freeze(freeze)) => Some((name, freeze)),
        _ => None,
    };
    effects.into_iter().filter_map(freeze).collect()
}

/// Neither of the two agents can know that it is between them.
#[test]
fn what_two_nodes_show_together_freezes_both_once_and_no_other() {
    let mut app = armed();
    let effects = lost_between(&mut app, NOW + SECOND, 20);
    let freeze = Freeze { cause: Some(FreezeCause::Code(14)), ..Freeze::default() };
    assert_eq!(freezes(effects), [("a".into(), freeze), ("b".into(), freeze)]);
    // It goes on.
    let effects = lost_between(&mut app, NOW + 30 * SECOND, 20);
    assert_eq!(freezes(effects), []);
    let effects = lost_between(&mut app, NOW + 700 * SECOND, 20);
    assert_eq!(freezes(effects).len(), 2);
}

/// As by too many that wait.
#[test]
fn a_recorder_that_has_refused_is_asked_again_before_what_it_holds_is_gone() {
    let mut app = armed();
    let mut effects = lost_between(&mut app, NOW + SECOND, 15);
    let asked = freezes(effects);
    let [(_, freeze), _] = asked[..] else { panic!("{asked:?}") };
    let full = Refusal { kind: RefusalKind::Failed, message: "no room".into(), next_step: String::new() };
    let at = NOW + 16 * SECOND;
    effects = update(&mut app, Event::Answer("a".into(), Request::Freeze(freeze), Some(Response::Refused(full))), at);
    effects.extend(update(&mut app, Event::Tick, at + 9 * SECOND));
    assert_eq!(freezes(effects), [], "not at once");
    let effects = update(&mut app, Event::Tick, at + 10 * SECOND);
    assert_eq!(freezes(effects), [("a".into(), freeze)]);
}

#[test]
fn a_recorder_that_has_frozen_by_itself_says_why_and_is_not_asked_for_the_same() {
    let mut app = armed();
    let freeze = Freeze { cause: Some(FreezeCause::Code(14)), ..Freeze::default() };
    let message = "the flight recorder froze by itself: N-14 lost between nodes".to_owned();
    feed(&mut app, [tunnel("a", Update::Froze(Froze { message: message.clone(), freeze }))]);
    let state = &app.session.nodes[&"a".into()];
    assert_eq!(state.log.events.back().map(|event| event.text.as_str()), Some(message.as_str()));
    assert_eq!(state.saving(NOW), Some(10 * SECOND), "what it saves is waited for and brought home");
    let effects = lost_between(&mut app, NOW + SECOND, 20);
    assert_eq!(freezes(effects), [("b".into(), freeze)]);
}

/// The program was away, or its tunnel was.
#[test]
fn what_a_recorder_has_saved_by_itself_meanwhile_comes_home_and_nothing_else() {
    let saved = |sequence: u64, ended: u64| CaptureFile {
        sequence,
        ended,
        ..file(&format!("{sequence}.pcapng"), 400, FileState::Closed)
    };
    let old = saved(1, NOW - 90_000);
    let elsewhere = CaptureFile { fetched: true, sha256: Some("aa".into()), ..saved(3, NOW - 20_000) };
    let growing = CaptureFile { state: FileState::Open, ..saved(5, 0) };
    let list = vec![old, saved(2, NOW - 30_000), elsewhere.clone(), saved(4, NOW - 10_000), growing];
    let attached = |freeze_on| {
        let mut app = live();
        app.session.terms.ring_bytes = Some(1_000);
        feed(&mut app, [Event::Attach { began: NOW - 100_000, ends: Some(NOW + 7_200_000), stood_in: false }]);
        let spec = CaptureSpec { recorder: Some(Recorder::default()), freeze_on, ..CaptureSpec::default() };
        let state = CaptureState::Running { since: NOW - 60_000, interfaces: vec!["eth0".into()], spec };
        feed(&mut app, [tunnel("a", Update::Ring(RingState::default())), tunnel("a", Update::Capture(state))]);
        app
    };
    let fetch = |file: CaptureFile| Effect::Fetch("a".into(), file);
    let mut app = attached(Some(FreezeOn::Verdict));
    let effects = update(&mut app, tunnel("a", Update::Files(list.clone())), NOW);
    let looked_for = Effect::LookFor("a".into(), elsewhere.clone());
    let wanted = [fetch(saved(2, NOW - 30_000)), fetch(saved(4, NOW - 10_000)), looked_for.clone()];
    assert!(effects.len() == 3 && wanted.iter().all(|one| effects.contains(one)), "{effects:?}");
    let closed = Update::FilesChanged { files: vec![saved(5, NOW), saved(6, NOW)], gone: vec![] };
    assert_eq!(update(&mut app, tunnel("a", closed), NOW), [], "no more than a ring holds");
    // One that is frozen by key alone was asked by somebody, who has what he asked for.
    let effects = update(&mut attached(None), tunnel("a", Update::Files(list)), NOW);
    assert_eq!(effects, [looked_for]);
}
