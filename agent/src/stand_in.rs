//! What an agent begins by itself, where nobody is there to ask it: on a node that joined while its session was left alone.
//!
//! Owns what the pod's environment says of that, and asking the agent's own hub for it. Must not know who has written it.

use nodewatch_protocol::{CaptureSpec, OwnSink, ReportPlan, Request, Response, Sink, UnixMillis};
use nodewatch_report::Stream;
use serde::Deserialize;

use crate::hub::HubHandle;

/// What stands for the node's name in places of delivery.
pub const NODE: &str = "EACH-NODE";

/// What is to be begun. Whatever is missing is not.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct StandIn {
    /// The capture that runs on the other nodes.
    pub capture: Option<CaptureSpec>,
    /// When it ends there, for a capture with a time limit.
    pub capture_ends: Option<UnixMillis>,
    /// Where captures are delivered, with [`NODE`] in its prefix.
    pub sink: Option<OwnSink>,
    /// What is reported, without the names that come from the node.
    pub reports: Option<ReportPlan>,
    /// A log group a node.
    pub group_per_node: bool,
}

impl StandIn {
    /// What is asked of an agent of that name now, in this order. One that has captured before goes on with that, or has
    /// ended it.
    pub fn requests(self, hostname: &str, now: UnixMillis, has_captured: bool) -> Vec<Request> {
        let mut requests = Vec::new();
        if let Some(sink) = self.sink {
            let prefix = sink.prefix.replace(NODE, hostname);
            requests.push(Request::Sink(Sink::Own(OwnSink { prefix, ..sink })));
        }
        if let Some(plan) = self.reports {
            let Stream { group, stream } = Stream::of_node(&plan.group, self.group_per_node, hostname);
            let plan = ReportPlan { group, stream, hostname: hostname.to_owned(), ..plan };
            requests.push(Request::Report(Some(Box::new(plan))));
        }
        let left = self.capture_ends.map(|ends| ends.saturating_sub(now) / 1000);
        if let Some(spec) = self.capture.filter(|_| !has_captured && left != Some(0)) {
            let limit_seconds = left.map(Into::into).or(spec.limit_seconds);
            requests.push(Request::StartCapture(CaptureSpec { limit_seconds, ..spec }));
        }
        requests
    }

    /// Asks for all of it; what is refused is returned, as nobody else hears of it.
    pub async fn begin(self, hub: &HubHandle, hostname: &str, now: UnixMillis, has_captured: bool) -> Vec<String> {
        let mut refused = Vec::new();
        for request in self.requests(hostname, now, has_captured) {
            if let Some(Response::Refused(refusal)) = hub.ask(request).await {
                refused.push(format!("{} ({})", refusal.message, refusal.next_step));
            }
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> StandIn {
        serde_json::from_str(text).expect("JSON")
    }

    fn capture(limit: &str) -> String {
        let spec = serde_json::to_value(CaptureSpec::default()).expect("JSON");
        format!("{{\"capture\":{spec}{limit}}}")
    }

    #[test]
    fn a_capture_ends_with_those_of_the_others() {
        let limits = |stand_in: StandIn, now| {
            let requests = stand_in.requests("n", now, false);
            let limit = |request: Request| match request {
                Request::StartCapture(spec) => spec.limit_seconds.map(|limit| limit.duration().as_secs()),
                other => panic!("{other:?}"),
            };
            requests.into_iter().map(limit).collect::<Vec<_>>()
        };
        assert_eq!(limits(parsed(&capture("")), 5), [None]);
        assert_eq!(limits(parsed(&capture(",\"capture_ends\":90000")), 30_000), [Some(60)]);
        assert_eq!(limits(parsed(&capture(",\"capture_ends\":90000")), 90_000), [], "it is over there");
        assert_eq!(parsed(&capture("")).requests("n", 0, true), [], "a restart does not begin another");
    }

    #[test]
    fn what_is_delivered_and_reported_goes_by_the_nodes_name() {
        let stand_in = parsed(
            r#"{"group_per_node": true, "what_comes_later": 1,
                "sink": {"bucket": "b", "prefix": "inc/1/EACH-NODE/", "region": "r"},
                "reports": {"group": "/g", "stream": "", "retention_days": 14, "region": "r", "cluster": "c",
                            "hostname": "", "session": "1", "interval_seconds": 60, "exclude": ""}}"#,
        );
        let [Request::Sink(Sink::Own(sink)), Request::Report(Some(plan))] = &stand_in.requests("n1", 0, false)[..]
        else {
            panic!("both, and no capture")
        };
        assert_eq!(sink.prefix, "inc/1/n1/");
        assert_eq!((plan.group.as_str(), plan.hostname.as_str()), ("/g/n1", "n1"));
    }

    #[test]
    fn nothing_is_begun_where_nothing_is_said() {
        assert_eq!(parsed("{}").requests("n", 0, false), []);
    }
}
