//! A node's open ports, and those that closed a moment ago.

use nodewatch_ports::Flap;
use nodewatch_protocol::AcceptQueue;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::rows::Table;
use crate::{
    base::text::{lasting, visible},
    model::ListedPort,
    screens::{App, node::rows::Row},
    session::{
        Permission,
        node::{Agent, FRESH, NodeState, PortRow},
    },
    ui::{
        Hits, Theme,
        ports::{ADDRESS, address, class_of, fact_of, probe_of, scope, why},
        widgets::{fit, fit_middle, fit_right, wrapped},
    },
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme, hits: &mut Hits) {
    if !state.ports.known {
        let text = match (&state.agent, state.node.cannot_run()) {
            (Agent::Absent, Some(reason)) => format!(" no agent can run here: {}", visible(&reason.to_string())),
            (Agent::Absent, None) if app.session.permission == Permission::ReadOnly => {
                " no agent on this node, and this is read-only".to_owned()
            }
            (Agent::Absent, None) => {
                theme.keys.fill(" no agent on this node: {deploy} deploys one, {capture} deploys one and captures")
            }
            (Agent::Deploying(step), _) => format!(" deploying: {}", visible(step)),
            (Agent::Connecting, _) => " connecting to the agent".to_owned(),
            (Agent::Lost { reason, .. }, _) => format!(" tunnel lost: {}", visible(reason)),
            _ => " waiting for the first scan".to_owned(),
        };
        frame.render_widget(wrapped(&text).style(theme.dim), area);
        return;
    }
    let columns = Columns::of(usize::from(area.width));
    let table = Table {
        head: columns.head(),
        line: |row: &Row<'_>| columns.line(app, state, row, theme),
        facts: |row: &Row<'_>| match row {
            Row::Port(listed) => fact_of(app, &state.node.name, listed, theme),
            Row::Closed(row) => vec![(format!("{} closed {}", row.port, since(app, row, true)), theme.bad)],
            _ => Vec::new(),
        },
        none: " no open ports",
    };
    table.draw(frame, area, app, state, theme, hits);
}

/// How wide what varies is.
struct Columns {
    scope: bool,
    queue: usize,
    address: usize,
    owner: usize,
}

/// `CLOSED`, and what is before and behind it.
const NEWS: usize = 8;

/// `4096/4096 FULL`, and where there is little room `4096 FULL`.
const QUEUE: usize = 14;
const NARROW_QUEUE: usize = 9;
/// Below so many columns there is little room.
const NARROW: usize = 90;

impl Columns {
    fn of(width: usize) -> Self {
        let scope = width >= NARROW;
        // Always there, and always as wide: what stands behind it would jump.
        let queue = if scope { QUEUE } else { NARROW_QUEUE };
        let fixed = 1 + NEWS + 6 + 11 + 9 + if scope { 9 } else { 0 } + queue + 1;
        let address = (width.saturating_sub(fixed) / 2).clamp(ADDRESS, 48);
        Self { scope, queue, address, owner: width.saturating_sub(fixed + address + 1) }
    }

    fn head(&self) -> String {
        let scope = if self.scope { format!("{} ", fit("SCOPE", 8)) } else { String::new() };
        format!(
            " {}{} {} {scope}{} {} {} {}",
            fit("", NEWS),
            fit("PROTO", 5),
            fit("ADDRESS", self.address),
            fit("CLASS", 10),
            fit("QUEUE", self.queue),
            fit_right("SINCE", 7),
            fit(" OWNER", self.owner)
        )
    }

    fn line(&self, app: &App, state: &NodeState, row: &Row<'_>, theme: &Theme) -> Line<'static> {
        match row {
            Row::Port(listed) => self.listed(app, state, listed, theme),
            Row::Closed(row) => {
                let flap = state.flap(&row.port, app.session.now);
                let news = if flap.is_some() { " FLAPS" } else { " CLOSED" };
                let text = format!(
                    "{}{} {}",
                    fit(news, NEWS),
                    fit(row.port.protocol_name(), 5),
                    fit_middle(&visible(&row.port.place()), self.address),
                );
                let what = flap.map_or_else(|| since(app, row, true), |flap| flap.how());
                Line::from(vec![Span::styled(text, theme.bad), Span::styled(format!(" {what}"), theme.dim)])
            }
            _ => Line::default(),
        }
    }

    fn queue(&self, queue: Option<&AcceptQueue>, theme: &Theme) -> Span<'static> {
        let (text, short, style) = match queue {
            None => (String::new(), String::new(), theme.plain),
            Some(AcceptQueue { waiting, limit, .. }) => {
                let full = queue.is_some_and(AcceptQueue::is_full);
                let (word, style) = if full { (" FULL", theme.bad) } else { ("", theme.plain) };
                (format!("{waiting}/{limit}{word}"), format!("{waiting}{word}"), style)
            }
        };
        let text = if text.width() <= self.queue { text } else { short };
        Span::styled(format!("{} ", fit(&text, self.queue)), style)
    }

    fn listed(&self, app: &App, state: &NodeState, listed: &ListedPort, theme: &Theme) -> Line<'static> {
        let seen = state.ports.rows.get(&listed.port).filter(|_| listed.socket);
        let is_new = seen.is_some_and(|row| row.opened && app.session.now.saturating_sub(row.since) < FRESH);
        let flap = state.flap(&listed.port, app.session.now).filter(|_| listed.socket);
        let (news, news_style) = match (&flap, is_new) {
            (Some(_), _) => (" FLAPS", theme.bad),
            (None, true) => (" NEW", theme.warn),
            (None, false) => ("", theme.plain),
        };
        let (class, style) = class_of(listed.class, theme);
        // Nobody but the node itself can reach it.
        let quiet = listed.socket && listed.port.local.ip().is_loopback();
        let dim = |style: Style| if quiet { theme.dim } else { style };
        let scope = if self.scope { format!("{} ", fit(scope(listed), 8)) } else { String::new() };
        let since = seen.map(|row| since(app, row, false)).unwrap_or_default();
        let mut spans = vec![
            Span::styled(fit(news, NEWS), news_style),
            Span::styled(
                format!("{} {} ", fit(listed.port.protocol_name(), 5), fit_middle(&address(listed), self.address)),
                dim(theme.plain),
            ),
            Span::styled(scope, theme.dim),
            Span::styled(format!("{} ", fit(class, 10)), dim(style)),
            self.queue(state.ports.queues.get(&listed.port), theme),
            Span::styled(format!("{}  ", fit_right(&since, 7)), theme.dim),
        ];
        let room = self.owner.saturating_sub(1);
        let flap = flap.map(|flap| (flap.how(), flap_in_short(&flap), theme.bad));
        spans.push(match flap.or_else(|| probe_of(app, &state.node.name, listed, theme)) {
            // What is cut off says nothing: the lines below the list have it whole.
            Some((text, short, style)) => {
                let text = visible(&text);
                Span::styled(fit(if text.width() <= room { &text } else { &short }, room), style)
            }
            None => Span::styled(fit(&why(listed), room), theme.dim),
        });
        debug_assert!(news.width() < NEWS);
        Line::from(spans)
    }
}

/// What a flapping port does, where there is little room.
fn flap_in_short(flap: &Flap) -> String {
    format!("flap x{} {}", flap.closed, lasting(flap.every))
}

/// How long it has been so.
fn since(app: &App, row: &PortRow, closed: bool) -> String {
    let at = row.closed.filter(|_| closed).unwrap_or(row.since);
    let text = lasting(app.session.now.saturating_sub(at));
    if closed { format!("{text} ago") } else { text }
}
