//! Past reports of a node or a port, read back from CloudWatch Logs.
//!
//! Owns what is asked for and how much of it is shown. Pure.

use nodewatch_protocol::UnixMillis;

use crate::{
    model::{NodeName, Notice, PastQuery, PastReport, PortKey},
    screens::{App, Layer},
    session::{Effect, port_reports::changes},
};

/// Past reports on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Of what.
    pub title: String,
    /// The port that is asked about.
    pub port: Option<PortKey>,
    /// What was found; `None` while it is asked for.
    pub found: Option<Result<Past, Notice>>,
}

/// What is shown of past reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// How many there are.
    pub reports: usize,
    /// There are more than were asked for: older ones are not among these.
    pub cut: bool,
    /// What changed between them, newest first, a text short enough to be looked at.
    pub changes: Vec<(UnixMillis, String, String)>,
}

/// Past reports that a screen asks for: so far back, in milliseconds, and so many.
const PAST: (u64, usize) = (24 * 3_600_000, 2000);

/// Characters of one report's changes on a screen.
const LONGEST_CHANGE: usize = 4000;

impl Past {
    fn of(reports: &[PastReport]) -> Self {
        let mut changes = changes(reports);
        for (_, _, text) in &mut changes {
            // Whoever wants all of it has `ports --since`.
            if let Some((end, _)) = text.char_indices().nth(LONGEST_CHANGE) {
                let rest = text[end..].split("  ").count();
                *text = format!("{} ... and {rest} more (see ports --since)", &text[..end]);
            }
        }
        Self { reports: reports.len(), cut: reports.first().is_some_and(|oldest| oldest.older_left_out), changes }
    }
}

impl App {
    /// Past reports have come, or not.
    pub(in crate::screens) fn past_reports(&mut self, past: Result<Vec<PastReport>, Notice>) {
        if let Some(Layer::History(History { found: found @ None, .. })) = self.layers.last_mut() {
            *found = Some(past.map(|reports| Past::of(&reports)));
        }
    }

    /// Past reports of the node under the cursor.
    pub(in crate::screens) fn history_of_node(&mut self) -> Vec<Effect> {
        let Some(name) = self.list.cursor.clone() else { return Vec::new() };
        self.ask_history(vec![name], None)
    }

    /// Past reports with the port under the cursor.
    pub(in crate::screens) fn history_of_row(&mut self) -> Vec<Effect> {
        let Some((node, key)) = self.port_under_cursor() else { return Vec::new() };
        self.ask_history(node.into_iter().collect(), Some(key))
    }

    fn ask_history(&mut self, nodes: Vec<NodeName>, port: Option<PortKey>) -> Vec<Effect> {
        if self.session.reports.is_none() {
            let next_step = "start with --cloudwatch GROUP";
            self.session.notify(Notice::warning("no history", "no log group was given", next_step));
            return Vec::new();
        }
        let port_text = port.map(|key| format!("{key} on ")).unwrap_or_default();
        let node_text = nodes.first().map_or_else(|| "all nodes".to_owned(), ToString::to_string);
        self.scroll = 0;
        self.open(Layer::History(History { title: format!("{port_text}{node_text}, last 24 h"), port, found: None }));
        let since = self.session.wall(self.session.now).saturating_sub(PAST.0);
        vec![Effect::Past(PastQuery { nodes, port, since, limit: PAST.1 })]
    }
}
