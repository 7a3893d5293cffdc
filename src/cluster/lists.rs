//! Lists of many objects: read page by page for what is needed, and watches that begin with one.
//!
//! Owns the pages, streaming lists where the server has them, and that what was missed while a watch was cut is listed
//! anew. Must not know what the objects mean.

use std::{fmt::Debug, sync::Arc, sync::atomic::Ordering, time::Duration};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use kube::{
    Client, Error, Resource,
    api::{Api, DynamicObject, ListParams, ObjectList, PartialObjectMeta},
    runtime::watcher::{self, Event, watcher},
};
use rand::Rng;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout};

use super::calls::Shared;

/// Objects asked for at once: some have 100 KiB of what nobody here reads.
const PAGE: u32 = 250;
/// A watch is ended by the server after so many seconds and begun again, so that one which is dead is noticed.
const WATCH_SECONDS: u32 = 25;
/// Each object of a streaming list comes within this time, or the server has none: a plain list says the same.
const BEGINS_WITHIN: Duration = Duration::from_secs(2);
/// Between two tries of a watch: this, doubled up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(800);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// One page, with what the caller's type keeps of each object.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    #[serde(default)]
    metadata: PageMetadata,
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue")]
    more: Option<String>,
}

/// Which objects.
#[derive(Default, Clone, Copy)]
pub(super) struct Selection<'a> {
    pub fields: Option<&'a str>,
    pub labels: Option<&'a str>,
}

/// Hands out every object of a list, as in `/api/v1/pods`. A page is dropped before the next one is asked for.
pub(super) async fn pages<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    selection: Selection<'_>,
    mut each: impl FnMut(T),
) -> Result<(), Error> {
    let mut more: Option<String> = None;
    loop {
        let mut uri = format!("{path}?limit={PAGE}");
        let of_page = ("continue", more.as_deref());
        for (name, value) in [("fieldSelector", selection.fields), ("labelSelector", selection.labels), of_page] {
            if let Some(value) = value {
                uri = format!("{uri}&{name}={}", urlencoding::encode(value));
            }
        }
        let request = http::Request::get(uri).body(Vec::new()).map_err(Error::HttpError)?;
        let page: Page<T> = client.request(request).await?;
        page.items.into_iter().flatten().for_each(&mut each);
        more = page.metadata.more.filter(|token| !token.is_empty());
        if more.is_none() {
            return Ok(());
        }
    }
}

/// The same of a list that is asked for otherwise, as one of objects of any kind.
pub(super) async fn every<T: Clone, F>(
    parameters: ListParams,
    mut ask: impl FnMut(ListParams) -> F,
    mut each: impl FnMut(T),
) -> Result<(), Error>
where
    F: Future<Output = Result<ObjectList<T>, Error>>,
{
    let mut page = parameters.limit(PAGE);
    loop {
        let listed = ask(page.clone()).await?;
        let more = listed.metadata.continue_.filter(|token| !token.is_empty());
        listed.items.into_iter().for_each(&mut each);
        match more {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Every object of a kind by what is known of it without its contents.
pub(super) async fn every_metadata(
    api: &Api<DynamicObject>,
    each: impl FnMut(PartialObjectMeta<DynamicObject>),
) -> Result<(), Error> {
    every(ListParams::default(), |page| async move { api.list_metadata(&page).await }, each).await
}

/// Everything that is there, and every change, for good. After each failure, which is told, all is listed anew.
pub(super) fn watched<K>(
    api: Api<K>,
    config: watcher::Config,
    calls: Arc<Shared>,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    // Smaller pages than kube's, which become whole objects.
    let config = config.timeout(WATCH_SECONDS).page_size(PAGE);
    let watch = Watch { api, config, calls, events: None, listed: false, whole: None, failures: 0 };
    stream::unfold(watch, |mut watch| async move { Some((watch.next().await, watch)) })
}

type Events<K> = BoxStream<'static, Result<Event<K>, watcher::Error>>;

struct Watch<K> {
    api: Api<K>,
    config: watcher::Config,
    calls: Arc<Shared>,
    /// Of the watch that runs, and whether it asks for a streaming list.
    events: Option<(Events<K>, bool)>,
    /// Its list is complete.
    listed: bool,
    /// When it was complete for the first time.
    whole: Option<Instant>,
    /// In a row.
    failures: u32,
}

impl<K> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    async fn next(&mut self) -> Result<Event<K>, watcher::Error> {
        loop {
            let (api, config) = (&self.api, &self.config);
            if self.events.is_none() && self.failures > 0 {
                sleep(pause(self.failures)).await;
            }
            let streams = self.calls.streaming_lists.load(Ordering::Relaxed);
            let (events, streaming) = self.events.get_or_insert_with(|| {
                let config = if streams { config.clone().streaming_lists() } else { config.clone() };
                (watcher(api.clone(), config).boxed(), streams)
            });
            let unsure = *streaming && !self.listed;
            let patience = if unsure { BEGINS_WITHIN } else { Duration::MAX };
            let event = match timeout(patience, events.next()).await {
                Ok(Some(event)) => event,
                // A watcher does not end.
                Ok(None) => {
                    self.again();
                    continue;
                }
                // An old server takes it for a watch, and waits with us.
                Err(_) => {
                    self.without_streaming();
                    continue;
                }
            };
            match event {
                Ok(Event::Init) => self.listed = false,
                Ok(Event::InitDone) => {
                    self.listed = true;
                    self.whole = Some(Instant::now());
                }
                Ok(_) => {}
                // The server has forgotten where the watch was; the list that follows says everything anew.
                Err(watcher::Error::WatchError(status)) if status.code == 410 => {
                    self.failed();
                    continue;
                }
                Err(error) if unsure && has_no_streaming(&error) => {
                    self.without_streaming();
                    continue;
                }
                Err(error) => {
                    self.failed();
                    return Err(error);
                }
            }
            return event;
        }
    }

    /// One that did not hold is no reason to ask for the list more often.
    fn failed(&mut self) {
        let held = self.whole.take().is_some_and(|whole| whole.elapsed() > LONGEST_PAUSE);
        self.failures = if held { 1 } else { self.failures + 1 };
        self.again();
    }

    fn again(&mut self) {
        (self.events, self.listed) = (None, false);
    }

    fn without_streaming(&mut self) {
        self.calls.streaming_lists.store(false, Ordering::Relaxed);
        self.again();
    }
}

/// Many laptops do not come back at once.
fn pause(failures: u32) -> Duration {
    let pause = (FIRST_PAUSE * 2_u32.saturating_pow(failures.saturating_sub(1).min(8))).min(LONGEST_PAUSE);
    pause.mul_f64(rand::rng().random_range(0.75..1.0))
}

/// The server knows no streaming lists, or its storage has none.
fn has_no_streaming(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(Error::Api(status)) => {
            matches!(status.code, 400 | 404 | 405 | 415 | 422 | 501)
        }
        watcher::Error::WatchError(status) => !matches!(status.code, 401 | 403 | 429 | 503 | 504),
        // What came was no watch, or was cut.
        watcher::Error::WatchFailed(_) => true,
        _ => false,
    }
}
