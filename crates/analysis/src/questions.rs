//! Questions to DNS and their answers.
//!
//! Owns which answer belongs to which question, and what is late or never comes. A question again under the same number
//! within five seconds is the same one, as Wireshark has it.

use std::collections::VecDeque;

use nodewatch_protocol::{Service, Symptom, Tunnel};

use crate::{
    detail::Message,
    judging::is_to_come,
    pairs::PairKey,
    table::{Place, Table},
};

/// The same number again after this time is another question; and so long nobody waits for an answer.
const WAITED: i64 = 5_000_000_000;
/// An answer that takes longer is late.
const LATE: u64 = 1_000_000_000;
/// Questions for the same first label within this time look up one name.
const ONE_LOOKUP: i64 = 2_000_000_000;
/// Labels that are remembered for that.
const LABELS: usize = 4096;

/// Who asked whom, and under which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct QuestionKey {
    pub(crate) client: u128,
    pub(crate) server: u128,
    pub(crate) ports: (u16, u16),
    pub(crate) id: u16,
    pub(crate) interface: u16,
    pub(crate) tunnel: Option<Tunnel>,
    pub(crate) over_tcp: bool,
}

/// Packets to it go to all that want them.
pub(crate) fn is_multicast(address: u128) -> bool {
    let (of_v6, of_v4) = (address >> 120 == 0xFF, address >> 28 == 0xF_FFFE);
    of_v6 || of_v4
}

impl QuestionKey {
    /// It is for whoever knows, and perhaps nobody does.
    pub(crate) fn is_for_all(&self) -> bool {
        is_multicast(self.server)
    }

    pub(crate) fn pair(&self) -> PairKey {
        let Self { client, server, ports: (_, port), interface, tunnel, .. } = *self;
        PairKey { source: client, destination: server, port, service: Service::Dns, interface, tunnel }
    }
}

/// A question.
#[derive(Debug)]
pub(crate) struct Question {
    asked: i64,
    answered: bool,
    told: bool,
    /// Its name, as a number.
    name: u64,
    pub(crate) pair: Option<Place>,
    /// Hops that it had left.
    pub(crate) hops: Option<u8>,
}

/// What was counted of DNS, as Wireshark would.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DnsTotals {
    /// Messages that ask.
    pub questions: u64,
    /// Questions that were answered.
    pub answered: u64,
    /// Answers that say that the server failed.
    pub servfail: u64,
    /// Answers that say that there is no such name.
    pub nxdomain: u64,
}

impl DnsTotals {
    /// Messages that ask to which no answer was seen; where one was asked again, the answer is that of the first.
    pub fn unanswered(&self) -> u64 {
        self.questions.saturating_sub(self.answered)
    }
}

/// What a message means.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heard {
    /// A question, and whether it looks up a new name.
    pub(crate) question: Option<bool>,
    /// An answer that took so long.
    pub(crate) answer: Option<u64>,
    pub(crate) symptoms: [Option<Symptom>; 3],
}

/// A question that is not answered, and since when.
pub(crate) struct Silence {
    pub(crate) key: QuestionKey,
    pub(crate) pair: Option<Place>,
    pub(crate) asked: i64,
    /// The question's name, as a number.
    pub(crate) name: u64,
    /// Hops that it had left.
    pub(crate) hops: Option<u8>,
}

/// All questions that are known.
pub(crate) struct Questions {
    table: Table<QuestionKey, Question>,
    waiting: VecDeque<(i64, Place)>,
    most: usize,
    labels: Box<[(u64, i64)]>,
    pub(crate) totals: DnsTotals,
    /// Questions that were forgotten before they were answered.
    pub(crate) forgotten: u64,
}

impl Questions {
    pub(crate) fn new(most: usize, seed: usize) -> Self {
        Self {
            table: Table::new(most, seed),
            waiting: VecDeque::new(),
            most,
            labels: vec![(0, 0); LABELS].into(),
            totals: DnsTotals::default(),
            forgotten: 0,
        }
    }

    /// A message; where its question is known, that is given too.
    pub(crate) fn take(&mut self, key: QuestionKey, message: &Message, at: i64) -> (Heard, Option<Place>) {
        if message.answers { self.answer(&key, message, at) } else { self.question(key, message, at) }
    }

    fn question(&mut self, key: QuestionKey, message: &Message, at: i64) -> (Heard, Option<Place>) {
        self.totals.questions += 1;
        let heard = Heard { question: Some(self.is_new_name(&key, message, at)), ..Heard::default() };
        let known = self.table.find(&key);
        if let Some((_, question)) = known.and_then(|place| self.table.get_mut(place)) {
            if !question.answered && at.saturating_sub(question.asked) < WAITED {
                return (heard, known);
            }
            let pair = question.pair;
            *question =
                Question { asked: at, answered: false, told: false, name: message.name, pair, hops: question.hops };
            self.wait(at, known);
            return (heard, known);
        }
        let question = Question { asked: at, answered: false, told: false, name: message.name, pair: None, hops: None };
        let worth = |question: &Question| {
            if question.answered { question.asked.saturating_sub(WAITED) } else { question.asked }
        };
        let (place, gone) = self.table.insert(key, question, worth);
        self.forgotten += u64::from(gone.is_some_and(|(_, question)| !question.answered && !question.told));
        self.wait(at, Some(place));
        (heard, Some(place))
    }

    fn wait(&mut self, at: i64, place: Option<Place>) {
        if self.waiting.len() >= self.most
            && let Some((asked, place)) = self.waiting.pop_front()
        {
            let question = self.table.get_mut(place).map(|(_, question)| question);
            let waits = |question: &Question| question.asked == asked && !question.answered && !question.told;
            self.forgotten += u64::from(question.is_some_and(|question| waits(question)));
        }
        self.waiting.extend(place.map(|place| (at, place)));
    }

    fn answer(&mut self, key: &QuestionKey, message: &Message, at: i64) -> (Heard, Option<Place>) {
        let mut heard = Heard::default();
        self.totals.servfail += u64::from(message.rcode == 2);
        self.totals.nxdomain += u64::from(message.rcode == 3);
        let failed = match message.rcode {
            2 => Some(Symptom::DnsFailed),
            3 => Some(Symptom::DnsNoName),
            _ => None,
        };
        heard.symptoms = [failed, message.truncated.then_some(Symptom::DnsTruncated), None];
        let known = self.table.find(key);
        if let Some((_, question)) = known.and_then(|place| self.table.get_mut(place))
            && !question.answered
        {
            question.answered = true;
            self.totals.answered += 1;
            let took = at.saturating_sub(question.asked).max(0) as u64;
            heard.answer = Some(took);
            heard.symptoms[2] = (took >= LATE).then_some(Symptom::DnsLate);
        }
        (heard, known)
    }

    /// Nobody has asked for that name lately, with this end or another.
    fn is_new_name(&mut self, key: &QuestionKey, message: &Message, at: i64) -> bool {
        let asked = message.label ^ (key.client as u64).rotate_left(17);
        let known = &mut self.labels[asked as usize % LABELS];
        let new = known.0 != asked || at.saturating_sub(known.1) > ONE_LOOKUP;
        *known = (asked, at);
        new
    }

    /// Where a question is counted.
    pub(crate) fn pair(&mut self, place: Option<Place>) -> Option<&mut Question> {
        self.table.get_mut(place?).map(|(_, question)| question)
    }

    /// Where the question of a quoted packet is, which somebody said cannot be asked.
    pub(crate) fn fail(&mut self, key: &QuestionKey) {
        if let Some((_, question)) = self.table.find(key).and_then(|place| self.table.get_mut(place)) {
            question.told = true;
        }
    }

    /// It was answered after all.
    pub(crate) fn is_answered(&mut self, silence: &Silence) -> bool {
        let known = self.table.find(&silence.key).and_then(|place| self.table.get_mut(place));
        known.is_some_and(|(_, question)| question.asked == silence.asked && question.answered)
    }

    /// The next question that has waited for too long, or at the end any that waits.
    pub(crate) fn next_silence(&mut self, now: i64, at_end: bool) -> Option<Silence> {
        while let Some(&(asked, place)) = self.waiting.front() {
            if !at_end && now.saturating_sub(asked) < WAITED && !is_to_come(asked, now) {
                return None;
            }
            self.waiting.pop_front();
            if let Some((&key, question)) = self.table.get_mut(place)
                && question.asked == asked
                && !question.answered
                && !std::mem::replace(&mut question.told, true)
            {
                return Some(Silence { key, pair: question.pair, asked, name: question.name, hops: question.hops });
            }
        }
        None
    }
}
