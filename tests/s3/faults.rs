//! The agent's uploader against servers that refuse, dawdle and lie: what cannot go holds nobody up, what is under way is
//! known, and what is believed was proved.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use nodewatch_protocol::{Delivery, Grant, RingList, ServerFacts, Sink, SinkState, is_manifest};

use crate::{
    delivery::{agent, content},
    odd::{Answer, Asked, Server, refused},
};

const PREFIX: &str = "inc/7f3a91c2/node-1/";

/// What a laptop would have signed; these servers look at no signature.
fn grant(server: &Server) -> Grant {
    Grant {
        url: format!("{}/captures", server.endpoint()),
        fields: BTreeMap::new(),
        prefix: PREFIX.into(),
        max_bytes: 1 << 30,
        valid_seconds: 600.into(),
        zstd: false,
        server: ServerFacts::default(),
    }
}

fn taken() -> Answer {
    (204, vec![("x-amz-request-id", "1".into())], String::new())
}

fn name_of(asked: &Asked) -> String {
    asked.key().trim_start_matches(PREFIX).to_owned()
}

/// A gate that requests wait behind.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn wait(&self) {
        let mut open = self.0.0.lock().expect("whole");
        while !*open {
            open = self.0.1.wait(open).expect("whole");
        }
    }

    fn open(&self) {
        *self.0.0.lock().expect("whole") = true;
        self.0.1.notify_all();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_refused_and_one_that_is_gone_hold_nobody_up_and_are_told_once() {
    let server = Server::start(|asked| match name_of(asked).as_str() {
        "0000.pcapng" => refused(403, "AccessDenied", "Access Denied"),
        _ => taken(),
    });
    let agent = agent();
    let names: Vec<String> = (0..50).map(|number| format!("{number:04}.pcapng")).collect();
    for name in &names {
        agent.close_file(name, 1000);
    }
    std::fs::remove_file(agent.folder.path().join("0001.pcapng")).expect("removed");
    agent.uploader.set(Sink::Grant(grant(&server)));
    agent.until("an end", |agent| agent.uploader.is_idle()).await;
    let refusals = server.asked().iter().filter(|asked| name_of(asked) == "0000.pcapng").count();
    let delivered = names.iter().filter(|name| agent.delivery(name).is_delivered()).count();
    assert_eq!(delivered, 48);
    // The first refusals, no more: 48 others went meanwhile.
    assert!(refusals <= 5, "{refusals}");
    for name in ["0000.pcapng", "0001.pcapng"] {
        assert!(matches!(agent.delivery(name), Delivery::Lost { .. }), "{name}: {:?}", agent.delivery(name));
    }
    let Delivery::Lost { reason } = agent.delivery("0000.pcapng") else { panic!("it is let be") };
    assert_eq!(reason, format!("{} answers 403: AccessDenied, Access Denied", server.address));
    assert_eq!(agent.ring.state(SinkState::Ring).lost.files, 2);
    let said = agent.ring.messages();
    assert_eq!(said.iter().filter(|message| message.contains("0001.pcapng")).count(), 1, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_under_way_is_not_idle_and_the_last_one_is_the_newest() {
    let gate = Gate::default();
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (behind, now, max) = (gate.clone(), Arc::clone(&at_once), Arc::clone(&most));
    let server = Server::start(move |asked| {
        if is_manifest(&name_of(asked)) {
            max.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            behind.wait();
            now.fetch_sub(1, Ordering::SeqCst);
        }
        taken()
    });
    let agent = agent();
    agent.uploader.set(Sink::Grant(grant(&server)));
    agent.close_file("a.pcapng", 1000);
    agent.until("a manifest under way", |_| at_once.load(Ordering::SeqCst) == 1).await;
    for name in ["b.pcapng", "c.pcapng"] {
        agent.close_file(name, 1000);
    }
    agent.until("the files", |agent| agent.ring.to_deliver().is_empty()).await;
    assert!(!agent.uploader.is_idle(), "what is remembered of them is not there");
    gate.open();
    agent.until("an end", |agent| agent.uploader.is_idle()).await;
    assert_eq!(most.load(Ordering::SeqCst), 1, "one at a time");
    let asked = server.asked();
    let manifests: Vec<_> = asked.iter().filter(|asked| is_manifest(&name_of(asked))).collect();
    let last: RingList = serde_json::from_slice(&manifests.last().expect("one").file()).expect("a manifest");
    assert_eq!(last.delivered.files, 3);
    let ring = agent.ring.list().ring;
    assert!(manifests.iter().all(|asked| name_of(asked) == format!("manifest-{ring}.json")), "a name a ring");
}

#[tokio::test(flavor = "multi_thread")]
async fn packing_throws_nothing_away_that_nobody_has() {
    let server = Server::start(|_| taken());
    let agent = agent();
    for number in 0..8 {
        agent.close_file(&format!("{number}.pcapng"), 100_000);
    }
    // Full to the last byte.
    agent.ring.limit_volume(800_000);
    agent.uploader.set(Sink::Grant(Grant { zstd: true, ..grant(&server) }));
    agent.until("an end", |agent| agent.uploader.is_idle()).await;
    let state = agent.ring.state(SinkState::Ring);
    assert_eq!((state.delivered.files, state.discarded.files), (8, 0));
    for asked in server.asked().iter().filter(|asked| asked.key().strip_suffix(".zst").is_some()) {
        let name = name_of(asked);
        let name = name.strip_suffix(".zst").expect("packed");
        assert_eq!(zstd::decode_all(asked.file().as_slice()).expect("packed"), content(name, 100_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_s3s_or_of_other_bytes_is_no_delivery() {
    let page: fn() -> Answer = || (200, vec![("Content-Type", "text/html".into())], "<html>Sign in</html>".to_owned());
    let other: fn() -> Answer = || (204, vec![("ETag", "\"d41d8cd98f00b204e9800998ecf8427e\"".into())], String::new());
    let sum: fn() -> Answer = || (204, vec![("x-amz-checksum-sha256", "AAAA".into())], String::new());
    for (answer, word) in [(page, "nothing was stored"), (other, "something else"), (sum, "another checksum")] {
        let server = Server::start(move |_| answer());
        let agent = agent();
        agent.close_file("a.pcapng", 1000);
        agent.uploader.set(Sink::Grant(grant(&server)));
        let reason = agent.refusal("a.pcapng").await;
        assert!(reason.contains(word) && reason.contains(&server.address.to_string()), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_that_compares_nothing_has_is_not_what_the_ring_may_let_go() {
    // Whether preflight has seen it compare nothing, whether its answer is one of S3's, and whether that will do.
    for (unchecked, signed, believed) in [(true, true, false), (false, true, true), (false, false, false)] {
        let server = Server::start(move |_| if signed { taken() } else { (204, Vec::new(), String::new()) });
        let agent = agent();
        agent.close_file("a.pcapng", 1000);
        let server_facts = ServerFacts { unchecked, authorities: None };
        agent.uploader.set(Sink::Grant(Grant { server: server_facts, ..grant(&server) }));
        agent.until("delivery", |agent| agent.delivery("a.pcapng").is_delivered()).await;
        let file = agent.ring.files().into_iter().next().expect("the file");
        assert_eq!(file.is_elsewhere(), believed, "unchecked {unchecked}, signed {signed}");
        agent.ring.set_fetched("a.pcapng");
        assert!(agent.ring.files()[0].is_elsewhere());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_refuses_no_file_for_good_and_a_new_right_is_tried_at_once() {
    let busy = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&busy);
    let server = Server::start(move |_| {
        if count.fetch_add(1, Ordering::SeqCst) < 3 {
            refused(503, "SlowDown", "Reduce your request rate.")
        } else {
            taken()
        }
    });
    let agent = agent();
    for name in ["a.pcapng", "b.pcapng"] {
        agent.close_file(name, 1000);
    }
    agent.uploader.set(Sink::Grant(grant(&server)));
    agent.until("an end", |agent| agent.uploader.is_idle()).await;
    assert!(busy.load(Ordering::SeqCst) > 3);
    assert_eq!(agent.ring.state(SinkState::Ring).lost.files, 0);

    let closed = Server::start(|_| refused(403, "ExpiredToken", "The provided token has expired."));
    agent.uploader.set(Sink::Grant(grant(&closed)));
    agent.close_file("c.pcapng", 1000);
    agent.refusal("c.pcapng").await;
    agent.uploader.set(Sink::Grant(grant(&server)));
    agent.until("delivery", |agent| agent.delivery("c.pcapng").is_delivered()).await;
}
