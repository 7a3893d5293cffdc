//! What an agent begins by itself, where nobody is there to ask it: on a node that joined while its session was left alone.
//!
//! Owns what is asked of the agent's own hub by such orders. Must not know who has written them.

use nodewatch_protocol::{CaptureSpec, EACH_NODE, Orders, OwnSink, ReportPlan, Request, Response, Sink, UnixMillis};
use nodewatch_report::Stream;

use crate::hub::HubHandle;

/// What is asked of an agent of that name now, in this order. One that has captured before goes on with that, or has ended it.
fn requests(orders: Orders, hostname: &str, now: UnixMillis, has_captured: bool) -> Vec<Request> {
    let mut requests = Vec::new();
    if let Some(sink) = orders.sink {
        let prefix = sink.prefix.replace(EACH_NODE, hostname);
        requests.push(Request::Sink(Sink::Own(OwnSink { prefix, ..sink })));
    }
    if let Some(plan) = orders.reports {
        let Stream { group, stream } = Stream::of_node(&plan.group, orders.group_per_node, hostname);
        let plan = ReportPlan { group, stream, hostname: hostname.to_owned(), ..plan };
        requests.push(Request::Report(Some(Box::new(plan))));
    }
    let left = orders.capture_ends.map(|ends| ends.saturating_sub(now) / 1000);
    if let Some(spec) = orders.capture.filter(|_| !has_captured && left != Some(0)) {
        let limit_seconds = left.map(Into::into).or(spec.limit_seconds);
        requests.push(Request::StartCapture(CaptureSpec { limit_seconds, ..spec }));
    }
    requests
}

/// Asks for all that is ordered; what is refused is returned, as nobody else hears of it.
pub async fn begin(
    orders: Orders,
    hub: &HubHandle,
    hostname: &str,
    now: UnixMillis,
    has_captured: bool,
) -> Vec<String> {
    let mut refused = Vec::new();
    for request in requests(orders, hostname, now, has_captured) {
        if let Some(Response::Refused(refusal)) = hub.ask(request).await {
            refused.push(format!("{} ({})", refusal.message, refusal.next_step));
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Orders {
        serde_json::from_str(text).expect("JSON")
    }

    fn capture(limit: &str) -> String {
        let spec = serde_json::to_value(CaptureSpec::default()).expect("JSON");
        format!("{{\"capture\":{spec}{limit}}}")
    }

    #[test]
    fn a_capture_ends_with_those_of_the_others() {
        let limits = |orders: Orders, now| {
            let requests = requests(orders, "n", now, false);
            let limit = |request: Request| match request {
                Request::StartCapture(spec) => spec.limit_seconds.map(|limit| limit.duration().as_secs()),
                other => panic!("{other:?}"),
            };
            requests.into_iter().map(limit).collect::<Vec<_>>()
        };
        assert_eq!(limits(parsed(&capture("")), 5), [None]);
        assert_eq!(limits(parsed(&capture(",\"capture_ends\":90000")), 30_000), [Some(60)]);
        assert_eq!(limits(parsed(&capture(",\"capture_ends\":90000")), 90_000), [], "it is over there");
        assert_eq!(requests(parsed(&capture("")), "n", 0, true), [], "a restart does not begin another");
    }

    #[test]
    fn what_is_delivered_and_reported_goes_by_the_nodes_name() {
        let orders = parsed(
            r#"{"group_per_node": true, "what_comes_later": 1,
                "sink": {"bucket": "b", "prefix": "inc/1/EACH-NODE/", "region": "r"},
                "reports": {"group": "/g", "stream": "", "retention_days": 14, "region": "r", "cluster": "c",
                            "hostname": "", "session": "1", "interval_seconds": 60}}"#,
        );
        let [Request::Sink(Sink::Own(sink)), Request::Report(Some(plan))] = &requests(orders, "n1", 0, false)[..]
        else {
            panic!("both, and no capture")
        };
        assert_eq!(sink.prefix, "inc/1/n1/");
        assert_eq!((plan.group.as_str(), plan.hostname.as_str()), ("/g/n1", "n1"));
    }

    #[test]
    fn nothing_is_begun_where_nothing_is_said() {
        assert_eq!(requests(parsed("{}"), "n", 0, false), []);
    }
}
