//! The URL of a server that people name, such as a collector.
//!
//! Owns what may be in it: no credentials, which do not belong on a command line. Sends nothing.

use http::Uri;

/// What is refused of a text, which is not repeated: there may be a password in it.
pub fn plain(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|_| "expected a URL such as http://localhost:4318".to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err("expected a URL that begins with http:// or https://".to_owned());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("credentials do not belong in the URL: set OTEL_EXPORTER_OTLP_HEADERS".to_owned());
    }
    let is_port = |authority: &http::uri::Authority| {
        let host = authority.host().len();
        authority.as_str().len() == host || authority.port_u16().is_some()
    };
    if !uri.authority().is_some_and(is_port) {
        return Err("the URL's port is no number up to 65535".to_owned());
    }
    Ok(uri)
}

/// The URL with this path behind its own, unless it is there already.
pub fn base(url: &str, path: &str) -> Result<Uri, String> {
    let uri = plain(url)?;
    if uri.query().is_some() || url.contains('#') {
        return Err("the URL may have no ? and no #".to_owned());
    }
    let own = uri.path().trim_end_matches('/');
    let path = if own.ends_with(path) { own.to_owned() } else { format!("{own}{path}") };
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let whole = format!("{}://{authority}{path}", uri.scheme_str().unwrap_or("http"));
    whole.parse().map_err(|_| "expected a URL such as http://localhost:4318".to_owned())
}

/// Whether it is of this machine, to which no proxy leads.
pub fn is_here(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_of_a_server_is_refused_and_not_repeated() {
        for url in [
            "localhost:4318",
            "ftp://c",
            "http://",
            "http://user:secret@c",
            "http://c?x",
            "http://c#x",
            "http://a b",
            "http://a:99999",
            "http://[::1]:",
            "",
        ] {
            assert!(base(url, "/v1").is_err_and(|said| !said.contains("secret")), "{url}");
        }
        let whole = |url| base(url, "/v1").map(|uri| uri.to_string());
        assert_eq!(whole("https://c.example/otlp/"), Ok("https://c.example/otlp/v1".to_owned()));
        assert_eq!(whole("http://[::1]:9/v1"), Ok("http://[::1]:9/v1".to_owned()));
    }

    #[test]
    fn this_machine_is_known_by_its_names_and_addresses() {
        let here = |url: &str| is_here(&url.parse().expect("a URL"));
        assert!(here("http://localhost:4318") && here("http://127.0.0.9") && here("http://[::1]:1"));
        assert!(!here("http://localhost.example") && !here("http://10.0.0.1"));
    }
}
