//! The agent as a process: its own credentials, and how much it delivers when its time is up.

use std::{
    collections::BTreeMap,
    net::UdpSocket,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use nodewatch_protocol::{
    CaptureFile, CaptureSpec, Content, FileState, FromAgent, OwnSink, Request, Response, Sink, ToAgent, Update,
};
use nodewatch_testing::{
    agent,
    bucket::{self, BUCKET, Garage, KEY, Moto, REGION, SECRET, keys, object, pod_identity},
    eventually, here,
};

use crate::{
    delivery::session,
    odd::{Server, Tunnels},
    storage::storage,
};

/// The agent's program lies beside the other.
fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_nodewatch-tui")).with_file_name("nodewatch-agent")
}

/// An agent, and the files that it has told of.
struct Agent {
    tunnel: agent::Agent,
    ring: tempfile::TempDir,
    files: Vec<CaptureFile>,
}

impl Agent {
    /// `None` where packets cannot be captured.
    fn start(environment: &[(&str, String)]) -> Option<Self> {
        if !here::possible(&[]) {
            return None;
        }
        let ring = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(program());
        command.args(["serve", "--stdio", "--node-name", "node-1", "--ring"]).arg(ring.path());
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        let tunnel = agent::Agent::spawn(command, ring.path());
        Some(Self { tunnel, ring, files: Vec::new() })
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut so: impl FnMut(&FromAgent, &[CaptureFile]) -> bool) {
        let told = &mut self.files;
        self.tunnel.until(what, |message| {
            if let FromAgent::Update(Update::Files(files)) = &message {
                told.clone_from(files);
            }
            so(&message, told).then_some(())
        });
    }

    /// Asks for something that is to be done. Files that it tells of meanwhile are kept.
    fn ask(&mut self, request: Request) {
        let wanted = 1;
        self.tunnel.say(&ToAgent::Request { id: wanted, request });
        self.until("an answer", |message, _| match message {
            FromAgent::Response { id, response } if *id == wanted => {
                assert_eq!(*response, Response::Done);
                true
            }
            _ => false,
        });
    }

    /// Captures so many packets of that size on the loopback, and leaves the capture running.
    fn capture(&mut self, packets: usize, size: usize) {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let to = receiver.local_addr().expect("an address");
        self.ask(Request::StartCapture(CaptureSpec {
            interfaces: vec!["lo".into()],
            filter: Some(format!("udp port {}", to.port())),
            content: Content::Full,
            ..CaptureSpec::default()
        }));
        let sender = UdpSocket::bind("127.0.0.1:0").expect("bind");
        for number in 0..packets {
            sender.send_to(&vec![7; size], to).expect("sent");
            if number % 200 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.until("all packets in the file", |_, files| files.iter().any(|file| file.packets == packets as u64));
    }

    fn delivered(&mut self) -> CaptureFile {
        self.until("delivery", |_, files| files.iter().any(|file| file.delivery.is_delivered()));
        self.files[0].clone()
    }
}

fn own(endpoint: &str, bucket: &str) -> OwnSink {
    OwnSink {
        bucket: bucket.to_owned(),
        prefix: "inc/7f3a91c2/node-1/".into(),
        region: REGION.into(),
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        form: nodewatch_protocol::ObjectForm::default(),
        server: nodewatch_protocol::ServerFacts::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_pod_identity_large_files_go_in_parts() {
    let Some(garage) = Garage::start() else { return };
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), "pod-token").expect("written");
    let environment = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", pod_identity(Some("pod-token"))),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.path().display().to_string()),
    ];
    let Some(mut agent) = Agent::start(&environment) else { return };
    agent.capture(20_000, 1400);
    agent.ask(Request::Sink(Sink::Own(own(&garage.endpoint(), BUCKET))));
    agent.ask(Request::StopCapture);
    let file = agent.delivered();
    assert!(file.size > 16 * 1024 * 1024, "more than one part: {}", file.size);
    let key = format!("inc/7f3a91c2/node-1/{}", file.name);
    let stored = object(&garage.client(), &key).await;
    assert_eq!(stored, std::fs::read(agent.ring.path().join(&file.name)).expect("the file"));
    let uploads = garage.client().list_multipart_uploads().bucket(BUCKET).send().await.expect("listed");
    assert_eq!(uploads.uploads().len(), 0, "every upload was ended");
    let manifest = std::fs::read_to_string(agent.ring.path().join("manifest.json")).expect("the manifest");
    assert!(!manifest.contains(SECRET) && manifest.contains("\"sink\""), "where to, and no secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_role_the_token_of_the_service_account_is_exchanged() {
    let Some(moto) = Moto::start() else { return };
    let client = bucket::client_in(&moto.endpoint, "us-east-1");
    client.create_bucket().bucket("moto").send().await.expect("a bucket");
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), "eyJhbGciOiJub25lIn0.e30.x").expect("written");
    let environment = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.path().display().to_string()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/nodewatch".to_owned()),
        ("AWS_ENDPOINT_URL_STS", moto.endpoint.clone()),
    ];
    let Some(mut agent) = Agent::start(&environment) else { return };
    agent.capture(10, 100);
    agent.ask(Request::Sink(Sink::Own(OwnSink { region: "us-east-1".into(), ..own(&moto.endpoint, "moto") })));
    agent.ask(Request::StopCapture);
    let file = agent.delivered();
    let key = format!("inc/7f3a91c2/node-1/{}", file.name);
    let stored = client.get_object().bucket("moto").key(key).send().await.expect("the object");
    let stored = stored.body.collect().await.expect("its bytes").into_bytes();
    assert_eq!(stored, std::fs::read(agent.ring.path().join(&file.name)).expect("the file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_of_its_own_the_agent_says_so_and_takes_no_others() {
    // A node's own role would be behind this address.
    let Some(mut agent) = Agent::start(&[("AWS_ACCESS_KEY_ID", KEY.into()), ("AWS_SECRET_ACCESS_KEY", SECRET.into())])
    else {
        return;
    };
    agent.capture(10, 100);
    agent.ask(Request::Sink(Sink::Own(own("http://127.0.0.1:1", BUCKET))));
    agent.ask(Request::StopCapture);
    agent.until("why not", |_, files| {
        files.iter().any(|file| {
            matches!(&file.delivery, nodewatch_protocol::Delivery::Waiting { reason }
                if reason.contains("no credentials of its own"))
        })
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_told_to_end_while_it_captures_delivers_the_last_packets_first() {
    let Some(garage) = Garage::start() else { return };
    let Some(mut agent) = Agent::start(&[]) else { return };
    agent.capture(500, 300);
    assert!(agent.files.iter().any(|file| file.state == FileState::Open));
    let (sink, _) = storage(&garage.endpoint()).await.sink(&session(), &"node-1".into()).await.expect("signed");
    agent.ask(Request::Sink(sink));
    let told = Instant::now();
    Command::new("kill").args(["-TERM", &agent.tunnel.child.id().to_string()]).status().expect("kill");
    assert_eq!(agent.tunnel.child.wait().expect("it ends").code(), Some(143));
    assert!(told.elapsed() < Duration::from_secs(25), "within a pod's grace period: {:?}", told.elapsed());
    let found = keys(&garage.client(), "").await;
    let [capture, manifest] = &found[..] else { panic!("{found:?}") };
    assert!(manifest.rsplit('/').next().is_some_and(nodewatch_protocol::is_manifest), "{manifest}");
    let bytes = object(&garage.client(), capture).await;
    let whole = nodewatch_pcapng::whole(bytes.as_slice()).expect("read");
    assert_eq!((whole.packets, whole.length), (500, bytes.len() as u64));
    let manifest = object(&garage.client(), manifest).await;
    let manifest: nodewatch_protocol::RingList = serde_json::from_slice(&manifest).expect("a manifest");
    assert!(manifest.captures[0].ended.is_some() && manifest.files[0].file.packets == 500);
}

/// A grant that Garage takes, whose form goes to that endpoint.
async fn granted(garage: &Garage, endpoint: &str) -> Sink {
    let (sink, _) = storage(&garage.endpoint()).await.sink(&session(), &"node-1".into()).await.expect("signed");
    let Sink::Grant(grant) = sink else { panic!("a grant") };
    Sink::Grant(nodewatch_protocol::Grant { url: format!("{endpoint}/{BUCKET}"), ..grant })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environments_proxy_is_the_way_to_s3_and_only_for_its_scheme() {
    let Some(garage) = Garage::start() else { return };
    let proxy = Tunnels::start();
    let dead = format!("http://127.0.0.1:{}", bucket::free_port());
    let through = format!("http://{}", proxy.address);
    for (environment, tunnels) in [
        (vec![("HTTP_PROXY", through.clone())], true),
        (vec![("ALL_PROXY", through.clone())], true),
        (vec![("HTTP_PROXY", dead.clone()), ("NO_PROXY", "127.0.0.0/8".to_owned())], false),
        // For another scheme than the server's.
        (vec![("HTTPS_PROXY", dead.clone())], false),
    ] {
        let before = proxy.made.load(std::sync::atomic::Ordering::Relaxed);
        let Some(mut agent) = Agent::start(&environment) else { return };
        agent.capture(10, 100);
        agent.ask(Request::Sink(granted(&garage, &garage.endpoint()).await));
        agent.ask(Request::StopCapture);
        agent.delivered();
        let made = proxy.made.load(std::sync::atomic::Ordering::Relaxed) - before;
        assert_eq!(made > 0, tunnels, "{environment:?}");
    }
    let Some(mut agent) = Agent::start(&[("ALL_PROXY", "socks5://127.0.0.1:1080".to_owned())]) else { return };
    agent.capture(10, 100);
    agent.ask(Request::Sink(granted(&garage, &garage.endpoint()).await));
    agent.ask(Request::StopCapture);
    agent.until("why not", |_, files| files.iter().any(|file| {
        matches!(&file.delivery, nodewatch_protocol::Delivery::Waiting { reason } if reason.contains("socks5://127.0.0.1:1080"))
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_role_nothing_is_overwritten_and_what_is_there_already_is_compared() {
    let sums = Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    let all = Arc::clone(&sums);
    let server = Server::start(move |asked| {
        let mut sums = all.lock().expect("whole");
        let key = asked.key();
        let sum = asked.headers.get("x-amz-checksum-sha256").cloned();
        match asked.method.as_str() {
            "PUT" if asked.headers.contains_key("if-none-match") => {
                // The answer to an earlier try was lost: it is there.
                sums.insert(key, sum.unwrap_or_default());
                crate::odd::refused(
                    412,
                    "PreconditionFailed",
                    "At least one of the pre-conditions you specified did not hold",
                )
            }
            "HEAD" => {
                (200, vec![("x-amz-checksum-sha256", sums.get(&key).cloned().unwrap_or_default())], String::new())
            }
            _ => (200, vec![("ETag", "\"x\"".into()), ("x-amz-request-id", "1".into())], String::new()),
        }
    });
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), "pod-token").expect("written");
    let identity = Server::start(|_| {
        let body = format!(
            "{{\"AccessKeyId\":\"{KEY}\",\"SecretAccessKey\":\"{SECRET}\",\"Token\":\"\",\"Expiration\":\"2099-01-01T00:00:00Z\"}}"
        );
        (200, vec![("Content-Type", "application/json".into())], body)
    });
    let environment = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/v1/credentials", identity.endpoint())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.path().display().to_string()),
    ];
    let Some(mut agent) = Agent::start(&environment) else { return };
    agent.capture(10, 100);
    agent.ask(Request::Sink(Sink::Own(own(&server.endpoint(), BUCKET))));
    agent.ask(Request::StopCapture);
    agent.delivered();
    eventually("the manifest", Duration::from_secs(40), || {
        let asked = server.asked();
        let there = asked.iter().any(|asked| asked.key().contains("/manifest-"));
        if there { Ok(()) } else { Err(format!("{asked:?}")) }
    });
    let asked = server.asked();
    let manifests: Vec<_> = asked.iter().filter(|asked| asked.key().contains("/manifest-")).collect();
    assert!(manifests.iter().all(|asked| !asked.headers.contains_key("if-none-match")), "this one is to be replaced");
    assert_eq!(identity.asked().len(), 1, "one set of credentials for all objects");
}
