//! The layers around the client: every call has its turn and its end.
//!
//! Owns how many calls go out at once, how long each may take, what is tried again by itself, and giving connections up
//! after this machine was asleep. Streams to agents have turns of their own, so that nodes which do not answer hold up
//! nobody. Must not know what is asked.

mod answer;
mod body;
mod news;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response, header};
use kube::client::Body;
use tokio::{
    pin,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, Layer, Service, ServiceExt, buffer::Buffer};

use answer::{finish, next_try};
use body::Bounded;
use news::News;
pub(super) use news::listen;

use crate::base::{clock::steady_millis, text};

/// Calls that wait for an answer at the same time, whatever goes on.
const CALLS: usize = 10;
/// Streams that are opened at the same time. One that has no answer after `SLOW` is waited for, but has no turn any
/// more.
const OPENINGS: usize = 10;
const SLOW: Duration = Duration::from_secs(1);
/// Until an answer begins.
const READ_WITHIN: Duration = Duration::from_secs(15);
/// The same where webhooks may be asked, which the API server itself gives 30 s.
const WRITE_WITHIN: Duration = Duration::from_secs(35);
const WATCH_WITHIN: Duration = Duration::from_secs(10);
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// Between two parts of an answer, and for all of it.
const PART_WITHIN: Duration = Duration::from_secs(15);
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
/// A watch ends when it was asked to; so much later it is dead.
const WATCH_GRACE: Duration = Duration::from_secs(5);
/// A program that looks so much later than it wanted to was stopped, or its machine was asleep. That is by the clock
/// which counts sleep and which nobody sets.
const ASLEEP: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_secs(1);

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("the API server has not answered for {} s", .0.as_secs())]
    NoAnswer(Duration),
    #[error("exec has not answered for {} s: the node's kubelet, or the API server's link to it, hangs", .0.as_secs())]
    NotOpened(Duration),
    #[error("the API server's answer was cut off")]
    Stopped,
    #[error("the API server's answer does not end")]
    Endless,
    #[error("not a Kubernetes API: {what}")]
    NotKubernetes {
        /// What answers in its place.
        what: String,
        /// The HTTP status.
        code: u16,
    },
    #[error("this machine was asleep during the call to the API server")]
    Asleep,
}

/// The reason among an error's causes, if it is one of these.
pub(super) fn reason<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a CallError> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// What a call is, as far as its turn and its end go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Changes nothing.
    Read,
    /// Changes nothing, though it is a POST: an access review, a dry run.
    Question,
    /// May have been done though no answer came: whoever asks decides about another try.
    Write,
    /// Ends after so long.
    Watch(Option<Duration>),
    /// Becomes a stream to an agent.
    Stream,
}

impl Sort {
    fn of(request: &Request<Body>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let has = |wanted: &str| query.split('&').any(|part| part == wanted);
        if request.headers().contains_key(header::UPGRADE) {
            Self::Stream
        } else if has("watch=true") || has("watch=1") {
            let seconds = query.split('&').find_map(|part| part.strip_prefix("timeoutSeconds="));
            Self::Watch(seconds.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs))
        } else if matches!(*request.method(), Method::GET | Method::HEAD) {
            Self::Read
        } else if has("dryRun=All") || request.uri().path().ends_with("reviews") {
            Self::Question
        } else {
            Self::Write
        }
    }

    fn within(self) -> Duration {
        match self {
            Self::Read => READ_WITHIN,
            Self::Question | Self::Write => WRITE_WITHIN,
            Self::Watch(_) => WATCH_WITHIN,
            Self::Stream => OPEN_WITHIN,
        }
    }

    /// Asking twice does no harm.
    fn is_safe(self) -> bool {
        matches!(self, Self::Read | Self::Question)
    }
}

/// Goes with a request to whoever sends it: the deadline of its answer stands still while its credentials are renewed,
/// which have deadlines of their own.
#[derive(Clone)]
pub(super) struct Renewing(Arc<watch::Sender<bool>>);

impl Renewing {
    /// Does this while the deadline stands still.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        self.0.send_replace(true);
        let done = work.await;
        self.0.send_replace(false);
        done
    }
}

/// The answer, if it comes within so long. The time in which the deadline stands still does not count.
async fn in_time<T>(within: Duration, mut stands: watch::Receiver<bool>, answer: impl Future<Output = T>) -> Option<T> {
    pin!(answer);
    let mut left = within;
    loop {
        let still = *stands.borrow_and_update();
        let began = Instant::now();
        tokio::select! {
            biased;
            answer = &mut answer => return Some(answer),
            Ok(()) = stands.changed() => {}
            () = sleep(left), if !still => return None,
        }
        if !still {
            left = left.saturating_sub(began.elapsed());
        }
    }
}

/// What all calls of a connection share.
pub(super) struct Shared {
    calls: Arc<Semaphore>,
    openings: Arc<Semaphore>,
    /// How often this machine has woken.
    woken: watch::Sender<u64>,
    give_up: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
    /// The server has not refused one yet.
    pub streaming_lists: AtomicBool,
    pub news: News,
}

impl Shared {
    pub fn new() -> Arc<Self> {
        let shared = Arc::new(Self {
            calls: Arc::new(Semaphore::new(CALLS)),
            openings: Arc::new(Semaphore::new(OPENINGS)),
            woken: watch::Sender::new(0),
            give_up: Mutex::default(),
            streaming_lists: AtomicBool::new(true),
            news: News::default(),
        });
        let weak = Arc::downgrade(&shared);
        tokio::spawn(async move {
            loop {
                // Timers go by a clock that stands still while a machine sleeps.
                let before = steady_millis();
                sleep(TICK).await;
                let Some(shared) = weak.upgrade() else { return };
                if Duration::from_millis(steady_millis().saturating_sub(before)) > TICK + ASLEEP {
                    shared.wake();
                }
            }
        });
        shared
    }

    /// What gives the connections up that there are.
    pub fn when_woken(&self, give_up: impl Fn() + Send + Sync + 'static) {
        *whole(&self.give_up) = Some(Box::new(give_up));
    }

    /// Connections of before are dead, or would be asked in vain: they and everything under way on them are given up.
    fn wake(&self) {
        if let Some(give_up) = &*whole(&self.give_up) {
            give_up();
        }
        self.woken.send_modify(|times| *times += 1);
    }
}

/// Puts the layers around a stack.
pub(super) struct CallsLayer {
    shared: Arc<Shared>,
}

impl CallsLayer {
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }
}

/// More than are ever under way.
const QUEUE: usize = 1024;

impl<S> Layer<S> for CallsLayer
where
    S: Service<Request<Body>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + Send + Sync,
{
    type Service = Calls<S::Future>;

    fn layer(&self, stack: S) -> Calls<S::Future> {
        Calls { shared: Arc::clone(&self.shared), stack: Buffer::new(stack, QUEUE) }
    }
}

/// The service that [`CallsLayer`] makes.
pub(super) struct Calls<F> {
    shared: Arc<Shared>,
    /// The services below.
    stack: Buffer<Request<Body>, F>,
}

impl<F: Send + 'static> Clone for Calls<F> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), stack: self.stack.clone() }
    }
}

/// Every change under these locks is one assignment, so the data is whole even if a holder panicked.
fn whole<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F, E, B> Service<Request<Body>> for Calls<F>
where
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Bounded<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    /// Always: whoever has to wait for a turn waits in its own future.
    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let calls = self.clone();
        async move { calls.patiently(request).await }.boxed()
    }
}

impl<F, E, B> Calls<F>
where
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Asks, and asks again where that can help.
    async fn patiently(self, request: Request<Body>) -> Result<Response<Bounded<B>>, BoxError> {
        let sort = Sort::of(&request);
        let began = Instant::now();
        let mut request = Some(request);
        let mut tries = 0;
        loop {
            let Some(this) = request.take() else { return Err(CallError::NoAnswer(began.elapsed()).into()) };
            request = copy(&this);
            let answer = self.once(this, sort).await;
            let again = request.as_ref().and_then(|_| next_try(sort, &answer, tries, began.elapsed()));
            let Some(again) = again else { return finish(answer?, sort, &self.shared.news).await };
            drop(answer);
            self.shared.news.waiting(&again.why);
            sleep(again.pause).await;
            tries += 1;
        }
    }

    /// Asks once, in its turn.
    async fn once(&self, mut request: Request<Body>, sort: Sort) -> Result<Response<Bounded<B>>, BoxError> {
        let turns = if sort == Sort::Stream { &self.shared.openings } else { &self.shared.calls };
        let mut turn = Some(Arc::clone(turns).acquire_owned().await?);
        let mut woken = self.shared.woken.subscribe();
        let within = sort.within();
        let (renewing, stands) = watch::channel(false);
        request.extensions_mut().insert(Renewing(Arc::new(renewing)));
        let answer = async {
            let mut stack = self.stack.clone();
            let answer = async { stack.ready().await?.call(request).await };
            tokio::select! {
                answer = in_time(within, stands, answer) => answer.unwrap_or_else(|| Err(late(sort, within).into())),
                Ok(()) = woken.changed() => Err(CallError::Asleep.into()),
            }
        };
        pin!(answer);
        let answer = if sort == Sort::Stream {
            if let Ok(answer) = timeout(SLOW, &mut answer).await {
                answer?
            } else {
                turn = None;
                answer.await?
            }
        } else {
            answer.await?
        };
        Ok(self.bounded(answer, sort, turn))
    }

    fn bounded(&self, answer: Response<B>, sort: Sort, turn: Option<OwnedSemaphorePermit>) -> Response<Bounded<B>> {
        let woken = self.shared.woken.subscribe();
        answer.map(|body| match sort {
            // A watch has had its turn when it has begun.
            Sort::Watch(ends) => Bounded::watch(body, ends.map(|ends| ends + WATCH_GRACE), woken),
            _ => Bounded::answer(body, PART_WITHIN, WHOLE_WITHIN, woken, turn),
        })
    }
}

fn late(sort: Sort, within: Duration) -> CallError {
    if sort == Sort::Stream { CallError::NotOpened(within) } else { CallError::NoAnswer(within) }
}

/// The same request again; `None` for one whose body can be read once only.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    Some(copy)
}

/// Foreign text of an answer: visible, and no more of it than is read.
pub(super) fn foreign(words: &str) -> String {
    const MOST: usize = 600;
    let words = words.trim();
    let short: String = words.chars().take(MOST).collect();
    let more = if short.len() < words.len() { " ..." } else { "" };
    format!("{}{more}", text::visible(&short))
}

#[cfg(test)]
mod tests;
