//! HTTP for the uploader, over connections that captures can leave out.
//!
//! Owns the socket: its local port is bound and registered before the first packet goes out. Must not know S3.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use ureq::{
    Agent, Error, Timeout,
    config::Config,
    tls::{RootCerts, TlsConfig, TlsProvider},
    unversioned::{
        resolver::DefaultResolver,
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector, Transport},
    },
};

use crate::capture::own::{Ours, OwnTraffic};

/// A connection has so long to be made, and a stalled one to move on.
const STALLED: Duration = Duration::from_secs(20);
/// A server may think so long about what it was sent.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const BUFFER: usize = 256 * 1024;

/// The client. Clones share its connections.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    pub(super) agent: Agent,
}

impl Http {
    pub(crate) fn new(traffic: OwnTraffic) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::WebPki)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(STALLED))
            .timeout_recv_response(Some(ANSWER_WITHIN))
            .timeout_recv_body(Some(ANSWER_WITHIN))
            .output_buffer_size(BUFFER)
            .tls_config(tls)
            .build();
        let connector = OwnConnector(traffic).chain(RustlsConnector::default());
        Self { agent: Agent::with_parts(config, connector, DefaultResolver::default()) }
    }
}

#[derive(Debug)]
struct OwnConnector(OwnTraffic);

impl Connector for OwnConnector {
    type Out = OwnTransport;

    fn connect(&self, details: &ConnectionDetails<'_>, _chained: Option<()>) -> Result<Option<OwnTransport>, Error> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for &address in &details.addrs {
            match self.dial(address) {
                Ok((stream, ours)) => {
                    let config = details.config;
                    let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
                    return Ok(Some(OwnTransport { stream, buffers, deaf: false, _ours: ours }));
                }
                Err(error) => last = error,
            }
        }
        Err(Error::Io(last))
    }
}

impl OwnConnector {
    fn dial(&self, peer: SocketAddr) -> io::Result<(TcpStream, Ours)> {
        let (family, any) = match peer {
            SocketAddr::V4(_) => (AddressFamily::INET, SocketAddr::from(([0; 4], 0))),
            SocketAddr::V6(_) => (AddressFamily::INET6, SocketAddr::from(([0; 16], 0))),
        };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &any)?;
        // The kernel ends a connect after the time that a send may take.
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(STALLED))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER_WITHIN))?;
        let stream = TcpStream::from(socket);
        let ours = self.0.connecting(stream.local_addr()?.port(), peer);
        connect(&stream, &peer)?;
        stream.set_nodelay(true)?;
        Ok((stream, ours))
    }
}

struct OwnTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
    /// The peer takes no more: it has answered before the end of what it was sent, and the answer says why.
    deaf: bool,
    _ours: Ours,
}

impl fmt::Debug for OwnTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnTransport").field(&self.stream).finish()
    }
}

/// The socket's own limits are stricter than the client's, and catch a stall in the middle of a body.
fn failed(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if *timeout.after < STALLED => {
            Error::Timeout(timeout.reason)
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(Timeout::SendBody),
        _ => Error::Io(error),
    }
}

impl Transport for OwnTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.deaf {
            return Ok(());
        }
        let output = &self.buffers.output()[..amount];
        match self.stream.write_all(output) {
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                self.deaf = true;
                Ok(())
            }
            written => written.map_err(|error| failed(error, timeout)),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let input = self.buffers.input_append_buf();
        let read = self.stream.read(input).map_err(|error| failed(error, timeout))?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        if self.deaf || self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        // Anything but "nothing to read" on an idle connection is its end.
        let idle = matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        idle && self.stream.set_nonblocking(false).is_ok()
    }
}
