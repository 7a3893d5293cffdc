//! A connection, both ways, and what has become of it.
//!
//! Owns its state and what a segment means for it: an attempt that is refused, delayed or left without an answer, an
//! end that resets, a window that stays closed. Must not know tables, nor whether what it says may be judged.

use std::num::NonZeroU64;

use nodewatch_protocol::{Finding, Symptom};

use crate::{
    detail::{ACK, FIN, RST, SYN, Segment},
    fate::Fate,
    flow::{Flow, Marks},
    table::Place,
};

/// The same beginning again after this time is one that was not answered; sooner it is a copy.
const REPEATED: i64 = 900_000_000;
/// Data that was sent so long before an answer is repeated had time to arrive.
const SPOKEN: i64 = 500_000_000;
/// A window that opens again sooner was not felt.
const FELT: i64 = 200_000_000;
/// A silence that may have cost the connection.
const SILENCE: i64 = 60_000_000_000;
/// What is sent more often is not silent.
const QUIET: i64 = 1_000_000_000;
/// What fails so soon after a silence may have failed because of it.
const AFTER_SILENCE: i64 = 10_000_000_000;
/// Sent again so often without having arrived, a segment is stuck.
const STUCK: u8 = 3;
/// A packet that comes from nowhere is refused at once.
const AT_ONCE: i64 = 5_000_000;

/// What is known of an attempt to connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Attempt {
    /// Its beginning was not seen.
    #[default]
    Unseen,
    Waiting,
    /// An answer was seen, and nothing that it answers: that has come another way. With the number of that.
    Unasked(u32),
    Answered,
    /// The end that began it has gone on after the answer.
    Established,
    /// It has failed, which was said.
    Failed,
}

/// One end.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    /// Its clock as it was in data that has not come back yet, and when that was seen.
    stamp: Option<(u32, i64)>,
    /// Since when it takes nothing.
    closed: Option<i64>,
    /// Hops that its packets have left.
    hops: Option<u8>,
    seen: bool,
    /// It has sent its last.
    done: bool,
    /// More came for it after that.
    late: bool,
    /// Before it had sent its last, nothing was sent for so long.
    rested: i64,
    /// What it has sent was acknowledged up to there, beyond a gap.
    beyond_gap: Option<u32>,
    /// The segment that it has sent again last: its number, its length, and how often.
    again: (u32, u32, u8),
}

/// A connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    flows: [Flow; 2],
    ends: [End; 2],
    /// The last beginning, and the first one of the same attempt.
    begun: Option<i64>,
    asked: Option<i64>,
    /// The clock of who is asked, as its answer has it.
    answer_stamp: Option<u32>,
    /// When the end that began it has sent data first.
    spoken: Option<i64>,
    /// When an older connection between the same ports was answered for.
    challenged: Option<i64>,
    /// When it was answered.
    answered: i64,
    /// The clock of who begins, as the beginning has it.
    stamp: u32,
    /// How often the beginning was repeated.
    repeats: u32,
    /// The last silence: when it ended, how long it was, and which end has ended it.
    quiet: (i64, i64, usize),
    /// From the beginning to the first acknowledgment; 0 where that is not known.
    round_trip: i64,
    pub(crate) last: i64,
    /// Where its pair is counted.
    pub(crate) pair: Option<Place>,
    /// The way that answers to its beginning take on the link, where that is known.
    pub(crate) link: Option<NonZeroU64>,
    /// The end that began it.
    client: usize,
    attempt: Attempt,
    fate: Fate,
    repeated: bool,
    was_reset: bool,
    /// Another interface has shown its beginning already.
    pub(crate) is_echo: bool,
}

/// Something that a connection shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    /// What.
    pub(crate) what: Finding,
    /// The end that has shown it.
    pub(crate) side: usize,
    /// When.
    pub(crate) at: i64,
    /// Hops that were left to a refusal.
    pub(crate) hops: Option<u8>,
}

/// What is known of a connection that shows something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portrait {
    /// When it was begun, as far as that was seen.
    pub(crate) began: i64,
    /// What stays the same wherever it is seen.
    pub(crate) id: Option<(u32, u32)>,
    /// How often it was begun again.
    pub(crate) repeats: u32,
    /// Hops that packets of who began it have left.
    pub(crate) hops: Option<u8>,
    /// Those of the end that has shown it, where it has refused something.
    pub(crate) usual_hops: Option<u8>,
    /// The end that was asked has shown it.
    pub(crate) by_server: bool,
    /// Before that nothing was sent for so long.
    pub(crate) silence_millis: u64,
    /// Bytes of the segment that is sent in vain, and whether later ones arrive.
    pub(crate) stuck: (u32, bool),
    /// The first answer was one to an older connection between the same ports.
    pub(crate) challenged: bool,
}

/// What a segment says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said {
    /// By Wireshark's definitions.
    pub(crate) marks: Marks,
    /// What a user feels.
    pub(crate) symptom: Option<Symptom>,
    /// It begins an attempt.
    pub(crate) attempt: bool,
    /// An attempt was answered after this time.
    pub(crate) answer: Option<u64>,
    /// Data came back acknowledged after this time.
    pub(crate) round_trip: Option<u64>,
    /// A window was closed for so long, and whether that was felt.
    pub(crate) stalled: Option<(u64, bool)>,
    /// Before that it was silent for so long.
    pub(crate) silence: Option<u64>,
    /// What it shows that is no symptom.
    pub(crate) finding: Option<Finding>,
    /// An attempt was answered, and not here: its ends go on.
    pub(crate) answered_elsewhere: bool,
    /// It is the first of its sender, and of the other end some were seen.
    pub(crate) both_ways: bool,
}

impl Said {
    /// Somebody has felt something.
    pub(crate) fn is_felt(&self) -> bool {
        self.symptom.is_some() || self.finding.is_some() || self.stalled.is_some_and(|(_, felt)| felt)
    }
}

impl Connection {
    /// One of which nothing is known but who begins it, as it seems.
    pub(crate) fn new(client: usize) -> Self {
        Self { client, ..Self::default() }
    }

    /// The end that began it.
    pub(crate) fn client(&self) -> usize {
        self.client
    }

    /// The number with which the end that began it has begun.
    pub(crate) fn beginning(&self) -> Option<u32> {
        self.flows[self.client].base()
    }

    /// What stays the same wherever it is seen, where its beginning was.
    pub(crate) fn id(&self) -> Option<(u32, u32)> {
        if let Attempt::Unasked(sequence) = self.attempt {
            return Some((sequence, self.stamp));
        }
        self.beginning().filter(|_| self.asked.is_some()).map(|sequence| (sequence, self.stamp))
    }

    /// How far it has come.
    pub(crate) fn fate(&self) -> Fate {
        self.fate
    }

    /// It is over, as far as is to be seen.
    pub(crate) fn is_over(&self) -> bool {
        self.fate.has(Fate::RST) || (self.ends[0].done && self.ends[1].done)
    }

    /// How much it matters that it stays known.
    pub(crate) fn worth(&self) -> i64 {
        if self.is_over() { self.last.saturating_sub(1 << 40) } else { self.last }
    }

    /// This segment begins another connection between the same ports.
    pub(crate) fn is_begun_anew(&self, side: usize, segment: &Segment<'_>) -> bool {
        segment.has(SYN) && !segment.has(ACK) && self.flows[side].began_otherwise(segment.sequence)
    }

    /// An attempt waits since then.
    pub(crate) fn waits(&self) -> Option<i64> {
        self.asked.filter(|_| self.attempt == Attempt::Waiting)
    }

    /// When its attempt began, whatever became of that.
    pub(crate) fn asked(&self) -> Option<i64> {
        self.asked
    }

    /// It is that attempt which waits.
    pub(crate) fn waits_since(&self, asked: i64) -> bool {
        self.waits() == Some(asked)
    }

    /// An attempt that waited has failed.
    pub(crate) fn fail(&mut self) {
        self.attempt = Attempt::Failed;
    }

    /// A segment that one end has sent; `hops` are left to it.
    pub(crate) fn take(&mut self, side: usize, segment: &Segment<'_>, at: i64, hops: Option<u8>) -> Said {
        let both_ways = !self.ends[side].seen && self.ends[1 - side].seen;
        let gap = at.saturating_sub(self.last);
        if gap >= QUIET && self.ends[0].seen | self.ends[1].seen {
            self.quiet = (at, gap, side);
        }
        let mut said =
            Said { both_ways, answered_elsewhere: self.answers_elsewhere(side, segment, at), ..Said::default() };
        let reused = self.beginnings(side, segment);
        self.fate.advance(segment, self.ends.iter().all(|end| !end.seen));
        let [low, high] = &mut self.flows;
        let (flow, back) = if side == 0 { (low, high) } else { (high, low) };
        said.marks = flow.judge(back, segment, at, self.round_trip);
        if reused {
            said.marks |= Marks::PORTS_REUSED;
        }
        if segment.has(SYN) {
            self.begin(side, segment, at, &mut said);
        } else if segment.has(ACK)
            && self.round_trip == 0
            && let Some(begun) = self.begun
        {
            self.round_trip = at.saturating_sub(begun);
        }
        if segment.length > 0 {
            said.finding = self.carries(side, segment, said.marks);
        }
        self.acknowledges(side, segment, said.marks);
        if self.attempt == Attempt::Answered && side == self.client && segment.has(ACK) && !segment.has(SYN | RST) {
            self.attempt = Attempt::Established;
        }
        if matches!(self.attempt, Attempt::Unasked(_)) && side == self.client && !segment.has(SYN | RST) {
            // It goes on here after all.
            self.attempt = Attempt::Unseen;
        }
        if segment.length > 0 && side == self.client && self.attempt == Attempt::Established {
            self.spoken.get_or_insert(at);
        }
        if segment.has(RST) {
            self.reset(side, segment, at, hops, &mut said);
        } else {
            self.ends[side].hops = hops;
        }
        self.window(side, segment, at, &mut said);
        said.round_trip = self.stamps(side, segment, at);
        if segment.has(FIN) && !self.ends[side].done {
            self.ends[side].rested = gap;
        }
        let done = self.ends[1 - side].done;
        self.ends[1 - side].late |= done && segment.length > 0;
        let end = &mut self.ends[side];
        end.done |= segment.has(FIN);
        end.seen = true;
        self.last = at;
        said
    }

    /// A beginning where there was one already.
    fn beginnings(&mut self, side: usize, segment: &Segment<'_>) -> bool {
        let flow = &mut self.flows[side];
        match (segment.has(SYN), segment.has(ACK)) {
            (true, false) => {
                flow.begins_again(segment.sequence);
                false
            }
            (true, true) if flow.began_otherwise(segment.sequence) => {
                flow.rebase(segment.sequence);
                true
            }
            _ => false,
        }
    }

    /// An attempt waits, as far as was seen here, and this segment goes on from an answer to it: that has taken another
    /// way. Segments of an older connection between the same ports do not go on from there.
    fn answers_elsewhere(&mut self, side: usize, segment: &Segment<'_>, at: i64) -> bool {
        if self.attempt != Attempt::Waiting || segment.has(SYN) {
            return false;
        }
        let next = self.flows[self.client].next();
        let goes_on = if side == self.client {
            // Who begins ends what is answered unasked with the number that the answer has; its own is that of an abort.
            let ahead = segment.sequence.wrapping_sub(next);
            if segment.has(RST) { ahead == 0 } else { segment.has(ACK) && (ahead as i32) >= 0 }
        } else {
            segment.has(ACK) && !segment.has(RST) && segment.acknowledged == next
        };
        if goes_on {
            self.attempt = Attempt::Answered;
        } else if side != self.client && segment.has(ACK) && !segment.has(RST) {
            // RFC 5961: who has an older connection between these ports asks whether that is over.
            self.challenged.get_or_insert(at);
        }
        goes_on
    }

    fn begin(&mut self, side: usize, segment: &Segment<'_>, at: i64, said: &mut Said) {
        if segment.has(ACK) {
            self.client = 1 - side;
            if self.attempt == Attempt::Unseen && !self.ends[self.client].seen {
                self.attempt = Attempt::Unasked(segment.acknowledged.wrapping_sub(1));
                (self.answered, self.stamp) = (at, segment.stamps().map_or(0, |(_, echoed)| echoed));
                return;
            }
            if self.attempt != Attempt::Waiting {
                said.finding = self.answers_again(segment, at);
                return;
            }
            self.attempt = Attempt::Answered;
            self.answered = at;
            self.answer_stamp = segment.stamps().map(|(own, _)| own);
            said.answer = self.begun.map(|begun| at.saturating_sub(begun).max(0) as u64);
            said.symptom = self.repeated.then_some(Symptom::Delayed);
            return;
        }
        self.client = side;
        self.begun = Some(at);
        match (self.attempt, self.asked) {
            (Attempt::Waiting | Attempt::Failed, Some(asked)) => {
                self.repeated |= at.saturating_sub(asked) >= REPEATED;
                self.repeats = self.repeats.saturating_add(1);
            }
            (Attempt::Unseen | Attempt::Unasked(_), _) => {
                (self.attempt, self.asked, said.attempt) = (Attempt::Waiting, Some(at), true);
                self.stamp = segment.stamps().map_or(0, |(own, _)| own);
            }
            _ => {}
        }
    }

    fn reset(&mut self, side: usize, segment: &Segment<'_>, at: i64, hops: Option<u8>, said: &mut Said) {
        if self.attempt == Attempt::Waiting {
            // The other one ends what it has begun itself, or an old connection between the same ports is ended.
            let asked_for = segment.has(ACK) && segment.acknowledged == self.flows[1 - side].next();
            if side != self.client && asked_for {
                self.attempt = Attempt::Failed;
                said.symptom = Some(Symptom::Refused);
            }
            return;
        }
        if self.attempt == Attempt::Failed || std::mem::replace(&mut self.was_reset, true) {
            return;
        }
        let is_unseen = matches!(self.attempt, Attempt::Unseen | Attempt::Unasked(_));
        let is_unknown = is_unseen && !self.ends[side].seen && self.ends[1 - side].seen;
        if is_unknown && at.saturating_sub(self.last) <= AT_ONCE && !self.ends[1 - side].done {
            said.finding = Some(Finding::Stray);
        }
        // Who has begun it wants it no more: a scan that is half open, or a program that has given up.
        if self.attempt == Attempt::Answered && side == self.client {
            return;
        }
        let (end, other) = (&self.ends[side], &self.ends[1 - side]);
        if end.done && end.late {
            said.symptom = Some(Symptom::ClosedTooSoon);
        } else if !end.done && !other.done && other.seen {
            let foreign = end.hops.zip(hops).is_some_and(|(usual, this)| usual.abs_diff(this) > 1);
            said.symptom = Some(if foreign { Symptom::ForeignReset } else { Symptom::Reset });
        }
        let silence = self.silence_before(side, at, false);
        if said.symptom.is_some() && silence >= SILENCE {
            said.silence = Some(silence as u64);
        }
    }

    /// The silence that came before what this end does now, and may be why: the other end has ended it, or, of what is
    /// `its_own` to send, this one. An end that resets what was idle has decided so.
    fn silence_before(&self, side: usize, at: i64, its_own: bool) -> i64 {
        let (ended, length, by) = self.quiet;
        if at.saturating_sub(ended) < AFTER_SILENCE && (by == side) == its_own { length } else { 0 }
    }

    /// An answer to an attempt comes again. Where its clock has not gone on it is the first one, seen twice. That data has
    /// come before, and not just now, shows that it is not taken; without data a listener may wait for it
    /// (`TCP_DEFER_ACCEPT`).
    fn answers_again(&self, segment: &Segment<'_>, at: i64) -> Option<Finding> {
        let is_copy = segment.stamps().zip(self.answer_stamp).is_some_and(|((own, _), first)| own == first);
        if is_copy || at.saturating_sub(self.answered) < REPEATED {
            return None;
        }
        match self.attempt {
            Attempt::Answered | Attempt::Unasked(_) => Some(Finding::AnswerRepeated),
            Attempt::Established => {
                let spoken = self.spoken.is_some_and(|spoken| at.saturating_sub(spoken) >= SPOKEN);
                Some(if spoken { Finding::NotAccepted } else { Finding::AnswerRepeated })
            }
            _ => None,
        }
    }

    /// A segment with data; whether it is stuck.
    fn carries(&mut self, side: usize, segment: &Segment<'_>, marks: Marks) -> Option<Finding> {
        let end = &mut self.ends[side];
        if !marks.has(Marks::RETRANSMISSION) || marks.has(Marks::SPURIOUS | Marks::KEEP_ALIVE) {
            return None;
        }
        let times = if end.again.0 == segment.sequence { end.again.2.saturating_add(1) } else { 1 };
        end.again = (segment.sequence, segment.length, times);
        let takes_nothing = self.ends[1 - side].closed.is_some();
        (times == STUCK && !takes_nothing).then_some(Finding::Stuck)
    }

    /// What a segment acknowledges of the other end's.
    #[inline]
    fn acknowledges(&mut self, side: usize, segment: &Segment<'_>, marks: Marks) {
        let sender = &mut self.ends[1 - side];
        if marks.has(Marks::DUPLICATE_ACK) {
            let options = segment.options();
            let mut edges = options.ranges.iter().take(options.ranges_said.into()).map(|range| range.1);
            sender.beyond_gap = edges.next_back().or(sender.beyond_gap);
        }
    }

    /// Bytes of the segment that this end sends in vain, and whether later ones arrive. What has arrived before proves
    /// nothing: the other end may be gone since.
    fn stuck(&self, side: usize) -> (u32, bool) {
        let end = &self.ends[side];
        let later = end.beyond_gap.is_some_and(|beyond| (beyond.wrapping_sub(end.again.0) as i32) > 0);
        (end.again.1, later)
    }

    /// What is known of it where it shows something.
    pub(crate) fn portrait(&self, shown: &Shown) -> Portrait {
        let Shown { what, side, at, hops } = *shown;
        let end = &self.ends[side];
        let silence = match what {
            Finding::Symptom(Symptom::ClosedTooSoon) => end.rested,
            Finding::Symptom(Symptom::Reset | Symptom::ForeignReset) | Finding::Stuck => {
                self.silence_before(side, at, what == Finding::Stuck)
            }
            _ => 0,
        };
        Portrait {
            began: if matches!(self.attempt, Attempt::Unasked(_)) { self.answered } else { self.asked.unwrap_or(at) },
            id: self.id(),
            repeats: self.repeats,
            hops: self.ends[self.client].hops,
            usual_hops: end.hops.filter(|_| hops.is_some()),
            by_server: side != self.client,
            silence_millis: (silence.max(0) / 1_000_000) as u64,
            stuck: if what == Finding::Stuck { self.stuck(side) } else { (0, false) },
            challenged: self.challenged.is_some(),
        }
    }

    fn window(&mut self, side: usize, segment: &Segment<'_>, at: i64, said: &mut Said) {
        let end = &mut self.ends[side];
        if said.marks.has(Marks::ZERO_WINDOW) {
            end.closed.get_or_insert(at);
        } else if (segment.window > 0 || segment.has(RST))
            && let Some(since) = end.closed.take()
        {
            let closed = at.saturating_sub(since).max(0);
            said.stalled = Some((closed as u64, closed >= FELT));
        }
    }

    /// How long data took to come back acknowledged, by the clocks that the ends write into their segments.
    fn stamps(&mut self, side: usize, segment: &Segment<'_>, at: i64) -> Option<u64> {
        let (own, seen) = segment.stamps()?;
        let mut took = None;
        if segment.has(ACK)
            && let Some((stamp, since)) = self.ends[1 - side].stamp
            && seen.wrapping_sub(stamp) as i32 >= 0
        {
            took = (seen == stamp).then(|| at.saturating_sub(since).max(0) as u64);
            self.ends[1 - side].stamp = None;
        }
        if segment.length > 0 {
            self.ends[side].stamp.get_or_insert((own, at));
        }
        took
    }
}
