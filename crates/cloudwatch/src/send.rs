//! Reports to CloudWatch Logs: each stream in order, tried again until accepted, at least once.
//!
//! Owns streams, back-off and the bound of what waits. Knows no credentials: the client brings them. Groups are
//! [`crate::group`]'s.

use std::{
    any::Any,
    collections::{BTreeSet, HashMap, HashSet},
    hash::BuildHasher,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_sdk_cloudwatchlogs::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{get_log_events::GetLogEventsError, put_log_events::PutLogEventsError},
    types::{InputLogEvent, RejectedLogEventsInfo},
};
use nodewatch_protocol::ReportState;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    task::AbortHandle,
    time::{sleep, timeout},
};

use nodewatch_report::{Entry, Event, MAX_EVENT_BYTES, Queue, Settled, Stream, chain};

use crate::{group::Groups, lock};

/// Streams that are sent to at once.
const AT_ONCE: usize = 8;
/// Pages of a stream that are looked through for a batch.
const MAX_PAGES: usize = 1000;

/// What may wait and how failures are taken.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Bytes of messages that may wait, all streams together; beyond it the oldest of the stream are thrown away.
    pub bytes: usize,
    /// The pause after a first failure, doubled with each further one.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Before a batch whose answer was lost is looked for: what was taken shows only a while later.
    pub look_after: Duration,
    /// Days after which a group that is made here forgets its events.
    pub retention_days: u32,
    /// Tags of groups that are made here.
    pub tags: HashMap<String, String>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bytes: 64 * 1024 * 1024,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            look_after: Duration::from_secs(5),
            retention_days: 14,
            tags: HashMap::new(),
        }
    }
}

/// Sends events in the background. Clones share it; the last one that is dropped ends it.
#[derive(Clone)]
pub struct Reporter {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
    runtime: Handle,
}

struct Shared {
    client: Client,
    bounds: Bounds,
    held: AtomicUsize,
    turns: Semaphore,
    counts: Arc<Mutex<ReportState>>,
    /// Something was sent, or given up.
    moved: Notify,
    groups: Groups,
}

#[derive(Default)]
struct Tasks {
    lanes: Mutex<HashMap<Stream, (Arc<Lane>, AbortHandle)>>,
    kept: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for (_, task) in lock(&self.lanes).values() {
            task.abort();
        }
    }
}

#[derive(Default)]
struct Lane {
    queue: Mutex<Queue>,
    pushed: Notify,
}

impl Reporter {
    /// A reporter whose tasks run there. The client must not retry by itself: back-off is here.
    pub fn new(client: Client, bounds: Bounds, runtime: Handle) -> Self {
        let counts: Arc<Mutex<ReportState>> = Arc::default();
        let groups = Groups::new(client.clone(), bounds.retention_days, bounds.tags.clone(), Arc::clone(&counts));
        let (held, turns, moved) = (AtomicUsize::new(0), Semaphore::new(AT_ONCE), Notify::new());
        let shared = Shared { client, bounds, held, turns, counts, moved, groups };
        Self { shared: Arc::new(shared), tasks: Arc::default(), runtime }
    }

    /// Keeps something for as long as there is this reporter, as its runtime.
    pub fn keep(&self, what: Box<dyn Any + Send>) {
        *lock(&self.tasks.kept) = Some(what);
    }

    /// Hands a report over. Never waits.
    pub fn push(&self, stream: &Stream, event: Event) {
        let shared = &self.shared;
        if let Some(size) = event.parts.iter().map(String::len).find(|&size| size > MAX_EVENT_BYTES) {
            let mut counts = lock(&shared.counts);
            counts.rejected += 1;
            counts.refused = format!("{size} bytes are more than the {MAX_EVENT_BYTES} that one event may have");
            return;
        }
        let lane = self.lane(stream);
        let size: usize = event.parts.iter().map(String::len).sum();
        shared.held.fetch_add(size, Ordering::Relaxed);
        {
            let mut queue = lock(&lane.queue);
            queue.push(event);
            lock(&shared.counts).queued += 1;
            while shared.held.load(Ordering::Relaxed) > shared.bounds.bytes
                && let Some(bytes) = queue.drop_oldest()
            {
                shared.held.fetch_sub(bytes, Ordering::Relaxed);
                let mut counts = lock(&shared.counts);
                counts.queued -= 1;
                counts.dropped += 1;
            }
        }
        lane.pushed.notify_one();
    }

    fn lane(&self, stream: &Stream) -> Arc<Lane> {
        let mut lanes = lock(&self.tasks.lanes);
        if let Some((lane, _)) = lanes.get(stream) {
            return Arc::clone(lane);
        }
        let lane = Arc::new(Lane::default());
        let task = self.runtime.spawn(work(Arc::clone(&self.shared), stream.clone(), Arc::clone(&lane)));
        lanes.insert(stream.clone(), (Arc::clone(&lane), task.abort_handle()));
        lane
    }

    /// How it stands.
    pub fn state(&self) -> ReportState {
        lock(&self.shared.counts).clone()
    }

    /// Groups that were made here.
    pub fn groups_made(&self) -> BTreeSet<String> {
        self.shared.groups.made()
    }

    /// Nothing is waiting.
    pub fn is_idle(&self) -> bool {
        lock(&self.shared.counts).queued == 0
    }

    /// Waits until everything is sent and groups forget as they should, at most that long.
    pub async fn settle(&self, within: Duration) {
        let sent = async {
            while !(self.is_idle() && self.shared.groups.are_settled()) {
                // A notice that was missed costs a moment.
                let _ = timeout(Duration::from_millis(100), self.shared.moved.notified()).await;
            }
        };
        // What is not there by then is counted as waiting.
        let _ = timeout(within, sent).await;
    }
}

/// What one lane knows between two tries.
#[derive(Default)]
struct Attempt {
    /// A batch of which nobody knows whether it is there.
    unsure: Vec<Entry>,
    /// So many of the next events go one by one: one of them was refused, and the others with it.
    singly: usize,
}

/// Sends one stream's events, batch by batch.
async fn work(shared: Arc<Shared>, stream: Stream, lane: Arc<Lane>) {
    let mut failures = 0;
    // Tries to see to the group's retention that failed.
    let mut owed = 0;
    let mut attempt = Attempt::default();
    loop {
        if lock(&lane.queue).is_empty() {
            let pushed = lane.pushed.notified();
            if owed == 0 {
                pushed.await;
                continue;
            }
            // Another report may come meanwhile, and takes the next try along.
            let _ = timeout(back_off(&shared.bounds, owed), pushed).await;
        }
        let done = {
            // The semaphore is never closed.
            let _turn = shared.turns.acquire().await;
            let done = shared.send(&stream, &lane, &mut attempt).await;
            if done.is_ok() {
                owed = if shared.groups.keep_retention(&stream.group).await { 0 } else { owed + 1 };
            }
            done
        };
        shared.moved.notify_waiters();
        match done {
            Ok(()) => {
                failures = 0;
                lock(&shared.counts).trouble.clear();
            }
            Err(reason) => {
                failures += 1;
                {
                    let mut counts = lock(&shared.counts);
                    counts.retries += 1;
                    counts.trouble = reason;
                }
                let pause = back_off(&shared.bounds, failures);
                sleep(if attempt.unsure.is_empty() { pause } else { pause.max(shared.bounds.look_after) }).await;
            }
        }
    }
}

/// Half of the pause is chance, so that nodes that failed together do not come again together.
fn back_off(bounds: &Bounds, failures: u32) -> Duration {
    let pause = bounds.first_pause.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(bounds.longest_pause);
    let chance = std::hash::RandomState::new().hash_one(failures);
    pause / 2 + pause / 2 * (chance % 1000) as u32 / 1000
}

impl Shared {
    /// Sends the next batch; one whose answer was lost is looked for first.
    async fn send(&self, stream: &Stream, lane: &Lane, attempt: &mut Attempt) -> Result<(), String> {
        if !attempt.unsure.is_empty() {
            let there = match self.look(stream, &attempt.unsure).await {
                Ok(there) => there,
                Err(error) if cannot_look(error.code()) => HashSet::new(),
                Err(error) => return Err(chain(&error)),
            };
            let found = lock(&lane.queue).forget(&there);
            attempt.unsure.clear();
            self.settled(found);
        }
        let batch = lock(&lane.queue).batch(if attempt.singly > 0 { 1 } else { usize::MAX });
        if batch.is_empty() {
            return Ok(());
        }
        let result = self.put(stream, &batch).await;
        let (reason, nothing_done) = match result {
            Ok(rejected) => {
                attempt.singly = attempt.singly.saturating_sub(1);
                self.settled(lock(&lane.queue).settle(|place| rejected.has(place)));
                if let Some(reason) = rejected.reason() {
                    lock(&self.counts).refused = reason;
                }
                return Ok(());
            }
            Err(error) => {
                let status = error.raw_response().map(|response| response.status().as_u16());
                let error = error.into_service_error();
                let reason = chain(&error);
                match error.code() {
                    Some("ResourceNotFoundException") => return self.make(stream).await,
                    Some("InvalidParameterException") if batch.len() > 1 => {
                        attempt.singly = batch.len();
                        return Ok(());
                    }
                    // It would be refused for good, and everything behind it with it.
                    Some("InvalidParameterException") => {
                        attempt.singly = attempt.singly.saturating_sub(1);
                        self.settled(lock(&lane.queue).settle(|_| false));
                        lock(&self.counts).refused = reason;
                        return Ok(());
                    }
                    // Older servers say so of what they have.
                    Some("DataAlreadyAcceptedException") => {
                        self.settled(lock(&lane.queue).settle(|_| true));
                        return Ok(());
                    }
                    code => (reason, is_refusal(code, status)),
                }
            }
        };
        if !nothing_done {
            attempt.unsure = batch;
        }
        Err(reason)
    }

    fn settled(&self, settled: Settled) {
        self.held.fetch_sub(settled.bytes, Ordering::Relaxed);
        let mut counts = lock(&self.counts);
        counts.sent += settled.sent;
        counts.rejected += settled.refused;
        counts.queued -= settled.sent + settled.refused;
    }

    async fn put(&self, stream: &Stream, batch: &[Entry]) -> Result<Rejected, SdkError<PutLogEventsError>> {
        let events = batch
            .iter()
            .map(|event| InputLogEvent::builder().timestamp(event.at as i64).message(&event.message).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(SdkError::construction_failure)?;
        let put = self.client.put_log_events().log_group_name(&stream.group).log_stream_name(&stream.stream);
        let answer = put.set_log_events(Some(events)).send().await?;
        Ok(answer.rejected_log_events_info().map_or_else(Rejected::default, |info| Rejected::of(info, batch.len())))
    }

    /// Which of these messages the stream has.
    async fn look(&self, stream: &Stream, batch: &[Entry]) -> Result<HashSet<String>, GetLogEventsError> {
        let mut there = HashSet::new();
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(there) };
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let get = self.client.get_log_events().log_group_name(&stream.group).log_stream_name(&stream.stream);
            let get = get.start_time(first.at as i64).end_time(last.at as i64 + 1).start_from_head(true);
            let page = get.set_next_token(token.clone()).send().await.map_err(SdkError::into_service_error)?;
            there.extend(page.events().iter().filter_map(|event| event.message().map(str::to_owned)));
            // At the end the token is the one that was sent.
            match page.next_forward_token() {
                Some(next) if token.as_deref() != Some(next) => token = Some(next.to_owned()),
                _ => break,
            }
        }
        Ok(there)
    }

    /// The stream, and its group where that is missing.
    async fn make(&self, stream: &Stream) -> Result<(), String> {
        let create = || self.client.create_log_stream().log_group_name(&stream.group).log_stream_name(&stream.stream);
        for _ in 0..2 {
            match create().send().await.map_err(SdkError::into_service_error) {
                Ok(_) => return Ok(()),
                // Somebody else may have made it first.
                Err(error) if error.is_resource_already_exists_exception() => return Ok(()),
                Err(error) if error.is_resource_not_found_exception() => self.groups.make(&stream.group).await?,
                Err(error) => return Err(chain(&error)),
            }
        }
        Err(format!("the log group {} went away as soon as it was made", stream.group))
    }
}

/// Events of a batch that CloudWatch Logs did not keep, by their places. Indexes count from the oldest, as
/// `RejectedLogEventsInfo` in the API reference has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rejected {
    batch: usize,
    /// Before this place: older than 14 days.
    old: usize,
    /// Before this place: older than the group's retention.
    expired: usize,
    /// From the end so many: of a time to come.
    new: usize,
}

impl Rejected {
    fn of(info: &RejectedLogEventsInfo, batch: usize) -> Self {
        let end = |index: Option<i32>| (index.unwrap_or(0).max(0) as usize).min(batch);
        let new = info.too_new_log_event_start_index().map_or(0, |start| batch - end(Some(start)));
        let old = end(info.too_old_log_event_end_index());
        Self { batch, old, expired: end(info.expired_log_event_end_index()), new }
    }

    /// Whether the event at that place was taken.
    fn has(&self, place: usize) -> bool {
        place >= self.old.max(self.expired) && place + self.new < self.batch.max(place + 1)
    }

    fn reason(&self) -> Option<String> {
        let kinds = [
            (self.old, "older than 14 days"),
            (self.expired.saturating_sub(self.old), "older than the log group's retention"),
            (self.new, "more than 2 h ahead of CloudWatch's clock: see the clock of the machine that made them"),
        ];
        let kinds = kinds.iter().filter(|(count, _)| *count > 0);
        let kinds: Vec<String> = kinds.map(|(count, what)| format!("{count} at a time {what}")).collect();
        (!kinds.is_empty()).then(|| kinds.join(", "))
    }
}

/// Nobody may look, or there is nothing to look at: twice is better than never. Anything else, as too many requests or
/// credentials that have just ended, says nothing of what is there, and is asked again.
fn cannot_look(code: Option<&str>) -> bool {
    matches!(
        code,
        Some("AccessDeniedException" | "AccessDenied" | "ResourceNotFoundException" | "UnknownOperationException")
    )
}

/// The service has said that it did nothing.
fn is_refusal(code: Option<&str>, status: Option<u16>) -> bool {
    let told = matches!(code, Some("ThrottlingException" | "Throttling" | "LimitExceededException"));
    // Of 408 nobody knows where it came from.
    told || code.is_some() && status.is_some_and(|status| (400..500).contains(&status) && status != 408)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let bounds = Bounds::default();
        for failures in 1..40 {
            let pause = back_off(&bounds, failures);
            assert!(pause >= bounds.first_pause / 2 && pause <= bounds.longest_pause, "{failures}: {pause:?}");
        }
        assert!(back_off(&bounds, 30) >= bounds.longest_pause / 2);
        let several: HashSet<Duration> = (0..20).map(|_| back_off(&bounds, 8)).collect();
        assert!(several.len() > 1, "all the same");
    }

    #[test]
    fn what_the_service_does_not_take_is_counted_and_told_by_kind() {
        let info = |old, expired, new| {
            let info = RejectedLogEventsInfo::builder().set_too_old_log_event_end_index(old);
            info.set_expired_log_event_end_index(expired).set_too_new_log_event_start_index(new).build()
        };
        let taken = |info: &RejectedLogEventsInfo| {
            let rejected = Rejected::of(info, 5);
            let taken: String = (0..5).map(|place| if rejected.has(place) { '+' } else { '-' }).collect();
            (taken, rejected.reason().unwrap_or_default())
        };
        assert_eq!(taken(&info(None, None, None)), ("+++++".to_owned(), String::new()));
        assert_eq!(
            taken(&info(Some(2), None, None)),
            ("--+++".to_owned(), "2 at a time older than 14 days".to_owned())
        );
        let (all, reason) = taken(&info(Some(2), Some(3), Some(4)));
        assert_eq!(all, "---+-");
        for kind in [
            "2 at a time older than 14 days",
            "1 at a time older than the log group's",
            "1 at a time more than 2 h ahead",
        ] {
            assert!(reason.contains(kind), "{reason}");
        }
        assert_eq!(taken(&info(None, None, Some(0))).0, "-----");
        assert_eq!(taken(&info(Some(-7), None, Some(-1))).0, "-----", "a hostile answer is no panic");
        assert_eq!(taken(&info(Some(i32::MAX), Some(i32::MAX), None)).0, "-----");
        assert_eq!(taken(&info(None, None, Some(9))).0, "+++++");
    }

    #[test]
    fn only_who_may_not_look_does_without_and_only_an_answer_says_that_nothing_was_done() {
        assert!(cannot_look(Some("AccessDeniedException")));
        for code in ["ThrottlingException", "ExpiredTokenException", "InvalidSignatureException", "InternalFailure"] {
            assert!(!cannot_look(Some(code)), "{code}");
        }
        assert!(!cannot_look(None));
        assert!(is_refusal(Some("ThrottlingException"), Some(400)) && is_refusal(Some("RequestExpired"), Some(403)));
        for (code, status) in [(None, None), (None, Some(200)), (Some("ServiceUnavailableException"), Some(503))] {
            assert!(!is_refusal(code, status), "{code:?}");
        }
    }
}
