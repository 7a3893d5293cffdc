//! What is sent to a collector of metrics: once a period, of nodes whose agents are reached, and once more in the end.

use std::time::Duration;

use nodewatch_protocol::{Hello, PortsKind};
use nodewatch_tui::{
    model::{
        DeployProgress, NodeName, TunnelChange,
        metrics::{Instrument, Snapshot},
    },
    screens::{App, update},
    session::{Effect, Event},
};

use crate::sample::{self, NOW, tunnel};

const SECOND: u64 = 1_000;

fn measured(effects: &[Effect]) -> Option<&Snapshot> {
    effects.iter().find_map(|effect| match effect {
        Effect::Measure(snapshot) => Some(&**snapshot),
        _ => None,
    })
}

/// The app with two watched nodes and signals, and metrics every minute; the first period begins now.
fn measuring() -> (App, NodeName) {
    let mut app = sample::watching();
    app.session.terms.sinks.metrics = Some(Duration::from_secs(60));
    let first = app.session.nodes.keys().next().cloned().expect("a node");
    assert_eq!(measured(&update(&mut app, Event::Tick, NOW)), None, "nothing at the beginning");
    (app, first)
}

/// What is said of a node by a metric: values with what else they are about.
fn of(snapshot: &Snapshot, name: &str, node: &NodeName) -> Vec<(String, u64)> {
    let series = snapshot.series.iter().filter(|series| series.metric.name == name);
    let points = series.flat_map(|series| &series.points).filter(|point| point.attributes[0].1 == node.0);
    points.map(|point| (point.attributes[1..].iter().map(|(_, value)| value.clone()).collect(), point.value)).collect()
}

#[test]
fn numbers_are_sent_once_a_period_with_what_they_are_about() {
    let (mut app, first) = measuring();
    let symptoms = sample::symptoms("eth0", vec![sample::pair("10.0.1.12", "10.0.3.9", 443, &[])]);
    let before = app.session.nodes[&first].seen.watch.all;
    assert_eq!(measured(&update(&mut app, Event::Tick, NOW + 59 * SECOND)), None);
    let event = tunnel(&first.0, nodewatch_protocol::Update::Symptoms(Box::new(symptoms)));
    update(&mut app, event, NOW + 59 * SECOND);
    let effects = update(&mut app, Event::Tick, NOW + 60 * SECOND);
    let snapshot = measured(&effects).expect("a minute is over");
    assert_eq!(snapshot.at, app.session.wall(NOW + 60 * SECOND));
    assert!(before.failed > 0);
    assert_eq!(of(snapshot, "nodewatch.attempts.failed", &first), [(String::new(), before.failed)]);
    let classes = of(snapshot, "nodewatch.ports", &first);
    assert!(classes.iter().map(|(_, count)| count).sum::<u64>() > 0, "{classes:?}");
    let answers = snapshot.series.iter().find(|series| series.metric.name == "nodewatch.answers").expect("watched");
    assert_eq!(answers.points.len(), nodewatch_answers::Code::ALL.len());
    assert!(snapshot.series.iter().any(|series| series.metric.name.starts_with("nodewatch.signal.")));
    for series in &snapshot.series {
        for point in &series.points {
            let keys: Vec<&str> = point.attributes.iter().map(|(key, _)| *key).collect();
            assert_eq!(keys, series.metric.attributes, "{}", series.metric.name);
            let counter = series.metric.instrument == Instrument::Counter;
            assert_eq!(point.since.is_some(), counter, "{}: {point:?}", series.metric.name);
        }
    }
    assert_eq!(measured(&update(&mut app, Event::Tick, NOW + 61 * SECOND)), None);
    // A laptop that slept sends once, and not once for each period.
    assert!(measured(&update(&mut app, Event::Tick, NOW + 601 * SECOND)).is_some());
    assert_eq!(measured(&update(&mut app, Event::Tick, NOW + 602 * SECOND)), None);
}

#[test]
fn of_a_node_whose_agent_is_lost_nothing_is_sent_until_it_is_back() {
    let (mut app, first) = measuring();
    let lost = Event::Tunnel(first.clone(), TunnelChange::Lost { reason: "cut".into() });
    update(&mut app, lost, NOW + 30 * SECOND);
    let names = |snapshot: &Snapshot| {
        snapshot
            .series
            .iter()
            .any(|series| series.points.iter().any(|point| point.attributes.iter().any(|(_, value)| *value == first.0)))
    };
    let effects = update(&mut app, Event::Tick, NOW + 60 * SECOND);
    assert!(measured(&effects).is_none_or(|snapshot| !names(snapshot)));
    update(
        &mut app,
        Event::Tunnel(first.clone(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"))),
        NOW + 70 * SECOND,
    );
    update(&mut app, tunnel(&first.0, sample::ports(PortsKind::Snapshot, &["tcp 0.0.0.0:22"], &[])), NOW + 70 * SECOND);
    let effects = update(&mut app, Event::Tick, NOW + 120 * SECOND);
    assert!(names(measured(&effects).expect("of all")));
}

#[test]
fn the_last_numbers_go_before_anything_is_removed() {
    let mut app = crate::live();
    app.session.terms.sinks.metrics = Some(Duration::from_secs(60));
    update(&mut app, tunnel("a", sample::ports(PortsKind::Snapshot, &["tcp 0.0.0.0:22"], &[])), NOW);
    let mut effects = update(&mut app, Event::Finish, NOW + 5 * SECOND);
    for second in 6..300 {
        effects.extend(update(&mut app, Event::Tick, NOW + second * SECOND));
    }
    let place = |wanted: fn(&Effect) -> bool| effects.iter().position(wanted);
    let removal = place(|effect| matches!(effect, Effect::CleanUp { .. })).expect("it ends");
    let last = place(|effect| matches!(effect, Effect::Measure(_))).expect("the last");
    assert!(last < removal, "{last} {removal}");
    let after = effects[removal..].iter().filter(|effect| matches!(effect, Effect::Measure(_))).count();
    assert_eq!(after, 0, "nothing of agents that are being removed");
}

#[test]
fn nothing_is_sent_without_a_collector_or_without_an_agent() {
    let mut app = sample::watching();
    update(&mut app, Event::Tick, NOW);
    assert_eq!(measured(&update(&mut app, Event::Tick, NOW + 600 * SECOND)), None);
    let (mut app, _) = measuring();
    let all: Vec<NodeName> = app.session.nodes.keys().cloned().collect();
    for name in all {
        update(&mut app, Event::Deploy(name, DeployProgress::Ended("gone".into())), NOW + SECOND);
    }
    assert_eq!(measured(&update(&mut app, Event::Tick, NOW + 60 * SECOND)), None);
}
