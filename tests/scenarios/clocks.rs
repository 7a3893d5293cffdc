//! Two clocks: one that goes on while the laptop sleeps and that nobody sets, and the one on the wall, which steps.

use std::time::Duration;

use nodewatch_protocol::{Hello, Request, RingState, SinkState, Terms, Update};
use nodewatch_tui::{
    model::{NodesChange, Readiness, TunnelChange},
    screens::{Action, App, Input, Screen, update},
    session::{Effect, Event, Happened, exit::STOP_WITHIN, grant::GrantState},
};

use super::{
    key, live, phase, running,
    sample::{NOW, app, delivering, facts, feed, node, tunnel},
};

const HOUR: i64 = 3_600_000;

fn at(app: &mut App, event: impl Into<Happened<Input>>, now: u64) -> Vec<Effect> {
    update(app, event, now)
}

/// What the agent of `a` is told when its tunnel comes up.
fn left_seconds(app: &mut App, now: u64) -> u64 {
    let up = TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"));
    let told = at(app, Event::Tunnel("a".into(), up), now).into_iter().find_map(|effect| match effect {
        Effect::Ask(_, Request::Terms(Terms { left_seconds, .. })) => Some(left_seconds.get()),
        _ => None,
    });
    told.expect("terms")
}

#[test]
fn a_wall_clock_that_is_set_ends_no_agent_earlier_and_keeps_none_longer() {
    for step in [-5 * HOUR, 5 * HOUR] {
        let mut app = live();
        let effects = at(&mut app, Event::ClockSet(step), NOW + 1_000);
        // The journal and the cluster have the end by the clock on the wall.
        let ends = NOW + 4 * 3_600_000;
        assert_eq!(effects, [Effect::NoteEnds(ends.saturating_add_signed(step))]);
        assert_eq!(left_seconds(&mut app, NOW + 60_000), 4 * 3600 - 60, "{step}");
        assert!(
            app.session.notices.iter().all(|(_, notice)| !notice.headline.contains("the session ends in")),
            "{step}"
        );
        // A laptop that sleeps for an hour has slept for an hour.
        assert_eq!(left_seconds(&mut app, NOW + 3_660_000), 3 * 3600 - 60, "{step}");
    }
}

#[test]
fn an_end_that_a_journal_has_is_by_the_clock_on_the_wall() {
    let mut app = app();
    at(&mut app, Event::ClockSet(-HOUR), NOW);
    let wall = NOW - 3_600_000;
    at(&mut app, Event::Attach { stood_in: false, began: wall - 10_000, ends: Some(wall + 7_200_000) }, NOW);
    at(&mut app, Event::Nodes(NodesChange::Replaced(vec![node("a", "1a", Readiness::Ready)])), NOW);
    assert_eq!(left_seconds(&mut app, NOW), 7200);
    key(&mut app, Action::Budget);
    super::typed(&mut app, "");
    let effects = key(&mut app, Action::Open);
    assert_eq!(effects[0], Effect::SetEnds(wall + 7_200_000), "{effects:?}");
}

#[test]
fn grants_are_renewed_on_time_whatever_the_wall_shows() {
    let grants = |effects: &[Effect]| effects.iter().filter(|effect| matches!(effect, Effect::Grant(_))).count();
    for step in [-5 * HOUR, 5 * HOUR] {
        let mut app = delivering();
        let live: Vec<_> =
            app.session.nodes.keys().filter(|name| app.session.nodes[*name].can_deliver()).cloned().collect();
        let [name] = &live[..] else { panic!("{live:?}") };
        at(&mut app, Event::Granted(name.clone(), Ok(Some(Duration::from_secs(3600)))), NOW);
        assert!(matches!(app.session.nodes[name].delivery.grant, GrantState::Held(Some(_))));
        let ring = |left_seconds| {
            let ring = app_ring(left_seconds);
            tunnel(&name.0, Update::Ring(ring))
        };
        at(&mut app, ring(3600), NOW + 500);
        assert_eq!(grants(&at(&mut app, Event::ClockSet(step), NOW + 1_000)), 0);
        assert_eq!(grants(&at(&mut app, Event::Tick, NOW + 1_199_000)), 0, "{step}");
        assert_eq!(grants(&at(&mut app, Event::Tick, NOW + 1_200_000)), 1, "{step}");

        // The agent says that little is left, by its own clock.
        at(&mut app, Event::Granted(name.clone(), Ok(Some(Duration::from_secs(3600)))), NOW + 1_200_000);
        at(&mut app, ring(20), NOW + 1_201_000);
        assert_eq!(grants(&at(&mut app, Event::Tick, NOW + 1_202_000)), 0, "it may not have heard of the new one yet");
        assert_eq!(grants(&at(&mut app, Event::Tick, NOW + 1_231_000)), 1);
    }
}

fn app_ring(left_seconds: u64) -> RingState {
    RingState { sink: SinkState::Grant { left_seconds }, ..RingState::default() }
}

#[test]
fn the_guided_exit_waits_as_long_as_it_says() {
    for step in [-5 * HOUR, 5 * HOUR] {
        let mut app = live();
        feed(&mut app, [tunnel("a", running())]);
        key(&mut app, Action::Quit);
        key(&mut app, Action::Open);
        let stopping = phase(&app);
        at(&mut app, Event::ClockSet(step), NOW + 1_000);
        at(&mut app, Event::Tick, NOW + STOP_WITHIN - 1);
        assert_eq!(phase(&app), stopping, "{step}");
        at(&mut app, Event::Tick, NOW + STOP_WITHIN);
        assert_ne!(phase(&app), stopping, "{step}");
    }
}

#[test]
fn what_people_read_is_by_the_wall_and_in_the_order_that_it_happened() {
    let mut app = live();
    at(&mut app, Event::ClockSet(-HOUR), NOW + 1_000);
    at(&mut app, tunnel("a", running()), NOW + 2_000);
    key(&mut app, Action::Events);
    let newest = app.event_rows()[0].text.clone();
    assert!(newest.contains("capture started"), "{newest}");
    assert_eq!(app.screen, Screen::Events);
    let table = app.table();
    assert!(table.rows[0][0].starts_with("2023-11-14T21:13:22"), "{:?}", table.rows[0]);
    assert_eq!(app.session.summary().written, NOW - 3_600_000);
}

#[test]
fn how_long_a_capture_has_run_is_known_although_the_nodes_clock_is_wrong() {
    let mut app = live();
    // That clock is two hours behind, and the capture began ten minutes ago.
    let theirs = NOW - 7_200_000;
    let Update::Agent(mut agent) = facts() else { panic!("facts") };
    agent.now = theirs;
    let state = nodewatch_protocol::CaptureState::Running {
        since: theirs - 600_000,
        interfaces: vec!["eth0".into()],
        spec: nodewatch_protocol::CaptureSpec::default(),
    };
    feed(&mut app, [tunnel("a", Update::Agent(agent)), tunnel("a", Update::Capture(state))]);
    assert_eq!(app.session.nodes[&"a".into()].counts.began, NOW - 600_000);
}
