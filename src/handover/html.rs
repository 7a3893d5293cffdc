//! The report as one HTML page: no script, nothing from elsewhere, charts as SVG.

use std::fmt::Write;

use maud::{DOCTYPE, Markup, PreEscaped, html as page};

use super::{drift, facts, ports};
use crate::{
    base::text::{self, visible},
    model::{NodeSummary, PortClass, RatePoint, Summary},
};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--bad:#b02c08;--accent:#0056a0}\
@media(prefers-color-scheme:dark){:root{--bad:#ff7a52;--accent:#66b8f0}}\
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;margin:.6rem 0;width:100%}\
td,th{border-bottom:1px solid var(--line);padding:.2rem .6rem .2rem 0;text-align:left;vertical-align:top}\
table.facts{width:auto}table.facts th{padding-right:2rem}h3{margin:1.2rem 0 0;font-size:1rem}\
td{overflow-wrap:anywhere}th{font-weight:600}code,td.mono{font-family:ui-monospace,monospace;font-size:13px}\
.bad{color:var(--bad);font-weight:600}svg{width:100%;height:auto}\
polygon{fill:var(--accent);fill-opacity:.25}polyline{fill:none;stroke:var(--accent);stroke-width:1.5}\
svg text{font-size:11px;fill:currentColor}svg line{stroke:var(--line)}";

/// The chart's size.
const CHART: (f64, f64) = (860.0, 180.0);
/// Room for its labels.
const MARGIN: (f64, f64) = (70.0, 22.0);

/// The session as a page.
pub fn html(summary: &Summary) -> String {
    let markup = page! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { "nodewatch session " (summary.session.as_str()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "nodewatch session " (summary.session.as_str()) }
                table.facts {
                    @for (name, value) in facts(summary) { tr { th { (name) } td { (visible(&value)) } } }
                }
                @for node in &summary.nodes { (node_section(node)) }
                h2 { "Timeline" }
                table {
                    tr { th { "time" } th { "node" } th { "what" } }
                    @for moment in &summary.timeline {
                        tr {
                            td.mono { (text::rfc3339(moment.at)) }
                            td { (moment.node.as_ref().map(|name| visible(&name.0)).unwrap_or_default()) }
                            td { (visible(&moment.text)) }
                        }
                    }
                }
                h2 { "Cleanup" }
                @if summary.receipt.is_empty() { p { "The session was still running when this was written." } }
                ul { @for line in &summary.receipt { li { (visible(line)) } } }
            }
        }
    };
    markup.into_string()
}

fn node_section(node: &NodeSummary) -> Markup {
    let drifted = drift(node).count();
    page! {
        h2 { (visible(&node.name.0)) }
        p { (visible(&node.facts)) "; agent " (node.agent) ". " (text::counted(node.ports.len(), "open port")) ", "
            span class=[(drifted > 0).then_some("bad")] { (drifted) " not as expected" } "." }
        @if !node.rates.is_empty() { (chart(&node.rates)) }
        @if let Some(capture) = &node.capture {
            p { "Capture: " (visible(&capture.what)) ". " (capture.packets) " packets, " (text::bytes(capture.bytes))
                "; dropped by kernel " (capture.dropped.kernel) ", interface " (capture.dropped.interface)
                ", own queue " (capture.dropped.queue) "." }
            @if !capture.mix.is_empty() {
                p { (mix(&capture.mix)) }
            }
        }
        @if !node.files.is_empty() {
            h3 { "Capture files" }
            table {
                tr { th { "file" } th { "size" } th { "packets" } th { "dropped k, i, q" } th { "where" } th { "SHA-256" } }
                @for file in &node.files {
                    tr {
                        td.mono { (visible(&file.name)) }
                        td { (text::bytes(file.bytes)) }
                        td { (file.packets) }
                        td { (file.dropped.kernel) ", " (file.dropped.interface) ", " (file.dropped.queue) }
                        td { (visible(&file.place)) " " span.bad { (visible(&file.incomplete)) } }
                        td.mono { (file.sha256.as_deref().map(visible).unwrap_or_default()) }
                    }
                }
            }
        }
        @if !node.ports.is_empty() {
            h3 { "Ports" }
            @if node.ports.iter().any(|port| port.class.is_known()) {
                table {
                    tr { th { "port" } th { "class" } th { "why" } }
                    @for port in ports(node) {
                        tr {
                            td.mono { (visible(&port.port)) }
                            td class=[drift_class(port.class)] { (port.class.word()) }
                            td { (visible(&port.why)) }
                        }
                    }
                }
            } @else {
                // Without a cluster nobody says which should be there.
                p { @for port in &node.ports { code { (visible(&port.port)) } " " } }
            }
        }
        @if !node.changes.is_empty() {
            h3 { "Ports that opened and closed" }
            table {
                tr { th { "time" } th { "what" } th { "port" } }
                @for change in &node.changes {
                    tr {
                        td.mono { (text::rfc3339(change.at)) }
                        td { (if change.opened { "opened" } else { "closed" }) }
                        td.mono { (visible(&change.port)) }
                    }
                }
            }
        }
    }
}

fn drift_class(class: PortClass) -> Option<&'static str> {
    class.is_fault().then_some("bad")
}

fn mix(mix: &[(String, u64)]) -> String {
    let parts: Vec<String> =
        mix.iter().map(|(protocol, bytes)| format!("{} {}", visible(protocol), text::bytes(*bytes))).collect();
    parts.join(", ")
}

/// Bits a second over time, with both axes.
fn chart(points: &[RatePoint]) -> Markup {
    let rate = |point: &RatePoint| text::megabits(point.bytes, point.millis);
    let top = text::axis_end(points.iter().map(rate).fold(0.001, f64::max));
    // A clock may have been set back meanwhile.
    let times = || points.iter().map(|point| point.at);
    let (from, to) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let span = (to - from).max(1) as f64;
    let (width, height) = (CHART.0 - MARGIN.0 - 10.0, CHART.1 - 2.0 * MARGIN.1);
    let line = points.iter().fold(String::new(), |mut line, point| {
        let x = MARGIN.0 + width * (point.at - from) as f64 / span;
        let y = MARGIN.1 + height * (1.0 - rate(point) / top);
        // Writing to a String does not fail.
        let _ = write!(line, "{x:.1},{y:.1} ");
        line
    });
    let (right, bottom) = (MARGIN.0 + width, MARGIN.1 + height);
    let area = format!("{},{bottom} {line}{right},{bottom}", MARGIN.0);
    // To the second, in UTC.
    let time = |at| text::rfc3339(at)[..19].replace('T', " ");
    page! {
        svg viewBox=(format!("0 0 {} {}", CHART.0, CHART.1)) role="img" aria-label="Mbit/s over time" {
            @for share in [0.0, 0.5, 1.0] {
                @let y = bottom - height * share;
                line x1=(MARGIN.0) y1=(y) x2=(right) y2=(y) {}
                text x=(MARGIN.0 - 6.0) y=(y + 4.0) text-anchor="end" { (text::axis_label(top * share)) }
            }
            line x1=(MARGIN.0) y1=(MARGIN.1) x2=(MARGIN.0) y2=(bottom) {}
            text x=(MARGIN.0) y=(MARGIN.1 - 8.0) text-anchor="end" { "Mbit/s" }
            text x=(MARGIN.0) y=(CHART.1 - 4.0) { (time(from)) }
            text x=(right) y=(CHART.1 - 4.0) text-anchor="end" { (time(to)) " UTC" }
            polygon points=(area) {}
            polyline points=(line.trim()) {}
        }
    }
}
