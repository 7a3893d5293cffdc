//! Metrics on their way to a collector.
//!
//! Owns that they hold nothing up: one export at a time, one more may wait, those for which there is no room or that fail are
//! counted, and that they fail is told once.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use crate::{
    base::text::counted,
    model::{Notice, metrics::Snapshot},
    otlp::{Exporter, OtlpError},
    session::Event,
};

/// At the end the last metrics have so long to get there.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// A collector as a running session has it. Clones share it.
#[derive(Clone)]
pub(super) struct Metering {
    exporter: Option<Arc<Exporter>>,
    /// What waits, which the next takes the place of.
    waiting: Arc<Mutex<Option<Snapshot>>>,
    bell: mpsc::Sender<()>,
    /// Exports that wait or are under way.
    pending: watch::Sender<usize>,
    health: Arc<Mutex<Health>>,
    /// The wait for the last metrics is over.
    settled: Arc<AtomicBool>,
}

/// How exports have gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Health {
    exports: usize,
    missed: usize,
    /// Missed since the last that arrived.
    in_a_row: usize,
    /// That they do not arrive was told.
    told: bool,
}

impl Health {
    /// Something has come of an export. What is to be told of that: the first failure, and the end of failures.
    fn note(&mut self, outcome: &Result<(), OtlpError>, to: &str) -> Option<Notice> {
        self.exports += 1;
        match outcome {
            Ok(()) => {
                let missed = std::mem::take(&mut self.in_a_row);
                let was_told = std::mem::take(&mut self.told);
                let told = || format!("metrics reach {to} again; {} did not", counted(missed, "export"));
                was_told.then(|| Notice::info(told()))
            }
            Err(error) => {
                self.missed += 1;
                self.in_a_row += 1;
                let next_step = "check the collector, its URL and OTEL_EXPORTER_OTLP_HEADERS; later exports are tried";
                let told = || Notice::warning(format!("metrics do not reach {to}"), error.to_string(), next_step);
                (!std::mem::replace(&mut self.told, true)).then(told)
            }
        }
    }

    /// A later one has taken the place of one.
    fn leave_out(&mut self) {
        self.exports += 1;
        self.missed += 1;
        self.in_a_row += 1;
    }

    /// What is lacking in the end, where `pending` have not come to anything.
    fn conclude(&self, pending: usize, to: &str) -> Option<Notice> {
        let (missed, all) = (self.missed + pending, self.exports + pending);
        let told = || format!("{missed} of {} of metrics did not reach {to}", counted(all, "export"));
        (missed > 0).then(|| Notice::warning(told(), "", ""))
    }
}

impl Metering {
    /// A collector, if there is one, and the task that sends to it.
    pub(super) fn new(
        exporter: Option<Arc<Exporter>>,
        events: mpsc::Sender<Event>,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let (bell, mut rung) = mpsc::channel(1);
        let (waiting, health) = (Arc::default(), Arc::default());
        let pending = watch::Sender::new(0);
        let metering = Self { exporter, waiting, bell, pending, health, settled: Arc::default() };
        let (waiting, pending, health) =
            (Arc::clone(&metering.waiting), metering.pending.clone(), Arc::clone(&metering.health));
        let exporter = metering.exporter.clone();
        let exporting = async move {
            let Some(exporter) = exporter else { return };
            while rung.recv().await.is_some() {
                let Some(snapshot) = lock(&waiting).take() else { continue };
                let outcome = exporter.send(&snapshot).await;
                let notice = lock(&health).note(&outcome, &exporter.shown());
                if let Some(notice) = notice
                    && events.send(Event::Told(notice)).await.is_err()
                {
                    return;
                }
                pending.send_modify(|pending| *pending -= 1);
            }
        };
        (metering, exporting)
    }

    /// Sends these once what is under way is sent, in place of what waits for that.
    pub(super) fn push(&self, snapshot: Snapshot) {
        if lock(&self.waiting).replace(snapshot).is_some() {
            return lock(&self.health).leave_out();
        }
        self.pending.send_modify(|pending| *pending += 1);
        // It has rung already, or nobody exports.
        let _ = self.bell.try_send(());
    }

    /// Waits, once, for what is still on its way; what is lacking then.
    pub(super) async fn settle(&self) -> Option<Notice> {
        let exporter = self.exporter.as_ref()?;
        if self.settled.swap(true, Ordering::Relaxed) {
            return None;
        }
        let mut pending = self.pending.subscribe();
        // Whatever has not come to anything by then is counted.
        let _ = timeout(SETTLE_WITHIN, pending.wait_for(|pending| *pending == 0)).await;
        let left = *pending.borrow();
        lock(&self.health).conclude(left, &exporter.shown())
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_and_so_is_its_end() {
        let mut health = Health::default();
        let refused = || Err(OtlpError::Status { status: 503 });
        let told = health.note(&refused(), "http://c/v1/metrics").expect("told").line();
        assert!(told.starts_with("metrics do not reach http://c/v1/metrics: HTTP 503"), "{told}");
        assert_eq!(health.note(&refused(), "c"), None);
        health.leave_out();
        let told = health.note(&Ok(()), "c").expect("told").line();
        assert_eq!(told, "metrics reach c again; 3 exports did not");
        assert_eq!(health.note(&Ok(()), "c"), None);
        assert!(health.note(&refused(), "c").is_some(), "it fails anew");
        assert_eq!(
            health.conclude(1, "c").map(|it| it.line()),
            Some("5 of 7 exports of metrics did not reach c".into())
        );
        assert_eq!(Health { exports: 3, ..Health::default() }.conclude(0, "c"), None);
    }
}
