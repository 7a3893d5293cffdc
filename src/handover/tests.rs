//! What the report says, in both forms, of everything that a summary may hold.

use nodewatch_ports::Flap;
use nodewatch_protocol::Dropped;

use super::*;
use crate::model::{
    CaptureRun, CaptureSummary, FileSummary, FullQueue, Moment, ObjectFate, ObjectSummary, PortMoment, ProbeSummary,
    RatePoint, SessionId, Span, Summary,
};

const HOSTILE: &str = "<script>alert(1)</script>|`x`\u{1b}[2J\n# head";
/// 2023-11-14 22:13:20 UTC.
const NOW: u64 = 1_700_000_000_000;

/// Everything that there can be, with that text wherever one comes from outside.
fn summary(text: &str) -> Summary {
    let dropped = Dropped { kernel: 3, interface: 2, queue: 1 };
    let port = |class| PortSummary { port: "tcp 0.0.0.0:9000".into(), class, why: text.into() };
    let point =
        |second: u64| RatePoint { at: NOW + second * 1000, millis: 1000, packets: second, bytes: second * 125_000 };
    let node = NodeSummary {
        facts: "Ready".into(),
        agent: "live".into(),
        ports: vec![port(PortClass::Unexpected), port(PortClass::Expected), port(PortClass::Unknown)],
        changes: vec![PortMoment { at: NOW, opened: true, port: text.into() }],
        rates: (1..60).chain(200..260).map(point).collect(),
        capture: Some(CaptureSummary {
            what: text.into(),
            packets: 10,
            bytes: 1000,
            dropped,
            mix: vec![(text.into(), 800)],
        }),
        files: vec![FileSummary {
            name: text.into(),
            bytes: 1024,
            packets: 10,
            dropped,
            place: text.into(),
            sha256: Some("ab".into()),
            incomplete: text.into(),
            started: NOW,
            ended: NOW + 60_000,
            kept: true,
            checked: true,
            since: NOW,
            in_ring: true,
            sequence: 1,
        }],
        flaps: vec![Flap {
            port: "tcp 10.89.0.11:8080".parse().expect("a port"),
            closed: 36,
            lasted: Some((1000, 1000, 2000)),
            every: 10_000,
            first: NOW,
            last: NOW + 350_000,
            is_closed: false,
            closings: (0..36).map(|turn| NOW + turn * 10_000).collect(),
        }],
        clients: 60,
        outages: vec![
            Span { from: NOW + 70_000, until: Some(NOW + 115_000) },
            Span { from: NOW + 500_000, until: None },
        ],
        captures: vec![CaptureRun {
            since: NOW,
            began: NOW,
            ended: Some(NOW + 60_000),
            reason: text.into(),
            interfaces: vec![text.into()],
            filter: Some("tcp port 8080".into()),
            content: "headers".into(),
            options: vec!["--filter".into(), "tcp port 8080".into()],
        }],
        probes: vec![ProbeSummary {
            at: NOW,
            from: text.into(),
            port: "tcp 10.89.0.11:8090".into(),
            open: false,
            text: "no answer".into(),
        }],
        gaps: vec![text.into()],
        full_queues: vec![FullQueue {
            port: "tcp 0.0.0.0:8090".into(),
            times: 3,
            first: NOW,
            last: NOW + 20_000,
            waiting: 2,
            limit: 1,
        }],
        ..NodeSummary::named(text.into())
    };
    Summary {
        began: Some(NOW),
        written: NOW + 600_000,
        timeline: vec![Moment { at: NOW, node: Some(text.into()), text: text.into() }],
        nodes: vec![node],
        receipt: vec![format!("removed  {text}")],
        by: text.into(),
        watched: vec![
            Span { from: NOW, until: Some(NOW + 60_000) },
            Span { from: NOW + 200_000, until: Some(NOW + 600_000) },
        ],
        objects: vec![ObjectSummary {
            name: "Job agent-1".into(),
            in_cluster: true,
            fate: ObjectFate::Left,
            why: text.into(),
        }],
        ..Summary::new(SessionId::new(7), text.into())
    }
}

/// Those of the sentences in both forms.
fn both(summary: &Summary) -> [String; 2] {
    [markdown(summary), html(summary)]
}

#[test]
fn everything_that_was_seen_is_told_in_both_forms() {
    for report in both(&summary("node-1")) {
        for told in [
            "session 00000007, node-1, 14 Nov 2023 22:13:20 to 22:23:20 UTC (10 min), by node-1",
            "tcp 10.89.0.11:8080 (node-1) closed 36 times, 1.0 s each, about every 10 s, from 22:13:20 to 22:19:10.",
            "tcp 10.89.0.11:8090 (node-1), tried from node-1 at 22:13:20: no answer.",
            "1 open port that no service or pod declares: tcp 0.0.0.0:9000 (node-1).",
            "Packets dropped on node-1: 3 by the kernel, 2 by the interface, 1 by the agent&#39;s own queue.",
            "The agent on node-1 could not be reached 2 times, 45 s in all, first at 22:14:30, and since 22:21:40.",
            "Nobody was attached from 22:14:20 to 22:16:40 (2 min)",
            "tcp 0.0.0.0:8090 (node-1): accept queue full 3 times, from 22:13:20 to 22:13:40, up to 2 waiting, backlog",
            "1 file is incomplete: node-1 of node-1 (node-1).",
            "1 file, 1.00 KiB, dropped 3 by the kernel",
            "1 object: 0 gone, 1 may still be there (Job agent-1); to remove what is left: nodewatch-tui cleanup 00000007.",
            "tcp port 8080, on node-1, content headers, from 22:13:20 to 22:14:20 (60 s): node-1",
            "nodewatch-tui capture --nodes node-1 --filter",
            "Not listed: 60 client sockets that came and went, 36 closings of listeners that flap.",
        ] {
            let report = report.replace("&#39;", "'");
            assert!(report.contains(&told.replace("&#39;", "'")), "{told:?} is not in {report}");
        }
    }
}

#[test]
fn where_answers_are_silenced_no_report_says_that_no_cause_was_found() {
    let mut summary = summary("node-1");
    summary.answers = crate::model::AnswersSummary::default();
    summary.answers.looked = nodewatch_answers::Looked {
        since: NOW,
        until: NOW + 60_000,
        nodes: 2,
        taps: 2,
        several: true,
        attempts: 12,
        failed: 6,
        ..nodewatch_answers::Looked::default()
    };
    let told = "12 attempts, 6 failed, 0 delayed (each node counts what it sees)";
    for report in both(&summary) {
        assert!(report.contains("no cause found: 6 failed"), "{report}");
    }
    summary.answers.withheld = Some("1 answer silenced (N-11)".into());
    for report in both(&summary) {
        assert!(
            report.contains("No answer is told here: 1 answer silenced (N-11).") && report.contains(told),
            "{report}"
        );
        assert!(!report.contains("no cause found"), "{report}");
    }
}

#[test]
fn the_most_important_comes_first_and_the_same_in_both_forms() {
    let order = [
        "accept queue full",
        "closed 36 times",
        "no answer",
        "declares",
        "Packets dropped",
        "could not be reached",
        "Nobody was",
    ];
    for report in both(&summary("node-1")) {
        let places: Vec<Option<usize>> = order.iter().map(|text| report.find(text)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    }
}

#[test]
fn files_stand_with_the_capture_that_they_are_of_whatever_their_times_say() {
    let mut summary = summary("node-1");
    let node = &mut summary.nodes[0];
    node.files[0].incomplete = "incomplete: torn; incomplete: a gap".into();
    // A freeze of the first: its time reaches into that of the second.
    node.files[0].started = NOW + 50_000;
    let second = CaptureRun { since: NOW + 40_000, filter: Some("udp".into()), ..node.captures[0].clone() };
    let options = vec!["--recorder".to_owned(), "120s,9".to_owned()];
    node.captures.push(CaptureRun { began: NOW + 40_000, options, ..second });
    for report in both(&summary) {
        let (first, second) = (report.find("tcp port 8080, on").expect("told"), report.find("udp, on").expect("told"));
        let none = report.find("No file of it was kept").expect("told");
        assert!(first < second && second < none, "{report}");
        assert!(report.contains("(torn; a gap)"), "{report}");
        assert!(report.contains("Nothing was saved of the flight recorder on node-1, armed from 22:14:00 to 22:14:20"));
    }
    summary.nodes[0].files.clear();
    assert!(
        both(&summary)
            .iter()
            .all(|report| { report.contains("no file is left of 1 capture, nothing was saved of 1 flight recorder.") })
    );
}

#[test]
fn the_list_of_the_time_line_is_in_order_of_time() {
    let mut summary = summary("node-1");
    summary.nodes[0].probes[0].at = NOW + 300_000;
    let text = markdown(&summary);
    let list = text.split("## Time line").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("there");
    let times: Vec<&str> = list.lines().filter(|line| line.starts_with("| 2")).map(|line| &line[..10]).collect();
    assert!(times.len() >= 4 && times.is_sorted(), "{list}");
}

#[test]
fn ports_that_do_not_answer_are_told_in_a_sentence() {
    let mut summary = summary("node-1");
    for (count, said) in [(1, "1 port should be open, as"), (3, "3 ports should be open, as")] {
        let dead =
            |number| PortSummary { port: format!("tcp 0.0.0.0:{number}"), class: PortClass::Dead, why: String::new() };
        summary.nodes[0].ports = (0..count).map(dead).collect();
        assert!(both(&summary).iter().all(|report| report.contains(said)), "{said}");
    }
}

#[test]
fn where_nothing_was_seen_it_says_what_was_looked_at() {
    let calm = NodeSummary {
        ports: vec![PortSummary { port: "tcp 0.0.0.0:22".into(), class: PortClass::Expected, why: String::new() }],
        ..NodeSummary::named("node-1".into())
    };
    let calm = Summary { nodes: vec![calm], ..Summary::new(SessionId::new(7), "this machine".into()) };
    let silent = Summary { nodes: vec![], ..calm.clone() };
    for (summary, said) in [(&calm, "Nothing out of order"), (&silent, "no agent has told anything")] {
        assert!(both(summary).iter().all(|report| report.contains(said)));
    }
    assert!(!html(&calm).contains("<svg"), "there is nothing to draw");
}

#[test]
fn what_becomes_of_the_session_is_said_as_it_is() {
    let node = NodeSummary::named("node-1".into());
    let base = Summary {
        began: Some(NOW),
        written: NOW + 60_000,
        ends: Some(NOW + 86_400_000),
        nodes: vec![node],
        ..Summary::new(SessionId::new(7), "cluster test".into())
    };
    let object = |fate| ObjectSummary { name: "Job agent-1".into(), in_cluster: true, fate, why: String::new() };
    let over = |fate| Summary { objects: vec![object(fate)], gone_at: Some(NOW + 50_000), ..base.clone() };
    for (summary, said) in [
        (
            base.clone(),
            "1 agent and what they need, still there when this was written, until 15 Nov 22:13:20 at the latest.",
        ),
        (Summary { detached: true, ..base.clone() }, "left running on purpose, until 15 Nov 22:13:20 at the latest."),
        (over(ObjectFate::Gone), "1 object, gone at 22:14:10."),
        (over(ObjectFate::Kept), "1 kept on purpose (Job agent-1)."),
    ] {
        assert!(both(&summary).iter().all(|report| report.contains(said)), "{said}: {}", markdown(&summary));
    }
}

#[test]
fn the_page_stands_alone_and_has_a_chart() {
    let page = html(&summary("node-1"));
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg") && page.contains("<polyline"));
    for from_elsewhere in ["src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(from_elsewhere), "{from_elsewhere}");
    }
}

#[test]
fn where_nobody_counted_there_is_no_line() {
    let page = html(&summary("node-1"));
    assert_eq!(page.matches("<polyline").count(), 2, "before the hole and after it");
    assert_eq!(page.matches("class=\"hole\"").count(), 1);
}

#[test]
fn small_traffic_is_drawn_in_small_units() {
    for (bytes, unit) in [(10, "bit/s"), (1000, "kbit/s"), (1_000_000, "Mbit/s"), (1_000_000_000, "Gbit/s")] {
        let mut summary = summary("node-1");
        summary.nodes[0].rates = vec![RatePoint { at: NOW, millis: 1000, packets: 1, bytes }];
        assert!(html(&summary).contains(&format!(" {unit}<")), "{unit}");
    }
}

#[test]
fn many_nodes_are_a_few_lines_and_one_of_the_others() {
    let mut summary = summary("node-1");
    let node = summary.nodes[0].clone();
    summary.nodes =
        (0..40).map(|one| NodeSummary { name: format!("n{one}").as_str().into(), ..node.clone() }).collect();
    let page = html(&summary);
    assert!(page.contains("35 other nodes") && page.contains("more rows of marks"), "{page}");
    assert!(page.matches("<polyline").count() < 20);
}

#[test]
fn a_chart_stands_whatever_clocks_say() {
    for times in [&[u64::MAX][..], &[5_000, 1_000, 3_000], &[0, u64::MAX]] {
        let mut summary = summary("node-1");
        summary.nodes[0].rates =
            times.iter().map(|&at| RatePoint { at, millis: 1000, packets: 1, bytes: u64::MAX }).collect();
        let page = html(&summary);
        assert!(page.contains("<polyline") && !page.contains("NaN") && !page.contains("inf"), "{times:?}: {page}");
    }
}

#[test]
fn the_worst_ports_come_first() {
    let mut summary = summary("node-1");
    summary.nodes[0].ports.reverse();
    let classes: Vec<_> = ports(&summary.nodes[0]).iter().map(|port| port.class).collect();
    assert_eq!(classes, [PortClass::Unexpected, PortClass::Expected, PortClass::Unknown]);
}

#[test]
fn what_comes_from_a_cluster_is_text_and_no_markup() {
    let page = html(&summary(HOSTILE));
    assert!(!page.contains("<script") && !page.contains('\u{1b}'), "{page}");
    let text = markdown(&summary(HOSTILE));
    assert!(!text.contains('\u{1b}'), "{text}");
    // In a block of code, which the command is, nothing is markup.
    let marked: Vec<&str> = text.lines().filter(|line| !line.starts_with("    ")).collect();
    assert!(marked.iter().all(|line| !line.contains("<script")), "{text}");
    // Each line of it stays in its place: no heading and no column of its own.
    assert!(text.lines().all(|line| !line.starts_with("# head")), "{text}");
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let columns = line.replace("\\|", "").matches('|').count();
        assert!((3..=8).contains(&columns), "{line}");
    }
}
