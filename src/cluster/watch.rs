//! A watch that says everything anew after each failure.
//!
//! Owns the pauses between tries. What is missed during a failure is never told, so a watch that was cut begins with the
//! whole list again; whoever listens knows by it that the watch lives.

use std::{fmt::Debug, time::Duration};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kube::{
    Resource,
    api::Api,
    runtime::watcher::{self, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

/// Between two tries: this, doubled up to `LONGEST`. A laptop that wakes up is to know the truth within half a minute.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15);

type Events<K> = BoxStream<'static, watcher::Result<watcher::Event<K>>>;

struct Watch<K> {
    events: Option<Events<K>>,
    pause: Duration,
    /// When the list was last whole.
    whole: Option<Instant>,
    failed: bool,
}

/// A whole list, every change, and after a failure a whole list again, for good.
pub(super) fn watch<K>(api: Api<K>, config: watcher::Config) -> Events<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let watch = Watch { events: None, pause: FIRST, whole: None, failed: false };
    stream::unfold(watch, move |mut watch| {
        let (api, config) = (api.clone(), config.clone());
        async move {
            if std::mem::take(&mut watch.failed) {
                // One that did not hold is no reason to ask for the list more often.
                if watch.whole.take().is_some_and(|whole| whole.elapsed() > LONGEST) {
                    watch.pause = FIRST;
                }
                sleep(watch.pause).await;
                watch.pause = (watch.pause * 2).min(LONGEST);
            }
            let event = watch.events.get_or_insert_with(|| watcher(api, config).boxed()).next().await?;
            match &event {
                Ok(watcher::Event::InitDone) => watch.whole = Some(Instant::now()),
                Ok(_) => {}
                Err(_) => {
                    watch.events = None;
                    watch.failed = true;
                }
            }
            Some((event, watch))
        }
    })
    .boxed()
}
