//! Which cluster this is: API server address, CA fingerprint and the UID of `kube-system`.
//!
//! Owns the comparison that every creation and every deletion begins with, and the question that it may end in.

use kube::{Client, Config};
use sha2::{Digest, Sha256};

use super::{
    error::{Attempt, notice},
    kinds,
};
use crate::{
    base::text,
    model::{ClusterIdentity, Failure, Kind, Notice},
};

/// The address and the trust of a configuration.
pub(super) fn trust(config: &Config) -> (String, Option<String>) {
    let fingerprint = config.root_cert.as_ref().map(|certificates| {
        let mut hash = Sha256::new();
        for certificate in certificates {
            hash.update(certificate);
        }
        text::hex(&hash.finalize())
    });
    (config.cluster_url.to_string().trim_end_matches('/').to_owned(), fingerprint)
}

/// The UID of `kube-system`, which no two clusters share.
pub(super) async fn kube_system_uid(client: &Client) -> Result<String, Notice> {
    let what = "identify this cluster (namespace kube-system)".to_owned();
    let attempt = Attempt { what, rights: "get on namespaces" };
    let found = kinds::api(client, Kind::Namespace, None).get_metadata("kube-system").await;
    let found = found.map_err(|error| notice(&attempt, &error))?;
    found.metadata.uid.ok_or_else(|| Notice::error("cannot identify this cluster", "kube-system has no UID", ""))
}

/// The notice for the same cluster by another way.
pub(super) fn another_way(context: &str, expected: &ClusterIdentity, moved: &[String]) -> Notice {
    let uid = &expected.kube_system_uid;
    Notice::error(
        format!("context {context:?} reaches the session's cluster at another address"),
        format!("{}; kube-system has the same UID {uid}; nothing was touched", moved.join(", ")),
        format!("if that is right, pass this to cleanup, attach or freeze: --trust-cluster {}", text::shell(uid)),
    )
    .of(Failure::Moved)
}

/// The same for a connection that has been checked before: its address may answer as another cluster by now.
pub(super) async fn check_uid(client: &Client, expected: &ClusterIdentity) -> Result<(), Notice> {
    let now = kube_system_uid(client).await?;
    if now == expected.kube_system_uid {
        return Ok(());
    }
    Err(another(expected, "UID of kube-system", &expected.kube_system_uid, &now))
}

fn another(expected: &ClusterIdentity, what: &str, then: &str, now: &str) -> Notice {
    Notice::error(
        format!("context {:?} leads to another cluster than the session's", expected.context),
        format!("the {what} was {then} and is {now}; nothing was touched"),
        "point the context at the session's cluster again, then try again",
    )
    .of(Failure::BadInput)
}
impl super::Cluster {
    /// Whether anything that is a Kubernetes API answers.
    pub async fn answers(&self) -> Result<(), Notice> {
        let attempt = Attempt { what: "ask the API server for its version".to_owned(), rights: "get on /version" };
        self.client().apiserver_version().await.map(drop).map_err(|error| notice(&attempt, &error))
    }
}
