//! The laptop's HTTP client for AWS's servers and those that speak as they do: who vouches for them, and through which proxy.
//!
//! Owns what the SDK's own client does otherwise than everybody else: `NO_PROXY=*`, an address of a proxy that cannot be
//! read, the name of a proxy that is gone. Must not know a service.

use std::{collections::BTreeMap, future::poll_fn, pin::Pin, sync::Arc};

pub use aws_smithy_http_client::tls::TrustStore;
use aws_smithy_http_client::{
    Builder, Connector, ConnectorBuilder,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use http::{
    HeaderName, HeaderValue, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body;

use crate::base::{
    authorities,
    endpoint::is_here,
    proxy::{Proxies, Proxy, Scheme, Server},
    text,
};

/// Whether anybody is to vouch for the server.
fn is_secure(uri: &str) -> bool {
    uri.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

/// Who vouches for a server: whom the system trusts, and the authorities of a file.
fn trust_for(uri: &str) -> Result<TrustStore, String> {
    // A proxy on the way to one that is not may be.
    if is_secure(uri) { trust() } else { Ok(trust().unwrap_or_default()) }
}

fn trust() -> Result<TrustStore, String> {
    let trust = TrustStore::default();
    let Some(path) = authorities::bundle() else { return Ok(trust) };
    match authorities::read(&path) {
        Ok((_, pem)) => Ok(trust.with_pem_certificate(pem)),
        Err(error) => Err(format!("{}: {error}", authorities::AWS)),
    }
}

/// These authorities alone, in PEM, which were read by [`authorities::read`].
pub fn only(pem: Vec<u8>) -> TrustStore {
    TrustStore::empty().with_pem_certificate(pem)
}

/// What stands in the way to a server, for people: a proxy that neither this program nor its agents can use.
pub fn unusable_proxy(url: &str) -> Option<String> {
    way(&Proxies::from_environment(), url).err()
}

/// The proxy to a URL. An error is why there is no way.
fn way(proxies: &Proxies, url: &str) -> Result<Option<Proxy>, String> {
    let Ok(uri) = url.parse::<Uri>() else { return Ok(None) };
    let Some(server) = Server::of(&uri) else { return Ok(None) };
    match proxies.to_aws(server).map_err(|error| error.to_string())? {
        Some(proxy) if proxy.scheme == Scheme::Socks5 => {
            Err(format!("the way there is the proxy {proxy}, and only http:// and https:// proxies are supported"))
        }
        found => Ok(found),
    }
}

/// The SDK's client as this laptop's environment has it. The SDK itself reads `SSL_CERT_FILE`, and not `AWS_CA_BUNDLE`.
pub fn client() -> SharedHttpClient {
    let proxies = Proxies::from_environment();
    let (trust, refusal) = match trust() {
        Ok(trust) => (trust, None),
        Err(reason) => (TrustStore::default(), Some(reason)),
    };
    let through = |proxy: Option<Proxy>| {
        let trust = trust.clone();
        Builder::new().build_with_connector_fn(move |settings, components| {
            connector(proxy.as_ref(), trust.clone(), settings.cloned(), components)
        })
    };
    let direct = through(None);
    let proxied = proxies.all_to_aws().into_iter().map(|proxy| (proxy.url(), through(Some(proxy)))).collect();
    SharedHttpClient::new(Routed { direct, proxied: Arc::new(proxied), ways: Arc::new(Ways { proxies, refusal }) })
}

/// The same for what the SDK has no call for.
pub async fn call(request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    call_trusting(trust_for(request.uri()).map_err(refused)?, request).await
}

async fn call_trusting(trust: TrustStore, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let proxies = Proxies::from_environment();
    let proxy = way(&proxies, request.uri()).map_err(refused)?;
    named(proxy.as_ref().map(Proxy::url), connector(proxy.as_ref(), trust, None, None).call(request)).await
}

/// Posts a body to a server for which these authorities vouch, or those that vouch for AWS's; the answer's status, and so
/// much of its body at most. No proxy leads to this machine.
pub async fn post(
    (to, trusted): (&Uri, Option<&TrustStore>),
    headers: &[(HeaderName, HeaderValue)],
    (kind, body): (&str, Vec<u8>),
    most: usize,
) -> Result<(u16, Vec<u8>), ConnectorError> {
    let invalid = |error: String| ConnectorError::user(error.into());
    let mut request = http::Request::post(to).header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, body.len());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request =
        request.body(HttpRequest::new(body.into()).into_body()).map_err(|error| invalid(error.to_string()))?;
    let request = HttpRequest::try_from(request).map_err(|error| invalid(error.to_string()))?;
    let trust = trusted.cloned().map_or_else(|| trust_for(request.uri()), Ok).map_err(refused)?;
    let answer = if is_here(to) {
        connector(None, trust, None, None).call(request).await
    } else {
        call_trusting(trust, request).await
    }?;
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut read = Vec::new();
    // What the status says is so, also where the rest is cut.
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let data = frame.into_data().unwrap_or_default();
        let room = most.saturating_sub(read.len());
        read.extend(data.iter().take(room));
        if data.len() > room {
            break;
        }
    }
    Ok((status, read))
}

fn connector(
    proxy: Option<&Proxy>,
    trust: TrustStore,
    settings: Option<HttpConnectorSettings>,
    components: Option<&RuntimeComponents>,
) -> Connector {
    let mut connector = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    if let Ok(context) = TlsContext::builder().with_trust_store(trust).build() {
        connector.set_tls_context(context);
    }
    connector.set_connector_settings(settings);
    connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
    let through = proxy.and_then(|proxy| {
        let config = ProxyConfig::all(proxy.url()).ok()?;
        Some(match &proxy.login {
            Some((user, password)) => config.with_basic_auth(user, password),
            None => config,
        })
    });
    connector.set_proxy_config(Some(through.unwrap_or_else(ProxyConfig::disabled)));
    connector.build()
}

/// A client that looks for each request which way it goes.
#[derive(Debug)]
struct Routed {
    direct: SharedHttpClient,
    /// By the proxy's address.
    proxied: Arc<BTreeMap<String, SharedHttpClient>>,
    ways: Arc<Ways>,
}

/// Which way a request goes.
#[derive(Debug)]
struct Ways {
    proxies: Proxies,
    /// Why none goes to a server for which somebody is to vouch.
    refusal: Option<String>,
}

impl HttpClient for Routed {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let of = |client: &SharedHttpClient| client.http_connector(settings, components);
        let proxied = self.proxied.iter().map(|(proxy, client)| (proxy.clone(), of(client))).collect();
        SharedHttpConnector::new(Routes { direct: of(&self.direct), proxied, ways: Arc::clone(&self.ways) })
    }
}

#[derive(Debug)]
struct Routes {
    direct: SharedHttpConnector,
    proxied: BTreeMap<String, SharedHttpConnector>,
    ways: Arc<Ways>,
}

impl HttpConnector for Routes {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let refusal = self.ways.refusal.clone().filter(|_| is_secure(request.uri()));
        let way = refusal.map_or_else(|| way(&self.ways.proxies, request.uri()), Err);
        let proxy = match way {
            Ok(proxy) => proxy.map(|proxy| proxy.url()),
            Err(reason) => return HttpConnectorFuture::ready(Err(refused(reason))),
        };
        let connector = proxy.as_ref().and_then(|proxy| self.proxied.get(proxy)).unwrap_or(&self.direct);
        HttpConnectorFuture::new(named(proxy, connector.call(request)))
    }
}

fn refused(reason: String) -> ConnectorError {
    ConnectorError::user(reason.into())
}

/// What failed on the way through a proxy.
#[derive(Debug, thiserror::Error)]
#[error("through the proxy {proxy}: {reason}")]
struct Through {
    proxy: String,
    reason: String,
}

/// The same answer; an error names the proxy, which may be what failed.
async fn named(proxy: Option<String>, answer: HttpConnectorFuture) -> Result<HttpResponse, ConnectorError> {
    let answer = answer.await;
    let Some(proxy) = proxy else { return answer };
    answer.map_err(|error| {
        let reason = text::root_cause(&error);
        let (io, timeout) = (error.is_io(), error.is_timeout());
        let through = Through { proxy, reason }.into();
        match (io, timeout) {
            (true, _) => ConnectorError::io(through),
            (_, true) => ConnectorError::timeout(through),
            _ => ConnectorError::other(through, None),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &'static [(&'static str, &'static str)]) -> Proxies {
        Proxies::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn there_is_one_way_to_a_server() {
        let s3 = "https://bucket.s3.eu-west-1.amazonaws.com/key";
        let way = |variables, url| way(&proxies(variables), url).map(|proxy| proxy.map(|proxy| proxy.url()));
        assert_eq!(way(&[("HTTPS_PROXY", "proxy:1")], s3), Ok(Some("http://proxy:1".to_owned())));
        assert_eq!(way(&[("HTTPS_PROXY", "proxy:1"), ("NO_PROXY", "*")], s3), Ok(None));
        assert_eq!(way(&[("ALL_PROXY", "proxy:1"), ("NO_PROXY", ".amazonaws.com")], s3), Ok(None));
        let socks = way(&[("ALL_PROXY", "socks5://proxy")], s3).expect_err("SOCKS");
        assert!(socks.contains("socks5://proxy:1080") && socks.contains("only http://"), "{socks}");
        let odd = way(&[("HTTPS_PROXY", "http://proxy:port")], s3).expect_err("no port");
        assert!(odd.contains("HTTPS_PROXY is not the address"), "{odd}");
    }

    #[tokio::test]
    async fn a_proxy_that_is_gone_is_named() {
        let request = http::Request::get("http://s3.example/").body(HttpRequest::empty().into_body());
        let request = HttpRequest::try_from(request.expect("a request")).expect("a request");
        let proxy = Proxy { scheme: Scheme::Http, authority: "127.0.0.1:1".to_owned(), login: None };
        let answer = connector(Some(&proxy), TrustStore::default(), None, None).call(request);
        let error = named(Some(proxy.url()), answer).await.expect_err("nobody is there");
        assert!(text::root_cause(&error).starts_with("through the proxy http://127.0.0.1:1: "), "{error:?}");
    }
}
