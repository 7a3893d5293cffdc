//! The flight recorder that freezes by itself: the node judges what it sees, also while nobody is there.
//!
//! Owns when it judges: only while a recorder is armed that wants it, or it is watched and reports by itself. What a reason
//! is, is the judge's to say.

use nodewatch_protocol::{CaptureSpec, CaptureState, Freeze, FreezeCause, FreezeOn, Froze, Response, Seconds, Update};

use super::{Hub, captures::Slot};
use crate::{
    judge::{self, Frozen, Judge},
    unix_millis,
};

/// What the node makes of what it sees.
#[derive(Default)]
pub(super) struct Own {
    /// There is none where nobody wants to know.
    pub(super) judge: Option<Box<Judge>>,
    frozen: Frozen,
}

impl Hub {
    /// Freezes the recorder for each reason that there is now and was not lately, and remembers for the node's own reports
    /// what is found.
    pub(super) fn judge_itself(&mut self) {
        let freezes = self.freezes_on();
        let reports = self.reporting.reports.is_some() && self.seen.watch.state.is_on();
        if freezes.is_none() && !reports {
            self.seen.own.judge = None;
            return;
        }
        let now = unix_millis();
        let new = || Box::new(Judge::new(&self.node.hostname, &self.seen.signals, now));
        let judge = self.seen.own.judge.get_or_insert_with(new);
        judge.is_for(freezes.map(|(on, _)| on), reports);
        judge.has(self.facts.own_addresses());
        let reasons = judge.ask(now);
        let Some((_, freeze)) = freezes else { return };
        for (cause, text) in reasons {
            let freeze = Freeze { cause: Some(cause), ..freeze };
            // What is refused, as by too many that wait, is tried again.
            self.freeze_for(freeze, Some(text));
        }
    }

    /// Freezes as asked; for a reason that it has frozen for lately it has already. Whatever the reason is, who is there is
    /// told.
    pub(super) fn freeze_for(&mut self, freeze: Freeze, text: Option<String>) -> Response {
        let Some(cause) = freeze.cause else { return self.freeze(freeze) };
        let now = self.ring.clock().boot().as_millis();
        if !self.seen.own.frozen.may(cause, now) {
            return Response::Done;
        }
        let response = self.freeze(freeze);
        if response == Response::Done {
            self.seen.own.frozen.note(cause, now);
            let text = text.unwrap_or_else(|| judge::title(cause));
            self.tell_froze(format!("the flight recorder froze by itself: {text}"), freeze);
        }
        response
    }

    /// All that an armed recorder holds is saved before others end it: nobody can press the key afterwards.
    pub(super) fn freeze_at_the_end(&mut self) {
        let CaptureState::Running { spec: CaptureSpec { recorder: Some(recorder), .. }, .. } = &self.state else {
            return;
        };
        let cause = Some(FreezeCause::PodEnds);
        let freeze = Freeze { before_seconds: recorder.seconds, after_seconds: Seconds::default(), cause };
        match self.freeze(freeze) {
            Response::Refused(refusal) => {
                self.trouble(format!("the flight recorder saved nothing: {}", refusal.message));
            }
            _ => self
                .tell_froze("the flight recorder saves all that it holds: its pod is being ended".to_owned(), freeze),
        }
    }

    /// Who comes later is told too.
    fn tell_froze(&mut self, message: String, freeze: Freeze) {
        if self.subscribers.is_empty() {
            self.ring.say(message);
        } else {
            self.subscribers.publish(&Update::Froze(Froze { message, freeze }));
        }
    }

    /// When the armed recorder is to freeze by itself, and what it saves then.
    fn freezes_on(&self) -> Option<(FreezeOn, Freeze)> {
        let (Slot::Running(_), CaptureState::Running { spec, .. }) = (&self.capture, &self.state) else { return None };
        let (on, recorder) = (spec.freeze_on?, spec.recorder?);
        let usual = Freeze::default();
        Some((on, Freeze { before_seconds: usual.before_seconds.min(recorder.seconds), ..usual }))
    }
}
