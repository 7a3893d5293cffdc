//! A session's report, for those who were not there.
//!
//! Owns its two forms, Markdown and one self-contained HTML page. Pure: a summary in, text out. Everything in a summary
//! may come from a cluster, so nothing of it is taken as markup.

mod html;
mod markdown;

pub use html::html;
pub use markdown::markdown;

use std::cmp::Reverse;

use crate::{
    base::text,
    model::{NodeSummary, PortClass, PortSummary, Summary},
};

/// What the report begins with, a fact a line.
fn facts(summary: &Summary) -> Vec<(&'static str, String)> {
    let time = |at: Option<u64>| at.map_or_else(|| "nothing was deployed".to_owned(), text::rfc3339);
    let files: Vec<_> = summary.nodes.iter().flat_map(|node| &node.files).collect();
    let (mut kernel, mut interface, mut queue) = (0, 0, 0);
    for dropped in summary.nodes.iter().filter_map(|node| node.capture.as_ref()).map(|capture| capture.dropped) {
        kernel += dropped.kernel;
        interface += dropped.interface;
        queue += dropped.queue;
    }
    let bytes = files.iter().map(|file| file.bytes).sum();
    vec![
        ("Session", summary.session.to_string()),
        ("Where", summary.place.clone()),
        ("Began", time(summary.began)),
        ("Written", text::rfc3339(summary.written)),
        ("Nodes", summary.nodes.len().to_string()),
        ("Capture files", format!("{}, {}", files.len(), text::bytes(bytes))),
        ("Dropped by kernel, interface, own queue", format!("{kernel}, {interface}, {queue}")),
        ("Program", format!("nodewatch-tui {}", summary.program)),
    ]
}

/// A node's open ports and those that should be, the worst first.
fn ports(node: &NodeSummary) -> Vec<&PortSummary> {
    let mut ports: Vec<&PortSummary> = node.ports.iter().collect();
    ports.sort_by_key(|port| Reverse(port.class));
    ports
}

/// Ports that are not as they should be.
fn drift(node: &NodeSummary) -> impl Iterator<Item = (&PortSummary, PortClass)> {
    node.ports.iter().filter(|port| port.class.is_fault()).map(|port| (port, port.class))
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::Dropped;

    use super::*;
    use crate::model::{CaptureSummary, FileSummary, Moment, PortMoment, RatePoint, SUMMARY_VERSION, SessionId};

    const HOSTILE: &str = "<script>alert(1)</script>|`x`\u{1b}[2J\n# head";

    fn summary(text: &str) -> Summary {
        let dropped = Dropped { kernel: 3, interface: 2, queue: 1 };
        let port = |class| PortSummary { port: "tcp 0.0.0.0:9000".into(), class, why: text.into() };
        let point =
            |second: u64| RatePoint { at: second * 1000, millis: 1000, packets: second, bytes: second * 125_000 };
        Summary {
            version: SUMMARY_VERSION,
            session: SessionId::new(7),
            place: text.into(),
            program: "0.1.0".into(),
            began: Some(1_700_000_000_000),
            ends: None,
            written: 1_700_000_600_000,
            timeline: vec![Moment { at: 1_700_000_000_000, node: Some(text.into()), text: text.into() }],
            nodes: vec![NodeSummary {
                name: text.into(),
                facts: "Ready".into(),
                agent: "live".into(),
                ports: vec![port(PortClass::Unexpected), port(PortClass::Expected), port(PortClass::Unknown)],
                changes: vec![PortMoment { at: 1_700_000_000_000, opened: true, port: text.into() }],
                rates: (1..60).map(point).collect(),
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
                }],
            }],
            receipt: vec![format!("removed  {text}")],
        }
    }

    #[test]
    fn everything_that_was_done_is_told_in_both_forms() {
        for report in [markdown(&summary("node-1")), html(&summary("node-1"))] {
            for told in [
                "00000007",
                "node-1",
                "tcp 0.0.0.0:9000",
                "unexpected",
                "3, 2, 1",
                "1.00 KiB",
                "removed",
                "2023-11-14T22:13:20.000Z",
            ] {
                assert!(report.contains(told), "{told:?} is not in {report}");
            }
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
        assert!(!text.contains("<script") && !text.contains('\u{1b}'), "{text}");
        // Each line of it stays in its place: no heading and no column of its own.
        assert!(text.lines().all(|line| !line.starts_with("# head")), "{text}");
        for line in text.lines().filter(|line| line.starts_with("| ")) {
            let columns = line.replace("\\|", "").matches('|').count();
            assert!((3..=8).contains(&columns), "{line}");
        }
    }
}
