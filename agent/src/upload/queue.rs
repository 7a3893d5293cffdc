//! Which object goes next, and when what has failed is tried again.
//!
//! Owns what is under way, every object's own back-off and the destination's. Pure: it is told the time and what the
//! ring has to deliver. Must not know S3, threads or bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{WORKERS, error::Fault};

/// After the first failure, doubled up to [`LONGEST_PAUSE`], with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The manifest is not sent more often than this while files are waiting.
const MANIFEST_EVERY: Duration = Duration::from_secs(10);
/// Refusals of one object, while others are taken, after which it is let be.
const ENOUGH: u32 = 5;
/// Failures after which an object gets no longer the last free worker: a file that stalls whoever takes it must not
/// stall them all.
const DOUBTFUL: u32 = 3;

/// What a worker is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this one of the ring's files.
    File(String),
    /// Send what is remembered of the node.
    Manifest,
    /// Wait for a change, at most until then.
    Nothing(Option<Instant>),
}

/// What becomes of an object that did not get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is tried again.
    Again,
    /// It is let be.
    Never,
    /// Its bytes are gone.
    Lost,
}

/// What is under way and what waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    flying: BTreeSet<String>,
    failed: BTreeMap<String, Failed>,
    destination: Pause,
    manifest: Manifest,
    /// Objects that the destination has taken.
    taken: u64,
}

#[derive(Debug, Default)]
struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    fn fail(&mut self, now: Instant) {
        self.failures += 1;
        self.until = Some(now + back_off(self.failures));
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

#[derive(Debug, Default)]
struct Failed {
    pause: Pause,
    refusals: u32,
    /// What the destination had taken at the first refusal.
    taken: u64,
}

impl Failed {
    /// Whether it was refused often enough, while something else was taken.
    fn refused(&mut self, taken: u64) -> bool {
        if self.refusals == 0 {
            self.taken = taken;
        }
        self.refusals += 1;
        self.refusals >= ENOUGH && taken > self.taken
    }
}

#[derive(Debug, Default)]
struct Manifest {
    dirty: bool,
    flying: bool,
    sent: Option<Instant>,
    failed: Failed,
    /// The destination takes it under no circumstances.
    hopeless: bool,
}

impl Queue {
    /// What to do now; it counts as under way from here on. `waiting` are the ring's files to deliver, oldest first.
    pub fn next<'a>(&mut self, waiting: impl Iterator<Item = &'a str>, every: u32, now: Instant) -> Next {
        let waiting: Vec<&str> = waiting.collect();
        if !self.failed.is_empty() {
            // What has gone from the ring comes no more.
            let known: BTreeSet<&str> = waiting.iter().copied().collect();
            self.failed.retain(|name, _| known.contains(name.as_str()) || self.flying.contains(name));
        }
        if !self.destination.is_over(now) {
            return Next::Nothing(self.destination.until);
        }
        let doubtful = |failed: Option<&Failed>| failed.is_some_and(|failed| failed.pause.failures >= DOUBTFUL);
        let stuck = self.flying.iter().filter(|name| doubtful(self.failed.get(*name))).count();
        let mut earliest: Option<Instant> = None;
        let mut best: Option<(u32, &str)> = None;
        for name in waiting.into_iter().filter(|name| !self.flying.contains(*name)) {
            let failed = self.failed.get(name);
            match failed {
                Some(failed) if !failed.pause.is_over(now) => earliest = earlier(earliest, failed.pause.until),
                _ if doubtful(failed) && stuck + 1 >= WORKERS => {}
                _ => {
                    let failures = failed.map_or(0, |failed| failed.pause.failures);
                    if best.is_none_or(|(fewest, _)| failures < fewest) {
                        best = Some((failures, name));
                    }
                }
            }
            if best.is_some_and(|(failures, _)| failures == 0) {
                break;
            }
        }
        let manifest = &self.manifest;
        if manifest.dirty && !manifest.flying && !manifest.hopeless {
            let due = manifest.sent.map(|sent| sent + MANIFEST_EVERY * every);
            if !manifest.failed.pause.is_over(now) {
                earliest = earlier(earliest, manifest.failed.pause.until);
            } else if best.is_none() || due.is_none_or(|due| due <= now) {
                self.manifest.flying = true;
                self.manifest.dirty = false;
                self.manifest.sent = Some(now);
                return Next::Manifest;
            }
        }
        match best {
            Some((_, name)) => {
                self.flying.insert(name.to_owned());
                Next::File(name.to_owned())
            }
            None => Next::Nothing(earliest),
        }
    }

    /// A file got there.
    pub fn delivered(&mut self, name: &str) {
        self.flying.remove(name);
        self.failed.remove(name);
        self.took();
        self.manifest.dirty = true;
    }

    /// A file that failed is under way no longer.
    pub fn landed(&mut self, name: &str) {
        self.flying.remove(name);
    }

    /// A file did not get there; it counts as under way until it has [landed](Self::landed). `current` is false when it was on its way to somewhere else than where files go now.
    pub fn failed(&mut self, name: &str, fault: Fault, current: bool, now: Instant) -> Verdict {
        // What is remembered of it has changed, and whether the manifest is taken tells whose fault it is.
        self.manifest.dirty = true;
        match fault {
            Fault::Lost => return Verdict::Lost,
            Fault::ForGood if current => return Verdict::Never,
            _ if !current => return Verdict::Again,
            Fault::Destination => self.destination.fail(now),
            Fault::Object | Fault::ForGood => {}
        }
        let failed = self.failed.entry(name.to_owned()).or_default();
        failed.pause.fail(now);
        if fault == Fault::Object && failed.refused(self.taken) {
            self.failed.remove(name);
            return Verdict::Never;
        }
        Verdict::Again
    }

    /// A manifest got there.
    pub fn manifest_sent(&mut self) {
        self.manifest.flying = false;
        self.manifest.failed = Failed::default();
        self.took();
    }

    /// A manifest did not get there; whether it is given up.
    pub fn manifest_failed(&mut self, fault: Fault, current: bool, now: Instant) -> Verdict {
        self.manifest.flying = false;
        self.manifest.dirty = true;
        if !current {
            return Verdict::Again;
        }
        if fault == Fault::Destination {
            self.destination.fail(now);
        }
        self.manifest.failed.pause.fail(now);
        let refused = fault != Fault::Destination && self.manifest.failed.refused(self.taken);
        if refused || fault == Fault::ForGood {
            self.manifest.hopeless = true;
            return Verdict::Never;
        }
        Verdict::Again
    }

    fn took(&mut self) {
        self.taken += 1;
        self.destination = Pause::default();
    }

    /// What is remembered of the node has changed.
    pub fn manifest_changed(&mut self) {
        self.manifest.dirty = true;
    }

    /// Files go somewhere else, or under another right: what failed before may go now. `elsewhere` has no manifest yet.
    pub fn renewed(&mut self, elsewhere: bool) {
        self.failed.clear();
        self.destination = Pause::default();
        self.taken = 0;
        self.manifest.failed = Failed::default();
        self.manifest.hopeless = false;
        if elsewhere {
            self.manifest.sent = None;
        }
    }

    /// Nothing is under way.
    pub fn is_still(&self) -> bool {
        self.flying.is_empty() && !self.manifest.flying
    }

    /// Nothing is under way, and nothing of what waits can go: neither the manifest nor any of so many files.
    pub fn is_idle(&self, waiting: usize) -> bool {
        self.is_still() && waiting == 0 && (!self.manifest.dirty || self.manifest.hopeless)
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Half of the pause is chance, so that nodes that failed together do not come again together.
fn back_off(failures: u32) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), failures);
    pause / 2 + pause / 2 * (chance % 1000) as u32 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = LONGEST_PAUSE;

    fn next(queue: &mut Queue, files: &[&str], now: Instant) -> Next {
        queue.next(files.iter().copied(), 1, now)
    }

    fn fail(queue: &mut Queue, name: &str, fault: Fault, current: bool, now: Instant) -> Verdict {
        let verdict = queue.failed(name, fault, current, now);
        queue.landed(name);
        verdict
    }

    fn file(name: &str) -> Next {
        Next::File(name.into())
    }

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        for failures in 1..40 {
            let pause = back_off(failures);
            assert!(pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE, "{failures}: {pause:?}");
        }
        assert!(back_off(30) >= LONGEST_PAUSE / 2);
        let several: BTreeSet<Duration> = (0..20).map(|_| back_off(8)).collect();
        assert!(several.len() > 1, "all the same");
    }

    #[test]
    fn one_that_is_refused_holds_nobody_up_and_is_let_be_once_others_were_taken() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        let files = ["bad", "b", "c"];
        assert_eq!(next(&mut queue, &files, now), file("bad"));
        assert_eq!(fail(&mut queue, "bad", Fault::Object, true, now), Verdict::Again);
        // The others go at once, and so does what is to be said of it.
        assert_eq!(next(&mut queue, &files, now), Next::Manifest);
        assert_eq!(next(&mut queue, &files, now), file("b"));
        queue.delivered("b");
        queue.manifest_sent();
        let files = ["bad", "c"];
        assert_eq!(next(&mut queue, &files, now), file("c"));
        queue.delivered("c");
        for again in 2..=5 {
            now += LATER;
            assert_eq!(next(&mut queue, &["bad"], now), Next::Manifest);
            queue.manifest_sent();
            assert_eq!(next(&mut queue, &["bad"], now), file("bad"));
            let verdict = fail(&mut queue, "bad", Fault::Object, true, now);
            assert_eq!(verdict, if again < 5 { Verdict::Again } else { Verdict::Never });
        }
    }

    #[test]
    fn what_is_refused_like_everything_else_is_not_let_be() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        for _ in 0..20 {
            assert_eq!(next(&mut queue, &["a"], now), file("a"));
            assert_eq!(fail(&mut queue, "a", Fault::Object, true, now), Verdict::Again);
            now += LATER;
            assert_eq!(next(&mut queue, &["a"], now), Next::Manifest);
            assert_eq!(queue.manifest_failed(Fault::Object, true, now), Verdict::Again);
        }
    }

    #[test]
    fn when_nobody_answers_everything_waits_and_another_file_is_tried_first() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        assert_eq!(next(&mut queue, &["a", "b"], now), file("a"));
        fail(&mut queue, "a", Fault::Destination, true, now);
        queue.manifest.dirty = false;
        let Next::Nothing(Some(until)) = next(&mut queue, &["a", "b"], now) else { panic!("it waits") };
        assert!(until > now && until <= now + LATER);
        assert_eq!(next(&mut queue, &["a", "b"], now + LATER), file("b"));
        queue.delivered("b");
        queue.manifest.dirty = false;
        assert_eq!(next(&mut queue, &["a"], now + LATER), file("a"), "one that was taken ends everybody's pause");
    }

    #[test]
    fn files_that_stall_whoever_takes_them_leave_a_worker_to_the_others() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        let bad = ["x", "y", "z"];
        for _ in 0..DOUBTFUL {
            for name in bad {
                fail(&mut queue, name, Fault::Destination, true, now);
            }
            now += LATER;
        }
        queue.manifest.dirty = false;
        assert_eq!(next(&mut queue, &bad, now), file("x"));
        assert_eq!(next(&mut queue, &bad, now), file("y"));
        assert_eq!(next(&mut queue, &bad, now), Next::Nothing(None));
        assert_eq!(next(&mut queue, &["x", "y", "z", "new"], now), file("new"));
    }

    #[test]
    fn bytes_that_are_gone_and_files_that_are_too_large_are_not_tried_again() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        assert_eq!(fail(&mut queue, "a", Fault::Lost, true, now), Verdict::Lost);
        assert_eq!(fail(&mut queue, "b", Fault::ForGood, true, now), Verdict::Never);
        assert_eq!(
            fail(&mut queue, "b", Fault::ForGood, false, now),
            Verdict::Again,
            "for another sink it was too large"
        );
    }

    #[test]
    fn what_has_gone_from_the_ring_is_forgotten() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        for number in 0..1000 {
            let name = number.to_string();
            queue.manifest.dirty = false;
            assert_eq!(next(&mut queue, &[&name], now), file(&name));
            fail(&mut queue, &name, Fault::Destination, true, now);
            now += LATER;
        }
        assert!(queue.failed.len() <= 2, "{}", queue.failed.len());
        // What is under way is not in the ring's list of what waits, and is not forgotten.
        queue.manifest.dirty = false;
        assert_eq!(next(&mut queue, &["999"], now), file("999"));
        next(&mut queue, &[], now);
        assert_eq!(queue.failed["999"].pause.failures, 1);
    }

    #[test]
    fn one_manifest_at_a_time_and_again_when_it_changed_meanwhile() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.manifest_changed();
        assert_eq!(next(&mut queue, &[], now), Next::Manifest);
        queue.manifest_changed();
        assert_eq!(next(&mut queue, &[], now), Next::Nothing(None), "the first is under way");
        assert!(!queue.is_idle(0));
        queue.manifest_sent();
        assert!(!queue.is_idle(0), "it has changed since");
        assert_eq!(next(&mut queue, &[], now), Next::Manifest);
        assert!(!queue.is_idle(0), "under way is not there");
        queue.manifest_sent();
        assert!(queue.is_idle(0) && !queue.is_idle(1));
    }

    #[test]
    fn while_files_wait_the_manifest_goes_now_and_then() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        assert_eq!(next(&mut queue, &["a", "b"], now), file("a"));
        queue.delivered("a");
        assert_eq!(next(&mut queue, &["b", "c"], now), Next::Manifest, "the first at once");
        queue.manifest_sent();
        assert_eq!(next(&mut queue, &["b", "c"], now), file("b"));
        queue.delivered("b");
        assert_eq!(next(&mut queue, &["c"], now), file("c"));
        assert_eq!(next(&mut queue, &["d"], now + MANIFEST_EVERY), Next::Manifest);
    }

    #[test]
    fn a_manifest_that_is_never_taken_holds_no_end_up() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.delivered("a");
        for _ in 0..ENOUGH {
            assert_eq!(next(&mut queue, &[], now), Next::Manifest);
            queue.taken += 1;
            queue.manifest_failed(Fault::Object, true, now);
            now += LATER;
        }
        assert!(queue.is_idle(0));
        queue.renewed(false);
        assert_eq!(next(&mut queue, &[], now), Next::Manifest, "another right is another try");
    }

    #[test]
    fn a_new_right_is_tried_at_once_and_failures_of_the_old_one_do_not_count() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        assert_eq!(next(&mut queue, &["a", "b"], now), file("a"));
        assert_eq!(next(&mut queue, &["a", "b"], now), file("b"));
        fail(&mut queue, "a", Fault::Destination, true, now);
        queue.renewed(false);
        assert_eq!(fail(&mut queue, "b", Fault::Destination, false, now), Verdict::Again);
        queue.manifest.dirty = false;
        assert_eq!(next(&mut queue, &["a", "b"], now), file("a"));
        assert_eq!(next(&mut queue, &["a", "b"], now), file("b"));
    }
}
