//! The one function that changes a session.
//!
//! Owns what each event means. Pure: same session, event and time, same result.

use nodewatch_protocol::{RefusalKind, Request, Response, UnixMillis};

use super::{
    Effect, Event, Listing, REMIND_BEFORE, Session,
    node::{Asked, Pending},
};
use crate::{
    base::text,
    model::{Failure, NodeName, Notice, Place, Removal},
};

/// Takes in one event and says what is to be done.
pub fn update(session: &mut Session, event: Event, now: UnixMillis) -> Vec<Effect> {
    session.now = now;
    let effects = session.take_in_event(event);
    session.after(effects)
}

impl Session {
    fn take_in_event(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Nodes(change) => {
                self.hear_nodes(&change);
                self.nodes_changed(change);
                self.serve_joined()
            }
            Event::Deploy(name, progress) => {
                let effects = self.deploy_progress(&name, progress);
                self.after_news(effects)
            }
            Event::Tunnel(name, change) => {
                let effects = self.tunnel_changed(&name, change);
                self.after_news(effects)
            }
            Event::Answer(name, request, response) => {
                self.answered(&name, &request, response);
                self.after_news(Vec::new())
            }
            Event::Fetch(name, file, progress) => {
                self.fetch_progress(&name, file, progress);
                self.check_leaving()
            }
            Event::Bundled(name, outcome) => self.bundled(&name, outcome),
            Event::Granted(name, outcome) => {
                self.granted(&name, outcome);
                self.check_leaving()
            }
            event @ (Event::Expected(..) | Event::Reports(_) | Event::Alarms(_)) => self.report_event(event),
            Event::Removed(group, outcome) => self.removed(group, &outcome),
            Event::Removal(removal) => {
                self.note_gone(&removal);
                self.removal(removal)
            }
            Event::StoodIn(outcome) => self.stood_in(outcome),
            Event::Attach { began, ends, stood_in } => self.attach(began, ends, stood_in),
            Event::StopCaptures => self.stop_all_captures(),
            Event::Watch(names, spec) => self.watch_asked_for(&names, &spec),
            Event::StopWatching(names) => self.stop_watching(&names),
            Event::Observe => vec![Effect::Attach],
            Event::Asked(name, request) => self.asked(name, request),
            Event::ClockSet(ahead) => self.clock_set(ahead),
            Event::Tick => self.tick(),
            Event::DeployTo(names) => self.deploy(names),
            Event::Aim(targets) => self.aim_at(targets),
            Event::Aimed(targets, found) => self.aimed(&targets, found),
            Event::StartCaptures(names, spec) => self.begin_captures_asked_for(&names, &spec),
            Event::Resolved(names, asked, found) => self.resolved(&names, &asked, found),
            Event::Finish => {
                // Whoever ends the program does not mean another session.
                self.next = None;
                self.leave(true)
            }
            Event::Abandon(made) => self.abandon(made),
            event @ (Event::Stored(_)
            | Event::Download(..)
            | Event::Ended(..)
            | Event::Made(_)
            | Event::Told(_)
            | Event::Stocked(..)
            | Event::InBucket(_)
            | Event::NoManifest(_)
            | Event::Stock(_)
            | Event::EndsSet(_)
            | Event::ImageSet(..)
            | Event::Sweep(..)
            | Event::Earlier(_)
            | Event::Here { .. }
            | Event::Changes(_)
            | Event::MeanLaterNodes) => {
                self.note_event(event);
                Vec::new()
            }
            // What is found out for somebody who looks.
            Event::Contexts(_)
            | Event::Past(_)
            | Event::Workloads(_)
            | Event::Trusted(..)
            | Event::Sessions { .. }
            | Event::Held(..)
            | Event::Tail(..) => Vec::new(),
        }
    }

    /// Takes in what nothing follows from.
    fn note_event(&mut self, event: Event) {
        match event {
            Event::Stored(stored) => self.stored(stored),
            Event::Download(key, progress) => self.download_progress(key, progress),
            Event::Ended(job, notice) => self.job_ended(job, notice),
            Event::Made(made) => self.transfers.made.push(made),
            Event::Told(notice) | Event::EndsSet(Err(notice)) => self.notify(notice),
            Event::ImageSet(reference, outcome) => self.image_set(&reference, outcome),
            Event::Stocked(group, found) => self.stocked(group, &found),
            Event::InBucket(found) => self.in_bucket(found),
            Event::NoManifest(notice) => self.no_manifest(notice),
            Event::Stock(stock) => self.stock(stock),
            Event::Sweep(id, Removal::Finished) => self.work.swept(&id),
            Event::Earlier(earlier) => self.earlier = Some(earlier),
            Event::Here { node, file, path, sha256 } => self.found_here(&node, file, path, sha256),
            Event::Changes(news) => self.hear_changes(news),
            Event::MeanLaterNodes => self.mean_later_nodes(),
            _ => {}
        }
    }

    fn note_gone(&mut self, removal: &Removal) {
        if let Removal::Gone(_) = removal {
            self.life.last_gone = Some(self.now);
        }
    }

    fn attach(&mut self, began: UnixMillis, ends: Option<UnixMillis>, stood_in: bool) -> Vec<Effect> {
        self.joining.stood_in = stood_in;
        self.life.attached = Some(self.now);
        self.life.began = Some(self.steady(began));
        self.life.ends = ends.map(|ends| self.steady(ends));
        // What was delivered meanwhile is no ring's to tell any more, where that is gone.
        let mut effects = self.list_stored();
        effects.push(Effect::Attach);
        effects
    }

    /// What follows from news of an agent beside what they ask for themselves.
    fn after_news(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        effects.extend(self.follow_due());
        effects.extend(self.follow_targets());
        effects.extend(self.check_leaving());
        effects
    }

    /// A second has passed.
    fn tick(&mut self) -> Vec<Effect> {
        let now = self.now;
        for state in self.nodes.values_mut() {
            state.age(now);
        }
        self.remind();
        self.measure_flow();
        let mut effects = self.take_stock_again();
        effects.extend(self.expectations_due());
        effects.extend(self.reports_due());
        effects.extend(self.alarms_due());
        effects.extend(self.grants_due());
        effects.extend(self.serve_joined());
        effects.extend(self.watches_due());
        effects.extend(self.hearing_due());
        effects.extend(self.follow_targets());
        effects.extend(self.homing_due());
        effects.extend(self.acts_due());
        effects.extend(self.check_leaving());
        effects.extend(self.judge());
        effects.extend(self.metrics_due());
        effects
    }

    fn answered(&mut self, name: &NodeName, request: &Request, response: Option<Response>) {
        let now = self.now;
        if let Request::Probe(probe) = request {
            let probed = response.as_ref().and_then(|response| match response {
                Response::Probed(probed) => Some(probed),
                _ => None,
            });
            self.probed(name, *probe, probed);
        }
        if let (Request::Freeze(freeze), None | Some(Response::Refused(_))) = (request, &response) {
            self.freeze_failed(name, *freeze);
        }
        if let (Request::Report(_), None | Some(Response::Refused(_)), Some(state)) =
            (request, &response, self.nodes.get_mut(name))
        {
            // Told again when its tunnel is up again.
            state.reporting.errors += 1;
        }
        if let Request::Terms(_) = request {
            self.terms_heard(name, response.as_ref());
            if matches!(response, None | Some(Response::Done)) {
                // A tunnel that was cut is told again when it is back.
                return;
            }
        }
        if let Request::Watch(spec) = request {
            return self.watch_answered(name, spec.as_ref(), response);
        }
        let Some(state) = self.nodes.get_mut(name) else { return };
        let (refused, unanswered) = match request {
            Request::StartCapture(_) => ("did not start a capture", "may not have started a capture"),
            Request::StopCapture => ("did not stop the capture", "may not have stopped the capture"),
            Request::Terms(_) => ("rejected its new deadline", "may have missed its new deadline"),
            Request::Freeze(_) => ("did not freeze its flight recorder", "may not have frozen its flight recorder"),
            Request::Sink(_) => ("rejected the upload destination", "may have missed the upload destination"),
            Request::RemoveFile { .. } => ("did not remove a file", "may not have removed a file"),
            Request::Probe(_) => ("did not probe a port", "may not have probed a port"),
            Request::Report(_) => ("rejected the report settings", "may have missed the report settings"),
            Request::Fetched { .. }
            | Request::Checksum { .. }
            | Request::Heartbeat
            | Request::Goodbye
            | Request::Watch(_) => ("did not answer", "may not have answered"),
        };
        let notice = match response {
            Some(Response::Refused(refusal)) => {
                let failure = match refusal.kind {
                    RefusalKind::Invalid => Failure::BadInput,
                    RefusalKind::NotPermitted => Failure::NotPermitted,
                    RefusalKind::State | RefusalKind::Failed => Failure::Other,
                };
                Notice::error(format!("{name} {refused}"), refusal.message, refusal.next_step).of(failure)
            }
            None => Notice::error(
                format!("{name} {unanswered}"),
                "the tunnel dropped before it answered",
                "check its state once the tunnel is back",
            ),
            Some(Response::Done) if matches!(request, Request::Freeze(_)) => {
                let after = self.terms.freeze.after_seconds;
                let before = self.terms.freeze.before_seconds;
                state.note_act(now, format!("flight recorder: saving the last {before} s and the next {after} s"));
                return;
            }
            // The new state comes as an update of its own, and what came of a probe is noted above.
            Some(Response::Done | Response::Checksum { .. } | Response::Probed(_)) => return,
        };
        state.asked = Asked::Nothing;
        let mut notice = notice;
        if matches!(request, Request::StopCapture) && std::mem::take(&mut state.pending) != Pending::Nothing {
            // What was to take its place does not.
            notice.headline.push_str("; the one that was to take its place does not start");
        }
        state.note(now, notice.line());
        state.refusal = Some(notice.clone());
        self.notify(notice);
    }

    /// The session ends when it would have; what is written down of that is by the clock on the wall.
    fn clock_set(&mut self, ahead: i64) -> Vec<Effect> {
        let by = ahead.saturating_sub(self.wall_ahead) / 1000;
        self.wall_ahead = ahead;
        let word = if by < 0 { "back" } else { "ahead" };
        let length = text::lasting(by.unsigned_abs() * 1000);
        let headline = format!("this laptop's clock was set {word} by {length}; deadlines are not affected");
        // As the session begins it is no news.
        if self.listing != Listing::Loading {
            self.notify(Notice::info(headline));
        }
        let known = self.life.ends.filter(|_| self.life.began.is_some() && !self.is_removing());
        // What the cluster has is by its own clock, which nobody has set.
        known
            .filter(|_| self.terms.place != Place::Local)
            .map(|ends| Effect::NoteEnds(self.wall(ends)))
            .into_iter()
            .collect()
    }

    /// Says in time that the end is near: nothing extends it silently.
    fn remind(&mut self) {
        let Some(ends) = self.life.ends.filter(|&ends| self.life.reminded != Some(ends)) else { return };
        if self.now + REMIND_BEFORE < ends || !self.nodes.values().any(|state| state.agent.runs()) {
            return;
        }
        self.life.reminded = Some(ends);
        let minutes = ends.saturating_sub(self.now) / 60_000;
        let cause = if self.begin_homing() {
            "its budget runs out; files not copied elsewhere are fetched from now on"
        } else {
            "its budget runs out"
        };
        let headline = format!("the session ends in {minutes} min");
        self.notify(Notice::warning(headline, cause, "{budget} moves it").naming_keys());
    }
}
