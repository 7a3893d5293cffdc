//! What reports say besides ports: of packets that are watched, and of the kernel's counters.

use std::{collections::BTreeMap, time::Duration};

use nodewatch_protocol::{Hello, PortsKind, SignalSeries, SignalsUpdate, Sums, Symptoms, Update};
use nodewatch_report::Event as ReportEvent;
use nodewatch_testing::bucket::Moto;
use nodewatch_tui::{
    model::{LogsSettings, NodeName, NodesChange, Readiness, SessionId, TunnelChange},
    screens::{App, update},
    session::{Effect, Event, port_reports::Reports},
};
use serde_json::Value;

use crate::{
    logs, messages,
    sample::{app, facts, node, on, ports, tunnel, unanswered},
    settings,
};

/// What a report tells CloudWatch to count, by name.
fn metrics(event: &str) -> BTreeMap<String, u64> {
    let event: Value = serde_json::from_str(event).expect("JSON");
    let named = event["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("metrics");
    let names = named.iter().map(|metric| metric["Name"].as_str().expect("a name"));
    names.map(|name| (name.to_owned(), event[name].as_u64().expect("a number beside its name"))).collect()
}

fn signals(since: Option<u64>, told: &[(u32, &str, &str)], moved: &[(u32, u64)]) -> Event {
    let series = |&(id, name, item): &(u32, &str, &str)| SignalSeries {
        id,
        name: name.into(),
        item: item.into(),
        value: 7,
        total: 0,
    };
    let told = told.iter().map(series).collect();
    tunnel("a", Update::Signals(SignalsUpdate { since, told, moved: moved.to_vec(), ..SignalsUpdate::default() }))
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    since.as_millis() as u64
}

/// A session that reports.
fn reporting(settings: &LogsSettings) -> App {
    let mut app = app();
    app.session.reports = Some(Reports::new(settings.clone()));
    app
}

/// The reports that are to be sent for what happens then.
fn reports(app: &mut App, event: Event, at: u64) -> Vec<(NodeName, ReportEvent)> {
    let effects = update(app, event, at).into_iter();
    effects
        .filter_map(|effect| if let Effect::Report(node, report) = effect { Some((node, report)) } else { None })
        .collect()
}

/// An agent on one node, which has told its ports.
fn begun() -> [Event; 5] {
    [
        Event::Nodes(NodesChange::Replaced(vec![node("a", "1a", Readiness::Ready)])),
        Event::DeployTo(vec!["a".into()]),
        Event::Tunnel("a".into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"))),
        tunnel("a", facts()),
        tunnel("a", ports(PortsKind::Snapshot, &["tcp 0.0.0.0:22"], &[])),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_since_the_last_report_and_the_counters_that_rose_are_metrics() {
    let Some(moto) = Moto::start() else { return };
    let settings = settings(&moto.endpoint, "seen");
    let reporter = logs(&moto.endpoint, "seen").reporter(&SessionId::new(1));
    let now = now();
    let mut app = reporting(&settings);
    let at = |app: &mut App, second: u64, event: Event| {
        for (node, report) in reports(app, event, now + second * 1000) {
            reporter.push(&settings.stream(&node), report);
        }
    };
    let second =
        |sums: Sums| tunnel("a", Update::Symptoms(Box::new(Symptoms { sums, millis: 1000, ..Symptoms::default() })));
    for event in begun() {
        at(&mut app, 0, event);
    }
    let told = [
        (0, "ena.pps_allowance_exceeded", "eth0"),
        (1, "ena.pps_allowance_exceeded", "eth1"),
        (2, "conntrack.drop", ""),
        (3, "conntrack.insert_failed", ""),
        (4, "tcp.out_segs", ""),
    ];
    at(&mut app, 1, signals(Some(now), &told, &[]));
    // Nobody watches yet.
    at(&mut app, 20, Event::Tick);
    at(&mut app, 21, tunnel("a", on()));
    for step in 0..3 {
        let sums =
            Sums { attempts: 9, failed: 2, delayed: 1, retransmitted: 30, dns_unanswered: step, ..Sums::default() };
        at(&mut app, 30 + step, second(sums));
    }
    at(&mut app, 40, signals(None, &[], &[(0, 40), (1, 2), (2, 5), (4, 9000)]));
    at(&mut app, 90, Event::Tick);
    at(&mut app, 160, Event::Tick);
    reporter.settle(Duration::from_secs(20)).await;
    let state = reporter.state();
    assert_eq!((state.sent, state.queued, state.rejected), (3, 0, 0), "{state:?}");

    let events = messages(&moto.endpoint, "seen", "a").await;
    let [before, seen, after] = [0, 1, 2].map(|report: usize| {
        let mut metrics = metrics(&events[report]);
        for usual in nodewatch_report::METRICS {
            metrics.remove(usual);
        }
        metrics.into_iter().collect::<Vec<_>>()
    });
    let told = |all: &[(&str, u64)]| all.iter().map(|&(name, count)| (name.to_owned(), count)).collect::<Vec<_>>();
    assert_eq!(before, told(&[]), "what is not watched has no zeros");
    let packets = |counts: [u64; 4]| {
        let names = ["FailedAttempts", "DelayedAttempts", "RetransmittedSegments", "DnsUnanswered"];
        names.into_iter().zip(counts).collect::<Vec<_>>()
    };
    let sorted = |all: Vec<(&str, u64)>| {
        let mut all = told(&all);
        all.sort();
        all
    };
    let risen = vec![("EnaPpsAllowanceExceeded", 42), ("ConntrackDrop", 5)];
    assert_eq!(seen, sorted([packets([6, 3, 90, 3]), risen].concat()), "those that have not risen are not among them");
    assert_eq!(after, sorted(packets([0; 4])), "since the last report");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_connections_failed_since_the_last_report_is_a_metric_a_code_and_a_sentence() {
    let Some(moto) = Moto::start() else { return };
    let settings = settings(&moto.endpoint, "why");
    let reporter = logs(&moto.endpoint, "why").reporter(&SessionId::new(1));
    let now = now();
    let mut app = reporting(&settings);
    let at = |app: &mut App, second: u64, event: Event| {
        for (node, report) in reports(app, event, now + second * 1000) {
            reporter.push(&settings.stream(&node), report);
        }
    };
    for event in begun() {
        at(&mut app, 0, event);
    }
    at(&mut app, 0, tunnel("a", on()));
    at(&mut app, 20, Event::Tick);
    at(&mut app, 30, tunnel("a", Update::Symptoms(Box::new(unanswered(6)))));
    for second in 31..=40 {
        at(&mut app, second, Event::Tick);
    }
    assert_eq!(app.session.answers.count(), 1);
    // It is over long before the third report.
    for second in 41..=300 {
        at(&mut app, second, Event::Tick);
    }
    assert_eq!(app.session.answers.count(), 0);
    reporter.settle(Duration::from_secs(20)).await;
    let events = messages(&moto.endpoint, "why", "a").await;
    let hurt: Vec<Option<u64>> = events.iter().map(|event| metrics(event).get("AnswerN11").copied()).collect();
    assert_eq!(hurt[..2], [None, Some(6)], "before it, and with it");
    assert_eq!(hurt.last(), Some(&None), "what is over is not told");
    let told: Value = serde_json::from_str(&events[1]).expect("JSON");
    assert_eq!((&told["answers"][0]["code"], &told["answers"][0]["failed"]), (&"N-11".into(), &6.into()));
    let text = told["answers"][0]["text"].as_str().expect("a sentence");
    assert!(text.starts_with("6 of 131 connections to 10.0.1.55:8080 were not accepted in time"), "{text}");
}
