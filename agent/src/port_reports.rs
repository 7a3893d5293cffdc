//! Reports that the agent sends by itself: as events to CloudWatch Logs, as lines on standard output.
//!
//! Owns that it is looked whether one is due, and where it goes. Must not know tunnels.

use std::{
    collections::HashMap,
    io::{self, Write},
    time::Duration,
};

use nodewatch_cloudwatch::{Bounds, MANAGED_BY, Reporter};
use nodewatch_protocol::{ReportPlan, ReportState, UnixMillis};
use nodewatch_report::{Answered, Event, Occasion, Report, Reported, Schedule, Stream, Watched};
use tokio::time::Instant;

use crate::{
    ports::{Look, Ports},
    unix_millis,
    upload::logs,
};

/// Waits to be sent, at most; the newest report always does.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// What cannot be reported.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The way to CloudWatch Logs.
    #[error("{0}")]
    Logs(String),
    /// Standard output.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

/// One agent's reports.
pub(crate) struct Reports {
    plan: ReportPlan,
    stream: Stream,
    reporter: Option<Reporter>,
    began: Instant,
    schedule: Schedule,
    errors: u64,
    /// How far what else was counted on the node was at the last report.
    reported: Reported,
}

/// What else is counted on a node, as it stands now.
#[derive(Debug, Default)]
pub struct Standing<'a> {
    /// What was seen of packets since watching began, and when that was; `None` where they are not watched.
    pub watched: Option<(UnixMillis, Watched)>,
    /// Names of signals and what each has risen by since the agent began.
    pub counters: Vec<(&'a str, u64)>,
    /// Why connections failed since the last report.
    pub answers: Vec<Answered>,
}

impl Reports {
    /// Reports by that plan, to CloudWatch Logs when `http` is the way there.
    pub fn new(plan: ReportPlan, http: Option<logs::Http>) -> Result<Self, ReportError> {
        let reporter = match http {
            Some(http) => {
                let (key, value) = MANAGED_BY;
                let tags = HashMap::from([(key.to_owned(), value.to_owned())]);
                let bounds =
                    Bounds { bytes: QUEUE_BYTES, retention_days: plan.retention_days, tags, ..Bounds::default() };
                Some(logs::reporter(&plan, bounds, http).map_err(ReportError::Logs)?)
            }
            None => None,
        };
        Ok(Self {
            stream: Stream { group: plan.group.clone(), stream: plan.stream.clone() },
            reporter,
            began: Instant::now(),
            // A restarted agent's events are others than those before.
            schedule: Schedule::from(unix_millis()),
            errors: 0,
            reported: Reported::default(),
            plan,
        })
    }

    pub fn plan(&self) -> &ReportPlan {
        &self.plan
    }

    /// Whether another plan's reports would go where these go.
    pub fn goes_where(&self, plan: &ReportPlan) -> bool {
        (&self.plan.group, &self.plan.stream, &self.plan.region, &self.plan.endpoint)
            == (&plan.group, &plan.stream, &plan.region, &plan.endpoint)
    }

    /// Goes on with another plan that [goes there](Self::goes_where) too; what waits goes on.
    pub fn replan(&mut self, plan: ReportPlan) {
        self.plan = plan;
    }

    /// Something failed on the node.
    pub fn failed(&mut self) {
        self.errors += 1;
    }

    /// The report that is due now, if one is.
    pub fn due<'a>(&mut self, ports: &Ports, standing: impl FnOnce() -> Standing<'a>) -> Option<Event> {
        let open = ports.open()?;
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let interval = self.plan.interval_seconds;
        let occasion = Occasion::due(&mut self.schedule, interval, (now, unix_millis()), &mut self.errors)?;
        let Standing { watched, counters, answers } = standing();
        let seen = self.reported.since(watched, counters.into_iter()).with(answers);
        let report = Report::of(&self.plan, open.iter().map(|(port, since)| (*port, *since)), occasion);
        let event = report.with(seen).event();
        if let Some(reporter) = &self.reporter {
            reporter.push(&self.stream, event.clone());
        }
        Some(event)
    }

    /// How the way to CloudWatch Logs stands.
    pub fn state(&self) -> Option<ReportState> {
        self.reporter.as_ref().map(Reporter::state)
    }

    /// Nothing is waiting.
    pub fn is_idle(&self) -> bool {
        self.reporter.as_ref().is_none_or(Reporter::is_idle)
    }

    /// Waits for what is waiting, at most that long.
    pub async fn settle(&self, within: Duration) {
        if let Some(reporter) = &self.reporter {
            reporter.settle(within).await;
        }
    }
}

/// Reports until `end`: a line on standard output each, and an event where the plan names a group. What no tunnel is needed
/// for.
pub async fn run(plan: ReportPlan, end: impl Future<Output = io::Result<()>>) -> Result<ReportState, ReportError> {
    let http = (!plan.group.is_empty()).then(|| logs::Http::new(crate::capture::own::OwnTraffic::default()));
    let mut reports = Reports::new(plan, http)?;
    let mut ports = Ports::new(false);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut told = ReportState::default();
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            _ = second.tick() => {}
            ended = &mut end => {
                ended.map_err(ReportError::Output)?;
                break;
            }
        }
        // This process has nothing else to do.
        let looked = ports.look().map(Look::run);
        for update in looked.map(|looked| ports.looked(looked)).unwrap_or_default() {
            if let nodewatch_protocol::Update::PortGaps(gaps) = update {
                for gap in gaps {
                    reports.failed();
                    say(&format!("ports: {gap}"));
                }
            }
        }
        // Ports are all that this process reads.
        if let Some(event) = reports.due(&ports, Standing::default) {
            let mut output = io::stdout().lock();
            for part in &event.parts {
                output.write_all(format!("{part}\n").as_bytes()).map_err(ReportError::Output)?;
            }
            output.flush().map_err(ReportError::Output)?;
        }
        for (line, failed) in news(&mut told, reports.state().unwrap_or_default()) {
            if failed {
                reports.failed();
            }
            say(&format!("CloudWatch Logs: {line}"));
        }
    }
    reports.settle(Duration::from_secs(15)).await;
    let state = reports.state().unwrap_or_default();
    for (line, _) in news(&mut told, state.clone()) {
        say(&format!("CloudWatch Logs: {line}"));
    }
    Ok(state)
}

/// What is new of how reports stand, and whether it is something that failed.
fn news(before: &mut ReportState, now: ReportState) -> Vec<(String, bool)> {
    let trouble = (now.trouble != before.trouble && !now.trouble.is_empty()).then(|| now.trouble.clone());
    let warning = now.warning.clone();
    let news: Vec<String> = trouble.into_iter().chain(now.news_since(before)).collect();
    *before = now;
    news.into_iter()
        .map(|line| {
            let failed = line != warning;
            (line, failed)
        })
        .collect()
}

fn say(text: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(io::stderr(), "nodewatch-agent: {}", text.escape_debug());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_and_losses_are_failures_and_a_warning_is_none() {
        let mut told = ReportState::default();
        let mut now = ReportState { trouble: "no route".to_owned(), rejected: 1, ..ReportState::default() };
        now.warning = "silent".to_owned();
        let said = news(&mut told, now.clone());
        assert_eq!(said.iter().map(|(_, failed)| *failed).collect::<Vec<_>>(), [true, true, false], "{said:?}");
        assert!(news(&mut told, now.clone()).is_empty(), "each once");
        now.trouble.clear();
        assert!(news(&mut told, now).is_empty(), "that it works again is no news");
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_is_made_once_ports_are_known_and_then_at_its_interval() {
        let plan = ReportPlan {
            group: String::new(),
            stream: "n".to_owned(),
            retention_days: 14,
            region: String::new(),
            endpoint: None,
            cluster: String::new(),
            hostname: "n".to_owned(),
            session: String::new(),
            interval_seconds: 60.into(),
            excluded: Vec::new(),
            expectations: None,
        };
        let mut ports = Ports::new(false);
        let mut reports = Reports::new(plan.clone(), None).expect("reports");
        assert!(reports.due(&ports, Standing::default).is_none(), "nothing is known yet");
        let looked = ports.look().expect("none is under way").run();
        ports.looked(looked);
        assert!(reports.due(&ports, Standing::default).is_some());
        assert!(reports.due(&ports, Standing::default).is_none());
        // Another plan changes what is said and not when.
        reports.replan(ReportPlan { cluster: "c".to_owned(), ..plan });
        assert!(reports.due(&ports, Standing::default).is_none());
        tokio::time::advance(Duration::from_secs(60)).await;
        let event = reports.due(&ports, Standing::default).expect("due");
        assert!(event.parts[0].contains("\"cluster\":\"c\""), "{event:?}");
    }
}
