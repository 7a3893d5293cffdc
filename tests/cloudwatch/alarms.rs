//! Alarms that follow the nodes, and metric filters within their limit.

use nodewatch_answers::Code;
use nodewatch_testing::bucket::Moto;
use nodewatch_tui::{
    logs::{Filters, MAX_NAMES, Scope},
    model::{AlarmKind, NodeName, SessionId},
};

use crate::{client, config, logs};

fn nodes(range: std::ops::Range<usize>) -> Vec<NodeName> {
    range.map(|number| NodeName(format!("ip-10-0-{}-{}", number / 250, number % 250))).collect()
}

fn metrics(endpoint: &str) -> aws_sdk_cloudwatch::Client {
    let settings = aws_sdk_cloudwatch::config::Builder::from(&config())
        .region(aws_config::Region::new("us-east-1"))
        .endpoint_url(endpoint);
    aws_sdk_cloudwatch::Client::from_conf(settings.build())
}

/// A thousand names in an hour, as an autoscaler makes them, twenty nodes at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_names_leave_no_alarm_of_a_node_that_is_gone() {
    let Some(moto) = Moto::start() else { return };
    let logs = logs(&moto.endpoint, "g");
    let mine = Scope::Session(SessionId::new(1));
    for round in 0..50 {
        let there = nodes(round * 20..round * 20 + 20);
        let (made, removed) = logs.reconcile(&mine, &there).await.expect("reconciled");
        assert_eq!((made, removed), if round == 0 { (22, 0) } else { (20, 20) }, "round {round}");
    }
    let alarms = logs.alarms(&mine).await.expect("a list");
    let mut silent: Vec<NodeName> = alarms
        .iter()
        .filter_map(|alarm| match &alarm.kind {
            AlarmKind::Silent(node) => Some(node.clone()),
            AlarmKind::Errors | AlarmKind::Unexpected | AlarmKind::Answer(_) => None,
        })
        .collect();
    silent.sort();
    let mut wanted = nodes(980..1000);
    wanted.sort();
    assert_eq!(silent, wanted);
    assert_eq!(alarms.len(), 22);
    assert_eq!(logs.reconcile(&mine, &nodes(980..1000)).await.expect("reconciled"), (0, 0), "nothing is made twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_as_it_should_be_and_only_ours_are_removed() {
    let Some(moto) = Moto::start() else { return };
    let mut settings = crate::settings(&moto.endpoint, "g");
    settings.sns_topic = Some("arn:aws:sns:us-east-1:123456789012:pager".to_owned());
    settings.interval_seconds = 90;
    let logs = nodewatch_tui::logs::Logs::with(settings, config());
    let (session, cluster) = (Scope::Session(SessionId::new(1)), Scope::Cluster);
    logs.reconcile(&session, &nodes(0..1)).await.expect("made");
    logs.reconcile(&cluster, &nodes(0..2)).await.expect("made");
    let metrics = metrics(&moto.endpoint);
    // Somebody else's under our prefix, and one that only looks like ours.
    for (name, description) in [("nodewatch-tui/test/standing/silent/other", "mine"), ("other", "nodewatch-tui: x")] {
        let put = metrics.put_metric_alarm().alarm_name(name).alarm_description(description).namespace("n");
        let put = put.metric_name("m").statistic(aws_sdk_cloudwatch::types::Statistic::Sum).period(60).threshold(1.0);
        let put = put.comparison_operator(aws_sdk_cloudwatch::types::ComparisonOperator::LessThanThreshold);
        put.evaluation_periods(1).send().await.expect("made");
    }
    let all = metrics.describe_alarms().send().await.expect("a list");
    let silent = all
        .metric_alarms()
        .iter()
        .find(|alarm| alarm.alarm_name() == Some("nodewatch-tui/test/00000001/silent/ip-10-0-0-0"))
        .expect("the session's");
    assert_eq!((silent.namespace(), silent.metric_name()), (Some("nodewatch"), Some("Heartbeat")));
    assert_eq!((silent.treat_missing_data(), silent.period()), (Some("breaching"), Some(120)));
    assert_eq!(silent.alarm_actions(), ["arn:aws:sns:us-east-1:123456789012:pager"]);
    let dimensions: Vec<_> =
        silent.dimensions().iter().map(|one| (one.name().unwrap_or(""), one.value().unwrap_or(""))).collect();
    assert_eq!(dimensions, [("cluster", "test"), ("hostname", "ip-10-0-0-0")]);
    let tags = metrics.list_tags_for_resource().resource_arn(silent.alarm_arn().expect("an ARN"));
    let tags = tags.send().await.expect("tags");
    let tag = |key: &str| tags.tags().iter().find(|tag| tag.key() == Some(key)).and_then(|tag| tag.value());
    assert_eq!((tag("nodewatch-tui/session"), tag("nodewatch-tui/cluster")), (Some("00000001"), Some("test")));

    assert_eq!(logs.delete_alarms(&session).await.expect("removed"), 3);
    assert!(logs.alarms(&session).await.expect("a list").is_empty());
    assert_eq!(logs.delete_alarms(&cluster).await.expect("removed"), 4);
    let left = metrics.describe_alarms().send().await.expect("a list");
    assert_eq!(left.metric_alarms().len(), 2, "the other two stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_chosen_have_an_alarm_each_and_others_lose_theirs() {
    let Some(moto) = Moto::start() else { return };
    let with = |codes: &str| {
        let mut settings = crate::settings(&moto.endpoint, "g");
        settings.alarm_on = codes.parse().expect("codes");
        nodewatch_tui::logs::Logs::with(settings, config())
    };
    let session = Scope::Session(SessionId::new(1));
    let made = with("N-05,N-11").reconcile(&session, &nodes(0..1)).await.expect("made");
    assert_eq!(made, (5, 0), "a node's, two of the cluster's, two of answers");
    let changed = with("N-11,N-14").reconcile(&session, &nodes(0..1)).await.expect("made");
    assert_eq!(changed, (1, 1));
    let alarms = with("all").alarms(&session).await.expect("a list");
    let kinds: Vec<&AlarmKind> = alarms.iter().map(|alarm| &alarm.kind).collect();
    for code in [Code::AcceptQueue, Code::WireLoss] {
        assert!(kinds.contains(&&AlarmKind::Answer(code)), "{kinds:?}");
    }
    let all = metrics(&moto.endpoint).describe_alarms().send().await.expect("a list");
    let name = Some("nodewatch-tui/test/00000001/answer/N-11");
    let alarm = all.metric_alarms().iter().find(|alarm| alarm.alarm_name() == name).expect("the queue's");
    assert_eq!((alarm.metric_name(), alarm.treat_missing_data()), (Some("AnswerN11"), Some("notBreaching")));
    let said = "nodewatch-tui: connections fail on a node of the cluster: N-11 accept queue full (cluster test, session 00000001)";
    assert_eq!(alarm.alarm_description(), Some(said));
    assert_eq!(with("all").delete_alarms(&session).await.expect("removed"), 5, "with their session");
}

#[tokio::test(flavor = "multi_thread")]
async fn metric_filters_give_the_hostname_up_before_cloudwatch_would_switch_them_off() {
    let Some(moto) = Moto::start() else { return };
    let client = client(&moto.endpoint);
    client.create_log_group().log_group_name("plain").send().await.expect("a group");
    let logs = logs(&moto.endpoint, "plain");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    assert_eq!(logs.put_filters(now, 20).await.expect("made"), Filters::ByHostname);
    let dimensions = || async {
        let filters = client.describe_metric_filters().log_group_name("plain").send().await.expect("a list");
        let filters = filters.metric_filters().to_vec();
        let with = filters.iter().filter(|filter| {
            filter.metric_transformations()[0]
                .dimensions()
                .is_some_and(|dimensions| dimensions.contains_key("hostname"))
        });
        (filters.len(), with.count())
    };
    assert_eq!(dimensions().await, (5, 5));
    // More names in the past hour than there are nodes now.
    for number in 0..MAX_NAMES {
        let stream = client.create_log_stream().log_group_name("plain").log_stream_name(format!("n{number}"));
        stream.send().await.expect("a stream");
    }
    // AWS replaces a filter of that name, moto adds another.
    logs.delete_filters().await.expect("removed");
    assert_eq!(logs.put_filters(now, 20).await.expect("made"), Filters::Whole(MAX_NAMES));
    assert_eq!(dimensions().await, (5, 0));
    logs.delete_filters().await.expect("removed");
    logs.delete_filters().await.expect("what is not there is no matter");
    assert_eq!(dimensions().await, (0, 0));
}
