//! The sender, with faults on the way.

use std::time::Duration;

use nodewatch_cloudwatch::{Bounds, Reporter};
use nodewatch_report::{Event, Stream};
use nodewatch_testing::{
    bucket::Moto,
    eventually,
    proxy::{Fault, Proxy},
};
use nodewatch_tui::model::SessionId;

use crate::{client, logs, messages};

/// What the reporter tries in pauses of milliseconds comes about within that time.
const SOON: Duration = Duration::from_secs(30);

const NODES: usize = 5;

fn bounds() -> Bounds {
    // Hours of reports and pauses in seconds: what counts is how many of each there are.
    let look_after = Duration::from_millis(1);
    Bounds {
        first_pause: Duration::from_millis(2),
        longest_pause: Duration::from_millis(60),
        look_after,
        ..Bounds::default()
    }
}

fn stream(node: usize) -> Stream {
    Stream { group: "reports".to_owned(), stream: format!("node-{node}") }
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

fn event(number: usize) -> Event {
    Event { at: now(), parts: vec![format!("{{\"number\": {number}}}")] }
}

fn proxied(moto: &Moto) -> Proxy {
    Proxy::start(moto.endpoint.trim_start_matches("http://").parse().expect("an address"))
}

/// Waits until so many tries more have failed.
fn until_tried_again(reporter: &Reporter, times: u64) {
    let before = reporter.state().retries;
    eventually("more tries", SOON, || {
        let state = reporter.state();
        if state.retries >= before + times { Ok(()) } else { Err(format!("{state:?}")) }
    });
}

/// Throttled for as long as ten minutes of reports take at one a minute, then away, then with answers that get lost.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_there_once_and_in_order_after_throttling_an_outage_and_lost_answers() {
    let Some(moto) = Moto::start() else { return };
    let proxy = proxied(&moto);
    let reporter = logs(&proxy.endpoint(), "reports").reporter_within(&SessionId::new(1), &bounds());
    let mut sent = 0;
    let mut phase = |fault: fn(usize) -> Fault| {
        proxy.plan(fault);
        for _ in 0..10 {
            (0..NODES).for_each(|node| reporter.push(&stream(node), event(sent)));
            sent += 1;
        }
    };
    phase(|_| Fault::None);
    reporter.settle(Duration::from_secs(20)).await;
    assert_eq!(reporter.state().sent, 50, "{:?}", reporter.state());
    phase(|_| Fault::Throttled);
    until_tried_again(&reporter, 20);
    assert_eq!(reporter.state().queued, 50, "{:?}", reporter.state());
    assert!(reporter.state().trouble.contains("Rate exceeded"), "{:?}", reporter.state());
    phase(|_| Fault::Refused);
    until_tried_again(&reporter, 20);
    assert_eq!(reporter.state().queued, 100, "{:?}", reporter.state());
    let before = proxy.faults();
    // Of three answers one is lost after the server has taken the events, one is half, one is a failure.
    phase(|number| match number % 4 {
        0 => Fault::HalfAnswer(0),
        1 => Fault::Unavailable,
        2 => Fault::HalfAnswer(30),
        _ => Fault::None,
    });
    // Each stream has something to send, so that every kind of fault has its turn.
    eventually("a fault of each kind", SOON, || proxy.faults() >= before + 3);
    phase(|_| Fault::None);
    reporter.settle(Duration::from_secs(40)).await;
    let state = reporter.state();
    assert_eq!((state.sent, state.queued, state.dropped, state.rejected), (250, 0, 0, 0), "{state:?}");
    assert!(state.retries > 10 && state.trouble.is_empty(), "{state:?}");
    for node in 0..NODES {
        let found = messages(&moto.endpoint, "reports", &format!("node-{node}")).await;
        let wanted: Vec<String> = (0..sent).map(|number| event(number).parts.remove(0)).collect();
        assert_eq!(found, wanted, "node-{node}");
    }
    let group = client(&moto.endpoint).describe_log_groups().send().await.expect("groups");
    assert_eq!(group.log_groups()[0].retention_in_days(), Some(14));
    assert_eq!(logs(&moto.endpoint, "reports").groups_of(&SessionId::new(1)).await.expect("groups"), ["reports"]);
    assert!(logs(&moto.endpoint, "reports").groups_of(&SessionId::new(2)).await.expect("groups").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_throws_the_oldest_away_and_counts_it() {
    let Some(moto) = Moto::start() else { return };
    let proxy = proxied(&moto);
    proxy.plan(|_| Fault::Refused);
    let small = Bounds { bytes: 200, ..bounds() };
    let reporter = logs(&proxy.endpoint(), "small").reporter_within(&SessionId::new(1), &small);
    let place = Stream { group: "small".to_owned(), stream: "n".to_owned() };
    for number in 0..100 {
        reporter.push(&place, event(number));
        // What is on its way when the queue is full is not thrown away, so it must be on its way.
        if number == 0 {
            until_tried_again(&reporter, 1);
        }
    }
    let state = reporter.state();
    assert!(state.dropped > 80, "{state:?}");
    assert_eq!(state.queued + state.dropped, 100, "{state:?}");
    proxy.plan(|_| Fault::None);
    reporter.settle(Duration::from_secs(20)).await;
    let state = reporter.state();
    assert_eq!((state.queued, state.sent + state.dropped), (0, 100), "{state:?}");
    let found = messages(&moto.endpoint, "small", "n").await;
    assert_eq!(found.len() as u64, state.sent);
    assert_eq!(found.last(), event(99).parts.first(), "the newest is what counts");
}
