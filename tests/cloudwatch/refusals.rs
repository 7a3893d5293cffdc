//! What CloudWatch Logs does not take, groups that do not forget, and answers that are lost: against answers that moto never gives.

use std::time::Duration;

use nodewatch_cloudwatch::{Bounds, Reporter};
use nodewatch_protocol::Retention;
use nodewatch_report::{Event, Report, ReportedPort, Stream};
use nodewatch_testing::eventually;
use nodewatch_tui::model::{NodeName, PastQuery, PortClass, PortKey, SessionId};
use serde_json::json;

use crate::{
    logs,
    service::{Answer, Service},
};

const DENIED: Answer = Answer::Error(400, "AccessDeniedException", "not authorized");
const THROTTLED: Answer = Answer::Error(400, "ThrottlingException", "Rate exceeded");

fn bounds() -> Bounds {
    let pause = Duration::from_millis(5);
    Bounds { first_pause: pause, longest_pause: pause * 4, look_after: pause, ..Bounds::default() }
}

fn place() -> Stream {
    Stream { group: "g".to_owned(), stream: "n".to_owned() }
}

fn reporter(service: &Service) -> Reporter {
    logs(&service.endpoint, "g").reporter_within(&SessionId::new(1), &bounds())
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

fn event(at: u64, text: &str) -> Event {
    Event { at, parts: vec![text.to_owned()] }
}

/// Waits until it is so: the reporter moves by itself.
fn until(what: &str, so: impl FnMut() -> bool) {
    eventually(what, Duration::from_secs(30), so);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_was_lost_is_there_once_although_looking_is_throttled_and_credentials_end() {
    let service = Service::start(|operation, before| match (operation, before) {
        // The first finds no stream.
        ("PutLogEvents", 1) => Answer::Lost,
        ("GetLogEvents", 0..3) => THROTTLED,
        ("GetLogEvents", 3) => Answer::Error(400, "ExpiredTokenException", "the token has expired"),
        ("GetLogEvents", 4) => Answer::Error(503, "ServiceUnavailableException", "busy"),
        _ => Answer::Usual,
    });
    let reporter = reporter(&service);
    reporter.push(&place(), event(now(), "one"));
    until("the first", || reporter.is_idle());
    reporter.push(&place(), event(now(), "two"));
    until("the second", || reporter.is_idle());
    assert_eq!(service.messages("g n"), ["one", "two"]);
    assert_eq!(service.calls("GetLogEvents"), 7, "asked until it was told, and to the end");
    let state = reporter.state();
    assert_eq!((state.sent, state.rejected, state.trouble.as_str()), (2, 0, ""), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_look_sends_again_rather_than_never() {
    let service = Service::start(|operation, before| match (operation, before) {
        ("PutLogEvents", 1) => Answer::Lost,
        ("GetLogEvents", _) => DENIED,
        _ => Answer::Usual,
    });
    let reporter = reporter(&service);
    reporter.push(&place(), event(now(), "one"));
    until("it", || reporter.is_idle());
    assert_eq!(service.messages("g n"), ["one", "one"], "at least once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_looked_for_only_a_while_later() {
    let service = Service::start(|operation, before| match (operation, before) {
        ("PutLogEvents", 1) => Answer::Lost,
        _ => Answer::Usual,
    });
    let late = Bounds { look_after: Duration::from_secs(3600), ..bounds() };
    let reporter = logs(&service.endpoint, "g").reporter_within(&SessionId::new(1), &late);
    reporter.push(&place(), event(now(), "one"));
    until("the loss", || reporter.state().retries == 1);
    reporter.settle(Duration::from_millis(200)).await;
    assert_eq!((service.calls("GetLogEvents"), reporter.state().queued), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_costs_the_reports_of_that_time_alone_and_they_are_told() {
    let service = Service::start(|_, _| Answer::Usual);
    let reporter = reporter(&service);
    let now = now();
    reporter.push(&place(), event(now, "before"));
    for number in 0..3 {
        reporter.push(&place(), event(now + 3 * 3_600_000 + number, "ahead"));
    }
    reporter.push(&place(), event(now + 1, "after"));
    until("all of them", || reporter.is_idle());
    assert_eq!(service.messages("g n"), ["before", "after"]);
    let state = reporter.state();
    assert_eq!((state.sent, state.rejected), (2, 3), "{state:?}");
    assert!(state.why_lost().contains("3 refused: 3 at a time more than 2 h ahead"), "{}", state.why_lost());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_old_are_counted_and_told_by_kind() {
    let info = json!({"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2}});
    let service = Service::start(move |operation, before| match (operation, before) {
        ("PutLogEvents", 1) => Answer::Told(info.clone()),
        _ => Answer::Usual,
    });
    let reporter = reporter(&service);
    (0..3).for_each(|number| reporter.push(&place(), event(now(), &format!("{number}"))));
    until("all of them", || reporter.is_idle());
    let state = reporter.state();
    assert_eq!((state.sent, state.rejected), (1, 2), "{state:?}");
    assert_eq!(state.refused, "1 at a time older than 14 days, 1 at a time older than the log group's retention");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_that_is_refused_for_good_takes_no_other_along() {
    let service = Service::start(|_, _| Answer::Usual);
    let reporter = reporter(&service);
    for text in ["a", "poison", "b", "c"] {
        reporter.push(&place(), event(now(), text));
    }
    reporter.push(&place(), event(now(), &"x".repeat(2 << 20)));
    reporter.push(&place(), event(now(), "d"));
    until("all of them", || reporter.is_idle());
    assert_eq!(service.messages("g n"), ["a", "b", "c", "d"]);
    let state = reporter.state();
    assert_eq!((state.sent, state.rejected, state.queued), (4, 2, 0), "{state:?}");
    let calls = service.calls("PutLogEvents");
    reporter.settle(Duration::from_millis(300)).await;
    assert_eq!(service.calls("PutLogEvents"), calls, "nothing is tried for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_is_tried_until_it_is_set_and_claimed_only_then() {
    let service = Service::start(|operation, before| match (operation, before) {
        ("PutRetentionPolicy", 0..4) => THROTTLED,
        _ => Answer::Usual,
    });
    let reporter = reporter(&service);
    reporter.push(&place(), event(now(), "one"));
    until("its failure", || matches!(reporter.state().retention, Retention::NotSet { .. }));
    reporter.settle(Duration::from_secs(30)).await;
    assert_eq!(service.kept().groups["g"].0, Some(14), "set with no further report");
    assert_eq!(reporter.state().retention, Retention::Set { days: 14 });
    reporter.push(&place(), event(now(), "two"));
    until("the second", || reporter.is_idle());
    reporter.settle(Duration::from_millis(100)).await;
    assert_eq!(service.calls("PutRetentionPolicy"), 5, "once is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_that_is_denied_is_told_with_the_reason_and_tried_with_each_batch() {
    let service = Service::start(|operation, before| match (operation, before) {
        ("PutRetentionPolicy", 0..2) => DENIED,
        _ => Answer::Usual,
    });
    let reporter = reporter(&service);
    reporter.push(&place(), event(now(), "one"));
    until("the denial", || matches!(reporter.state().retention, Retention::NotSet { .. }));
    reporter.settle(Duration::from_secs(30)).await;
    let Retention::NotSet { reason } = reporter.state().retention else { panic!("{:?}", reporter.state()) };
    assert!(reason.contains("not authorized"), "{reason}");
    assert_eq!(reporter.state().sent, 1, "the report is there all the same");
    for number in 0..3 {
        reporter.push(&place(), event(now(), &format!("{number}")));
        until("it", || reporter.is_idle());
        reporter.settle(Duration::from_secs(30)).await;
    }
    until("that it is allowed", || reporter.state().retention == Retention::Set { days: 14 });
    assert_eq!(service.kept().groups["g"].0, Some(14));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_ours_that_somebody_left_without_retention_gets_one_and_nobody_elses_does() {
    for (tags, days, after, told) in [
        (json!({"managed-by": "nodewatch-tui"}), None, Some(14), Retention::Set { days: 14 }),
        (json!({"managed-by": "nodewatch-tui"}), Some(3), Some(3), Retention::Theirs),
        (json!({"managed-by": "terraform"}), None, None, Retention::Theirs),
        (json!({}), Some(365), Some(365), Retention::Theirs),
    ] {
        let service = Service::start(|_, _| Answer::Usual);
        service.kept().groups.insert("g".to_owned(), (days, tags.clone()));
        let reporter = reporter(&service);
        reporter.push(&place(), event(now(), "one"));
        until("what is known", || reporter.state().retention == told);
        assert_eq!(service.kept().groups["g"].0, after, "{tags} {days:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_makes_no_metrics_is_told_before_the_first_report() {
    let groups = json!({"logGroups": [{"logGroupName": "g", "logGroupClass": "INFREQUENT_ACCESS", "retentionInDays": 7,
        "arn": "arn:aws:logs:us-east-1:123456789012:log-group:g:*"}]});
    let service = Service::start(move |operation, _| match operation {
        "DescribeLogGroups" => Answer::Told(groups.clone()),
        _ => Answer::Usual,
    });
    let notice = logs(&service.endpoint, "g").check().await.expect("it may go on").expect("it is told");
    assert!(
        notice.headline.contains("INFREQUENT_ACCESS") && notice.headline.contains("will stay silent"),
        "{notice:?}"
    );
    // An agent has nobody who asked before.
    service.kept().groups.insert("g".to_owned(), (Some(7), json!({})));
    let reporter = reporter(&service);
    reporter.push(&place(), event(now(), "one"));
    until("the warning", || reporter.state().warning.contains("will stay silent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_protected_is_named_and_keeps_no_other() {
    let groups = json!({"logGroups": [{"logGroupName": "g/a", "deletionProtectionEnabled": true}]});
    let service = Service::start(move |operation, before| match (operation, before) {
        ("DeleteLogGroup", 0) => Answer::Error(400, "ValidationException", "deletion protection is on"),
        ("DescribeLogGroups", _) => Answer::Told(groups.clone()),
        _ => Answer::Usual,
    });
    let removed = logs(&service.endpoint, "g").remove_groups(&["g/a".to_owned(), "g/b".to_owned()]).await;
    let said = removed.expect_err("one is protected").to_string();
    assert!(
        said.contains("g/a has deletion protection") && said.contains("put-log-group-deletion-protection"),
        "{said}"
    );
    assert_eq!(service.calls("DeleteLogGroup"), 2);
}

/// As a node with tens of thousands of connections has them.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_and_twenty_thousand_ports_go_there_and_come_back() {
    let service = Service::start(|_, _| Answer::Usual);
    let reporter = reporter(&service);
    let port = |number: u32| {
        let protocol = if number < 60_000 { "tcp" } else { "udp" };
        let text = format!("{protocol} 0.0.0.0:{}", number % 60_000 + 1);
        ReportedPort { port: text.parse().expect("a port"), first_seen: 1, class: PortClass::Unknown }
    };
    let report = |sequence, ports: std::ops::Range<u32>| Report {
        at: now(),
        hostname: "n",
        cluster: "c",
        session: "s",
        sequence,
        ports: ports.map(port).collect(),
        excluded: 0,
        unexpected: None,
        agent_errors: 0,
        seen: nodewatch_report::Seen::default(),
    };
    reporter.push(&place(), report(1, 0..120_000).event());
    reporter.push(&place(), report(2, 1..120_000).event());
    until("both", || reporter.is_idle());
    let state = reporter.state();
    assert_eq!(
        (state.sent, state.rejected, state.dropped),
        (2, 0, 0),
        "reports are counted, not their parts: {state:?}"
    );
    let logs = logs(&service.endpoint, "g");
    let query = |port| PastQuery { nodes: vec![NodeName("n".to_owned())], port, since: 0, limit: 100 };
    let past = logs.past(&query(None)).await.expect("reports");
    assert_eq!(past.iter().map(|report| report.ports.len()).collect::<Vec<_>>(), [120_000, 119_999]);
    assert!(past.iter().all(|report| report.incomplete.is_none()));
    let changes = nodewatch_tui::session::port_reports::changes(&past);
    assert_eq!(changes[0].2, "-tcp 0.0.0.0:1");
    let first = Some(PortKey { port: 1, protocol: nodewatch_protocol::PortProtocol::Tcp });
    assert_eq!(logs.past(&query(first)).await.expect("reports").len(), 1);
}
