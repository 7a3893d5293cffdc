//! HTTP for the uploader, over connections that captures can leave out, through a proxy where the environment names
//! one.
//!
//! Owns the socket: its local port is bound and registered before the first packet goes out. Proxies are chosen as the
//! laptop's AWS SDK does it: by scheme, `NO_PROXY` by name, domain and network. Must not know S3.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use ureq::{
    Agent, Error, Proxy, ProxyProtocol, Timeout,
    config::Config,
    http::Uri,
    tls::{TlsConfig, TlsProvider},
    unversioned::{
        resolver::DefaultResolver,
        transport::{
            Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
            RustlsConnector, Transport,
        },
    },
};

use super::trust;
use crate::capture::own::{Ours, OwnTraffic};

/// A connection has so long to be made, and a stalled one to move on.
const STALLED: Duration = Duration::from_secs(20);
/// A server may think so long about what it was sent.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const BUFFER: usize = 256 * 1024;

/// What goes over a client's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Captures: whoever sends to the same place is left out of captures, as what another session delivers would be
    /// captured here, and delivered, and captured there.
    Captures,
    /// Little else: only these connections are left out.
    Else,
}

/// The client. Clones share its connections.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    traffic: OwnTraffic,
    routes: Arc<Routes>,
}

/// A client for each way out: none, or the proxy of a scheme.
#[derive(Debug)]
struct Routes {
    direct: Agent,
    http: Option<Proxied>,
    https: Option<Proxied>,
    matcher: Matcher,
}

#[derive(Debug)]
enum Proxied {
    Through(Agent, String),
    Unsupported(String),
}

/// The way to a server.
pub(super) struct Way<'a> {
    pub(super) agent: &'a Agent,
    /// The server, and the proxy on the way to it, for people.
    pub(super) host: String,
}

impl Http {
    /// A client for other things than captures, as the environment says: proxies, and authorities beside the public
    /// ones.
    pub(crate) fn new(traffic: OwnTraffic) -> Self {
        Self::with(traffic, Purpose::Else, None, Matcher::from_env)
    }

    /// The same for captures.
    pub(super) fn for_captures(&self, authorities: Option<&str>) -> Self {
        Self::with(self.traffic.clone(), Purpose::Captures, authorities, Matcher::from_env)
    }

    /// The same for what else is said to that server.
    pub(super) fn trusting(&self, authorities: Option<&str>) -> Self {
        Self::with(self.traffic.clone(), Purpose::Else, authorities, Matcher::from_env)
    }

    fn with(traffic: OwnTraffic, purpose: Purpose, authorities: Option<&str>, matcher: fn() -> Matcher) -> Self {
        let roots = trust::roots(authorities);
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        let agent = |proxy: Option<Proxy>| {
            let config = Config::builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .timeout_connect(Some(STALLED))
                .timeout_recv_response(Some(ANSWER_WITHIN))
                .timeout_recv_body(Some(ANSWER_WITHIN))
                .output_buffer_size(BUFFER)
                .tls_config(tls.clone())
                .proxy(proxy)
                .build();
            let own = OwnConnector { traffic: traffic.clone(), purpose };
            let connector = ConnectProxyConnector::default().chain(own).chain(RustlsConnector::default());
            Agent::with_parts(config, connector, DefaultResolver::default())
        };
        let matcher = matcher();
        let of = |scheme: &str| {
            // Whom NO_PROXY leaves out is asked for each request; here it is about the scheme.
            let probe = Uri::from_maybe_shared(format!("{scheme}://a.proxy-is-asked-for.invalid/")).ok()?;
            proxied(&matcher.intercept(&probe)?, agent)
        };
        let routes = Routes { direct: agent(None), http: of("http"), https: of("https"), matcher };
        Self { traffic, routes: Arc::new(routes) }
    }

    /// The way to that server.
    pub(super) fn way(&self, to: &Uri) -> Result<Way<'_>, String> {
        let host = to.authority().map(ToString::to_string).unwrap_or_default();
        let routes = &*self.routes;
        let proxied = match routes.matcher.intercept(to) {
            Some(_) if to.scheme_str() == Some("https") => routes.https.as_ref(),
            Some(_) => routes.http.as_ref(),
            None => None,
        };
        match proxied {
            None => Ok(Way { agent: &routes.direct, host }),
            Some(Proxied::Through(agent, proxy)) => {
                Ok(Way { agent, host: format!("{host} through the proxy {proxy}") })
            }
            Some(Proxied::Unsupported(proxy)) => Err(format!(
                "{host} would be reached through the proxy {proxy}, but only http:// and https:// proxies are \
                 supported: add the host to NO_PROXY, or set another proxy in HTTPS_PROXY"
            )),
        }
    }
}

fn proxied(found: &Intercept, agent: impl Fn(Option<Proxy>) -> Agent) -> Option<Proxied> {
    let uri = found.uri();
    let shown = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
    let protocol = match uri.scheme_str()? {
        "http" => ProxyProtocol::Http,
        "https" => ProxyProtocol::Https,
        _ => return Some(Proxied::Unsupported(shown)),
    };
    let mut proxy = Proxy::builder(protocol).host(uri.host()?);
    if let Some(port) = uri.port_u16() {
        proxy = proxy.port(port);
    }
    let basic = found.basic_auth().and_then(|header| header.to_str().ok()?.strip_prefix("Basic "));
    let basic = basic.and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok());
    if let Some((user, password)) = basic.as_deref().and_then(|text| text.split_once(':')) {
        proxy = proxy.username(user).password(password);
    }
    match proxy.build() {
        Ok(proxy) => Some(Proxied::Through(agent(Some(proxy)), shown)),
        Err(_) => Some(Proxied::Unsupported(shown)),
    }
}

/// A failed call in plain words.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::HostNotFound => "its name does not resolve".to_owned(),
        Error::ConnectProxyFailed(reason) => reason.replace("proxy server responded", "the proxy answers"),
        error => error.to_string(),
    }
}

/// Whether the server may yet do what it was asked to: the time was over, or the connection broke when it may have had
/// the whole body.
pub(super) fn is_late(error: &Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, TimedOut, UnexpectedEof};
    match error {
        // The last three: an answer that is none, or half of one.
        Error::Timeout(Timeout::SendBody | Timeout::RecvResponse | Timeout::RecvBody)
        | Error::Protocol(_)
        | Error::Http(_)
        | Error::LargeResponseHeader(..) => true,
        Error::Io(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | InvalidData | TimedOut | UnexpectedEof
        ),
        _ => false,
    }
}

#[derive(Debug)]
struct OwnConnector {
    traffic: OwnTraffic,
    purpose: Purpose,
}

impl<In: Transport> Connector<In> for OwnConnector {
    type Out = Either<In, OwnTransport>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        // A tunnel through a proxy, whose connection came from here too.
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        if self.purpose == Purpose::Captures {
            self.traffic.leave_out(&details.addrs);
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name does not resolve");
        for &address in &details.addrs {
            match self.dial(address) {
                Ok((stream, ours)) => {
                    let config = details.config;
                    let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
                    return Ok(Some(Either::B(OwnTransport { stream, buffers, deaf: false, _ours: ours })));
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
        let ours = self.traffic.connecting(stream.local_addr()?.port(), peer);
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Whether a request to a server that does this with its connection may be done late.
    fn late(server: impl FnOnce(TcpStream) + Send + 'static) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let serving = std::thread::spawn(move || server(listener.accept().expect("a client").0));
        let error = Agent::new_with_defaults().put(format!("http://{address}/x")).send(b"the body").expect_err("cut");
        serving.join().expect("no panic");
        is_late(&error)
    }

    /// All that the client sends.
    fn take_all(stream: &mut TcpStream) {
        let (mut taken, mut buffer) = (Vec::new(), [0; 4096]);
        while !taken.ends_with(b"the body") {
            let read = stream.read(&mut buffer).expect("bytes");
            taken.extend_from_slice(&buffer[..read]);
        }
    }

    #[test]
    fn a_cut_after_the_body_may_be_done_late_and_what_was_never_sent_may_not() {
        assert!(late(|mut stream| take_all(&mut stream)));
        assert!(late(|mut stream| {
            take_all(&mut stream);
            stream.write_all(b"HTTP/1.1 20").expect("written");
        }));
        let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let error = Agent::new_with_defaults().put(format!("http://{nobody}/x")).send(b"x").expect_err("refused");
        assert!(!is_late(&error), "{error}");
    }
}
