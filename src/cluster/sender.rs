//! Requests on their way to the API server: over connections, perhaps through a proxy, with credentials that are
//! renewed.
//!
//! Owns the connections and when a refused call is sent once more. kube's own stack keeps one token and one certificate
//! for a client's life (kube-rs/kube#1675) and knows no `http://` server behind a proxy. Must not know what is asked
//! for.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::{
    body::Incoming,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{
        self,
        connect::{
            Connected, Connection, HttpConnector,
            proxy::{SocksV5, Tunnel},
        },
    },
    rt::TokioExecutor,
};
use kube::{Config, client::Body};
use rustls_pki_types::ServerName;
use tower::{BoxError, Service, ServiceExt, util::BoxCloneSyncService};

use super::{
    calls::Renewing,
    credentials::{Credential, CredentialError, Credentials, basic},
    tls::{self, Identity},
};
use crate::base::proxy::{Proxy, Scheme};

/// To a server that does not take the connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// For a server that does not read.
const WRITE: Duration = Duration::from_secs(295);
/// A connection on which nothing comes for so long is asked about, and so often again before it is given up.
const QUIET: Duration = Duration::from_secs(15);
const ASK_AGAIN: (Duration, u32) = (Duration::from_secs(10), 3);

/// Connections to the server as one client.
type Wire = BoxCloneSyncService<Request<Body>, Response<Incoming>, legacy::Error>;

/// The way to a server.
#[derive(Debug)]
pub(super) struct Way {
    /// The server's address and whom it is trusted by; nothing of who we are.
    pub config: Config,
    /// What is between.
    pub proxy: Option<Proxy>,
}

impl Way {
    /// Connections with this certificate.
    fn wire(&self, identity: Option<Identity>) -> Result<Wire, BoxError> {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_keepalive(Some(QUIET));
        direct.set_keepalive_interval(Some(ASK_AGAIN.0));
        direct.set_keepalive_retries(Some(ASK_AGAIN.1));
        let Some(proxy) = &self.proxy else { return self.over(direct, identity) };
        let place: Uri = proxy.url().parse()?;
        let failed = {
            let proxy = proxy.url();
            move |error: BoxError| ProxyFailed {
                proxy: proxy.clone(),
                reason: crate::base::text::root_cause(error.as_ref()),
            }
        };
        let login = proxy.login.as_ref().map(|(user, password)| basic(user, password)).transpose()?;
        match proxy.scheme {
            Scheme::Socks5 => {
                let mut socks = SocksV5::new(place, direct);
                if let Some((user, password)) = proxy.login.clone() {
                    socks = socks.with_auth(user, password);
                }
                self.over(socks.map_err(move |error| failed(error.into())), identity)
            }
            Scheme::Http if self.is_plain() => {
                let forward = Forward { proxy: place, connector: direct };
                self.over(forward.map_err(failed), identity)
            }
            Scheme::Http => {
                self.over(tunnel(place, direct, login).map_err(move |error| failed(error.into())), identity)
            }
            Scheme::Https => {
                let tls = tls::client_config(&self.config, None)?;
                let direct = HttpsConnectorBuilder::new()
                    .with_tls_config(tls)
                    .https_or_http()
                    .enable_http1()
                    .wrap_connector(direct);
                self.over(tunnel(place, direct, login).map_err(move |error| failed(error.into())), identity)
            }
        }
    }

    fn is_plain(&self) -> bool {
        self.config.cluster_url.scheme_str() == Some("http")
    }

    /// What each request to a proxy carries that passes on requests rather than connections.
    fn proxy_login(&self) -> Option<HeaderValue> {
        let proxy = self.proxy.as_ref().filter(|proxy| proxy.scheme == Scheme::Http && self.is_plain())?;
        let (user, password) = proxy.login.as_ref()?;
        basic(user, password).ok()
    }

    fn over<C>(&self, connector: C, identity: Option<Identity>) -> Result<Wire, BoxError>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + Read + Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError> + Send + Sync,
    {
        let tls = tls::client_config(&self.config, identity)?;
        let mut https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        if let Some(name) = &self.config.tls_server_name {
            https = https.with_server_name_resolver(FixedServerNameResolver::new(ServerName::try_from(name.clone())?));
        }
        let mut connector = TimeoutConnector::new(https.enable_http1().wrap_connector(connector));
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_write_timeout(Some(WRITE));
        let client: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(BoxCloneSyncService::new(client))
    }
}

fn tunnel<C>(proxy: Uri, connector: C, login: Option<HeaderValue>) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy, connector);
    match login {
        Some(login) => tunnel.with_auth(login),
        None => tunnel,
    }
}

/// A proxy that is gone, or does not lead to the server.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect through the proxy {proxy}: {reason}")]
struct ProxyFailed {
    proxy: String,
    reason: String,
}

/// Connections to a proxy that passes on requests, as it is asked to for servers in the clear.
#[derive(Clone)]
struct Forward {
    proxy: Uri,
    connector: HttpConnector,
}

impl Service<Uri> for Forward {
    type Response = Forwarded<<HttpConnector as Service<Uri>>::Response>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::poll_ready(&mut self.connector, context).map_err(Into::into)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connection = self.connector.call(self.proxy.clone());
        async move { Ok(Forwarded(connection.await?)) }.boxed()
    }
}

/// A connection on which requests name the server too.
struct Forwarded<C>(C);

impl<C: Connection> Connection for Forwarded<C> {
    fn connected(&self) -> Connected {
        self.0.connected().proxy(true)
    }
}

impl<C: Read + Unpin> Read for Forwarded<C> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, to)
    }
}

impl<C: Write + Unpin> Write for Forwarded<C> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Sends requests in the user's name.
#[derive(Clone)]
pub(super) struct Sender(Arc<Inner>);

struct Inner {
    way: Way,
    credentials: Arc<Credentials>,
    /// For the certificate that is in use; connections of an earlier one end when nobody uses them.
    wire: Mutex<Option<(Option<Identity>, Wire)>>,
}

impl Sender {
    /// Nothing is sent yet. What cannot be used of the configuration is said here.
    pub fn new(way: Way, credentials: Arc<Credentials>) -> Result<Self, BoxError> {
        way.wire(None)?;
        Ok(Self(Arc::new(Inner { way, credentials, wire: Mutex::default() })))
    }

    /// The connections that there are get no more requests.
    pub fn forget(&self) {
        *self.0.wire.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Inner {
    fn wire(&self, identity: Option<&Identity>) -> Result<Wire, BoxError> {
        // Each change is one assignment, so it is whole even if a holder panicked.
        let mut known = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, wire)) = &*known
            && match (of, identity) {
                (Some(one), Some(other)) => one.is(other),
                (None, None) => true,
                _ => false,
            }
        {
            return Ok(wire.clone());
        }
        let wire = self.way.wire(identity.cloned())?;
        *known = Some((identity.cloned(), wire.clone()));
        Ok(wire)
    }

    async fn send(&self, mut request: Request<Body>, credential: &Credential) -> Result<Response<Incoming>, BoxError> {
        if let Some(value) = &credential.header {
            request.headers_mut().insert(header::AUTHORIZATION, value.clone());
        }
        if let Some(value) = self.way.proxy_login() {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, value);
        }
        Ok(self.wire(credential.identity.as_ref())?.oneshot(request).await?)
    }

    async fn call(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let once_more = copy(&request);
        let renewing = request.extensions().get::<Renewing>().cloned();
        let credential = apart(renewing.as_ref(), self.credentials.get()).await?;
        let answer = self.send(request, &credential).await;
        let refused = match &answer {
            Ok(response) => response.status() == StatusCode::UNAUTHORIZED,
            Err(error) => credential.identity.is_some() && is_about_our_certificate(error.as_ref()),
        };
        if !refused {
            if answer.is_ok() {
                credential.worked();
            }
            return answer;
        }
        match (apart(renewing.as_ref(), self.credentials.refused(&credential)).await, once_more) {
            (Ok(Some(renewed)), Some(request)) => {
                let answer = self.send(request, &renewed).await;
                if answer.as_ref().is_ok_and(|response| response.status() != StatusCode::UNAUTHORIZED) {
                    renewed.worked();
                }
                answer
            }
            (Ok(_), _) => answer,
            (Err(error), _) => Err(error.into()),
        }
    }
}

impl Service<Request<Body>> for Sender {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Incoming>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        async move { inner.call(request).await }.boxed()
    }
}

/// Waits for credentials. That is not the server's time.
async fn apart<T>(renewing: Option<&Renewing>, work: impl Future<Output = T>) -> T {
    match renewing {
        Some(renewing) => renewing.during(work).await,
        None => work.await,
    }
}

/// The same request again; `None` where its body comes as a stream.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    Some(copy)
}

/// Whether the server has ended the connection over the client's certificate.
fn is_about_our_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    use rustls::AlertDescription as Alert;
    let mut next = Some(error);
    while let Some(error) = next {
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inside.and_then(|error| error.downcast_ref()).or_else(|| error.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = tls {
            return matches!(
                alert,
                Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::CertificateRequired
                    | Alert::AccessDenied
                    | Alert::UnknownCA
            );
        }
        next = error.source();
    }
    false
}

/// What a failed call says of credentials.
pub(super) fn credential_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a CredentialError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
