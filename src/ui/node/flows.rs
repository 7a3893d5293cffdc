//! A node's flows with the most bytes.

use nodewatch_protocol::{Endpoint, Flow, Transport, Tunnel};
use ratatui::{Frame, layout::Rect, text::Line};

use crate::ui::{
    Theme,
    widgets::{fit, fit_right, scrolled},
};
use crate::{
    base::text::{bytes, count},
    screens::App,
    session::node::NodeState,
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme) {
    let Some(statistics) = state.counts.latest.as_ref().filter(|statistics| !statistics.flows.is_empty()) else {
        frame.render_widget(Line::styled(" no flows yet: start a capture to see them", theme.dim), area);
        return;
    };
    // A column of its own only where there are tunnels: wide enough for the longest name.
    let tunnels = if statistics.flows.iter().any(|flow| flow.tunnel.is_some()) { 7 } else { 0 };
    // Transport, two numbers and the spaces between; the ends share the rest.
    let end = (usize::from(area.width).saturating_sub(5 + 1 + 4 + 9 + 11 + 2 + tunnels) / 2).clamp(8, 46);
    let mut head = format!(
        " {}{} {} {} {} {}",
        fit("PROT", 5),
        fit(" IN", tunnels),
        fit("FROM", end),
        fit("TO", end + 3),
        fit_right("PACKETS", 8),
        fit_right("BYTES", 10)
    );
    if statistics.flows_overflow.packets > 0 {
        head = format!("{head}  ({} packets in untracked flows)", count(statistics.flows_overflow.packets));
    }
    let mut lines = vec![Line::styled(head, theme.dim)];
    lines.extend(statistics.flows.iter().map(|flow| Line::raw(row(flow, end, tunnels))));
    scrolled(frame, area, lines, app.scroll);
}

fn row(flow: &Flow, end: usize, tunnels: usize) -> String {
    let transport = match flow.transport {
        Transport::Tcp => "tcp".to_owned(),
        Transport::Udp => "udp".to_owned(),
        Transport::Ip(number) => format!("ip/{number}"),
    };
    // Addresses and ports are those inside.
    let tunnel = format!(" {}", flow.tunnel.map_or("", Tunnel::name));
    format!(
        " {}{} {} -> {} {} {}",
        fit(&transport, 5),
        fit(&tunnel, tunnels),
        fit(&endpoint(&flow.from), end),
        fit(&endpoint(&flow.to), end),
        fit_right(&count(flow.share.packets), 8),
        fit_right(&bytes(flow.share.bytes), 10)
    )
}

fn endpoint(endpoint: &Endpoint) -> String {
    match endpoint.port {
        0 => endpoint.address.to_string(),
        port => std::net::SocketAddr::new(endpoint.address, port).to_string(),
    }
}
