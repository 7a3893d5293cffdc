//! What has not come: attempts and questions without an answer.
//!
//! Owns how long is waited, and that nothing is decided of an interface that has been silent since: what came there may
//! not have been captured. Such a decision waits for the next packet there.

use nodewatch_protocol::{Finding, Symptom};

use crate::{
    analysis::{Analysis, Postponed},
    echoes::KNOWN,
    judging::{Asker, Kind, is_to_come},
    questions::Silence,
    showing::Asked,
    table::Place,
};

/// So long somebody waits for a connection. Most programs give up later, most people sooner.
const WAITED: i64 = 10_000_000_000;
/// So long an interface must have been listened to since. At the end of a capture this is enough.
const LISTENED: i64 = 3_000_000_000;
/// Of an interface that was silent for longer nothing is known.
const PATIENCE: i64 = 60_000_000_000;

impl Analysis {
    /// An attempt to connect has begun.
    pub(crate) fn wait(&mut self, at: i64, place: Place) {
        if self.waiting.len() >= self.limits.connections
            && let Some((asked, place)) = self.waiting.pop_front()
        {
            self.forget(asked, place);
        }
        self.waiting.push_back((at, place));
    }

    fn forget(&mut self, asked: i64, place: Place) {
        if let Some((_, connection)) = self.connections.get_mut(place)
            && connection.waits_since(asked)
        {
            connection.fail();
            self.totals.forgotten += 1;
        }
    }

    /// Of an attempt nothing more will come: the same ports have another.
    pub(crate) fn give_up(&mut self, place: Place, at: i64) {
        let asked = self.connections.get_mut(place).and_then(|(_, connection)| connection.waits());
        if let Some(asked) = asked {
            self.decide_attempt(asked, place, at);
        }
    }

    /// Notes what has not come, and should have by now.
    #[inline]
    pub(crate) fn silences(&mut self, now: i64, at_end: bool) {
        let waited = |asked: i64| now.saturating_sub(asked) >= WAITED || is_to_come(asked, now);
        while self.waiting.front().is_some_and(|&(asked, _)| at_end || waited(asked)) {
            self.silent_attempt(now, at_end);
        }
        while let Some(silence) = self.questions.next_silence(now, at_end) {
            self.silent_question(silence, now, at_end);
        }
    }

    /// The interface was listened to for long enough since then; otherwise the last time that it was.
    fn listened(&self, interface: u16, since: i64) -> Result<i64, i64> {
        let last = self.judging.last(interface).unwrap_or(since);
        if last.saturating_sub(since) >= LISTENED { Ok(last) } else { Err(last) }
    }

    #[cold]
    fn silent_attempt(&mut self, now: i64, at_end: bool) {
        let Some((asked, place)) = self.waiting.pop_front() else { return };
        let Some((key, connection)) = self.connections.get_mut(place) else { return };
        if !connection.waits_since(asked) {
            return;
        }
        let interface = key.interface;
        match self.listened(interface, asked) {
            // How long it has waited is not known.
            _ if is_to_come(asked, now) => self.decide_attempt(asked, place, asked),
            Ok(last) => self.decide_attempt(asked, place, last),
            Err(last) if at_end => self.decide_attempt(asked, place, last),
            Err(_) => self.postpone(Postponed::Attempt { asked, place }),
        }
    }

    #[cold]
    fn silent_question(&mut self, silence: Silence, now: i64, at_end: bool) {
        match self.listened(silence.key.interface, silence.asked) {
            _ if silence.key.is_for_all() => {}
            _ if is_to_come(silence.asked, now) => self.decide_question(&silence, silence.asked),
            Ok(last) => self.decide_question(&silence, last),
            Err(last) if at_end => self.decide_question(&silence, last),
            Err(_) => self.postpone(Postponed::Question(silence)),
        }
    }

    fn postpone(&mut self, postponed: Postponed) {
        if self.postponed.len() < self.limits.questions {
            self.postponed.push_back(postponed);
        } else {
            self.totals.forgotten += 1;
        }
    }

    /// Decides what was postponed and can be decided now.
    pub(crate) fn take_up(&mut self, now: i64) {
        for _ in 0..self.postponed.len() {
            let Some(postponed) = self.postponed.pop_front() else { return };
            let (asked, interface) = match &postponed {
                Postponed::Attempt { asked, place } => match self.connections.get_mut(*place) {
                    Some((key, connection)) if connection.waits_since(*asked) => (*asked, key.interface),
                    _ => continue,
                },
                Postponed::Question(silence) => (silence.asked, silence.key.interface),
            };
            let last = match self.listened(interface, asked) {
                _ if is_to_come(asked, now) => asked,
                Err(_) if now.saturating_sub(asked) < PATIENCE => {
                    self.postponed.push_back(postponed);
                    continue;
                }
                Ok(last) if last.saturating_sub(asked) > PATIENCE => asked,
                Ok(last) | Err(last) => last,
            };
            match postponed {
                Postponed::Attempt { asked, place } => self.decide_attempt(asked, place, last),
                Postponed::Question(silence) => self.decide_question(&silence, last),
            }
        }
    }

    /// An attempt that began then has not been answered, as far as was listened.
    fn decide_attempt(&mut self, asked: i64, place: Place, last: i64) {
        let Some((key, connection)) = self.connections.get_mut(place) else { return };
        connection.fail();
        let (pair, known, begun) = (key.pair(connection.client()), connection.pair, connection.beginning());
        let (interface, address, link) = (pair.interface, pair.source, connection.link);
        let at = (interface, pair.tunnel);
        let is_known = self.is_echo((KNOWN, begun), at, asked);
        if self.may_decide(&Asker { interface, kind: Kind::Tcp, address, link }, (asked, last), is_known) {
            let is_echo = self.is_echo((Symptom::Unanswered as u8, begun), at, asked);
            let counted = self.pairs.place(known, || pair);
            self.pairs.note_silence(counted, (Symptom::Unanswered, is_echo), asked);
            self.show_failed(place, Finding::Symptom(Symptom::Unanswered), last, None);
        }
    }

    fn decide_question(&mut self, silence: &Silence, last: i64) {
        let key = &silence.key;
        let asker = Asker { interface: key.interface, kind: Kind::Dns, address: key.client, link: None };
        if self.questions.is_answered(silence) {
            return;
        }
        let at = (key.interface, key.tunnel);
        let is_known = self.is_echo((KNOWN, key.id, silence.name), at, silence.asked);
        if self.may_decide(&asker, (silence.asked, last), is_known) {
            let what = (Symptom::DnsUnanswered as u8, key.id, silence.name);
            let is_echo = self.is_echo(what, at, silence.asked);
            let place = self.pairs.place(silence.pair, || key.pair());
            self.pairs.note_silence(place, (Symptom::DnsUnanswered, is_echo), silence.asked);
            let id = Some((key.id.into(), silence.name as u32));
            let asked = Asked { port: key.ports.0, id, began: silence.asked, at: last, hops: silence.hops, told: None };
            self.show_question(&key.pair(), Finding::Symptom(Symptom::DnsUnanswered), &asked);
        }
    }

    /// `is_known`: what became of it is known of another interface of the node.
    fn may_decide(&mut self, asker: &Asker, (asked, last): (i64, i64), is_known: bool) -> bool {
        if last.saturating_sub(asked) < LISTENED {
            self.judging.unjudged.undecided += 1;
            return false;
        }
        if !self.judging.may(asker.interface, asked) {
            return false;
        }
        let heard = self.judging.has_heard(asker);
        self.judging.unjudged.one_way += u64::from(!heard && !is_known);
        heard
    }
}
