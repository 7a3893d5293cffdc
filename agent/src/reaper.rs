//! The end of a session whose laptop is gone: its namespace is removed once the agents are.
//!
//! Owns what `--reaper` runs as a Job of its own, under a Role that may delete this one namespace. The only module
//! here that knows Kubernetes. It removes nothing but the namespace that was named, by UID and label, and not while
//! somebody else's workload is in it.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nodewatch_protocol::{ENDS, SESSION_LABEL, UnixMillis};
use serde::Deserialize;
use serde_json::json;
use ureq::{
    Agent,
    tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem},
};

use crate::error::chain;

/// Between two looks, so that a changed end is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between two lines about a server that does not answer.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Jobs that are past their deadline have this long to go: their grace period and their time to live.
const AGENTS_WITHIN: Duration = Duration::from_secs(150);
/// Objects in a page of a list.
const PAGE: &str = "50";
/// A page is not longer than this: an object in etcd has at most 1.5 MiB.
const LARGEST_PAGE: u64 = 200 * 1024 * 1024;
/// More objects than this are in no namespace.
const MOST: usize = 1_000_000;
/// Where a pod finds its credentials.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Kinds that nobody but a person or their tools puts into a namespace, and that the Role may list.
const WORKLOADS: [&str; 7] = [
    "api/v1/{}/pods",
    "api/v1/{}/services",
    "api/v1/{}/persistentvolumeclaims",
    "apis/apps/v1/{}/deployments",
    "apis/apps/v1/{}/statefulsets",
    "apis/apps/v1/{}/daemonsets",
    "apis/batch/v1/{}/jobs",
];

/// The reaper cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReaperError {
    /// This is no pod with a token.
    #[error("cannot read {path:?}; does this pod have a service account?")]
    Account {
        /// What was read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A variable that every pod has.
    #[error("KUBERNETES_SERVICE_HOST is not set: not running in a pod")]
    NoServer,
    /// The call failed.
    #[error("cannot call the API server")]
    Call(#[from] Box<ureq::Error>),
    /// The server said no.
    #[error("the API server answers {status} to {what}")]
    Refused {
        /// Method and path.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// A list whose pages do not end.
    #[error("the API server's list of {what} does not end")]
    Endless {
        /// Its path.
        what: String,
    },
    /// The namespace is there and is not to be removed.
    #[error("namespace {namespace} is left alone: {reason}")]
    LeftAlone {
        /// Its name.
        namespace: String,
        /// Why.
        reason: String,
    },
}

/// The API server as a pod reaches it.
pub struct InCluster {
    /// As in `https://10.96.0.1:443`.
    pub base: String,
    /// The file with the token, which the kubelet renews.
    pub token: PathBuf,
    /// What does the calls.
    pub client: Agent,
}

impl InCluster {
    /// From what Kubernetes gives every pod with a service account.
    pub fn from_pod() -> Result<Self, ReaperError> {
        let host = std::env::var("KUBERNETES_SERVICE_HOST").map_err(|_| ReaperError::NoServer)?;
        let port = std::env::var("KUBERNETES_SERVICE_PORT").unwrap_or_else(|_| "443".to_owned());
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let path = PathBuf::from(ACCOUNT).join("ca.crt");
        let pem = fs::read(&path).map_err(|source| ReaperError::Account { path, source })?;
        let roots: Vec<_> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        Ok(Self {
            base: format!("https://{host}:{port}"),
            token: PathBuf::from(ACCOUNT).join("token"),
            client: client(Some(tls)),
        })
    }

    fn authorization(&self) -> Result<String, ReaperError> {
        let token = fs::read_to_string(&self.token)
            .map_err(|source| ReaperError::Account { path: self.token.clone(), source })?;
        Ok(format!("Bearer {}", token.trim()))
    }

    /// `None` when it is not there.
    fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, ReaperError> {
        let call = self.client.get(format!("{}/{path}", self.base)).header("Authorization", self.authorization()?);
        let mut response = call.query_pairs(query.iter().copied()).call().map_err(Box::new)?;
        match response.status().as_u16() {
            200 => {
                let body = response.body_mut().with_config().limit(LARGEST_PAGE);
                Ok(Some(body.read_json().map_err(Box::new)?))
            }
            404 => Ok(None),
            status => Err(ReaperError::Refused { what: format!("GET {path}"), status }),
        }
    }

    /// A list, page by page, however long it is; `None` when there is no such kind.
    fn list(&self, path: &str) -> Result<Option<Vec<Object>>, ReaperError> {
        let mut all = Vec::new();
        let mut from = String::new();
        loop {
            let mut query = vec![("limit", PAGE)];
            if !from.is_empty() {
                query.push(("continue", &from));
            }
            let Some(List { items, metadata }) = self.get(path, &query)? else { return Ok(None) };
            all.extend(items);
            if metadata.go_on.is_empty() {
                return Ok(Some(all));
            }
            if metadata.go_on == from || all.len() > MOST {
                return Err(ReaperError::Endless { what: path.to_owned() });
            }
            from = metadata.go_on;
        }
    }

    fn delete(&self, path: &str, uid: &str) -> Result<(), ReaperError> {
        let call = self.client.delete(format!("{}/{path}", self.base)).header("Authorization", self.authorization()?);
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}});
        let response = call.force_send_body().send_json(options).map_err(Box::new)?;
        match response.status().as_u16() {
            200 | 202 | 404 => Ok(()),
            status => Err(ReaperError::Refused { what: format!("DELETE {path}"), status }),
        }
    }
}

/// A client that takes every status as an answer.
pub fn client(tls: Option<TlsConfig>) -> Agent {
    // The API server is asked directly, as everything in a pod does, whatever proxy its environment names.
    let config =
        Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(20))).proxy(None);
    match tls {
        Some(tls) => config.tls_config(tls).build().new_agent(),
        None => config.build().new_agent(),
    }
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Object>,
    #[serde(default)]
    metadata: ListMetadata,
}

#[derive(Deserialize, Default)]
struct ListMetadata {
    /// Where the next page begins; empty on the last.
    #[serde(default, rename = "continue")]
    go_on: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: String,
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
    deletion_timestamp: Option<String>,
}

/// One session's namespace, and the server that has it.
pub struct Reaper {
    /// The namespace's name.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// The session that it must be labelled with.
    pub session: String,
    /// The API server.
    pub server: InCluster,
}

/// What is said of a server that does not answer: the cause at first, and then once a minute, for whoever looks at the
/// log.
#[derive(Debug, Default)]
pub struct Word {
    /// Of the trouble that lasts: when it began, and when it was said last.
    trouble: Option<(Instant, Instant)>,
}

impl Word {
    /// A look has failed.
    pub fn failed(&mut self, now: Instant, error: &ReaperError) -> Option<String> {
        let cause = chain(error);
        let Some((began, said)) = &mut self.trouble else {
            self.trouble = Some((now, now));
            return Some(format!("{cause}; retrying every {} s", LOOK_EVERY.as_secs()));
        };
        let since = now.saturating_duration_since(*began).as_secs();
        if now.saturating_duration_since(*said) < SAY_EVERY {
            return None;
        }
        *said = now;
        Some(format!("for {since} s now: {cause}"))
    }

    /// A look has worked.
    pub fn worked(&mut self) -> Option<String> {
        self.trouble.take().map(|_| "the API server answers again".to_owned())
    }
}

fn say(line: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(io::stderr(), "nodewatch-agent: {line}");
}

/// What a look has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Not yet.
    Wait,
    /// Deletion was asked for, or it is gone or going.
    Done,
}

impl Reaper {
    /// Waits for the session's end and removes its namespace. A server that cannot be reached is asked again for as
    /// long as this program may run.
    pub fn run(&self) -> Result<(), ReaperError> {
        let mut word = Word::default();
        loop {
            match self.look(crate::unix_millis()) {
                Ok(Step::Done) => return Ok(()),
                Ok(Step::Wait) => word.worked().into_iter().for_each(|line| say(&line)),
                Err(error @ (ReaperError::Call(_) | ReaperError::Refused { .. } | ReaperError::Endless { .. })) => {
                    word.failed(Instant::now(), &error).into_iter().for_each(|line| say(&line));
                }
                Err(error) => return Err(error),
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Looks once, and does what is due.
    pub fn look(&self, now: UnixMillis) -> Result<Step, ReaperError> {
        let path = format!("api/v1/namespaces/{}", self.namespace);
        let Some(Object { metadata }) = self.server.get(&path, &[])? else { return Ok(Step::Done) };
        if metadata.uid != self.uid || metadata.deletion_timestamp.is_some() {
            return Ok(Step::Done);
        }
        let left_alone = |reason: String| ReaperError::LeftAlone { namespace: self.namespace.clone(), reason };
        if metadata.labels.get(SESSION_LABEL) != Some(&self.session) {
            return Err(left_alone(format!("it does not carry the label {SESSION_LABEL}={}", self.session)));
        }
        let ends = metadata.annotations.get(ENDS).map(String::as_str).unwrap_or_default();
        let ends: jiff::Timestamp =
            ends.parse().map_err(|error| left_alone(format!("its annotation {ENDS} is not a valid time: {error}")))?;
        let ends = ends.as_millisecond().max(0) as u64;
        if now < ends {
            return Ok(Step::Wait);
        }
        let mut agents = 0;
        for kind in WORKLOADS {
            let path = kind.replace("{}", &format!("namespaces/{}", self.namespace));
            let Some(items) = self.server.list(&path)? else { continue };
            for Object { metadata } in items {
                if metadata.labels.get(SESSION_LABEL) != Some(&self.session) {
                    return Err(left_alone(format!("{path}/{} is not the session's", metadata.name)));
                }
                agents += usize::from(
                    metadata.labels.get("app.kubernetes.io/name").is_some_and(|name| name == "nodewatch-agent"),
                );
            }
        }
        if agents > 0 && now < ends + AGENTS_WITHIN.as_millis() as u64 {
            return Ok(Step::Wait);
        }
        self.server.delete(&path, &self.uid)?;
        Ok(Step::Done)
    }
}
