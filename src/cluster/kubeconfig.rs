//! Kubeconfig files as kubectl reads them, and a pod's service account where there are none.
//!
//! Owns which files count, how they are merged, what an empty value means, and what each error says of its place. Asks
//! nobody and runs nothing; must not know how a server is called.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::Uri;
use jiff::Timestamp;
use kube::{
    Config,
    config::{AuthInfo, AuthProviderConfig, Cluster, ExecAuthCluster, ExecConfig, Kubeconfig},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::ExposeSecret;
use serde_saphyr::options::DuplicateKeyPolicy;

use super::{
    credentials::{Source, basic, bearer},
    plugin::Plugin,
    tls::Identity,
};
use crate::{
    base::{
        proxy::{self, Proxies, Proxy, Server},
        text,
    },
    model::{Failure, Notice},
};

/// The context of a pod that has a service account and no kubeconfig.
pub(super) const IN_CLUSTER: &str = "in-cluster";
/// Where a pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// So many names are shown of what there is.
const NAMES: usize = 5;
/// The extension that is meant for a plugin.
const FOR_PLUGIN: &str = "client.authentication.k8s.io/exec";

/// A context, ready for use.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Its name.
    pub context: String,
    /// The server, whom it is trusted by, and whom we act as. Nothing of our credentials.
    pub config: Config,
    /// What is between.
    pub proxy: Option<Proxy>,
    /// Where credentials come from.
    pub source: Source,
    /// The certificate that the kubeconfig has itself.
    pub identity: Option<Identity>,
}

/// What cannot be read or used.
#[derive(Debug, thiserror::Error)]
pub(super) enum KubeconfigError {
    #[error("{} cannot be read: {reason}", path.display())]
    Read { path: PathBuf, reason: String },
    #[error("{}{}: {reason}", path.display(), place.map_or_else(String::new, |(line, column)| format!(", line {line}, column {column}")))]
    Parse { path: PathBuf, place: Option<(u64, u64)>, reason: String },
    #[error("{0}")]
    Merge(String),
    #[error("it has no cluster {0:?}")]
    NoCluster(String),
    #[error("its cluster {0:?} has no server")]
    NoServer(String),
    #[error("the server {server:?} is no address: {reason}")]
    Server { server: String, reason: String },
    #[error("the {what} {} cannot be read: {reason}", path.display())]
    File { what: &'static str, path: PathBuf, reason: String },
    #[error("the {0} is no base64")]
    Base64(&'static str),
    #[error("the certificate authority has no certificate in it")]
    NoAuthority,
    #[error(
        "its cluster is trusted by a certificate authority and is not to be checked (insecure-skip-tls-verify): only one of them can be"
    )]
    AuthorityUnchecked,
    #[error("its user's exec {0}")]
    Exec(String),
    #[error("it has a {has} and no {lacks}")]
    Half { has: &'static str, lacks: &'static str },
    #[error("{0}")]
    Identity(String),
    #[error("the {0} is no text that can be sent")]
    Header(&'static str),
    #[error("{0}")]
    Proxy(#[from] proxy::ProxyError),
    #[error("its user has the auth-provider {name:?}, which {why}")]
    Provider { name: String, why: String },
}

/// As kubectl has it: every file that `$KUBECONFIG` names and that exists, otherwise `~/.kube/config`.
pub(super) fn usual_files() -> Vec<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let named: Vec<PathBuf> = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    if named.is_empty() {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        return vec![home.join(".kube/config")];
    }
    let exist: Vec<PathBuf> = named.iter().filter(|path| path.exists()).cloned().collect();
    if exist.is_empty() { named } else { exist }
}

/// All of them as one: what an earlier one says counts.
pub(super) fn read(files: &[PathBuf]) -> Result<Kubeconfig, KubeconfigError> {
    files.iter().try_fold(Kubeconfig::default(), |all, file| {
        let next = read_one(file)?;
        all.merge(next).map_err(|error| KubeconfigError::Merge(format!("{}: {error}", file.display())))
    })
}

fn read_one(path: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let unreadable = |error: io::Error| KubeconfigError::Read { path: path.to_owned(), reason: error.to_string() };
    let text = decoded(&fs::read(path).map_err(unreadable)?).map_err(unreadable)?;
    let mut file = parsed(&text).map_err(|error| {
        let place = error.location().map(|place| (place.line(), place.column()));
        let reason = error.without_snippet().to_string();
        let reason = reason.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        // The place is said before it.
        let reason = place
            .and_then(|(line, column)| reason.strip_suffix(&format!(" at line {line}, column {column}")))
            .unwrap_or(&reason)
            .to_owned();
        KubeconfigError::Parse { path: path.to_owned(), place, reason }
    })?;
    emptied(&mut file);
    let folder = path.parent().unwrap_or(Path::new(""));
    for user in file.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        absolute(folder, &mut user.client_certificate);
        absolute(folder, &mut user.client_key);
        absolute(folder, &mut user.token_file);
        if let Some(exec) = user.exec.as_mut().filter(|exec| exec.command.as_ref().is_some_and(|c| c.contains('/'))) {
            absolute(folder, &mut exec.command);
        }
    }
    for cluster in file.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        absolute(folder, &mut cluster.certificate_authority);
    }
    Ok(file)
}

/// Of several documents the first one counts; of none there is nothing.
fn parsed(text: &str) -> Result<Kubeconfig, serde_saphyr::Error> {
    let options = || serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
    let error = match serde_saphyr::from_multiple_with_options::<Kubeconfig>(text, options()) {
        Ok(documents) => return Ok(documents.into_iter().next().unwrap_or_default()),
        Err(error) => error,
    };
    // As Go has it, the last of a key counts, and null is nothing. Kubeconfig's own reader takes neither everywhere.
    let documents = serde_saphyr::from_multiple_with_options::<serde_json::Value>(text, options());
    let first = documents.ok().and_then(|documents| documents.into_iter().next());
    first.and_then(|value| serde_json::from_value(without_nulls(value)).ok()).ok_or(error)
}

fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            kept.map(|(key, value)| (key, without_nulls(value))).collect()
        }
        serde_json::Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        plain => plain,
    }
}

/// UTF-8, or UTF-16 with its mark, as some editors write it.
fn decoded(bytes: &[u8]) -> io::Result<String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-16"))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => String::from_utf8(rest.to_vec())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text")),
    }
}

/// What is empty is not there.
fn emptied(file: &mut Kubeconfig) {
    fn unset(value: &mut Option<String>) {
        if value.as_ref().is_some_and(String::is_empty) {
            *value = None;
        }
    }
    unset(&mut file.current_context);
    unset(&mut file.kind);
    unset(&mut file.api_version);
    for cluster in file.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        unset(&mut cluster.server);
        unset(&mut cluster.certificate_authority);
        unset(&mut cluster.certificate_authority_data);
        unset(&mut cluster.proxy_url);
        unset(&mut cluster.tls_server_name);
    }
    for user in file.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        unset(&mut user.username);
        unset(&mut user.token_file);
        unset(&mut user.client_certificate);
        unset(&mut user.client_certificate_data);
        unset(&mut user.client_key);
        unset(&mut user.impersonate);
        unset(&mut user.impersonate_uid);
        for secret in [&mut user.password, &mut user.token, &mut user.client_key_data] {
            if secret.as_ref().is_some_and(|secret| secret.expose_secret().is_empty()) {
                *secret = None;
            }
        }
    }
    for context in file.contexts.iter_mut().filter_map(|named| named.context.as_mut()) {
        unset(&mut context.user);
        unset(&mut context.namespace);
    }
}

fn absolute(folder: &Path, path: &mut Option<String>) {
    if let Some(file) = path
        && Path::new(file).is_relative()
        && let Some(joined) = folder.join(&*file).to_str()
    {
        *path = Some(joined.to_owned());
    }
}

/// The context that is wanted, or the current one.
pub(super) fn chosen_context(file: &Kubeconfig, wanted: Option<&str>) -> Result<String, Notice> {
    let known: Vec<&str> = file.contexts.iter().map(|context| context.name.as_str()).collect();
    let next_step = "choose one with --context";
    match wanted.or(file.current_context.as_deref()) {
        Some(name) if known.contains(&name) => Ok(name.to_owned()),
        Some(name) => {
            let headline = format!("no context {name:?} in the kubeconfig");
            Err(Notice::error(headline, some_of(&known, Some(name)), next_step).of(Failure::BadInput))
        }
        None => Err(Notice::error("the kubeconfig has no current context", some_of(&known, None), next_step)
            .of(Failure::BadInput)),
    }
}

/// A few names: the closest to one, or the first.
fn some_of(known: &[&str], to: Option<&str>) -> String {
    if known.is_empty() {
        return "it has none".to_owned();
    }
    let mut names = known.to_vec();
    if let Some(to) = to.filter(|_| names.len() > NAMES) {
        let close = |name: &str| {
            // A part of the name counts for much: people leave out what is before or after it.
            let part = if name.contains(to) || to.contains(name) { 0.5 } else { 0.0 };
            strsim::jaro_winkler(name, to) + part
        };
        names.sort_by(|one, other| close(other).total_cmp(&close(one)));
    }
    let shown: Vec<String> = names.iter().take(NAMES).map(|name| shortened(name)).collect();
    match names.len().saturating_sub(NAMES) {
        0 => format!("it has {}", shown.join(", ")),
        more => format!("it has {} and {}", shown.join(", "), text::counted(more, "other")),
    }
}

fn shortened(name: &str) -> String {
    const MOST: usize = 100;
    if name.chars().count() <= MOST {
        name.to_owned()
    } else {
        format!("{}...", name.chars().take(MOST).collect::<String>())
    }
}

/// A context with everything that it needs.
pub(super) fn choose(file: &Kubeconfig, context: &str, proxies: &Proxies) -> Result<Chosen, KubeconfigError> {
    let inside = file.contexts.iter().find(|named| named.name == context).and_then(|named| named.context.clone());
    let inside = inside.unwrap_or_default();
    let cluster = file.clusters.iter().find(|named| named.name == inside.cluster);
    let cluster = cluster.and_then(|named| named.cluster.clone());
    let cluster = cluster.ok_or_else(|| KubeconfigError::NoCluster(inside.cluster.clone()))?;
    // As kubectl has it, a user that is not there is one without credentials.
    let user = file.auth_infos.iter().find(|named| Some(&named.name) == inside.user.as_ref());
    let user = user.and_then(|named| named.auth_info.clone()).unwrap_or_default();

    let authority = authority(&cluster)?;
    let identity = identity(&user)?;
    let insecure = cluster.insecure_skip_tls_verify.unwrap_or(false);
    if insecure && authority.is_some() {
        return Err(KubeconfigError::AuthorityUnchecked);
    }
    let server = cluster.server.as_deref().ok_or_else(|| KubeconfigError::NoServer(inside.cluster.clone()))?;
    let url = server_url(server)?;
    let proxy = match &cluster.proxy_url {
        Some(url) => Some(proxy::parse_url("the cluster's proxy-url", url)?),
        None => Server::of(&url).map_or(Ok(None), |server| proxies.to_kubernetes(server))?,
    };
    // As kubectl has it, nobody's credentials go out in the clear.
    let source = if url.scheme_str() == Some("http") {
        Source::Fixed(None)
    } else {
        source(&user, || for_plugin(&cluster, authority.clone()))?
    };
    let is_for_provider = matches!(source, Source::Fixed(None)) && url.scheme_str() == Some("https");
    let mut config = Config::new(url);
    config.root_cert = authority.as_deref().map(certificates).transpose()?;
    config.accept_invalid_certs = insecure;
    config.tls_server_name.clone_from(&cluster.tls_server_name);
    if let Some(namespace) = inside.namespace {
        config.default_namespace = namespace;
    }
    config.auth_info = AuthInfo {
        auth_provider: user.auth_provider.filter(|_| is_for_provider).filter(is_renewable),
        impersonate: user.impersonate,
        impersonate_uid: user.impersonate_uid,
        impersonate_groups: user.impersonate_groups,
        impersonate_user_extra: user.impersonate_user_extra,
        ..AuthInfo::default()
    };
    Ok(Chosen { context: context.to_owned(), config, proxy, source, identity })
}

/// As kubectl has it: what is no URL with a host is a host with a port, and asked in the clear.
fn server_url(server: &str) -> Result<Uri, KubeconfigError> {
    let server = server.trim();
    let wrong = |reason: String| KubeconfigError::Server { server: server.to_owned(), reason };
    let has_scheme = server.split_once("://").is_some_and(|(scheme, host)| !scheme.is_empty() && !host.is_empty());
    let url = if has_scheme { server.to_owned() } else { format!("http://{server}") };
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
    if !has_scheme && !matches!(uri.path(), "" | "/") {
        return Err(wrong("it must be a URL or host:port".to_owned()));
    }
    let port = uri.authority().and_then(|authority| authority.as_str().rsplit(']').next()?.rsplit_once(':'));
    if port.is_some_and(|(_, port)| !port.is_empty()) && uri.port_u16().is_none() {
        return Err(wrong("its port is no number".to_owned()));
    }
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("http" | "https") => Err(wrong("it has no host".to_owned())),
        _ => Err(wrong("it is neither http:// nor https://".to_owned())),
    }
}

/// Bytes that are in the kubeconfig, or in a file that it names.
fn bytes(what: &'static str, data: Option<&str>, file: Option<&str>) -> Result<Option<Vec<u8>>, KubeconfigError> {
    if let Some(data) = data {
        let data: String = data.chars().filter(|character| !character.is_ascii_whitespace()).collect();
        return STANDARD.decode(data).map(Some).map_err(|_| KubeconfigError::Base64(what));
    }
    let Some(file) = file else { return Ok(None) };
    fs::read(file).map(Some).map_err(|error| KubeconfigError::File {
        what,
        path: file.into(),
        reason: error.to_string(),
    })
}

fn authority(cluster: &Cluster) -> Result<Option<Vec<u8>>, KubeconfigError> {
    let data = cluster.certificate_authority_data.as_deref();
    bytes("certificate authority", data, cluster.certificate_authority.as_deref())
}

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, KubeconfigError> {
    let found: Vec<Vec<u8>> =
        CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).map(|certificate| certificate.to_vec()).collect();
    if found.is_empty() { Err(KubeconfigError::NoAuthority) } else { Ok(found) }
}

fn identity(user: &AuthInfo) -> Result<Option<Identity>, KubeconfigError> {
    const CERTIFICATE: &str = "client certificate";
    const KEY: &str = "client key";
    let certificate = bytes(CERTIFICATE, user.client_certificate_data.as_deref(), user.client_certificate.as_deref())?;
    let key = user.client_key_data.as_ref().map(ExposeSecret::expose_secret);
    match (certificate, bytes(KEY, key, user.client_key.as_deref())?) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Identity::from_pem(&certificate, &key).map(Some).map_err(KubeconfigError::Identity)
        }
        (Some(_), None) => Err(KubeconfigError::Half { has: CERTIFICATE, lacks: KEY }),
        (None, Some(_)) => Err(KubeconfigError::Half { has: KEY, lacks: CERTIFICATE }),
    }
}

/// What a plugin is told of the cluster.
fn for_plugin(cluster: &Cluster, authority: Option<Vec<u8>>) -> ExecAuthCluster {
    let mut extensions = cluster.extensions.iter().flatten();
    ExecAuthCluster {
        server: cluster.server.clone(),
        insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
        certificate_authority_data: authority,
        proxy_url: cluster.proxy_url.clone(),
        tls_server_name: cluster.tls_server_name.clone(),
        config: extensions.find(|named| named.name == FOR_PLUGIN).map(|named| named.extension.clone()),
    }
}

/// As kubectl has it: the version is said and known, and the current one says whether the plugin may ask. The oldest one,
/// which kubectl took until 1.23, is taken too.
fn check_exec(exec: &ExecConfig) -> Result<(), KubeconfigError> {
    let wrong = |what: String| Err(KubeconfigError::Exec(what));
    match exec.api_version.as_deref().and_then(|version| version.strip_prefix("client.authentication.k8s.io/")) {
        Some("v1") if exec.interactive_mode.is_none() => {
            wrong("must say interactiveMode: Never, IfAvailable or Always".to_owned())
        }
        Some("v1" | "v1beta1" | "v1alpha1") => Ok(()),
        _ => {
            let version = exec.api_version.as_deref().unwrap_or_default();
            wrong(format!("has the apiVersion {version:?}, and client.authentication.k8s.io/v1 and v1beta1 are known"))
        }
    }
}

fn source(user: &AuthInfo, cluster: impl FnOnce() -> ExecAuthCluster) -> Result<Source, KubeconfigError> {
    let token = user.token.as_ref().map(|token| bearer(token.expose_secret())).transpose();
    let token = token.map_err(|_| KubeconfigError::Header("token"))?;
    if let Some(file) = &user.token_file {
        return Ok(Source::File { path: file.into(), otherwise: token });
    }
    if token.is_some() {
        return Ok(Source::Fixed(token));
    }
    if let Some(name) = &user.username {
        let password = user.password.as_ref().map_or("", |password| password.expose_secret());
        let value = basic(name, password).map_err(|_| KubeconfigError::Header("user's name or password"))?;
        return Ok(Source::Fixed(Some(value)));
    }
    if let Some(exec) = &user.exec {
        check_exec(exec)?;
        let cluster = exec.provide_cluster_info.then(cluster);
        return Ok(Source::Plugin(Box::new(Plugin { exec: exec.clone(), cluster })));
    }
    let Some(provider) = &user.auth_provider else { return Ok(Source::Fixed(None)) };
    if is_renewable(provider) {
        return Ok(Source::Fixed(None));
    }
    // What a provider has got is good until it ends; getting another was its work.
    let held = provider.config.get("id-token").filter(|token| provider.name == "oidc" && is_current(token));
    if let Some(token) = held {
        return bearer(token).map(|value| Source::Fixed(Some(value))).map_err(|_| KubeconfigError::Header("id-token"));
    }
    let why = match provider.name.as_str() {
        "gcp" => {
            "kubectl has no more: use the plugin gke-gcloud-auth-plugin (gcloud container clusters get-credentials)"
        }
        "azure" => "kubectl has no more: use the plugin kubelogin (kubelogin convert-kubeconfig)",
        "oidc" => "holds no id-token that is good now: use the plugin kubelogin (kubectl oidc-login setup)",
        _ => "is not known: use a credential plugin (users: user: exec:)",
    };
    Err(KubeconfigError::Provider { name: provider.name.clone(), why: why.to_owned() })
}

/// Whether kube gets new tokens of it by itself.
fn is_renewable(provider: &AuthProviderConfig) -> bool {
    let has = |key: &str| provider.config.get(key).is_some_and(|value| !value.is_empty());
    provider.name == "oidc" && ["idp-issuer-url", "client-id", "refresh-token", "id-token"].iter().all(|key| has(key))
}

/// Whether a token is a JWT that has not ended.
fn is_current(token: &str) -> bool {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
    let claims = claims.and_then(|claims| serde_json::from_slice::<serde_json::Value>(&claims).ok());
    let Some(claims) = claims else { return false };
    claims["exp"].as_i64().is_none_or(|ends| ends > Timestamp::now().as_second())
}

/// The service account of the pod that this runs in, where it runs in one.
pub(super) fn in_cluster() -> Option<Result<Chosen, KubeconfigError>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let folder = Path::new(ACCOUNT);
    folder.join("token").is_file().then(|| of_account(folder, &host, &port))
}

fn of_account(folder: &Path, host: &str, port: &str) -> Result<Chosen, KubeconfigError> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = server_url(&format!("https://{host}:{port}"))?;
    let mut config = Config::new(url);
    let authority = folder.join("ca.crt");
    let pem = fs::read(&authority).map_err(|error| KubeconfigError::File {
        what: "certificate authority",
        path: authority.clone(),
        reason: error.to_string(),
    })?;
    config.root_cert = Some(certificates(&pem)?);
    config.root_cert_file = Some(authority);
    if let Ok(namespace) = fs::read_to_string(folder.join("namespace")) {
        namespace.trim().clone_into(&mut config.default_namespace);
    }
    let source = Source::File { path: folder.join("token"), otherwise: None };
    Ok(Chosen { context: IN_CLUSTER.to_owned(), config, proxy: None, source, identity: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        fs::write(&path, text).expect("written");
        (folder, path)
    }

    /// A file of one context, with this cluster and this user.
    fn one(cluster: &str, user: &str) -> String {
        format!(
            "clusters: [{{name: c, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
        )
    }

    fn chosen(cluster: &str, user: &str) -> Result<Chosen, String> {
        let (_folder, path) = written(&one(cluster, user));
        let file = read(&[path]).map_err(|error| error.to_string())?;
        choose(&file, "x", &Proxies::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_server_is_an_address_however_it_is_written() {
        for (server, url) in [
            ("127.0.0.1:18080", "http://127.0.0.1:18080/"),
            ("localhost:8080", "http://localhost:8080/"),
            ("kube.example", "http://kube.example/"),
            ("[::1]:6443", "http://[::1]:6443/"),
            (" https://kube.example:6443 ", "https://kube.example:6443/"),
            ("HTTPS://kube.example/k8s/c-1", "https://kube.example/k8s/c-1"),
        ] {
            assert_eq!(server_url(server).expect(server).to_string(), url);
        }
        for server in
            ["kube.example/path", "ftp://kube.example", "https://", "https:///path", "a b", "https://host:port", ""]
        {
            assert!(server_url(server).is_err(), "{server:?}");
        }
    }

    #[test]
    fn what_is_empty_is_not_there() {
        let (_one, nulls) = written("clusters: null\ncontexts: null\nusers: null\ncurrent-context: \"\"\n");
        let exec = "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: plugin}";
        let (_two, real) = written(&one("server: 'https://kube.example'", &format!("token: '', username: '', {exec}")));
        let file = read(&[nulls, real]).expect("readable");
        assert_eq!(chosen_context(&file, None).as_deref(), Ok("x"), "the next file's counts");
        let found = choose(&file, "x", &Proxies::default()).expect("usable");
        assert!(matches!(found.source, Source::Plugin(_)), "{:?}", found.source);
        for empty in ["", " ", "# nothing\n", "---\n"] {
            let (_folder, path) = written(empty);
            assert!(read(&[path]).is_ok_and(|file| file.contexts.is_empty()), "{empty:?}");
        }
    }

    #[test]
    fn nobodys_credentials_go_out_in_the_clear() {
        for user in ["token: abc", "exec: {command: plugin}", "username: me", "auth-provider: {name: gcp}"] {
            let found = chosen("server: 'http://kube.example'", user).expect(user);
            assert!(matches!(found.source, Source::Fixed(None)), "{:?}", found.source);
        }
    }

    #[test]
    fn of_a_key_that_is_there_twice_the_last_one_counts() {
        let (_folder, path) = written(&format!("current-context: y\n{}", one("server: 'https://kube.example'", "")));
        assert_eq!(read(&[path]).expect("readable").current_context.as_deref(), Some("x"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_on_one_line() {
        let (_folder, path) = written("apiVersion: v1\n\tkind: Config\n");
        let told = read(std::slice::from_ref(&path)).expect_err("a tab").to_string();
        assert!(told.starts_with(&format!("{}, line ", path.display())) && !told.contains('\n'), "{told}");
        let (_folder, path) = written("clusters:\n- name: c\n  cluster: [1]\n");
        let told = read(std::slice::from_ref(&path)).expect_err("a list").to_string();
        assert!(told.starts_with(&format!("{}, line 3, ", path.display())) && !told.contains('\n'), "{told}");
        let missing = path.with_file_name("none");
        assert!(
            read(std::slice::from_ref(&missing))
                .expect_err("missing")
                .to_string()
                .contains(&missing.display().to_string())
        );
        let (_folder, odd) = written("");
        fs::write(&odd, [0xff, 0xfe, 0x61]).expect("written");
        assert!(
            read(std::slice::from_ref(&odd)).is_ok_and(|file| file.contexts.is_empty()) || read(&[odd]).is_err(),
            "no panic"
        );
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let server = "server: 'https://kube.example'";
        let told = chosen(server, "client-certificate: nope.crt, client-key: nope.key").expect_err("missing");
        assert!(told.contains("the client certificate /") && told.contains("/nope.crt cannot be read"), "{told}");
        let told = chosen(&format!("{server}, certificate-authority: ca.crt"), "").expect_err("missing");
        assert!(told.contains("the certificate authority /") && told.contains("/ca.crt"), "{told}");
        let told = chosen(server, "client-certificate-data: '!'").expect_err("no base64");
        assert_eq!(told, "the client certificate is no base64");
    }

    #[test]
    fn of_many_contexts_a_few_close_ones_are_named() {
        let rows: Vec<String> = (0..5000).map(|number| format!("{{name: team-{number}-staging}}")).collect();
        let (_folder, path) = written(&format!("contexts: [{}, {{name: prod-eu-1}}]", rows.join(", ")));
        let file = read(&[path]).expect("readable");
        let told = chosen_context(&file, Some("prod-eu")).expect_err("unknown").line();
        assert!(told.contains("prod-eu-1") && told.contains("4996 others") && told.len() < 300, "{told}");
    }

    #[test]
    fn a_provider_of_old_is_told_its_plugin() {
        let server = "server: 'https://kube.example'";
        for (provider, plugin) in [
            ("name: gcp, config: {cmd-path: /nonexistent/gcloud}", "gke-gcloud-auth-plugin"),
            ("name: gcp, config: null", "gke-gcloud-auth-plugin"),
            ("name: azure, config: {apiserver-id: x}", "kubelogin"),
            ("name: oidc, config: {id-token: abc}", "kubelogin"),
            ("name: oidc, config: {id-token: a.eyJleHAiOjF9.b}", "kubelogin"),
            ("name: own", "plugin"),
        ] {
            let told = chosen(server, &format!("auth-provider: {{{provider}}}")).expect_err(provider);
            assert!(told.contains(plugin), "{told}");
        }
        let held = chosen(server, "auth-provider: {name: oidc, config: {id-token: a.eyJleHAiOjk5OTk5OTk5OTl9.b}}");
        assert!(matches!(held.expect("it is good").source, Source::Fixed(Some(_))));
    }

    #[test]
    fn a_pods_account_is_used_with_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("token"), "t").expect("written");
        fs::write(folder.path().join("namespace"), "mine\n").expect("written");
        let missing = of_account(folder.path(), "10.0.0.1", "443").expect_err("no authority").to_string();
        assert!(missing.contains("ca.crt"), "{missing}");
        fs::write(folder.path().join("ca.crt"), include_bytes!("../../tests/support/pki/ca.pem")).expect("written");
        let found = of_account(folder.path(), "fd00::1", "6443").expect("usable");
        assert_eq!(found.config.cluster_url.to_string(), "https://[fd00::1]:6443/");
        assert_eq!((found.config.default_namespace.as_str(), found.context.as_str()), ("mine", IN_CLUSTER));
        assert!(matches!(found.source, Source::File { .. }));
    }
}
