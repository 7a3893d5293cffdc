//! The agent's uploader against Garage, under grants that the laptop has signed.

use std::{io::Write, net::SocketAddr, time::Duration};

use nodewatch_agent::{
    capture::own::OwnTraffic,
    ring::{Beginning, Ending, Ring, store::Store},
    upload::Uploader,
};
use nodewatch_protocol::{Delivery, Grant, RingList, Sink, SinkState};
use nodewatch_testing::{
    bucket::{Garage, free_port, keys, object},
    eventually_async,
    proxy::{Fault, Proxy},
};
use nodewatch_tui::{model::SessionId, storage::Storage};

use crate::storage::storage;

pub const NODE: &str = "node-1";

pub fn session() -> SessionId {
    SessionId::new(0x7f3a_91c2)
}

pub struct Agent {
    pub ring: Ring,
    pub uploader: Uploader,
    pub folder: tempfile::TempDir,
}

/// An agent's ring and uploader, without the rest of it.
pub fn agent() -> Agent {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = Ring::open(Store::open(folder.path()).expect("a folder"), NODE).expect("a ring");
    let uploader = Uploader::start(ring.clone(), OwnTraffic::default()).expect("threads");
    Agent { ring, uploader, folder }
}

impl Agent {
    /// A closed file of that many bytes; what is in it does not matter on the way.
    pub fn close_file(&self, name: &str, size: usize) {
        let mut room = self.ring.make_room(size as u64).expect("room");
        let mut file = self.ring.begin(Beginning { name: name.into(), ..Beginning::default() }).expect("begun");
        file.write_all(&content(name, size)).expect("written");
        room.spend(name, size as u64, 3);
        self.ring.close(name, &Ending::default()).expect("closed");
        self.uploader.wake();
    }

    pub fn delivery(&self, name: &str) -> Delivery {
        self.ring.files().into_iter().find(|file| file.name == name).expect("the file").delivery
    }

    pub async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        eventually_async(what, Duration::from_secs(40), async || {
            if so(self) { Ok(()) } else { Err(format!("{:?}", self.ring.files())) }
        })
        .await;
    }

    /// Why a file was not taken.
    pub async fn refusal(&self, name: &str) -> String {
        self.until("a refusal", |agent| matches!(agent.delivery(name), Delivery::Waiting { .. })).await;
        match self.delivery(name) {
            Delivery::Waiting { reason } => reason,
            other => panic!("{other:?}"),
        }
    }
}

pub fn content(name: &str, size: usize) -> Vec<u8> {
    name.bytes().cycle().take(size).collect()
}

async fn granted(storage: &Storage) -> Grant {
    storage.grant_for(&session(), &NODE.into(), Duration::from_secs(600), 1024 * 1024 * 1024).await.expect("signed")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gets_there_whole_with_its_manifest_and_no_secret_stays_on_the_disk() {
    let Some(garage) = Garage::start() else { return };
    let agent = agent();
    let grant = granted(&storage(&garage.endpoint()).await).await;
    agent.close_file("a.pcapng", 3_000_000);
    agent.uploader.set(Sink::Grant(grant.clone()));
    agent.until("delivery", |agent| agent.uploader.is_idle()).await;

    let client = garage.client();
    let prefix = "inc/7f3a91c2/node-1/";
    let manifest_key = format!("{prefix}manifest-{}.json", agent.ring.list().ring);
    assert_eq!(keys(&client, "").await, [format!("{prefix}a.pcapng"), manifest_key.clone()]);
    assert_eq!(object(&client, &format!("{prefix}a.pcapng")).await, content("a.pcapng", 3_000_000));
    let manifest = object(&client, &manifest_key).await;
    let manifest: RingList = serde_json::from_slice(&manifest).expect("a manifest");
    let file = &manifest.files[0].file;
    let sum = agent.ring.store().checksum("a.pcapng").expect("summed").1;
    assert_eq!((file.sha256.as_ref(), file.packets), (Some(&sum), 3));
    assert_eq!(
        file.delivery,
        Delivery::Delivered { key: format!("{prefix}a.pcapng"), size: 3_000_000, unproved: false }
    );

    // Memory only: nothing of the policy is in the ring's folder.
    for entry in std::fs::read_dir(agent.folder.path()).expect("the ring") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("read");
        for secret in [&grant.fields["x-amz-signature"], &grant.fields["policy"]] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "a secret on the disk");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_refuses_what_a_grant_does_not_allow() {
    let Some(garage) = Garage::start() else { return };
    let storage = storage(&garage.endpoint()).await;

    // Another node's folder.
    let agent_1 = agent();
    agent_1.uploader.set(Sink::Grant(Grant { prefix: "inc/7f3a91c2/node-2/".into(), ..granted(&storage).await }));
    agent_1.close_file("a.pcapng", 10);
    let reason = agent_1.refusal("a.pcapng").await;
    assert!(reason.contains("answers 4") && reason.contains("Key 'key' has value not allowed in policy"), "{reason}");

    // More than the policy's size: the agent would not even try, so it is lied to.
    let agent_2 = agent();
    let small = storage.grant_for(&session(), &NODE.into(), Duration::from_secs(600), 1000).await.expect("signed");
    agent_2.uploader.set(Sink::Grant(Grant { max_bytes: 1_000_000, ..small.clone() }));
    agent_2.close_file("a.pcapng", 2000);
    let reason = agent_2.refusal("a.pcapng").await;
    assert!(reason.contains("answers 4"), "{reason}");
    agent_2.uploader.set(Sink::Grant(small));
    agent_2.until("its own refusal", |agent| {
        matches!(agent.delivery("a.pcapng"), Delivery::Lost { reason } if reason.contains("more than the 1000"))
    })
    .await;

    // After its time, with the agent's clock an hour behind.
    let agent_3 = agent();
    let short = storage.grant_for(&session(), &NODE.into(), Duration::from_secs(1), 1000).await.expect("signed");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    agent_3.uploader.set(Sink::Grant(Grant { valid_seconds: 3600.into(), ..short }));
    agent_3.close_file("a.pcapng", 10);
    let reason = agent_3.refusal("a.pcapng").await;
    assert!(reason.contains("answers 4") && reason.to_lowercase().contains("expiration"), "{reason}");

    // Signed by somebody else.
    let agent_4 = agent();
    let mut forged = granted(&storage).await;
    forged.fields.insert("x-amz-signature".into(), "0".repeat(64));
    agent_4.uploader.set(Sink::Grant(forged));
    agent_4.close_file("a.pcapng", 10);
    let reason = agent_4.refusal("a.pcapng").await;
    assert!(reason.contains("answers 4") && reason.to_lowercase().contains("signature"), "{reason}");
    let mut there = keys(&garage.client(), "").await;
    // The second one's right reaches as far as the word why its file is not there.
    there.retain(|key| !key.contains(&agent_2.ring.list().ring));
    assert_eq!(there, Vec::<String>::new(), "nothing of all that is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_grant_holds_the_files_until_the_next_one() {
    let Some(garage) = Garage::start() else { return };
    let storage = storage(&garage.endpoint()).await;
    let agent = agent();
    let grant = granted(&storage).await;
    agent.uploader.set(Sink::Grant(Grant { valid_seconds: 0.into(), ..grant.clone() }));
    agent.close_file("a.pcapng", 10);
    assert_eq!(agent.uploader.state(), SinkState::Grant { left_seconds: 0 });
    assert!(agent.uploader.is_idle() && agent.ring.queued() == 1, "held, and nothing is tried");
    agent.uploader.set(Sink::Grant(grant));
    agent.until("delivery", |agent| agent.delivery("a.pcapng").is_delivered()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fault_is_on_the_way_each_file_gets_there_once() {
    let Some(garage) = Garage::start() else { return };
    let proxy = Proxy::start(garage.address);
    // Each in its turn, then none.
    let faults = [
        Fault::Refused,
        Fault::Unavailable,
        Fault::CutRequest,
        Fault::HalfAnswer(0),
        Fault::HalfAnswer(40),
        Fault::Slow(Duration::from_millis(5)),
    ];
    proxy.plan(move |number| faults.get(number).copied().unwrap_or(Fault::None));
    let agent = agent();
    let names: Vec<String> = (0..6).map(|number| format!("{number}.pcapng")).collect();
    for name in &names {
        agent.close_file(name, 200_000);
    }
    agent.uploader.set(Sink::Grant(granted(&storage(&proxy.endpoint()).await).await));
    agent.until("delivery", |agent| agent.uploader.is_idle()).await;
    assert!(proxy.faults() >= faults.len());
    assert!(agent.ring.state(SinkState::Ring).retries >= 4, "failures are counted");
    let client = garage.client();
    let expected: Vec<String> = names.iter().map(|name| format!("inc/7f3a91c2/node-1/{name}")).collect();
    for (key, name) in expected.iter().zip(&names) {
        assert_eq!(object(&client, key).await, content(name, 200_000), "{name}");
    }
    let mut there = keys(&client, "").await;
    // After a try that may end late it has another name.
    let manifest = format!("inc/7f3a91c2/node-1/manifest-{}", agent.ring.list().ring);
    let manifests = there.extract_if(.., |key| key.starts_with(&manifest)).count();
    assert!(manifests > 0);
    assert_eq!(there, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_said_and_tried_again() {
    let Some(garage) = Garage::start() else { return };
    let nobody: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().expect("an address");
    let agent = agent();
    let mut grant = granted(&storage(&garage.endpoint()).await).await;
    let right = std::mem::replace(&mut grant.url, format!("http://{nobody}/captures"));
    agent.uploader.set(Sink::Grant(grant.clone()));
    agent.close_file("a.pcapng", 10);
    let reason = agent.refusal("a.pcapng").await;
    assert!(reason.contains(&format!("no answer from {nobody}")), "{reason}");
    assert!(!reason.contains(&grant.fields["x-amz-signature"]), "{reason}");
    agent.uploader.set(Sink::Grant(Grant { url: right, ..grant }));
    agent.until("delivery", |agent| agent.delivery("a.pcapng").is_delivered()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_file_comes_home_as_it_was() {
    let Some(garage) = Garage::start() else { return };
    let storage = storage(&garage.endpoint()).await;
    let agent = agent();
    agent.uploader.set(Sink::Grant(Grant { zstd: true, ..granted(&storage).await }));
    agent.close_file("a.pcapng", 1_000_000);
    agent.until("delivery", |agent| agent.uploader.is_idle()).await;
    let key = "inc/7f3a91c2/node-1/a.pcapng.zst";
    assert!(
        matches!(agent.delivery("a.pcapng"), Delivery::Delivered { key: at, size, .. } if at == key && size < 10_000)
    );
    let folder = tempfile::tempdir().expect("a folder");
    let (path, sum) = storage.download(key, folder.path(), |_| ()).await.expect("fetched");
    assert_eq!(path, folder.path().join("a.pcapng"));
    assert_eq!(std::fs::read(path).expect("read"), content("a.pcapng", 1_000_000));
    assert_eq!(sum, agent.ring.store().checksum("a.pcapng").expect("summed").1);
}

/// A server's certificate has to be one that the public authorities vouch for.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_vouches_for_is_sent_nothing() {
    use std::process::{Command, Stdio};
    let Some(garage) = Garage::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl").success());
    let port = free_port();
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-www", "-accept", &port.to_string(), "-key"])
        .arg(&key)
        .arg("-cert")
        .arg(&certificate)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let agent = agent();
    let grant = granted(&storage(&garage.endpoint()).await).await;
    agent.uploader.set(Sink::Grant(Grant { url: format!("https://localhost:{port}/captures"), ..grant }));
    agent.close_file("a.pcapng", 10);
    agent
        .until("what is wrong with it", |agent| {
            matches!(agent.delivery("a.pcapng"), Delivery::Waiting { reason } if reason.contains("certificate"))
        })
        .await;
    server.kill().expect("running");
    server.wait().expect("killed");
}
