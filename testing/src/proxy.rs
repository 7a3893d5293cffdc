//! A TCP proxy that makes faults, for what happens between a client and its server.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// What a proxy does to one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing: carried there and back.
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
    /// Where it listens.
    pub address: SocketAddr,
    plan: Arc<Mutex<Arc<Plan>>>,
    connections: Arc<AtomicUsize>,
    faults: Arc<AtomicUsize>,
}

impl Proxy {
    /// In front of that server, on this machine.
    pub fn start(server: SocketAddr) -> Self {
        Self::on("127.0.0.1", server)
    }

    /// The same on another address.
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

    /// What happens to each connection, by its number, from the next one on.
    pub fn plan(&self, plan: impl Fn(usize) -> Fault + Send + Sync + 'static) {
        *self.plan.lock().expect("whole") = Arc::new(plan);
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Faults made so far.
    pub fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
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
