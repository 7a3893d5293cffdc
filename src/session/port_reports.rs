//! Reports to CloudWatch Logs: when one is due, what is in it, who sends it; and reports of the past.
//!
//! Owns that for the laptop; an agent with a role of its own is told to do it by itself. Pure.

use std::collections::{BTreeMap, BTreeSet};

use nodewatch_protocol::{ExpectedPorts, ReportPlan, ReportState, Request, Retention, UnixMillis};
use nodewatch_report::{Occasion, Report, Stream};

use super::{
    Effect, Event, Session,
    node::{Agent, NodeState},
};
use crate::{
    base::text,
    model::{LogsSettings, NodeName, Notice, PastPort, PastReport, Place, Way},
};

/// A first report waits so long for what should be open to be known, in milliseconds.
const CLASSED_WITHIN: u64 = 10_000;

/// Where reports go and how that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reports {
    /// Where and how.
    pub settings: LogsSettings,
    /// How this laptop's stand.
    pub state: ReportState,
    /// How all stood when the user was last told what is wrong.
    pub told: ReportState,
    /// The nodes that there are alarms for, or will be.
    pub alarmed: Option<BTreeSet<NodeName>>,
}

impl Reports {
    /// Nothing sent yet.
    pub fn new(settings: LogsSettings) -> Self {
        Self { settings, state: ReportState::default(), told: ReportState::default(), alarmed: None }
    }
}

impl Session {
    /// What was asked of the API and of CloudWatch has come.
    pub(super) fn report_event(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Expected(nodes, expected) => self.expected(nodes, expected),
            Event::Reports(state) => {
                if let Some(reports) = &mut self.reports {
                    reports.state = state;
                }
                self.tell_reports();
            }
            Event::Alarms(outcome) => self.alarms_made(outcome),
            _ => {}
        }
        Vec::new()
    }

    /// Where reports are, and after how long they are forgotten as far as that is known to be so.
    pub(super) fn reports_there(&self, reports: &Reports) -> String {
        let retention = self.report_state().map(|state| state.retention).unwrap_or_default();
        let forgets = match retention {
            Retention::Unknown => String::new(),
            Retention::Theirs => " (existing retention unchanged)".to_owned(),
            Retention::Set { days } => format!(" (retention of {days} d where created here)"),
            Retention::NotSet { .. } => " (reports NEVER expire: retention was not set)".to_owned(),
        };
        format!("reports in log group {}{forgets}", reports.settings.group)
    }

    /// What is new of what is wrong with reports, each thing once.
    pub(super) fn tell_reports(&mut self) {
        let Some(now) = self.report_state() else { return };
        let Some(reports) = &mut self.reports else { return };
        let before = std::mem::replace(&mut reports.told, now.clone());
        for line in now.news_since(&before) {
            let next_step = "check manifests/cloudwatch-policy.json, the log group and the nodes' clocks";
            self.notify(Notice::warning(format!("CloudWatch Logs: {line}"), "", next_step));
        }
    }

    /// How all reports stand, the laptop's and the agents' own.
    pub fn report_state(&self) -> Option<ReportState> {
        let reports = self.reports.as_ref()?;
        let agents = self.nodes.values().filter_map(|state| state.reporting.by_agent.as_ref());
        Some(agents.fold(reports.state.clone(), ReportState::and))
    }

    /// Reports that are due, and agents that are to report by themselves and do not know it.
    pub(super) fn reports_due(&mut self) -> Vec<Effect> {
        let Some(settings) = self.reports.as_ref().map(|reports| reports.settings.clone()) else { return Vec::new() };
        let now = self.now;
        // Whether a port is expected is known a moment after the tunnel is up; without an API nobody says.
        let classed = |state: &NodeState| {
            self.terms.place == Place::Local
                || self.ports.is_expected_known(&state.node.name)
                || state.reporting.schedule.has_begun()
                // A clock that was set back makes nobody wait.
                || state.reporting.live_since.is_some_and(|since| now < since || now - since >= CLASSED_WITHIN)
        };
        let live = |state: &&NodeState| state.agent == Agent::Live && state.ports.known && classed(state);
        let names: Vec<NodeName> = self.nodes.values().filter(live).map(|state| state.node.name.clone()).collect();
        let mut effects = Vec::new();
        for name in names {
            effects.extend(match settings.way {
                Way::Grant => self.report(&name, &settings),
                Way::Role(_) | Way::PodIdentity => self.tell_plan(&name, &settings),
            });
        }
        effects
    }

    /// Alarms follow the nodes: one that is gone has none.
    pub(super) fn alarms_due(&mut self) -> Vec<Effect> {
        let removing = self.is_removing();
        let Some(reports) = self.reports.as_mut().filter(|reports| reports.settings.alarms && !removing) else {
            return Vec::new();
        };
        let reporting = |state: &&NodeState| state.present && state.ports.known && state.agent.is_deployed();
        let nodes: BTreeSet<NodeName> =
            self.nodes.values().filter(reporting).map(|state| state.node.name.clone()).collect();
        if nodes.is_empty() && reports.alarmed.is_none() || reports.alarmed.as_ref() == Some(&nodes) {
            return Vec::new();
        }
        reports.alarmed = Some(nodes.clone());
        vec![Effect::Alarms(nodes.into_iter().collect())]
    }

    fn alarms_made(&mut self, outcome: Result<(usize, usize), Notice>) {
        match outcome {
            Ok((made, removed)) => {
                let removed =
                    if removed > 0 { format!(", {removed} removed for nodes that left") } else { String::new() };
                self.notify(Notice::info(format!("{} created{removed}", text::counted(made, "alarm"))));
            }
            Err(notice) => self.notify(notice),
        }
    }

    /// The report of a node that is due, if one is.
    fn report(&mut self, name: &NodeName, settings: &LogsSettings) -> Option<Effect> {
        let moment = (self.now, self.wall(self.now));
        let reporting = &mut self.nodes.get_mut(name)?.reporting;
        let interval = settings.interval_seconds.into();
        let occasion = Occasion::due(&mut reporting.schedule, interval, moment, &mut reporting.errors)?;
        let seen = self.nodes.get_mut(name)?.seen_since_report();
        let plan = self.plan_of(name, settings);
        let open = self.nodes.get(name)?.open_ports().map(|row| (row.port, self.wall(row.since)));
        Some(Effect::Report(name.clone(), Report::of(&plan, open, occasion).with(seen).event()))
    }

    fn tell_plan(&mut self, name: &NodeName, settings: &LogsSettings) -> Option<Effect> {
        let plan = self.plan_of(name, settings);
        let state = self.nodes.get_mut(name)?;
        if state.reporting.told.as_ref() == Some(&plan) {
            return None;
        }
        state.reporting.told = Some(plan.clone());
        Some(Effect::Ask(name.clone(), Request::Report(Some(Box::new(plan)))))
    }

    /// What is reported of a node, whoever does it.
    fn plan_of(&self, name: &NodeName, settings: &LogsSettings) -> ReportPlan {
        self.plan(settings, settings.stream(name), name.0.clone(), self.expectations_of(name).to_tell())
    }

    /// What agents with a role of their own report, without what comes from the node; and whether each has a group.
    pub(super) fn plan_of_each(&self) -> Option<(ReportPlan, bool)> {
        let settings = self.reports.as_ref().map(|reports| &reports.settings).filter(|it| it.way != Way::Grant)?;
        let stream = Stream { group: settings.group.clone(), stream: String::new() };
        // What should be open there nobody knows yet.
        Some((self.plan(settings, stream, String::new(), None), settings.per_node))
    }

    fn plan(
        &self,
        settings: &LogsSettings,
        stream: Stream,
        hostname: String,
        expectations: Option<ExpectedPorts>,
    ) -> ReportPlan {
        ReportPlan {
            group: stream.group,
            stream: stream.stream,
            retention_days: settings.retention_days,
            region: settings.region.clone().unwrap_or_default(),
            endpoint: settings.endpoint.clone(),
            cluster: settings.cluster.clone(),
            hostname,
            session: self.terms.id.to_string(),
            interval_seconds: settings.interval_seconds.into(),
            excluded: self.terms.exclude.clone().and(&self.ports.left_out).into_rules(),
            expectations,
        }
    }
}

/// What changed from report to report, newest first: the time, the node, and what opened (`+`) and closed (`-`). A report that
/// is not whole closes nothing.
pub fn changes(reports: &[PastReport]) -> Vec<(UnixMillis, String, String)> {
    // What was open by the last whole report, and by those since that are not whole.
    let mut open: BTreeMap<&str, BTreeSet<PastPort>> = BTreeMap::new();
    let mut changes = Vec::new();
    for report in reports {
        let now: BTreeSet<PastPort> = report.ports.iter().copied().collect();
        let mut parts = Vec::new();
        match (open.get_mut(report.node.as_str()), &report.incomplete) {
            (None, None) => {
                parts.push(format!("{} open", now.len()));
                open.insert(&report.node, now);
            }
            // Nothing to hold the next one against either.
            (None, Some(_)) => parts.push(format!("at least {} open", now.len())),
            (Some(before), None) => {
                parts.extend(now.difference(before).map(|port| format!("+{port}")));
                parts.extend(before.difference(&now).map(|port| format!("-{port}")));
                *before = now;
            }
            (Some(before), Some(_)) => {
                parts.extend(now.difference(before).map(|port| format!("+{port}")));
                before.extend(now);
            }
        }
        parts.extend(report.incomplete.as_ref().map(|why| format!("(incomplete report: {why})")));
        if !parts.is_empty() {
            changes.push((report.at, report.node.clone(), parts.join("  ")));
        }
    }
    changes.reverse();
    changes
}
