//! An S3 server (Garage), AWS's own answers (moto), and what is in the bucket afterwards.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_s3::Client;

use crate::{
    here::{cache, skip},
    wait::eventually,
};

/// A server listens within that time.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// The key that Garage takes.
pub const KEY: &str = "GK000102030405060708090a0b";
/// And its secret.
pub const SECRET: &str = "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f";
/// The bucket that it begins with.
pub const BUCKET: &str = "captures";
/// Its region.
pub const REGION: &str = "garage";

fn program() -> Option<PathBuf> {
    let built = cache().map(|cache| cache.join("garage/bin/garage"));
    let named = std::env::var_os("NODEWATCH_GARAGE").map(PathBuf::from);
    let found = named.or(built).filter(|path| path.is_file());
    if found.is_none() {
        skip("there is no Garage (make deps builds it)");
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
    _folder: tempfile::TempDir,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Garage {
    /// `None` where there is no such program.
    pub fn start() -> Option<Self> {
        Self::on("127.0.0.1")
    }

    /// The same on another address.
    pub fn on(host: &str) -> Option<Self> {
        let begin = || {
            let address: SocketAddr = format!("{host}:{}", free_port()).parse().expect("an address");
            Self::with(address, |program| Command::new(program))
        };
        let mut garage = begin()?;
        eventually("Garage to listen", LISTENS_WITHIN, || {
            // One that ends at once has found a port taken meanwhile.
            if garage.child.try_wait().expect("its state").is_some() {
                garage = begin().expect("it was there");
            }
            TcpStream::connect(garage.address).is_ok()
        });
        Some(garage)
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
        Some(Self { child, _folder: folder, address })
    }

    /// Its URL.
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
    /// Its URL.
    pub endpoint: String,
}

impl Moto {
    /// `None` where it is not installed.
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
        let listens = eventually("moto to listen", LISTENS_WITHIN, || {
            let ended = moto.child.try_wait().expect("its state").is_some();
            let listens = TcpStream::connect(("127.0.0.1", port)).is_ok();
            (ended || listens).then_some(listens)
        });
        if !listens {
            skip("there is no moto (make deps installs it)");
        }
        listens.then_some(moto)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an AWS client is made of, with that key.
pub fn config(key: &str, secret: &str) -> SdkConfig {
    let credentials = Credentials::new(key, secret, None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// A client of Garage.
pub fn client(endpoint: &str) -> Client {
    client_in(endpoint, REGION)
}

/// A client of a server with another region.
pub fn client_in(endpoint: &str, region: &str) -> Client {
    let region = Region::new(region.to_owned());
    let settings = aws_sdk_s3::config::Builder::from(&config(KEY, SECRET))
        .region(region)
        .endpoint_url(endpoint)
        .force_path_style(true);
    Client::from_conf(settings.build())
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

/// One object of the bucket.
pub async fn object(client: &Client, key: &str) -> Vec<u8> {
    let answer = client.get_object().bucket(BUCKET).key(key).send().await.expect("the object");
    answer.body.collect().await.expect("its bytes").into_bytes().to_vec()
}

/// What EKS Pod Identity's agent answers on a node, with credentials that Garage knows, to who shows that token. Returns
/// its URL.
pub fn pod_identity(token: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut asked = [0; 4096];
            let read = stream.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..read]).to_lowercase();
            let known = token.is_none_or(|token| asked.contains(&format!("authorization: {token}")));
            let status = if known { "200 OK" } else { "401 Unauthorized" };
            let body = format!(
                "{{\"AccessKeyId\":\"{KEY}\",\"SecretAccessKey\":\"{SECRET}\",\"Token\":\"\",\
                 \"Expiration\":\"2099-01-01T00:00:00Z\"}}"
            );
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
            // Who asks may ask again.
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    format!("http://{address}/v1/credentials")
}
