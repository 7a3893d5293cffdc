//! Which proxy leads to a server, as the environment names it: for Kubernetes as kubectl reads it, for AWS as its programs do.
//!
//! Owns the forms of a proxy's address and of `NO_PROXY`. Sends nothing, and must not know what is asked of the server.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use http::Uri;

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
    /// SOCKS, version 5; names are looked up by the proxy.
    Socks5,
}

impl Scheme {
    fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 => 1080,
        }
    }
}

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Where it is, with its port; IPv6 addresses in brackets.
    pub authority: String,
    /// The user's name and password.
    pub login: Option<(String, String)>,
}

impl Proxy {
    /// Its address, without the login.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme.text(), self.authority)
    }
}

/// Without the login, which is a secret.
impl fmt::Display for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url())
    }
}

/// What is wrong with a proxy's address. Passwords are left out of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It is not an address.
    #[error("{0} is not the address of a proxy; write it as http://proxy.example:3128")]
    NoAddress(String),
    /// The scheme is none of a proxy's.
    #[error("{0} names a proxy of the kind {1}://, and only http://, https:// and socks5:// can be used")]
    Scheme(String, String),
    /// Where kubectl wants a scheme.
    #[error("{0} has no scheme, as in http://proxy.example:3128")]
    NoScheme(String),
}

/// A proxy's address where a scheme must be, as a kubeconfig's `proxy-url` has it.
pub fn parse_url(named_by: &str, text: &str) -> Result<Proxy, ProxyError> {
    let text = text.trim();
    match text.split_once("://") {
        None => Err(ProxyError::NoScheme(named_by.to_owned())),
        // kubectl knows it by the other name only, which does the same.
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("socks5h") => {
            Err(ProxyError::Scheme(named_by.to_owned(), "socks5h".to_owned()))
        }
        Some(_) => parse(named_by, text),
    }
}

/// The same as variables have it: `host:port` is `http://host:port`.
fn parse(named_by: &str, text: &str) -> Result<Proxy, ProxyError> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        "socks5" | "socks5h" => Scheme::Socks5,
        other => return Err(ProxyError::Scheme(named_by.to_owned(), other.to_owned())),
    };
    let no_address = || ProxyError::NoAddress(named_by.to_owned());
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    let uri: Uri = format!("http://{place}/").parse().map_err(|_| no_address())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(no_address)?;
    let port = match place[host.len().min(place.len())..].strip_prefix(':') {
        None | Some("") => scheme.port(),
        Some(port) => port.parse().map_err(|_| no_address())?,
    };
    let plain = |text: &str| urlencoding::decode(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned);
    let login = login.map(|login| login.split_once(':').unwrap_or((login, "")));
    let login = login.map(|(user, password)| (plain(user), plain(password)));
    Ok(Proxy { scheme, authority: format!("{host}:{port}"), login })
}

/// A server that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// Whether it is asked over TLS.
    pub tls: bool,
    /// Its name or address; IPv6 addresses with or without brackets.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
}

impl<'a> Server<'a> {
    /// Where a URL leads; `None` where it has no host.
    pub fn of(uri: &'a Uri) -> Option<Self> {
        let tls = uri.scheme_str() != Some("http");
        let host = uri.host()?;
        Some(Self { tls, host, port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }) })
    }

    fn address(&self) -> Option<IpAddr> {
        self.host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()
            .map(|address: IpAddr| address.to_canonical())
    }
}

/// What the environment says about proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<(String, String)>,
    https: Option<(String, String)>,
    all: Option<(String, String)>,
    except: Vec<Exception>,
}

impl Proxies {
    /// What this process's environment says now.
    pub fn from_environment() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    /// The same from wherever variables are.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |name: &str| {
            let names = [name.to_owned(), name.to_ascii_lowercase()];
            names.into_iter().find_map(|name| {
                let value = variable(&name).filter(|value| !value.trim().is_empty())?;
                Some((name, value))
            })
        };
        let except = first("NO_PROXY").map(|(_, value)| exceptions(&value)).unwrap_or_default();
        Self { http: first("HTTP_PROXY"), https: first("HTTPS_PROXY"), all: first("ALL_PROXY"), except }
    }

    /// The proxy to a Kubernetes API server. As Go has it, this machine is never asked through one, and `ALL_PROXY` counts
    /// for nothing.
    pub fn to_kubernetes(&self, server: Server<'_>) -> Result<Option<Proxy>, ProxyError> {
        let here = server.host.eq_ignore_ascii_case("localhost")
            || server.address().is_some_and(|address| address.is_loopback());
        if here { Ok(None) } else { self.find(server, None) }
    }

    /// The proxy to one of AWS's servers, or to one that speaks as they do.
    pub fn to_aws(&self, server: Server<'_>) -> Result<Option<Proxy>, ProxyError> {
        self.find(server, self.all.as_ref())
    }

    /// Every proxy that [`Self::to_aws`] may name.
    pub fn all_to_aws(&self) -> Vec<Proxy> {
        let named = [&self.http, &self.https, &self.all];
        named.into_iter().flatten().filter_map(|(name, value)| parse(name, value).ok()).collect()
    }

    fn find(&self, server: Server<'_>, otherwise: Option<&(String, String)>) -> Result<Option<Proxy>, ProxyError> {
        let named = if server.tls { &self.https } else { &self.http };
        let Some((name, value)) = named.as_ref().or(otherwise) else { return Ok(None) };
        if self.except.iter().any(|exception| exception.is_about(server)) {
            return Ok(None);
        }
        parse(name, value).map(Some)
    }
}

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    /// `*`
    All,
    /// `10.0.0.0/8`
    Network(IpAddr, u8),
    /// `10.0.0.1`, or with a port.
    Address(IpAddr, Option<u16>),
    /// `example.com`, which its subdomains are part of; with a dot before it they alone.
    Domain { suffix: String, itself: bool, port: Option<u16> },
}

impl Exception {
    fn is_about(&self, server: Server<'_>) -> bool {
        let at_port = |port: &Option<u16>| port.is_none_or(|port| port == server.port);
        match (self, server.address()) {
            (Self::All, _) => true,
            (Self::Network(network, prefix), Some(address)) => shares(*network, address, *prefix),
            (Self::Address(own, port), Some(address)) => *own == address && at_port(port),
            (Self::Domain { suffix, itself, port }, _) => {
                let host = server.host.to_ascii_lowercase();
                let host = host.trim_end_matches('.');
                (host.ends_with(suffix.as_str()) || (*itself && host == &suffix[1..])) && at_port(port)
            }
            (Self::Network(..) | Self::Address(..), None) => false,
        }
    }
}

/// Whether two addresses are the same in so many bits.
fn shares(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let same = |one: u128, other: u128, bits: u32| {
        let away = bits.saturating_sub(prefix.into());
        one.checked_shr(away).unwrap_or(0) == other.checked_shr(away).unwrap_or(0)
    };
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => same(one.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits(), other.to_bits(), 128),
        _ => false,
    }
}

/// What cannot be understood counts for nothing, as for everybody who reads this variable.
fn exceptions(text: &str) -> Vec<Exception> {
    // As Go has it, blanks around an entry are nothing, and blanks inside make a name that nobody has.
    text.split(',').filter_map(|entry| exception(&entry.trim().to_ascii_lowercase())).collect()
}

fn exception(entry: &str) -> Option<Exception> {
    if entry.is_empty() {
        return None;
    }
    if entry == "*" {
        return Some(Exception::All);
    }
    if let Some((network, prefix)) = entry.split_once('/') {
        let network: IpAddr = network.parse().ok()?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        return prefix.parse().ok().filter(|prefix| *prefix <= most).map(|prefix| Exception::Network(network, prefix));
    }
    if let Ok(address) = entry.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some(Exception::Address(address.to_canonical(), None));
    }
    if let Ok(address) = entry.parse::<SocketAddr>() {
        return Some(Exception::Address(address.ip().to_canonical(), Some(address.port())));
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (entry, None),
    };
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host).trim_end_matches('.');
    if host.trim_matches('.').is_empty() {
        return None;
    }
    let itself = !host.starts_with('.');
    Some(Exception::Domain { suffix: if itself { format!(".{host}") } else { host.to_owned() }, itself, port })
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};

    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn to(variables: &[(&str, &str)], url: &str) -> Result<Option<String>, ProxyError> {
        let uri: Uri = url.parse().expect("a URL");
        let found = proxies(variables).to_kubernetes(Server::of(&uri).expect("a host"))?;
        Ok(found.map(|proxy| proxy.to_string()))
    }

    #[test]
    fn a_proxy_is_named_as_kubectl_takes_it() {
        let url = "https://kube.example:6443";
        for (value, proxy) in [
            ("http://127.0.0.1:13128", "http://127.0.0.1:13128"),
            ("127.0.0.1:13128", "http://127.0.0.1:13128"),
            ("localhost:3128", "http://localhost:3128"),
            ("proxy.example", "http://proxy.example:80"),
            (" HTTPS://Proxy.example/ ", "https://Proxy.example:443"),
            ("socks5://10.0.0.1", "socks5://10.0.0.1:1080"),
            ("socks5h://10.0.0.1:9", "socks5://10.0.0.1:9"),
            ("http://me:p%40ss@proxy.example:1", "http://proxy.example:1"),
            ("http://[::1]:3128", "http://[::1]:3128"),
        ] {
            assert_eq!(to(&[("HTTPS_PROXY", value)], url), Ok(Some(proxy.to_owned())), "{value:?}");
            assert_eq!(
                to(&[("https_proxy", value), ("HTTPS_PROXY", "")], url),
                Ok(Some(proxy.to_owned())),
                "{value:?}"
            );
        }
        let login = parse("HTTPS_PROXY", "http://me:p%40ss@proxy.example:1").expect("an address").login;
        assert_eq!(login, Some(("me".to_owned(), "p@ss".to_owned())));
        for value in ["http://", "http://:3128", "http://proxy.example:port", "ftp://me:secret@proxy.example", "a b"] {
            let error = to(&[("HTTPS_PROXY", value)], url).expect_err(value).to_string();
            assert!(error.contains("HTTPS_PROXY") && !error.contains("secret"), "{error}");
        }
        assert_eq!(to(&[("HTTP_PROXY", "p:1"), ("ALL_PROXY", "p:2")], url), Ok(None), "neither is for it");
        assert_eq!(to(&[("HTTP_PROXY", "p:1")], "http://kube.example"), Ok(Some("http://p:1".to_owned())));
        assert_eq!(to(&[("HTTPS_PROXY", "p:1")], "https://localhost:6443"), Ok(None), "this machine needs none");
        assert_eq!(to(&[("HTTPS_PROXY", "p:1")], "https://127.0.0.9:6443"), Ok(None));
        assert_eq!(to(&[("HTTPS_PROXY", "p:1")], "https://[::1]:6443"), Ok(None));
    }

    #[test]
    fn no_proxy_is_about_the_server() {
        for (entries, url, direct) in [
            ("*", "https://kube.example", true),
            ("a.example, *", "https://kube.example", true),
            ("192.0.2.2", "https://192.0.2.2:18460", true),
            ("192.0.2.0/24", "https://192.0.2.2:18460", true),
            ("192.0.3.0/24", "https://192.0.2.2:18460", false),
            ("0.0.0.0/0", "https://192.0.2.2:18460", true),
            ("2001:db8::/32", "https://[2001:db8::1]:6443", true),
            ("192.0.2.2:18460", "https://192.0.2.2:18460", true),
            ("192.0.2.2:6443", "https://192.0.2.2:18460", false),
            ("[2001:db8::1]:6443", "https://[2001:db8::1]:6443", true),
            ("2001:db8::1", "https://[2001:db8::1]:6443", true),
            ("example", "https://kube.example", true),
            (".example", "https://kube.example", true),
            ("*.example", "https://kube.example", true),
            ("kube.example", "https://kube.example", true),
            (".kube.example", "https://kube.example", false),
            ("kube.example", "https://notkube.example", false),
            ("KUBE.Example", "https://kube.EXAMPLE", true),
            ("kube.example:443", "https://kube.example", true),
            ("kube.example:6443", "https://kube.example", false),
            (".internal,", "https://kube.example", false),
            (".internal, kube.example ,", "https://kube.example", true),
            ("localhost kube.example", "https://kube.example", false),
            (",, /, :, ., *., 1/2/3, [, []", "https://kube.example", false),
            ("127.0.0.1", "https://kube.example", false),
        ] {
            let found = to(&[("HTTPS_PROXY", "http://127.0.0.1:3128"), ("NO_PROXY", entries)], url);
            assert_eq!(found.map(|found| found.is_none()), Ok(direct), "NO_PROXY={entries:?} to {url}");
        }
    }

    #[test]
    fn to_aws_all_proxy_counts_and_this_machine_is_no_exception() {
        let to = |variables: &[(&str, &str)], url: &str| {
            let uri: Uri = url.parse().expect("a URL");
            proxies(variables).to_aws(Server::of(&uri).expect("a host"))
        };
        assert!(to(&[("ALL_PROXY", "p:1")], "https://s3.example").is_ok_and(|found| found.is_some()));
        assert!(to(&[("HTTP_PROXY", "p:1")], "http://127.0.0.1:9000").is_ok_and(|found| found.is_some()));
        assert_eq!(to(&[("ALL_PROXY", "p:1"), ("NO_PROXY", "*")], "https://s3.example"), Ok(None));
    }

    proptest! {
        #[test]
        fn anything_can_be_read(value in "\\PC*", except in "\\PC*", host in "[a-z0-9.:\\[\\]-]{0,20}") {
            let proxies = proxies(&[("HTTPS_PROXY", &value), ("NO_PROXY", &except)]);
            let server = Server { tls: true, host: &host, port: 443 };
            // The same twice, and no panic.
            prop_assert_eq!(proxies.to_kubernetes(server).is_ok(), proxies.to_kubernetes(server).is_ok());
        }
    }
}
