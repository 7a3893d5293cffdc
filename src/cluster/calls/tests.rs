//! Turns, deadlines and another try, over a server that is a function.

use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::future::join_all;
use http_body::Frame;
use kube::{Client, client::ClientBuilder};
use tower::service_fn;

use super::*;

/// Bytes, and then the end or nothing more.
struct Said(Option<Bytes>, bool);

impl http_body::Body for Said {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.1 => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

fn said(code: u16, text: &'static str) -> Response<Said> {
    Response::builder().status(code).body(Said(Some(Bytes::from(text)), true)).expect("an answer")
}

fn request(method: &str, uri: &str) -> Request<Body> {
    Request::builder().method(method).uri(uri).body(Body::empty()).expect("a request")
}

fn exec(node: usize) -> Request<Body> {
    let mut exec = request("GET", &format!("/api/v1/namespaces/n/pods/agent-{node}/exec"));
    exec.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    exec
}

/// A client of a server that answers so.
fn server<F>(answer: impl Fn(Request<Body>) -> F + Send + 'static) -> (Client, Arc<Shared>)
where
    F: Future<Output = Result<Response<Said>, BoxError>> + Send + 'static,
{
    let shared = Shared::new();
    let layer = CallsLayer::new(&shared);
    (ClientBuilder::new(service_fn(answer), "default").with_layer(&layer).build(), shared)
}

async fn text(client: &Client, uri: &str) -> Result<String, kube::Error> {
    client.request_text(request("GET", uri).map(|_| Vec::new())).await
}

fn told(shared: &Shared) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(notice) = shared.news.next().now_or_never() {
        told.push(notice.headline);
    }
    told
}

#[test]
fn a_call_is_told_by_what_it_asks() {
    let sort = |method, uri| Sort::of(&request(method, uri));
    assert_eq!(sort("GET", "/api/v1/nodes?limit=500"), Sort::Read);
    assert_eq!(sort("GET", "/api/v1/nodes?&watch=true&timeoutSeconds=25"), Sort::Watch(Some(Duration::from_secs(25))));
    assert_eq!(sort("POST", "/api/v1/namespaces?&dryRun=All"), Sort::Question);
    assert_eq!(sort("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"), Sort::Question);
    assert_eq!(sort("POST", "/api/v1/namespaces"), Sort::Write);
    assert_eq!(Sort::of(&exec(1)), Sort::Stream);
}

#[test]
fn foreign_words_are_visible_and_bounded() {
    assert_eq!(foreign(" a\u{1b}b "), "a\\u{1b}b");
    let long = foreign(&"x".repeat(5000));
    assert!(long.len() < 700 && long.ends_with(" ..."), "{}", long.len());
}

#[tokio::test(start_paused = true)]
async fn nodes_whose_exec_hangs_hold_up_nobody() {
    let (client, _) = server(|request| async move {
        let hangs = request.headers().contains_key(header::UPGRADE) && !request.uri().path().contains("agent-99/");
        if hangs { std::future::pending().await } else { Ok(said(200, "{}")) }
    });
    let began = Instant::now();
    let hanging: Vec<_> = (0..50)
        .map(|node| {
            let client = client.clone();
            tokio::spawn(async move { client.send(exec(node)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(text(&client, "/api/v1/nodes").await.expect("an answer"), "{}");
    assert!(began.elapsed() < SLOW, "calls have turns of their own");
    client.send(exec(99)).await.expect("the healthy node's stream");
    assert!(began.elapsed() < SLOW * 6, "{:?}", began.elapsed());
    for hanging in join_all(hanging).await {
        let error = hanging.expect("a task").expect_err("it hangs");
        assert!(matches!(reason(&error), Some(CallError::NotOpened(_))), "{error}");
    }
    assert!(began.elapsed() < OPEN_WITHIN + SLOW * 6, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up_and_turns_come_back() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (client, _) = server(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::pending()
    });
    let began = Instant::now();
    let calls = (0..2 * CALLS).map(|_| text(&client, "/api/v1/nodes"));
    for answer in join_all(calls).await {
        let error = answer.expect_err("no answer");
        assert_eq!(reason(&error).expect("a reason").to_string(), "the API server has not answered for 15 s");
    }
    assert_eq!(began.elapsed().as_secs(), 2 * READ_WITHIN.as_secs());
    assert_eq!(asked.load(Ordering::Relaxed), 2 * CALLS, "none is asked twice");
}

#[tokio::test(start_paused = true)]
async fn the_time_that_credentials_take_is_not_the_servers() {
    let (client, _) = server(|request| async move {
        let renewing = request.extensions().get::<Renewing>().cloned().expect("it goes with the request");
        sleep(READ_WITHIN / 4).await;
        renewing.during(sleep(READ_WITHIN * 2)).await;
        sleep(if request.uri().path() == "/late" { READ_WITHIN } else { READ_WITHIN / 2 }).await;
        Ok(said(200, "{}"))
    });
    assert_eq!(text(&client, "/api/v1/nodes").await.expect("an answer"), "{}");
    let began = Instant::now();
    let error = text(&client, "/late").await.expect_err("too late");
    assert!(matches!(reason(&error), Some(CallError::NoAnswer(_))), "{error}");
    assert_eq!(began.elapsed().as_secs(), READ_WITHIN.as_secs() * 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stops_in_the_middle_ends() {
    let (client, _) = server(|_| async { Ok(Response::new(Said(Some(Bytes::from("{\"items\": [")), false))) });
    let error = text(&client, "/api/v1/pods").await.expect_err("half of it");
    assert!(matches!(reason(&error), Some(CallError::Stopped)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_dead_ends_when_it_should_have() {
    let (client, _) = server(|_| async { Ok(Response::new(Said(None, false))) });
    let began = Instant::now();
    let watch = request("GET", "/api/v1/nodes?watch=true&timeoutSeconds=25").map(|_| Vec::new());
    let events = client.request_events::<k8s_openapi::api::core::v1::Node>(watch).await.expect("it begins");
    pin!(events);
    assert!(futures::StreamExt::next(&mut events).await.is_none(), "as any watch ends");
    assert_eq!(began.elapsed().as_secs(), 25 + WATCH_GRACE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn after_waking_what_was_under_way_is_asked_again_over_new_connections() {
    let dead = Arc::new(AtomicBool::new(true));
    let ours = Arc::clone(&dead);
    let (client, shared) = server(move |_| {
        let dead = ours.load(Ordering::Relaxed);
        async move { if dead { std::future::pending().await } else { Ok(said(200, "{}")) } }
    });
    let began = Instant::now();
    let under_way = tokio::spawn({
        let client = client.clone();
        async move { text(&client, "/api/v1/nodes").await }
    });
    sleep(Duration::from_millis(10)).await;
    shared.when_woken(move || dead.store(false, Ordering::Relaxed));
    shared.wake();
    under_way.await.expect("a task").expect("asked again");
    text(&client, "/api/v1/nodes").await.expect("an answer");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_wait_is_waited_for_and_that_is_told() {
    let asked = AtomicUsize::new(0);
    let (client, shared) = server(move |_| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        let mut busy = said(429, "too many requests");
        busy.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("2"));
        async move { Ok(if number < 3 { busy } else { said(200, "{}") }) }
    });
    let began = Instant::now();
    text(&client, "/api/v1/nodes").await.expect("in the end");
    assert_eq!(began.elapsed().as_secs(), 6);
    assert_eq!(told(&shared), ["the API server asks to wait: 429"], "once");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_for_good_is_told_in_time() {
    let (client, _) = server(|_| async { Ok(said(429, "Too many requests, please try again later.\n")) });
    let began = Instant::now();
    let error = text(&client, "/api/v1/nodes").await.expect_err("for ever");
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 429), "{error:?}");
    assert!((10..=15).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_done_is_not_asked_for_twice() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (client, _) = server(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()) }
    });
    let create = request("POST", "/api/v1/namespaces").map(|_| Vec::new());
    client.request_text(create).await.expect_err("cut");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    text(&client, "/api/v1/namespaces").await.expect_err("cut each time");
    assert!(asked.load(Ordering::Relaxed) > 4, "a list is asked for again");
}

#[tokio::test(start_paused = true)]
async fn warnings_are_told_once_each() {
    let (client, shared) = server(|_| async {
        let mut answer = said(200, "{}");
        let text = "299 - \"v1 Endpoints is deprecated in v1.33+\"";
        answer.headers_mut().append(header::WARNING, text.parse().expect("a header"));
        Ok(answer)
    });
    text(&client, "/api/v1/endpoints").await.expect("an answer");
    assert_eq!(told(&shared), Vec::<String>::new(), "what is read here is nobody's affair");
    for _ in 0..2 {
        let create = request("POST", "/api/v1/endpoints").map(|_| Vec::new());
        client.request_text(create).await.expect("an answer");
    }
    assert_eq!(told(&shared), ["the API server warns: v1 Endpoints is deprecated in v1.33+"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_api_is_named() {
    let (client, _) = server(|request| async move {
        let mut answer = said(200, "<html><title>Sign in</title>");
        if request.uri().path() == "/moved" {
            *answer.status_mut() = http::StatusCode::FOUND;
            answer.headers_mut().insert(header::LOCATION, "https://login.example/".parse().expect("a header"));
        }
        answer.headers_mut().insert(header::CONTENT_TYPE, "text/html; charset=utf-8".parse().expect("a header"));
        Ok(answer)
    });
    let named = |error: kube::Error| reason(&error).expect("a reason").to_string();
    let error = text(&client, "/api/v1/nodes").await.expect_err("a page");
    assert_eq!(named(error), "not a Kubernetes API: an HTML page, title \"Sign in\"");
    let error = text(&client, "/moved").await.expect_err("a redirect");
    assert_eq!(named(error), "not a Kubernetes API: a redirect to https://login.example/");
}
