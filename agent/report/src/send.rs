//! Events to CloudWatch Logs: each stream in order, tried again until accepted, once.
//!
//! Owns groups, streams, back-off and the bound of what waits. Knows no credentials: the client brings them.

use std::{
    any::Any,
    collections::{BTreeSet, HashMap, HashSet},
    error::Error,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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

use crate::{chain, event::Event, queue::Queue};

/// Streams that are sent to at once.
const AT_ONCE: usize = 8;

/// Where an event goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The log group.
    pub group: String,
    /// The log stream in it.
    pub stream: String,
}

impl Stream {
    /// A node's stream in a group that all share, or in a group of its own.
    pub fn of_node(group: &str, per_node: bool, node: &str) -> Self {
        // Of what names may have, a stream takes neither : nor *.
        let allowed = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        let name: String =
            node.chars().map(|character| if allowed(character) { character } else { '_' }).take(110).collect();
        let group = if per_node && !group.is_empty() { format!("{group}/{name}") } else { group.to_owned() };
        Self { group, stream: name }
    }
}

/// What may wait and how failures are taken.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Bytes of messages that may wait, all streams together; beyond it the oldest of the stream are thrown away.
    pub bytes: usize,
    /// The pause after a first failure, doubled with each further one.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
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
    counts: Mutex<ReportState>,
    /// Something was sent, or given up.
    moved: Notify,
    /// Groups that were made here, and whether their retention is set.
    groups: tokio::sync::Mutex<HashMap<String, bool>>,
    made: Mutex<BTreeSet<String>>,
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

/// Every change under these locks is one call, so the data is whole even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reporter {
    /// A reporter whose tasks run there. The client must not retry by itself: back-off is here.
    pub fn new(client: Client, bounds: Bounds, runtime: Handle) -> Self {
        let shared = Shared {
            client,
            bounds,
            held: AtomicUsize::new(0),
            turns: Semaphore::new(AT_ONCE),
            counts: Mutex::default(),
            moved: Notify::new(),
            groups: tokio::sync::Mutex::default(),
            made: Mutex::default(),
        };
        Self { shared: Arc::new(shared), tasks: Arc::default(), runtime }
    }

    /// Keeps something for as long as there is this reporter, as its runtime.
    pub fn keep(&self, what: Box<dyn Any + Send>) {
        *lock(&self.tasks.kept) = Some(what);
    }

    /// Hands an event over. Never waits.
    pub fn push(&self, stream: &Stream, event: Event) {
        let lane = self.lane(stream);
        let size = event.message.len();
        let shared = &self.shared;
        shared.held.fetch_add(size, Ordering::Relaxed);
        {
            let mut queue = lock(&lane.queue);
            queue.push(event);
            lock(&shared.counts).queued += 1;
            while shared.held.load(Ordering::Relaxed) > shared.bounds.bytes
                && let Some(oldest) = queue.drop_oldest()
            {
                shared.held.fetch_sub(oldest.message.len(), Ordering::Relaxed);
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
    pub fn groups_made(&self) -> Vec<String> {
        lock(&self.shared.made).iter().cloned().collect()
    }

    /// Nothing is waiting.
    pub fn is_idle(&self) -> bool {
        lock(&self.shared.counts).queued == 0
    }

    /// Waits until everything is sent, at most that long.
    pub async fn settle(&self, within: Duration) {
        let sent = async {
            while !self.is_idle() {
                // A notice that was missed costs a moment.
                let _ = timeout(Duration::from_millis(100), self.shared.moved.notified()).await;
            }
        };
        // What is not there by then is counted as waiting.
        let _ = timeout(within, sent).await;
    }
}

/// Sends one stream's events, batch by batch.
async fn work(shared: Arc<Shared>, stream: Stream, lane: Arc<Lane>) {
    let mut failures = 0;
    // A batch of which nobody knows whether it is there.
    let mut unsure: Vec<Event> = Vec::new();
    loop {
        if lock(&lane.queue).is_empty() {
            lane.pushed.notified().await;
            continue;
        }
        let done = {
            // The semaphore is never closed.
            let _turn = shared.turns.acquire().await;
            shared.send(&stream, &lane, &mut unsure).await
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
                sleep(back_off(&shared.bounds, failures)).await;
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
    async fn send(&self, stream: &Stream, lane: &Lane, unsure: &mut Vec<Event>) -> Result<(), String> {
        if !unsure.is_empty() {
            let there = match self.look(stream, unsure).await {
                Ok(there) => there,
                // Without the right to look, twice is better than never.
                Err(error) if is_refusal(error.code()) => HashSet::new(),
                Err(error) => return Err(chain(&error)),
            };
            let sizes: usize =
                unsure.iter().filter(|event| there.contains(&event.message)).map(|event| event.message.len()).sum();
            let found = lock(&lane.queue).forget(&there) as u64;
            unsure.clear();
            self.settled(found, 0, sizes);
        }
        let batch = lock(&lane.queue).batch();
        if batch.is_empty() {
            return Ok(());
        }
        let bytes: usize = batch.iter().map(|event| event.message.len()).sum();
        match self.put(stream, &batch).await {
            Ok(rejected) => {
                lock(&lane.queue).sent();
                self.settled((batch.len() - rejected) as u64, rejected as u64, bytes);
                Ok(())
            }
            Err(error) => {
                let told = chain(&error);
                match error.code() {
                    Some("ResourceNotFoundException") => return self.make(stream).await,
                    // It would be refused for good, and everything behind it with it.
                    Some("InvalidParameterException") => {
                        lock(&lane.queue).sent();
                        self.settled(0, batch.len() as u64, bytes);
                    }
                    code if is_refusal(code) => {}
                    _ => *unsure = batch,
                }
                Err(told)
            }
        }
    }

    fn settled(&self, sent: u64, rejected: u64, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        let mut counts = lock(&self.counts);
        counts.sent += sent;
        counts.rejected += rejected;
        counts.queued -= sent + rejected;
    }

    /// Returns how many of the events were not taken.
    async fn put(&self, stream: &Stream, batch: &[Event]) -> Result<usize, PutLogEventsError> {
        let events = batch
            .iter()
            .map(|event| InputLogEvent::builder().timestamp(event.at as i64).message(&event.message).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(PutLogEventsError::unhandled)?;
        let put = self.client.put_log_events().log_group_name(&stream.group).log_stream_name(&stream.stream);
        let answer = put.set_log_events(Some(events)).send().await.map_err(SdkError::into_service_error)?;
        Ok(answer.rejected_log_events_info().map_or(0, |info| not_taken(info, batch.len())))
    }

    /// Which of these messages the stream has.
    async fn look(&self, stream: &Stream, batch: &[Event]) -> Result<HashSet<String>, GetLogEventsError> {
        let mut there = HashSet::new();
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(there) };
        let mut token: Option<String> = None;
        loop {
            let get = self.client.get_log_events().log_group_name(&stream.group).log_stream_name(&stream.stream);
            let get = get.start_time(first.at as i64).end_time(last.at as i64 + 1).start_from_head(true);
            let page = get.set_next_token(token.clone()).send().await.map_err(SdkError::into_service_error)?;
            there.extend(page.events().iter().filter_map(|event| event.message().map(str::to_owned)));
            // At the end the token is the one that was sent.
            match page.next_forward_token() {
                Some(next) if token.as_deref() != Some(next) => token = Some(next.to_owned()),
                _ => return Ok(there),
            }
        }
    }

    /// The stream, and its group where that is missing.
    async fn make(&self, stream: &Stream) -> Result<(), String> {
        let mut groups = self.groups.lock().await;
        let create = || self.client.create_log_stream().log_group_name(&stream.group).log_stream_name(&stream.stream);
        match create().send().await.map_err(SdkError::into_service_error) {
            Err(error) if error.is_resource_not_found_exception() => {
                let group = self.client.create_log_group().log_group_name(&stream.group);
                let tags = (!self.bounds.tags.is_empty()).then(|| self.bounds.tags.clone());
                let made = group.set_tags(tags).send().await.map_err(SdkError::into_service_error);
                match made {
                    Ok(_) => {
                        groups.insert(stream.group.clone(), false);
                        lock(&self.made).insert(stream.group.clone());
                    }
                    Err(error) if error.is_resource_already_exists_exception() => {}
                    Err(error) => return Err(chain(&error)),
                }
                let made = create().send().await.map_err(SdkError::into_service_error);
                made.map(drop).or_else(|error| present(&error, error.is_resource_already_exists_exception()))?;
            }
            made => made.map(drop).or_else(|error| present(&error, error.is_resource_already_exists_exception()))?,
        }
        if let Some(set @ false) = groups.get_mut(&stream.group) {
            let put = self.client.put_retention_policy().log_group_name(&stream.group);
            let put = put.retention_in_days(self.bounds.retention_days as i32).send().await;
            put.map_err(|error| chain(&error.into_service_error()))?;
            *set = true;
        }
        Ok(())
    }
}

/// How many events of a batch were not taken. The first index is exclusive and counts from the oldest, as
/// `RejectedLogEventsInfo` in the API reference has it.
fn not_taken(info: &RejectedLogEventsInfo, batch: usize) -> usize {
    let index = |index: Option<i32>| index.unwrap_or(0).max(0) as usize;
    let old = index(info.too_old_log_event_end_index()).max(index(info.expired_log_event_end_index()));
    let new = info.too_new_log_event_start_index().map_or(0, |start| batch.saturating_sub(start.max(0) as usize));
    (old + new).min(batch)
}

/// Somebody else may have made it first.
fn present(error: &dyn Error, is_there: bool) -> Result<(), String> {
    if is_there { Ok(()) } else { Err(chain(error)) }
}

/// The service has said that it did nothing.
fn is_refusal(code: Option<&str>) -> bool {
    matches!(
        code,
        Some(
            "ThrottlingException"
                | "Throttling"
                | "LimitExceededException"
                | "AccessDeniedException"
                | "UnrecognizedClientException"
                | "ExpiredTokenException"
                | "InvalidSignatureException"
                | "ResourceNotFoundException"
        )
    )
}

/// Whether CloudWatch Logs takes that name for a group; the error names what is wrong. Rules: `CreateLogGroup` in its API
/// reference.
pub fn check_group(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-/.#".contains(&byte);
    let wrong = if name.is_empty() || name.len() > 400 {
        "a log group has 1 to 400 characters here, as nodes' names may follow"
    } else if name.starts_with("aws/") {
        "aws/ is AWS's own"
    } else if !name.bytes().all(allowed) {
        "a log group has letters, digits and _ - / . # only"
    } else {
        return Ok(());
    };
    Err(format!("{name:?} is no log group: {wrong}"))
}

/// The days that CloudWatch Logs takes for a retention, as `PutRetentionPolicy` in its API reference has them.
const RETENTIONS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// Days of retention; the error names what is wrong.
pub fn check_retention(text: &str) -> Result<u32, String> {
    let days = text.parse().ok().filter(|days| RETENTIONS.contains(days));
    days.ok_or_else(|| format!("{text:?} is no retention that CloudWatch Logs takes: write one of {RETENTIONS:?} days"))
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
    fn what_the_service_does_not_take_is_counted() {
        let info = |old, expired, new| {
            let info = RejectedLogEventsInfo::builder().set_too_old_log_event_end_index(old);
            info.set_expired_log_event_end_index(expired).set_too_new_log_event_start_index(new).build()
        };
        assert_eq!(not_taken(&info(Some(2), None, None), 5), 2);
        assert_eq!(not_taken(&info(Some(2), Some(3), Some(4)), 5), 4);
        assert_eq!(not_taken(&info(None, None, None), 5), 0);
        for hostile in [info(Some(-7), None, Some(-1)), info(Some(i32::MAX), Some(i32::MAX), None)] {
            assert!(not_taken(&hostile, 5) <= 5);
        }
    }

    #[test]
    fn names_that_no_group_can_have_are_refused() {
        assert_eq!(check_group("/nodewatch/prod_1.a#"), Ok(()));
        for name in ["", "a b", "aws/x", "a:b", "a*", "\u{1b}[2J"] {
            assert!(check_group(name).is_err_and(|error| error.starts_with(&format!("{name:?}"))), "{name}");
        }
    }
}
