//! A real S3 server (Garage), a proxy in front of it that makes faults, and what is in the bucket afterwards.
#![allow(clippy::print_stderr, reason = "a test says why it was skipped")]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_s3::Client;
use nodewatch_tui::{
    model::{S3Url, StorageSettings, Way},
    storage::Storage,
};

pub const KEY: &str = "GK000102030405060708090a0b";
pub const SECRET: &str = "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f";
pub const BUCKET: &str = "captures";
pub const REGION: &str = "garage";

/// Where `make deps` puts what is slow to build.
fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    cache.map(|cache| cache.join("nodewatch-tui"))
}

fn program() -> Option<PathBuf> {
    let built = cache().map(|cache| cache.join("garage/bin/garage"));
    let named = std::env::var_os("NODEWATCH_GARAGE").map(PathBuf::from);
    let found = named.or(built).filter(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no Garage (make deps builds it)");
    }
    found
}

/// A port that nobody has just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address").port()
}

/// A Garage with one empty bucket, gone when dropped.
pub struct Garage {
    child: Child,
    folder: tempfile::TempDir,
    pub address: SocketAddr,
}

impl Garage {
    /// `None` where there is no such program.
    pub fn start() -> Option<Self> {
        Self::on("127.0.0.1")
    }

    pub fn on(host: &str) -> Option<Self> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let address: SocketAddr = format!("{host}:{}", free_port()).parse().expect("an address");
            let mut garage = Self::with(address, |program| Command::new(program))?;
            // One that ends at once has found a port taken meanwhile.
            while garage.child.try_wait().expect("its state").is_none() {
                if TcpStream::connect(address).is_ok() {
                    return Some(garage);
                }
                assert!(Instant::now() < end, "Garage does not listen");
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Started by somebody's command, perhaps where nobody else can connect to it: not waited for.
    pub fn with(address: SocketAddr, command: impl FnOnce(&Path) -> Command) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().expect("a folder");
        let rpc = free_port();
        let path = folder.path().display();
        let config = format!(
            "metadata_dir = \"{path}/meta\"\ndata_dir = \"{path}/data\"\ndb_engine = \"sqlite\"\n\
             replication_factor = 1\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\n\
             rpc_secret = \"{SECRET}\"\n[s3_api]\ns3_region = \"{REGION}\"\napi_bind_addr = \"{address}\"\n"
        );
        let file = folder.path().join("garage.toml");
        std::fs::write(&file, config).expect("written");
        let child = command(&program)
            .arg("-c")
            .arg(&file)
            .args(["server", "--single-node", "--default-bucket"])
            .envs([("GARAGE_DEFAULT_ACCESS_KEY", KEY), ("GARAGE_DEFAULT_SECRET_KEY", SECRET)])
            .env("GARAGE_DEFAULT_BUCKET", BUCKET)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Garage starts");
        Some(Self { child, folder, address })
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the bucket has, asked past any proxy.
    pub fn client(&self) -> Client {
        client(&self.endpoint())
    }

    /// Every capture of the bucket, in a folder.
    pub async fn fetched(&self, folder: &Path) -> Vec<PathBuf> {
        let client = self.client();
        let mut paths = Vec::new();
        for key in keys(&client, "").await.into_iter().filter(|key| key.ends_with(".pcapng")) {
            let path = folder.join(key.replace('/', "_"));
            std::fs::write(&path, object(&client, &key).await).expect("written");
            paths.push(path);
        }
        paths
    }

    /// The variables that the AWS SDK reads.
    pub fn environment(endpoint: &str) -> [(&'static str, String); 5] {
        [
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ENDPOINT_URL", endpoint.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// AWS's own answers, from moto; `None` where it is not installed.
pub struct Moto {
    child: Child,
    pub endpoint: String,
}

impl Moto {
    pub fn start() -> Option<Self> {
        let port = free_port();
        let folder = std::env::var_os("NODEWATCH_MOTO").map(PathBuf::from);
        let cache = cache().map(|cache| cache.join("moto"));
        let mut command = Command::new("python3");
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        if let Some(folder) = folder.or(cache).filter(|folder| folder.is_dir()) {
            command.env("PYTHONPATH", folder);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let mut moto = Self { child, endpoint: format!("http://127.0.0.1:{port}") };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if moto.child.try_wait().expect("its state").is_some() || Instant::now() > end {
                eprintln!("skipped: there is no moto (make deps installs it)");
                return None;
            }
            thread::sleep(Duration::from_millis(100));
        }
        Some(moto)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn config(key: &str, secret: &str) -> SdkConfig {
    let credentials = Credentials::new(key, secret, None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

pub fn client(endpoint: &str) -> Client {
    client_in(endpoint, REGION)
}

pub fn client_in(endpoint: &str, region: &str) -> Client {
    let region = Region::new(region.to_owned());
    let settings = aws_sdk_s3::config::Builder::from(&config(KEY, SECRET))
        .region(region)
        .endpoint_url(endpoint)
        .force_path_style(true);
    Client::from_conf(settings.build())
}

/// The laptop's side of that server.
pub async fn storage(endpoint: &str) -> Storage {
    Storage::with(settings(endpoint, "inc"), config(KEY, SECRET)).await
}

pub fn settings(endpoint: &str, prefix: &str) -> StorageSettings {
    StorageSettings {
        url: format!("s3://{BUCKET}/{prefix}").parse::<S3Url>().expect("a place"),
        endpoint: Some(endpoint.to_owned()),
        region: Some(REGION.to_owned()),
        path_style: None,
        form: nodewatch_protocol::ObjectForm::default(),
        way: Way::Grant,
    }
}

/// Keys below a prefix.
pub async fn keys(client: &Client, prefix: &str) -> Vec<String> {
    let mut pages = client.list_objects_v2().bucket(BUCKET).prefix(prefix).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.expect("a list");
        found.extend(page.contents().iter().map(|object| object.key().expect("a key").to_owned()));
    }
    found
}

pub async fn object(client: &Client, key: &str) -> Vec<u8> {
    let answer = client.get_object().bucket(BUCKET).key(key).send().await.expect("the object");
    answer.body.collect().await.expect("its bytes").into_bytes().to_vec()
}

/// The numbers that are the payload of a capture's UDP packets, by tshark. Not by its field `data`: an ephemeral port may be one
/// that a dissector has registered (37008 is TZSP), and then there is none.
pub fn numbers(path: &Path) -> Vec<u32> {
    let fields = ["-Y", "udp && !icmp", "-T", "fields", "-e", "udp.payload"];
    let output = Command::new("tshark").arg("-r").arg(path).arg("-n").args(fields).output().expect("tshark");
    let objections = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !objections.contains("cut short"), "{objections}");
    let rows = String::from_utf8(output.stdout).expect("text");
    rows.lines().filter(|row| !row.is_empty()).map(|row| u32::from_str_radix(row, 16).expect("a number")).collect()
}

/// What a proxy does to one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Closed at once.
    Refused,
    /// Answered with 503 after the request has begun.
    Unavailable,
    /// Answered as AWS does when there were too many requests.
    Throttled,
    /// Cut in the middle of the request.
    CutRequest,
    /// The server has it; the answer is cut after so many bytes.
    HalfAnswer(usize),
    /// Every piece late.
    Slow(Duration),
}

type Plan = dyn Fn(usize) -> Fault + Send + Sync;

/// A TCP proxy that closes each connection after its first answer, so that a request is a connection.
pub struct Proxy {
    pub address: SocketAddr,
    plan: Arc<Mutex<Arc<Plan>>>,
    pub connections: Arc<AtomicUsize>,
    pub faults: Arc<AtomicUsize>,
}

impl Proxy {
    pub fn start(server: SocketAddr) -> Self {
        Self::on("127.0.0.1", server)
    }

    pub fn on(host: &str, server: SocketAddr) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("bind");
        let proxy = Self {
            address: listener.local_addr().expect("an address"),
            plan: Arc::new(Mutex::new(Arc::new(|_| Fault::None))),
            connections: Arc::default(),
            faults: Arc::default(),
        };
        let (plan, connections, faults) =
            (Arc::clone(&proxy.plan), Arc::clone(&proxy.connections), Arc::clone(&proxy.faults));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = connections.fetch_add(1, Ordering::Relaxed);
                let plan = Arc::clone(&plan.lock().expect("whole"));
                let fault = plan(number);
                if fault != Fault::None {
                    faults.fetch_add(1, Ordering::Relaxed);
                }
                thread::spawn(move || {
                    // A connection that fails is what the proxy is for.
                    let _ = carry(stream, server, fault);
                });
            }
        });
        proxy
    }

    /// From the next connection on.
    pub fn plan(&self, plan: impl Fn(usize) -> Fault + Send + Sync + 'static) {
        *self.plan.lock().expect("whole") = Arc::new(plan);
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn carry(mut client: TcpStream, server: SocketAddr, fault: Fault) -> std::io::Result<()> {
    if fault == Fault::Refused {
        return client.shutdown(Shutdown::Both);
    }
    if fault == Fault::Unavailable {
        let mut some = [0; 4096];
        let _ = client.read(&mut some)?;
        client.write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 46\r\nConnection: close\r\n\r\n")?;
        client.write_all(b"<Error><Code>SlowDown</Code><Message></Message>")?;
        // What is still coming must not turn the answer into a reset.
        client.set_read_timeout(Some(Duration::from_millis(500)))?;
        while client.read(&mut some).is_ok_and(|read| read > 0) {}
        return Ok(());
    }
    if fault == Fault::Throttled {
        let mut some = [0; 4096];
        let _ = client.read(&mut some)?;
        client.write_all(
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: 60\r\nConnection: \
              close\r\n\r\n{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}   ",
        )?;
        client.set_read_timeout(Some(Duration::from_millis(500)))?;
        while client.read(&mut some).is_ok_and(|read| read > 0) {}
        return Ok(());
    }
    let mut upstream = TcpStream::connect(server)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, upstream.try_clone()?);
    let up = thread::spawn(move || {
        let mut buffer = vec![0; 16 * 1024];
        let mut carried = 0;
        while let Ok(read) = from_client.read(&mut buffer) {
            if read == 0 || to_server.write_all(&buffer[..read]).is_err() {
                break;
            }
            carried += read;
            if fault == Fault::CutRequest && carried > 2000 {
                let _ = from_client.shutdown(Shutdown::Both);
                let _ = to_server.shutdown(Shutdown::Both);
                return;
            }
            if let Fault::Slow(pause) = fault {
                thread::sleep(pause);
            }
        }
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let mut buffer = vec![0; 16 * 1024];
    let mut carried = 0;
    let mut first_after = Duration::from_secs(60);
    loop {
        upstream.set_read_timeout(Some(first_after))?;
        // Nothing more after an answer has begun: it is over, and with it the connection.
        let Ok(read) = upstream.read(&mut buffer) else { break };
        if read == 0 {
            break;
        }
        // Only a whole request gets the final answer; a 100 Continue is not it.
        let interim = buffer[..read].starts_with(b"HTTP/1.1 100") && read < 64;
        let room = match fault {
            Fault::HalfAnswer(bytes) => bytes.saturating_sub(carried).min(read),
            _ => read,
        };
        client.write_all(&buffer[..room])?;
        carried += read;
        if matches!(fault, Fault::HalfAnswer(bytes) if carried >= bytes) {
            break;
        }
        if !interim {
            first_after = Duration::from_millis(100);
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = upstream.shutdown(Shutdown::Both);
    let _ = up.join();
    Ok(())
}
