//! Which cluster this is: API server address, CA fingerprint and the UID of `kube-system`.
//!
//! Owns the comparison that every creation and every deletion begins with.

use kube::{Client, Config};
use sha2::{Digest, Sha256};

use super::{
    connect::Connection,
    error::{Attempt, notice},
    kinds,
};
use crate::model::{ClusterIdentity, Failure, Kind, Notice};

/// The address and the trust of a configuration.
pub(super) fn trust(config: &Config) -> (String, Option<String>) {
    let fingerprint = config.root_cert.as_ref().map(|certificates| {
        let mut hash = Sha256::new();
        for certificate in certificates {
            hash.update(certificate);
        }
        crate::text::hex(&hash.finalize())
    });
    (config.cluster_url.to_string().trim_end_matches('/').to_owned(), fingerprint)
}

/// The UID of `kube-system`, which no two clusters share.
pub(super) async fn kube_system_uid(client: &Client) -> Result<String, Notice> {
    let what = "tell which cluster this is (namespace kube-system)".to_owned();
    let attempt = Attempt { what, rights: "get on namespaces" };
    let found = kinds::api(client, Kind::Namespace, None).get_metadata("kube-system").await;
    let found = found.map_err(|error| notice(&attempt, &error))?;
    found.metadata.uid.ok_or_else(|| Notice::error("cannot tell which cluster this is", "kube-system has no UID", ""))
}

/// Refuses a cluster that is not the one that a session began in.
pub(super) async fn check(connection: &Connection, expected: &ClusterIdentity) -> Result<(), Notice> {
    let facts = [
        ("API server address", Some(expected.server.as_str()), Some(connection.server.as_str())),
        ("CA fingerprint", expected.ca_sha256.as_deref(), connection.ca_sha256.as_deref()),
    ];
    for (what, then, now) in facts {
        if then != now {
            return Err(another(expected, what, then.unwrap_or("none"), now.unwrap_or("none")));
        }
    }
    check_uid(&connection.client, expected).await
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
        format!("context {:?} leads to another cluster than the one the session began in", expected.context),
        format!("the {what} was {then} and is {now}; nothing was touched"),
        "point the context at the session's cluster again, then try again",
    )
    .of(Failure::BadInput)
}
