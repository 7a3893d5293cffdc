//! Reports that the agent sends by itself: which plan holds, and what is told of how it goes.
//!
//! Owns the change from one plan to the next. A new plan's credentials are looked for on a thread beside the hub.

use nodewatch_protocol::{RefusalKind, ReportPlan, ReportState, Response, Update};
use tokio::sync::oneshot;

use super::{Found, Hub, answer, refused};
use crate::{
    error::chain,
    port_reports::{ReportError, Reports},
};

/// The agent's own reports.
#[derive(Default)]
pub(super) struct Reporting {
    pub(super) reports: Option<Reports>,
    /// How they stood when that was last told.
    told: ReportState,
    /// Counts plans, so that of two the later one stands.
    plans: u64,
}

impl Hub {
    pub(super) fn tell_reports(&mut self) {
        let Some(reports) = &mut self.reporting.reports else { return };
        let state = reports.state().unwrap_or_default();
        if state != self.reporting.told {
            self.subscribers.publish(&Update::Reports(state.clone()));
            self.reporting.told = state;
        }
    }

    /// Reports by that plan from now on, also after a restart. What is refused leaves the plan before it as it is.
    pub(super) fn report(&mut self, plan: Option<ReportPlan>, reply: Option<oneshot::Sender<Response>>) {
        self.reporting.plans += 1;
        let response = match (&mut self.reporting.reports, plan) {
            (_, None) => {
                self.reporting.reports = None;
                self.ring.remember_reports(None);
                Response::Done
            }
            (Some(same), Some(plan)) if *same.plan() == plan => Response::Done,
            (Some(before), Some(plan)) if before.goes_where(&plan) => {
                before.replan(plan.clone());
                self.ring.remember_reports(Some(plan));
                Response::Done
            }
            (_, Some(plan)) => {
                let (number, http, found) = (self.reporting.plans, self.uploader.http(), self.found.0.clone());
                // Credentials are looked for on the way.
                tokio::task::spawn_blocking(move || {
                    let made = Box::new(Reports::new(plan, Some(http)));
                    // The hub may have ended.
                    let _ = found.send(Found::Reports { number, made, reply });
                });
                return;
            }
        };
        answer(reply, response);
    }

    pub(super) fn reports_made(
        &mut self,
        number: u64,
        made: Result<Reports, ReportError>,
        reply: Option<oneshot::Sender<Response>>,
    ) {
        let response = match made {
            _ if number != self.reporting.plans => {
                refused(RefusalKind::State, "a later report plan replaced this one", "check the later plan")
            }
            Ok(made) => {
                self.ring.remember_reports(Some(made.plan().clone()));
                self.reporting.reports = Some(made);
                Response::Done
            }
            Err(error) => not_reported(&error),
        };
        answer(reply, response);
    }
}

fn not_reported(error: &ReportError) -> Response {
    let next_step =
        "see manifests/cloudwatch-policy.json, or report from the laptop, without --irsa and --pod-identity";
    refused(RefusalKind::NotPermitted, chain(error), next_step)
}
