//! A server and proxy that writes down who asks for what: HTTP, the first word of TLS, SOCKS and CONNECT.

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::wait::eventually;

/// One request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// As in `GET /api/v1/nodes`, without what follows a `?`.
    pub line: String,
    /// In small letters, in the order of their names.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// A header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What a server can tell two clients apart by, leaving out what says which program it is.
    pub fn told(&self) -> String {
        let counts = |name: &str| {
            matches!(name, "host" | "authorization" | "proxy-authorization") || name.starts_with("impersonate-")
        };
        let headers = self.headers.iter().filter(|(name, _)| counts(name));
        headers.fold(self.line.clone(), |line, (name, value)| format!("{line} {name}={value}"))
    }
}

type Script = Box<dyn FnMut(&Head) -> (u16, String) + Send>;

type Seen = Arc<Mutex<Vec<Head>>>;

/// Whatever is asked of that port.
pub struct Recorder {
    /// On every address that it was started on.
    pub port: u16,
    /// What connections that are accepted from now on write into: one that was there before a `forget` writes into
    /// what is forgotten.
    seen: Arc<Mutex<Seen>>,
    /// Whose connections were accepted.
    peers: Arc<Mutex<HashSet<SocketAddr>>>,
}

impl Recorder {
    /// Answers requests as the script has it, and refuses to lead elsewhere.
    pub fn start(address: &str, script: impl FnMut(&Head) -> (u16, String) + Send + 'static) -> Self {
        Self::over(address, None, script)
    }

    /// The same over TLS.
    pub fn secure(
        address: &str,
        tls: Arc<rustls::ServerConfig>,
        script: impl FnMut(&Head) -> (u16, String) + Send + 'static,
    ) -> Self {
        Self::over(address, Some(tls), script)
    }

    fn over(
        address: &str,
        tls: Option<Arc<rustls::ServerConfig>>,
        script: impl FnMut(&Head) -> (u16, String) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (seen, peers) = (Arc::<Mutex<Seen>>::default(), Arc::<Mutex<HashSet<SocketAddr>>>::default());
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let (current, accepted) = (Arc::clone(&seen), Arc::clone(&peers));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, tls) = (Arc::clone(&script), tls.clone());
                let seen = Arc::clone(&*current.lock().expect("whole"));
                accepted.lock().expect("whole").extend(stream.peer_addr());
                // A client that is gone ends its own connection only.
                std::thread::spawn(move || match tls {
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).expect("a connection");
                        answer(&mut rustls::StreamOwned::new(connection, stream), &seen, &script)
                    }
                    None => serve(stream, &seen, &script),
                });
            }
        });
        Self { port, seen, peers }
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Head> {
        let seen = Arc::clone(&*self.seen.lock().expect("whole"));
        seen.lock().expect("whole").clone()
    }

    /// What clients that have ended asked is forgotten, also where it is still on its way: connections are accepted in
    /// their order, and one of our own comes after theirs.
    pub fn forget(&self) {
        let last = TcpStream::connect(("127.0.0.1", self.port)).and_then(|stream| Ok((stream.local_addr()?, stream)));
        let (address, _stream) = last.expect("we listen");
        eventually("our own connection", Duration::from_secs(30), || {
            self.peers.lock().expect("whole").remove(&address)
        });
        *self.seen.lock().expect("whole") = Seen::default();
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Head>>, script: &Mutex<Script>) -> Option<()> {
    let note = |line: String, headers| seen.lock().expect("whole").push(Head { line, headers });
    let mut first = [0];
    if stream.peek(&mut first).ok()? == 0 {
        return None;
    }
    match first[0] {
        0x16 => note("TLS".to_owned(), Vec::new()),
        0x05 => note(format!("SOCKS {}", socks(&mut stream)?), Vec::new()),
        _ => return answer(&mut stream, seen, script),
    }
    Some(())
}

fn answer(stream: &mut (impl Read + Write), seen: &Mutex<Vec<Head>>, script: &Mutex<Script>) -> Option<()> {
    loop {
        let (line, headers, length) = head(stream)?;
        let head = Head { line, headers };
        seen.lock().expect("whole").push(head.clone());
        if head.line.starts_with("CONNECT") {
            return stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").ok();
        }
        stream.read_exact(&mut vec![0; length]).ok()?;
        let (code, body) = (script.lock().expect("whole"))(&head);
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {code} Said\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).ok()?;
    }
}

/// The first line, the headers, and the length of what follows.
type Request = (String, Vec<(String, String)>, usize);

fn head(stream: &mut impl Read) -> Option<Request> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let text = String::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let line = lines.next()?.rsplit_once(' ')?.0.split('?').next()?.to_owned();
    let mut headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    headers.sort();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    Some((line, headers, length.unwrap_or(0)))
}

fn socks(stream: &mut TcpStream) -> Option<String> {
    let take = |count: usize, stream: &mut TcpStream| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let methods = take(2, stream)?[1];
    take(methods.into(), stream)?;
    stream.write_all(&[5, 0]).ok()?;
    let host = match take(4, stream)?[3] {
        1 => take(4, stream)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        3 => {
            let length = take(1, stream)?[0];
            String::from_utf8(take(length.into(), stream)?).ok()?
        }
        _ => return None,
    };
    let port = take(2, stream)?;
    stream.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    Some(format!("{host}:{}", u16::from_be_bytes([port[0], port[1]])))
}
