//! A node's flows with the most bytes.

use nodewatch_protocol::Tunnel;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::rows::Table;
use crate::{
    base::text::{bytes, count},
    screens::{
        App,
        node::rows::{Row, endpoint, transport},
    },
    session::node::NodeState,
    ui::{
        Hits, Theme,
        widgets::{fit, fit_right},
    },
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme, hits: &mut Hits) {
    let flows = state.counts.latest.iter().flat_map(|statistics| &statistics.flows);
    let untracked = state.counts.latest.as_ref().map_or(0, |statistics| statistics.flows_overflow.packets);
    // A column of its own only where there are tunnels: wide enough for the longest name.
    let tunnels = if flows.clone().any(|flow| flow.tunnel.is_some()) { 7 } else { 0 };
    // Transport, two numbers and the spaces between; the ends share the rest.
    let end = (usize::from(area.width).saturating_sub(5 + 1 + 4 + 9 + 11 + 2 + tunnels) / 2).clamp(8, 46);
    let mut head = format!(
        " {}{} {} {} {} {}",
        fit("PROTO", 5),
        fit(" IN", tunnels),
        fit("FROM", end),
        fit("TO", end + 3),
        fit_right("PACKETS", 8),
        fit_right("BYTES", 10)
    );
    if untracked > 0 {
        head = format!("{head}  ({} packets in untracked flows)", count(untracked));
    }
    let table = Table {
        head,
        line: |row: &Row<'_>| {
            let Row::Flow(flow) = row else { return Line::default() };
            // Addresses and ports are those inside.
            let tunnel = format!(" {}", flow.tunnel.map_or("", Tunnel::name));
            Line::from(Span::raw(format!(
                "{}{} {} -> {} {} {}",
                fit(&transport(flow.transport), 5),
                fit(&tunnel, tunnels),
                fit(&endpoint(&flow.from), end),
                fit(&endpoint(&flow.to), end),
                fit_right(&count(flow.share.packets), 8),
                fit_right(&bytes(flow.share.bytes), 10)
            )))
        },
        facts: |row: &Row<'_>| match row {
            Row::Flow(flow) => {
                vec![(
                    format!(
                        "{} {} to {}: {} packets, {}; capture only this with {{open}}",
                        transport(flow.transport),
                        endpoint(&flow.from),
                        endpoint(&flow.to),
                        flow.share.packets,
                        bytes(flow.share.bytes)
                    )
                    .replace("{open}", &theme.keys.fill("{open}")),
                    theme.plain,
                )]
            }
            _ => Vec::new(),
        },
        none: " no flows yet: start a capture to see them",
    };
    table.draw(frame, area, app, state, theme, hits);
}
