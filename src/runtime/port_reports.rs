//! Reports on their way to CloudWatch, and what is asked of it.
//!
//! Owns the reporter of a running session and the work of each effect that is about CloudWatch.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nodewatch_cloudwatch::Reporter;
use nodewatch_protocol::ReportState;
use nodewatch_report::Event as ReportEvent;
use tokio::sync::{Mutex, mpsc};

use crate::{
    agents::site::Site,
    base::text::counted,
    logs::{Logs, Scope},
    model::{Group, Made, NodeName, Notice, PastQuery, PastReport, SessionId, Way},
    session::Event,
};

/// At the end reports have so long to get there.
const SETTLE_WITHIN: Duration = Duration::from_secs(15);
/// How often it is looked how reports stand.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// CloudWatch as a running session has it. Clones share it.
#[derive(Clone)]
pub(super) struct Reporting {
    logs: Option<Arc<Logs>>,
    session: SessionId,
    site: Arc<dyn Site>,
    reporter: Arc<OnceLock<Result<Reporter, Notice>>>,
    /// One change of alarms at a time, so that a removal sees what was being made.
    alarms: Arc<Mutex<bool>>,
    /// The wait for the last reports is over.
    settled: Arc<AtomicBool>,
}

impl Reporting {
    pub(super) fn new(logs: Option<Arc<Logs>>, session: SessionId, site: Arc<dyn Site>) -> Self {
        Self { logs, session, site, reporter: Arc::default(), alarms: Arc::default(), settled: Arc::default() }
    }

    fn logs(&self) -> Result<&Logs, Notice> {
        let none = || {
            Notice::error(
                "CloudWatch is not set up",
                "no log group was given",
                "start with --cloudwatch \
                                                                                           GROUP",
            )
        };
        self.logs.as_deref().ok_or_else(none)
    }

    /// What would keep this laptop's reports or alarms from CloudWatch, or is to be said of the log group.
    pub(super) async fn check(&self) -> Option<Notice> {
        let logs = self.logs.as_ref()?;
        let needed = logs.settings().way == Way::Grant || logs.settings().alarms;
        if !needed {
            return None;
        }
        logs.check().await.unwrap_or_else(Some)
    }

    /// Sends a report; before the first, the journal is told where they go.
    pub(super) fn report(&self, node: &NodeName, event: ReportEvent) {
        let Ok(logs) = self.logs() else { return };
        let settings = logs.settings();
        let begin = || {
            self.site.note_making(Made::Reports { reports: settings.clone() })?;
            Ok(logs.reporter(&self.session))
        };
        if let Ok(reporter) = self.reporter.get_or_init(begin) {
            reporter.push(&settings.stream(node), event);
        }
    }

    /// How reports stand, told whenever that changes.
    pub(super) fn watch(&self, events: mpsc::Sender<Event>) -> Option<impl Future<Output = ()> + use<>> {
        self.logs.as_ref()?;
        let reporter = Arc::clone(&self.reporter);
        Some(async move {
            let mut told = ReportState::default();
            let mut failed = false;
            let mut every = tokio::time::interval(LOOK_EVERY);
            loop {
                every.tick().await;
                let event = match reporter.get() {
                    Some(Ok(reporter)) if reporter.state() != told => {
                        told = reporter.state();
                        Event::Reports(told.clone())
                    }
                    Some(Err(notice)) if !failed => {
                        failed = true;
                        Event::Told(notice.clone())
                    }
                    _ => continue,
                };
                if events.send(event).await.is_err() {
                    return;
                }
            }
        })
    }

    /// Waits, once, for what is still on its way; how it stands then.
    pub(super) async fn settle(&self) -> Option<ReportState> {
        let Some(Ok(reporter)) = self.reporter.get() else { return None };
        if !self.settled.swap(true, Ordering::Relaxed) {
            reporter.settle(SETTLE_WITHIN).await;
        }
        Some(reporter.state())
    }

    pub(super) async fn past(&self, query: &PastQuery) -> Result<Vec<PastReport>, Notice> {
        self.logs()?.past(query).await.map_err(|error| error.notice("past reports are unavailable"))
    }

    pub(super) async fn alarms(&self, nodes: &[NodeName]) -> Result<(usize, usize), Notice> {
        let logs = self.logs()?;
        let over = self.alarms.lock().await;
        if *over {
            return Ok((0, 0));
        }
        self.site.note_making(Made::Alarms { alarms: logs.settings().clone() })?;
        let scope = Scope::Session(self.session.clone());
        logs.reconcile(&scope, nodes).await.map_err(|error| error.notice("not every alarm was created"))
    }

    pub(super) async fn stock(&self, group: Group) -> Result<String, Notice> {
        let logs = self.logs()?;
        let scope = Scope::Session(self.session.clone());
        let unknown = "cannot see what is in CloudWatch";
        if group == Group::Alarms {
            let alarms = logs.alarms(&scope).await.map_err(|error| error.notice(unknown))?;
            return Ok(counted(alarms.len(), "alarm"));
        }
        let made = logs.groups_of(&self.session).await.map_err(|error| error.notice(unknown))?;
        let sent = self.reporter.get().and_then(|reporter| reporter.as_ref().ok()).map(Reporter::state);
        let sent = sent.map_or(0, |state| state.sent);
        Ok(format!("{} sent, {} created here", counted(sent as usize, "report"), counted(made.len(), "log group")))
    }

    /// Agents that may still be there go on reporting: a group that is removed under them would come back unseen.
    pub(super) fn not_removed(&self) -> Notice {
        let headline = format!("log groups of session {} were not touched", self.session);
        let next_step = format!("once they are gone: nodewatch-tui cleanup {} --reports", self.session);
        Notice::error(headline, "agents could not be removed and may still report", next_step)
    }

    pub(super) async fn remove(&self, group: Group) -> Result<(), Notice> {
        let logs = self.logs()?;
        let left = |what: &str| format!("{what} of session {} may still be there", self.session);
        if group == Group::Alarms {
            let mut over = self.alarms.lock().await;
            *over = true;
            let scope = Scope::Session(self.session.clone());
            logs.delete_alarms(&scope).await.map_err(|error| error.notice(left("alarms")))?;
            return self.site.note_gone(Made::Alarms { alarms: logs.settings().clone() });
        }
        let removed = async {
            let groups = logs.groups_of(&self.session).await?;
            logs.remove_groups(&groups).await
        };
        removed.await.map_err(|error| error.notice(left("log groups")))?;
        self.site.note_gone(Made::Reports { reports: logs.settings().clone() })
    }
}
