//! What is changed in the cluster while somebody watches, for the answers' journal.
//!
//! Owns the watches of pods, endpoint slices, services and policies, and what becomes of one that may not be: it is told
//! once, and asked for again ever more rarely. Nodes are watched by the session anyway. Nothing is kept here; what a list
//! lacks is the journal's to find.

mod objects;

use std::{sync::Arc, time::Duration};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kube::{
    Client, Error,
    api::Api,
    runtime::watcher::{self, Event},
};
use nodewatch_answers::News;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    calls::Shared,
    connect::Connection,
    error::{Attempt, watch_notice},
    lists::watched,
};
use crate::{agents::site::produce, model::Notice};
use objects::{Object, Pod, Policy, Service, Slice, Told};

/// After a refusal it is asked again after this, doubled up to `LONGEST_PAUSE`. A server that comes back refuses everything
/// for a moment, and that is over by then.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A watch that was not refused for so long may be.
const HOLDS: Duration = Duration::from_secs(60);

type Tell = mpsc::Sender<Result<News, Notice>>;

/// Everything that the answers' journal is made of, for good.
pub(super) fn news(connection: &Connection) -> BoxStream<'static, Result<News, Notice>> {
    let (services, policies) = (heard::<Service>(connection), heard::<Policy>(connection));
    stream::select_all([services, policies, heard::<Slice>(connection), heard::<Pod>(connection)]).boxed()
}

/// The same of one kind.
fn heard<T: Told>(connection: &Connection) -> BoxStream<'static, Result<News, Notice>> {
    let (client, calls) = (connection.client.clone(), Arc::clone(&connection.calls));
    produce(move |tell| async move {
        let mut refusals = 0_u32;
        loop {
            let begun = Instant::now();
            let mut refusal = None;
            for version in T::VERSIONS {
                refusal = listen::<T>(&client, &calls, version, &tell).await;
                // An older server may have it in an older form.
                if !refusal.as_ref().is_some_and(is_unknown) {
                    break;
                }
            }
            let Some(refusal) = refusal else { return };
            // A list may be allowed and its watch not: only one that has held was heard.
            refusals = if begun.elapsed() > HOLDS { 1 } else { refusals + 1 };
            if refusals == 2 && tell.send(Err(unheard::<T>(&refusal))).await.is_err() {
                return;
            }
            sleep((FIRST_PAUSE * 2_u32.saturating_pow((refusals - 1).min(8))).min(LONGEST_PAUSE)).await;
        }
    })
}

/// Tells until it is refused, or nobody listens. A server that is away is asked again by the watch itself.
async fn listen<T: Told>(
    client: &Client,
    calls: &Arc<Shared>,
    version: &'static str,
    tell: &Tell,
) -> Option<watcher::Error> {
    let api = Api::<Object<T>>::all_with(client.clone(), &version);
    let mut events = watched(api, watcher::Config::default(), Arc::clone(calls)).boxed();
    let mut hears = false;
    while let Some(event) = events.next().await {
        let (news, refusal) = match event {
            Ok(Event::Init) => (Some(News::Lists(T::SOURCE)), None),
            Ok(Event::InitApply(object) | Event::Apply(object)) => (object.told.news(), None),
            Ok(Event::Delete(object)) => (object.told.gone(), None),
            Ok(Event::InitDone) => {
                hears = true;
                (Some(News::Listed(T::SOURCE)), None)
            }
            Err(error) => {
                let deaf = std::mem::take(&mut hears).then_some(News::Deaf(T::SOURCE));
                (deaf, Some(error).filter(|error| is_unknown(error) || code(error) == Some(403)))
            }
        };
        if let Some(news) = news {
            tell.send(Ok(news)).await.ok()?;
        }
        if refusal.is_some() {
            return refusal;
        }
    }
    None
}

fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(Error::Api(status))
        | watcher::Error::WatchStartFailed(Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// The server has no such kind.
fn is_unknown(error: &watcher::Error) -> bool {
    code(error) == Some(404)
}

fn unheard<T: Told>(refusal: &watcher::Error) -> Notice {
    let attempt = Attempt { what: format!("watch {}", T::PLURAL), rights: T::RIGHTS };
    let why = watch_notice(&attempt, refusal);
    Notice::warning(format!("answers do not know what is changed in {}", T::PLURAL), why.cause, why.next_step)
}
