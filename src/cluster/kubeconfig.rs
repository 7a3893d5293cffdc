//! Kubeconfig files as kubectl reads them, and a pod's service account where there are none.
//!
//! Owns what a context comes to: its server, whom that is trusted by, and where credentials come from. Calls no server
//! and runs nothing.

mod files;

use std::{
    fs,
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
pub(super) use files::{read, usual_files};

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
    #[error("cannot read {}: {reason}", path.display())]
    Read { path: PathBuf, reason: String },
    #[error("{}{}: {reason}", path.display(), place.map_or_else(String::new, |(line, column)| format!(", line {line}, column {column}")))]
    Parse { path: PathBuf, place: Option<(u64, u64)>, reason: String },
    #[error("{0}")]
    Merge(String),
    #[error("it has no cluster {0:?}")]
    NoCluster(String),
    #[error("its cluster {0:?} has no server")]
    NoServer(String),
    #[error("invalid server address {server:?}: {reason}")]
    Server { server: String, reason: String },
    #[error("cannot read the {what} {}: {reason}", path.display())]
    File { what: &'static str, path: PathBuf, reason: String },
    #[error("the {0} is not valid base64")]
    Base64(&'static str),
    #[error("the certificate authority contains no certificate")]
    NoAuthority,
    #[error("its cluster has both a certificate authority and insecure-skip-tls-verify: only one of them is allowed")]
    AuthorityUnchecked,
    #[error("its user's exec {0}")]
    Exec(String),
    #[error("it has a {has} but no {lacks}")]
    Half { has: &'static str, lacks: &'static str },
    #[error("{0}")]
    Identity(String),
    #[error("the {0} contains characters that cannot be sent")]
    Header(&'static str),
    #[error("{0}")]
    Proxy(#[from] proxy::ProxyError),
    #[error("its user has the auth-provider {name:?}, which {why}")]
    Provider { name: String, why: String },
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
        return Err(wrong("its port is not a number".to_owned()));
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

/// As kubectl has it: the version is said and known, and the current one says whether the plugin may ask. The oldest
/// one, which kubectl took until 1.23, is taken too.
fn check_exec(exec: &ExecConfig) -> Result<(), KubeconfigError> {
    let wrong = |what: String| Err(KubeconfigError::Exec(what));
    match exec.api_version.as_deref().and_then(|version| version.strip_prefix("client.authentication.k8s.io/")) {
        Some("v1") if exec.interactive_mode.is_none() => {
            wrong("must say interactiveMode: Never, IfAvailable or Always".to_owned())
        }
        Some("v1" | "v1beta1" | "v1alpha1") => Ok(()),
        _ => {
            let version = exec.api_version.as_deref().unwrap_or_default();
            wrong(format!(
                "has the apiVersion {version:?}; only client.authentication.k8s.io/v1 and v1beta1 are \
                           supported"
            ))
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
            "kubectl no longer supports: use the plugin gke-gcloud-auth-plugin (gcloud container clusters \
             get-credentials)"
        }
        "azure" => "kubectl no longer supports: use the plugin kubelogin (kubelogin convert-kubeconfig)",
        "oidc" => "has no valid id-token: use the plugin kubelogin (kubectl oidc-login setup)",
        _ => "is not supported: use a credential plugin (users: user: exec:)",
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
mod tests;
