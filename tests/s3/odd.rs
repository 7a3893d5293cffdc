//! Servers that are not as they should be: one that refuses one object, that answers late, that compares nothing, that is
//! no S3 at all; and the ways to a server that is.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// What a server was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Asked {
    /// A form's field.
    pub fn field(&self, name: &str) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let behind = text.split_once(&format!("name=\"{name}\"\r\n\r\n")).map(|(_, rest)| rest.to_owned());
        behind.and_then(|rest| Some(rest.split_once("\r\n")?.0.to_owned())).unwrap_or_default()
    }

    /// The key that a form or a path names.
    pub fn key(&self) -> String {
        if self.method == "POST" && !self.field("key").is_empty() {
            return self.field("key");
        }
        self.path.split('?').next().unwrap_or_default().trim_start_matches("/captures/").to_owned()
    }

    /// A form's file.
    pub fn file(&self) -> Vec<u8> {
        let mark = b"Content-Type: application/octet-stream\r\n\r\n";
        let at = self.body.windows(mark.len()).position(|window| window == mark).expect("a file") + mark.len();
        let tail = self.body.windows(6).rposition(|window| window == b"\r\n--no").expect("its end");
        self.body[at..tail].to_vec()
    }
}

/// What it answers: a status, headers, a body.
pub type Answer = (u16, Vec<(&'static str, String)>, String);

pub fn refused(status: u16, code: &str, message: &str) -> Answer {
    (status, Vec::new(), format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"))
}

/// A server of one request a connection.
pub struct Server {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("an address");
        let (answer, asked) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let all = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, all) = (Arc::clone(&answer), Arc::clone(&all));
                thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    all.lock().expect("whole").push(request.clone());
                    let (status, headers, body) = answer(&request);
                    let headers: Vec<String> =
                        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                    let headers = headers.concat();
                    let length =
                        if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
                    let body = if request.method == "HEAD" { "" } else { body.as_str() };
                    // Whoever asked may have gone.
                    let _ = (&stream).write_all(
                        format!("HTTP/1.1 {status} X\r\n{headers}{length}Connection: close\r\n\r\n{body}").as_bytes(),
                    );
                });
            }
        });
        Self { address, asked }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("whole").clone()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    if headers.contains_key("expect") {
        (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, headers, body })
}

/// A proxy that makes tunnels, and counts them.
pub struct Tunnels {
    pub address: SocketAddr,
    pub made: Arc<AtomicUsize>,
}

impl Tunnels {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("an address");
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let count = Arc::clone(&count);
                // A tunnel that fails is its peer's business.
                thread::spawn(move || drop(tunnel(&stream, &count)));
            }
        });
        Self { address, made }
    }
}

fn tunnel(client: &TcpStream, made: &AtomicUsize) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        { client }.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let Some(to) = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
        return { client }.write_all(b"HTTP/1.1 405 X\r\nContent-Length: 0\r\n\r\n");
    };
    let server = TcpStream::connect(to)?;
    made.fetch_add(1, Ordering::Relaxed);
    { client }.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from, mut into) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || {
        let copied = std::io::copy(&mut from, &mut into);
        let _ = into.shutdown(std::net::Shutdown::Write);
        copied
    });
    std::io::copy(&mut &server, &mut { client })?;
    client.shutdown(std::net::Shutdown::Write)?;
    let _ = up.join();
    Ok(())
}
