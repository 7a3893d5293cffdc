//! What went wrong among the packets of capture files, pair by pair.
//!
//! Owns the way from files to what is known of each pair, in bounded memory: what finds no room is counted. Must not know
//! how it is told.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use nodewatch_analysis::{Analysis, Counts, Limits, PairKey, Seen, Totals, decode::Link};
use nodewatch_answers::{Answer, Engine, Looked};

use super::{
    merge::{Merge, MergeError, Merged, Notes, Taken},
    taps::Taps,
};

/// Pairs that are told one by one.
const PAIRS: usize = 1 << 15;
/// Packets that are kept of all of them, to show what is meant.
const SAMPLES: usize = 1 << 16;
/// What was counted is put to the rest so often, by the packets' own time.
const SECOND: u64 = 1_000_000_000;

/// What is known of the packets of files.
#[derive(Debug)]
pub struct Diagnosis {
    /// How the files were read.
    pub read: Merged,
    /// What was counted of all packets.
    pub totals: Totals,
    /// The times of the first and the last packet, in nanoseconds since the Unix epoch.
    pub span: Option<(i64, i64)>,
    /// What was counted of each pair, those first of which most has failed.
    pub pairs: Vec<(PairKey, Counts)>,
    /// The names of interfaces, by their numbers.
    pub interfaces: Vec<String>,
    /// Packets that interfaces had lost.
    pub lost: u64,
    /// Packets that are earlier than the one before them, by a second and more.
    pub earlier: u64,
    /// Of pairs that found no room, packets.
    pub no_room: u64,
    /// Why connections fail, those answers first that hurt most.
    pub answers: Vec<Answer>,
    /// What was looked at for these.
    pub looked: Looked,
}

/// Reads files, packet by packet.
pub fn diagnose(inputs: Vec<PathBuf>) -> Result<Diagnosis, MergeError> {
    let mut reading = Reading::default();
    let read = merging(inputs).read(&mut |taken| reading.take(taken))?;
    Ok(reading.end(read))
}

/// All packets, in the order of their times.
fn merging(inputs: Vec<PathBuf>) -> Merge {
    Merge { inputs, window: 0..=u64::MAX, names: BTreeMap::new(), pair: None }
}

/// A diagnosis that is being made: one thread reads, and another one may end it early.
#[derive(Clone, Default)]
pub struct Diagnosing(Arc<Mutex<Progress>>);

/// How far it is. Whoever takes what was read leaves `Over`.
#[derive(Default)]
enum Progress {
    #[default]
    Before,
    Reads(Box<Reading>),
    Over,
}

/// What there is of a diagnosis that is ended early.
pub enum Early {
    /// No packet was read.
    Nothing,
    /// What is known of the packets that were read so far.
    Part(Box<Diagnosis>),
    /// All was read: the other thread has it.
    Over,
}

impl Diagnosing {
    /// Reads files, packet by packet. `None` where it was ended early.
    pub fn read(&self, inputs: Vec<PathBuf>) -> Result<Option<Diagnosis>, MergeError> {
        self.with(|progress| *progress = Progress::Reads(Box::default()));
        let read = merging(inputs).read(&mut |taken| {
            self.with(|progress| {
                if let Progress::Reads(reading) = progress {
                    reading.take(taken);
                }
            });
        })?;
        Ok(match self.with(|progress| std::mem::replace(progress, Progress::Over)) {
            Progress::Reads(reading) => Some(reading.end(read)),
            Progress::Before | Progress::Over => None,
        })
    }

    /// Ends it early.
    pub fn end(&self) -> Early {
        let reading = match self.with(|progress| std::mem::replace(progress, Progress::Over)) {
            Progress::Over => return Early::Over,
            Progress::Before => return Early::Nothing,
            Progress::Reads(reading) => reading,
        };
        if reading.span.is_none() {
            return Early::Nothing;
        }
        let read = reading.read_so_far();
        Early::Part(Box::new(reading.end(read)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Progress) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Reading {
    analysis: Analysis,
    engine: Engine,
    taps: Taps,
    pairs: Sums,
    interfaces: Vec<String>,
    span: Option<(i64, i64)>,
    told: i64,
    /// What was told of as seen in one direction.
    one_way: u64,
    lost: u64,
    /// The time of the packet before, and how many are earlier than that.
    before: Option<i64>,
    earlier: u64,
    /// Files that packets have come of, with their interfaces, and those of the last one.
    files: BTreeMap<u32, Vec<u16>>,
    file: Option<(u32, u32)>,
    /// So many of those that have ended are known.
    ended: usize,
    /// What is known of files, as the merge has told it with the last packet.
    damaged: Vec<(PathBuf, String)>,
    again: u64,
}

/// What was counted of each pair so far.
#[derive(Default)]
struct Sums {
    pairs: HashMap<PairKey, Counts>,
    samples: usize,
    no_room: u64,
}

impl Sums {
    fn add(&mut self, pair: &PairKey, mut counts: Counts) {
        if self.samples >= SAMPLES {
            counts.samples.clear();
        }
        let is_full = self.pairs.len() >= PAIRS;
        match self.pairs.entry(*pair) {
            Entry::Occupied(mut known) => {
                let before = known.get().samples.len();
                known.get_mut().add(counts);
                self.samples += known.get().samples.len() - before;
            }
            Entry::Vacant(_) if is_full => self.no_room += counts.packets.iter().sum::<u64>(),
            Entry::Vacant(free) => {
                self.samples += counts.samples.len();
                free.insert(counts);
            }
        }
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            analysis: Analysis::new(Limits { pairs: PAIRS / 2, ..Limits::default() }),
            engine: Engine::default(),
            taps: Taps::default(),
            pairs: Sums::default(),
            interfaces: Vec::new(),
            span: None,
            told: i64::MIN,
            one_way: 0,
            lost: 0,
            before: None,
            earlier: 0,
            files: BTreeMap::new(),
            file: None,
            ended: 0,
            damaged: Vec::new(),
            again: 0,
        }
    }
}

impl Reading {
    #[inline]
    fn take(&mut self, taken: &Taken<'_>) {
        // What does not say when it came has come with the one before.
        let at = taken.time.or_else(|| self.span.map(|(_, last)| last)).unwrap_or(0);
        let interface = taken.interface as usize;
        self.damaged.extend_from_slice(taken.damaged.get(self.damaged.len()..).unwrap_or_default());
        self.again = taken.again;
        if self.interfaces.len() <= interface {
            self.interfaces.resize(interface + 1, String::new());
            taken.name.clone_into(&mut self.interfaces[interface]);
            self.taps.name(interface, taken.name, taken.ours);
        }
        self.earlier += u64::from(self.before.is_some_and(|before| at.saturating_add(SECOND as i64) <= before));
        self.before = Some(at);
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
        let interface = u16::try_from(interface).unwrap_or(u16::MAX);
        let from = (taken.file, taken.interface);
        if self.file.replace(from) != Some(from) {
            let interfaces = self.files.entry(taken.file).or_default();
            if !interfaces.contains(&interface) {
                interfaces.push(interface);
                self.taps.begin(interface);
            }
        }
        for file in taken.ended.get(self.ended..).unwrap_or_default() {
            self.files.get(file).into_iter().flatten().for_each(|interface| self.taps.end(*interface));
        }
        self.ended = taken.ended.len();
        // Also where a clock was set back.
        if at.abs_diff(self.told) >= SECOND {
            self.tell(at);
        }
        if taken.lost > 0 {
            self.lost = self.lost.saturating_add(taken.lost);
            self.analysis.lost(interface, at);
            self.taps.lose(interface);
        }
        let link = Link::from_number(taken.link_type);
        let Taken { wire_length, bytes, .. } = *taken;
        self.analysis.packet(&Seen { interface, link, nanos: at, wire_length, bytes });
    }

    #[cold]
    fn tell(&mut self, at: i64) {
        let (pairs, taps) = (&mut self.pairs, &mut self.taps);
        self.analysis.tell(at, |pair, counts| {
            taps.pair(pair, &counts);
            pairs.add(pair, counts);
        });
        self.answer(at, false);
        self.told = at;
    }

    /// Tells the rules of what was seen until then, and asks them where there is something to ask.
    fn answer(&mut self, at: i64, over: bool) {
        let taps = &mut self.taps;
        let left_out = self.analysis.tell_cases(at, |case| taps.case(case));
        let now = u64::try_from(at / 1_000_000).unwrap_or(0);
        let before = u64::try_from(self.told / 1_000_000).unwrap_or(now);
        let one_direction = self.analysis.totals().unjudged.one_way.saturating_sub(self.one_way);
        self.one_way = self.one_way.saturating_add(one_direction);
        for told in self.taps.take((now, now.saturating_sub(before)), left_out, one_direction) {
            self.engine.hear(&told);
        }
        self.engine.judge(now, over);
    }

    /// How files were read, where that has ended early.
    fn read_so_far(&self) -> Merged {
        let notes = Notes { damaged: self.damaged.clone(), ..Notes::default() };
        Merged { files: self.files.len(), again: self.again, notes, ..Merged::default() }
    }

    fn end(mut self, read: Merged) -> Diagnosis {
        let (sums, taps) = (&mut self.pairs, &mut self.taps);
        self.analysis.end(|pair, counts| {
            taps.pair(pair, &counts);
            sums.add(pair, counts);
        });
        let last = self.span.map_or(0, |(_, last)| last);
        self.answer(last, true);
        let engine = &self.engine;
        let looked = engine.looked();
        let answers: Vec<Answer> = engine.answers().iter().chain(engine.history()).cloned().collect();
        let totals = self.analysis.totals();
        let mut pairs: Vec<(PairKey, Counts)> = self.pairs.pairs.into_iter().collect();
        let interfaces = &self.interfaces;
        pairs.sort_by_cached_key(|(pair, counts)| {
            let interface = interfaces.get(usize::from(pair.interface)).map_or("", String::as_str);
            let delayed = counts.both(nodewatch_analysis::Symptom::Delayed);
            let again = counts.both(nodewatch_analysis::Symptom::Retransmission);
            let sum: u64 = counts.packets.iter().sum();
            let order = (counts.failures(), u64::from(delayed), u64::from(again), sum);
            (std::cmp::Reverse(order), pair.source, pair.destination, pair.port, pair.service.name(), interface)
        });
        let no_room = self.pairs.no_room + totals.no_room;
        let (span, interfaces, lost, earlier) = (self.span, self.interfaces, self.lost, self.earlier);
        Diagnosis { read, totals, span, pairs, interfaces, lost, earlier, no_room, answers, looked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_to_its_end_is_not_ended_early() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, text) = (folder.path().join("one.pcap"), folder.path().join("text"));
        let words = [0xA1B2_C3D4, 2 | 4 << 16, 0, 0, 65_535, 1, 1_700_000_000, 0, 4, 4, 0_u32];
        std::fs::write(&file, words.map(u32::to_le_bytes).concat()).expect("written");
        std::fs::write(&text, "no capture").expect("written");
        let diagnosing = Diagnosing::default();
        assert!(matches!(diagnosing.end(), Early::Nothing));
        let whole = diagnosing.read(vec![text, file]).expect("read").expect("all of it");
        assert!(matches!(diagnosing.end(), Early::Over), "whoever has read it tells it");
        assert_eq!((whole.totals.packets, whole.read.notes.damaged.len()), (1, 1));
    }
}
