//! A server that is away, hangs, or asks to wait: what is waited for, and for how long.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_during_a_removal_is_waited_for() {
    let mut deletes = 0;
    let test = test(move |call| {
        deletes += usize::from(call.method == Method::DELETE);
        let away = call.method == Method::DELETE && deletes < 10;
        // It comes back refusing.
        away.then(
            || if deletes < 8 { refusal(503, "Unavailable", "away") } else { refusal(403, "Forbidden", "not yet") },
        )
    });
    test.deploy(&["n1"]).await;
    let removals = test.removals(Keep::new()).await;
    assert_eq!(fate(&removals, Kind::Job), Ok(()));
    assert_eq!(test.server.lock().objects.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_error_in_preflight_passes_by_itself() {
    let mut reviews = 0;
    let test = test(move |call| {
        reviews += usize::from(call.path.ends_with("reviews"));
        (call.path.ends_with("reviews") && reviews == 7).then(|| refusal(500, "InternalError", "etcd: leader changed"))
    });
    assert!(matches!(test.deploy(&["n1"]).await[0].1, DeployProgress::Step(_)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_none_or_asks_to_wait_for_good_is_told_in_time() {
    let told = async |answer: Answer| {
        let test = scripted(move |_| Some(answer.clone()));
        let began = tokio::time::Instant::now();
        let notice = test.first_failure().await;
        (notice.line(), began.elapsed().as_secs())
    };
    let page = Answer::text(200, "text/html", "<html><head><title>Sign in</title></head></html>");
    let (line, _) = told(page).await;
    assert!(line.contains("not a Kubernetes API: an HTML page, title \"Sign in\""), "{line}");
    let (line, _) = told(Answer::text(302, "text/html", "").with("location", "https://login.example/")).await;
    assert!(line.contains("a redirect to https://login.example/"), "{line}");
    let (line, after) = told(Answer::text(429, "text/plain", "Too many requests").with("retry-after", "1")).await;
    assert!(line.contains("429: Too many requests") && after <= 16, "{after} s: {line}");
    let (line, after) = told(Answer::Hangs).await;
    assert!(line.contains("has not answered for") && after <= 30, "{after} s: {line}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_goes_without_a_word_makes_the_list_old_and_the_next_one_makes_it_current() {
    let away = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&away);
    let test = scripted(move |call| match call.path.as_str() {
        "/api/v1/nodes" if gone.load(Ordering::Relaxed) => Some(Answer::Hangs),
        "/api/v1/nodes" if !call.query.contains("watch") => Some(Answer::recorded("nodes")),
        _ => None,
    });
    let mut changes = test.cluster.nodes();
    assert!(matches!(changes.next().await, Some(NodesChange::Replaced(_))));
    away.store(true, Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    let Some(NodesChange::Failed(notice)) = changes.next().await else { panic!("it is old") };
    assert!(notice.cause.contains("has not answered"), "{notice:?}");
    assert!(began.elapsed() <= Duration::from_secs(45), "{:?}", began.elapsed());
    away.store(false, Ordering::Relaxed);
    let back = changes.filter(|change| {
        let listed = matches!(change, NodesChange::Replaced(_));
        async move { listed }
    });
    assert!(std::pin::pin!(back).next().await.is_some(), "all is listed anew");
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_gets_no_answer_ends_and_names_what_stays() {
    let away = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&away);
    let test = scripted(move |_| gone.load(Ordering::Relaxed).then_some(Answer::Hangs));
    test.deploy(&["n1", "n2"]).await;
    let found = abandoned(&test, test.folder.path()).await;
    let plan = found.plan(&test.journals, Duration::from_secs(10)).await.expect("seen");
    assert_eq!(plan.len(), 4);
    away.store(true, Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    let removals = news(found.clone().remove(test.journals.clone(), Duration::from_secs(10))).await;
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
    assert!(matches!(&removals[0], Removal::Refused(notice) if notice.line().contains("not answer")), "{removals:?}");
    let began = tokio::time::Instant::now();
    found.plan(&test.journals, Duration::from_secs(10)).await.expect_err("not seen");
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_gets_no_answer_ends_the_removal() {
    let test = scripted(|call| (call.method == Method::DELETE).then_some(Answer::Hangs));
    test.deploy(&["n1", "n2"]).await;
    let found = abandoned(&test, test.folder.path()).await;
    let began = tokio::time::Instant::now();
    let removals = news(found.remove(test.journals.clone(), Duration::from_secs(10))).await;
    assert!(fate(&removals, Kind::Job).expect_err("it stays").contains("not answered for 10 s"), "{removals:?}");
    assert!(fate(&removals, Kind::Namespace).is_err());
    assert!(began.elapsed() <= Duration::from_secs(35), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_wait_is_waited_for_as_long_as_cleanup_may_take() {
    let busy = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&busy);
    let again = refusal(429, "TooManyRequests", "the server has too many requests");
    let test =
        scripted(move |_| asks.load(Ordering::Relaxed).then(|| Answer::from(again.clone()).with("retry-after", "60")));
    test.deploy(&["n1"]).await;
    let found = abandoned(&test, test.folder.path()).await;
    busy.store(true, Ordering::Relaxed);
    let plan = async |within| found.plan(&test.journals, Duration::from_secs(within)).await;
    let notice = plan(10).await.expect_err("no time");
    assert!(notice.cause.contains("429") || notice.line().contains("too many requests"), "{notice:?}");
    let comes_back = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        busy.store(false, Ordering::Relaxed);
    };
    let (plan, ()) = tokio::join!(plan(60), comes_back);
    assert_eq!(plan.expect("seen").len(), 3);
}
