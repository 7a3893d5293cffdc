//! An answer's bytes, with an end.
//!
//! Owns the deadlines of what has begun to answer. Must not know what the bytes are.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, Sleep, sleep_until},
};
use tower::BoxError;

use super::CallError;

/// No answer has more bytes: lists come in pages.
const MOST: u64 = 256 * 1024 * 1024;

/// A body that ends in time.
pub(in crate::cluster) struct Bounded<B> {
    body: Pin<Box<B>>,
    /// For the next part; a watch has none.
    part: Option<(Duration, Pin<Box<Sleep>>)>,
    /// For all of it.
    end: Option<Pin<Box<Sleep>>>,
    /// Bytes that may come yet.
    left: u64,
    woken: BoxFuture<'static, ()>,
    /// A watch that ends so is only begun again.
    quietly: bool,
    _turn: Option<OwnedSemaphorePermit>,
}

impl<B> Bounded<B> {
    pub(super) fn answer(
        body: B,
        part: Duration,
        whole: Duration,
        woken: watch::Receiver<u64>,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let now = Instant::now();
        Self {
            body: Box::pin(body),
            part: Some((part, Box::pin(sleep_until(now + part)))),
            end: Some(Box::pin(sleep_until(now + whole))),
            left: MOST,
            woken: once(woken),
            quietly: false,
            _turn: turn,
        }
    }

    pub(super) fn watch(body: B, ends: Option<Duration>, woken: watch::Receiver<u64>) -> Self {
        let end = ends.map(|ends| Box::pin(sleep_until(Instant::now() + ends)));
        let body = Box::pin(body);
        Self { body, part: None, end, left: u64::MAX, woken: once(woken), quietly: true, _turn: None }
    }
}

fn once(mut woken: watch::Receiver<u64>) -> BoxFuture<'static, ()> {
    async move {
        if woken.changed().await.is_err() {
            // The connection is dropped: nobody can wake any more.
            std::future::pending::<()>().await;
        }
    }
    .boxed()
}

impl<B> Bounded<B> {
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.end.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready())
    }

    fn ended(&mut self, context: &mut Context<'_>) -> Option<BoxError> {
        let passed = |sleep: &mut Pin<Box<Sleep>>, context: &mut Context<'_>| sleep.as_mut().poll(context).is_ready();
        let late = self.part.as_mut().is_some_and(|(_, part)| passed(part, context)) || self.is_late(context);
        let woken = self.woken.poll_unpin(context).is_ready();
        match (late || woken, self.quietly, woken) {
            (false, ..) => None,
            // This is what kube takes for a watch's usual end.
            (true, true, _) => Some(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            (true, false, true) => Some(CallError::Asleep.into()),
            (true, false, false) => Some(CallError::Stopped.into()),
        }
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // What has come is read first.
        if let Poll::Ready(frame) = self.body.as_mut().poll_frame(context) {
            if let Some((patience, part)) = &mut self.part {
                part.as_mut().reset(Instant::now() + *patience);
            }
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            self.left = self.left.saturating_sub(data.map_or(0, Bytes::len) as u64);
            if frame.is_some() && self.left == 0 {
                return Poll::Ready(Some(Err(CallError::Endless.into())));
            }
            // One that always has more would never be looked at for its end.
            if frame.is_some() && self.part.is_some() && self.is_late(context) {
                return Poll::Ready(Some(Err(CallError::Stopped.into())));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match self.ended(context) {
            Some(error) => Poll::Ready(Some(Err(error))),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The beginning of a body, up to so many bytes.
pub(super) async fn beginning<B>(mut body: Bounded<B>, most: usize) -> Vec<u8>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut read = Vec::new();
    while read.len() < most {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let Some(Ok(frame)) = frame.await else { break };
        read.extend(frame.into_data().unwrap_or_default());
    }
    read.truncate(most);
    read
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Always has more.
    struct Flood;

    impl Body for Flood {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 8 * 1024])))))
        }
    }

    #[tokio::test]
    async fn an_answer_that_always_has_more_ends() {
        let woken = watch::Sender::new(0);
        let hour = Duration::from_secs(3600);
        let mut body = Bounded::answer(Flood, hour, hour, woken.subscribe(), None);
        let mut read = 0;
        let error = loop {
            match std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                Some(Ok(frame)) => read += frame.into_data().expect("data").len() as u64,
                Some(Err(error)) => break error,
                None => panic!("it has no end"),
            }
        };
        assert!(read <= MOST, "{read}");
        assert!(error.to_string().contains("does not end"), "{error}");
    }
}
