//! The session's objects, from the YAML in `manifests/`.
//!
//! Owns what is replaced in these files: session, node, image, deadline. Everything else is said there, once.

use std::time::Duration;

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Namespace, ServiceAccount},
};
use serde::de::DeserializeOwned;

use super::AgentSettings;
use crate::model::{NodeName, SessionId};

const NAMESPACE: &str = include_str!("../../manifests/namespace.yaml");
const SERVICE_ACCOUNT: &str = include_str!("../../manifests/service-account.yaml");
const AGENT_JOB: &str = include_str!("../../manifests/agent-job.yaml");

/// What the manifests have in place of a session's id and a node's name.
const SAMPLE_SESSION: &str = "00000000";
const SAMPLE_NODE: &str = "node-name";

/// The label that carries the session's id.
pub(super) const SESSION_LABEL: &str = "nodewatch-tui/session";

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    fn word(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// The manifests are part of the program and tested; this names the one that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("the built-in manifest of the {kind} cannot be read: {reason}")]
pub(super) struct ManifestError {
    kind: &'static str,
    reason: String,
}

pub(super) fn namespace(session: &SessionId) -> Result<Namespace, ManifestError> {
    read("Namespace", NAMESPACE, session, SAMPLE_NODE)
}

pub(super) fn service_account(session: &SessionId) -> Result<ServiceAccount, ManifestError> {
    read("ServiceAccount", SERVICE_ACCOUNT, session, SAMPLE_NODE)
}

/// The Job for one node. `attempt` tells a node's Jobs of one session apart.
pub(super) fn agent_job(
    session: &SessionId,
    node: &NodeName,
    attempt: usize,
    settings: &AgentSettings,
    left: Duration,
) -> Result<Job, ManifestError> {
    let mut job: Job = read("Job", AGENT_JOB, session, &node.0)?;
    let broken = |reason: &str| ManifestError { kind: "Job", reason: reason.to_owned() };
    job.metadata.name = Some(job_name(node, attempt));
    let spec = job.spec.as_mut().ok_or_else(|| broken("no spec"))?;
    spec.active_deadline_seconds = Some(left.as_secs().max(1) as i64);
    let pod = spec.template.spec.as_mut().ok_or_else(|| broken("no pod spec"))?;
    let container = pod.containers.first_mut().ok_or_else(|| broken("no container"))?;
    container.image = Some(settings.image.clone());
    if let Some(policy) = settings.pull_policy {
        container.image_pull_policy = Some(policy.word().to_owned());
    }
    Ok(job)
}

/// A node's name may be as long as a Job's, so a hash stands for it.
fn job_name(node: &NodeName, attempt: usize) -> String {
    // FNV-1a: the same in every build, as the name is read back from the cluster.
    let hash = node
        .0
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("agent-{hash:016x}-{attempt}")
}

/// Node names are DNS names, so they need no quoting in YAML where the manifest has none.
fn read<T: DeserializeOwned>(
    kind: &'static str,
    yaml: &str,
    session: &SessionId,
    node: &str,
) -> Result<T, ManifestError> {
    let dns = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if node.is_empty() || !node.bytes().all(dns) {
        return Err(ManifestError { kind, reason: format!("{node:?} is no name of a node") });
    }
    // Quoted: a name of digits alone is a name all the same.
    let quoted = format!("{node:?}");
    let yaml = yaml
        .replace(SAMPLE_SESSION, &session.to_string())
        .replace(&format!("[{SAMPLE_NODE}]"), &format!("[{quoted}]"))
        .replace(&format!("nodewatch-tui/node: {SAMPLE_NODE}"), &format!("nodewatch-tui/node: {quoted}"));
    serde_saphyr::from_str(&yaml).map_err(|error| ManifestError { kind, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> AgentSettings {
        AgentSettings { image: "registry/agent:1".into(), pull_policy: Some(PullPolicy::Never), budget: Duration::ZERO }
    }

    fn job(node: &str) -> Result<Job, ManifestError> {
        agent_job(&SessionId::new(0x7f3a_91c2), &node.into(), 1, &settings(), Duration::from_secs(90))
    }

    #[test]
    fn a_job_for_one_node_and_one_session() {
        let job = serde_json::to_value(job("12.example").expect("a job")).expect("JSON");
        assert_eq!(job["metadata"]["namespace"], "nodewatch-7f3a91c2");
        assert_eq!(job["metadata"]["labels"][SESSION_LABEL], "7f3a91c2");
        assert_eq!(job["metadata"]["annotations"]["nodewatch-tui/node"], "12.example");
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 90);
        let pod = &job["spec"]["template"]["spec"];
        let terms =
            &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        assert_eq!(terms[0]["matchFields"][0]["values"], serde_json::json!(["12.example"]));
        assert_eq!(pod["containers"][0]["image"], "registry/agent:1");
        assert_eq!(pod["containers"][0]["imagePullPolicy"], "Never");
    }

    #[test]
    fn the_pod_has_one_capability_and_nothing_of_the_host_but_its_network() {
        let job = serde_json::to_value(job("a").expect("a job")).expect("JSON");
        let pod = &job["spec"]["template"]["spec"];
        let security = &pod["containers"][0]["securityContext"];
        assert_eq!(security["capabilities"], serde_json::json!({"drop": ["ALL"], "add": ["NET_RAW"]}));
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["hostNetwork"], true);
        assert!(pod.get("hostPID").is_none() && pod.get("hostIPC").is_none());
        let volumes = pod["volumes"].as_array().expect("volumes");
        assert!(volumes.iter().all(|volume| volume.get("hostPath").is_none()));
    }

    #[test]
    fn every_object_carries_the_session() {
        let session = SessionId::new(1);
        let namespace = namespace(&session).expect("a namespace").metadata;
        let account = service_account(&session).expect("an account").metadata;
        assert_eq!(namespace.name.as_deref(), Some("nodewatch-00000001"));
        for metadata in [namespace, account] {
            let labels = metadata.labels.expect("labels");
            assert_eq!(labels[SESSION_LABEL], "00000001");
            assert_eq!(labels["app.kubernetes.io/managed-by"], "nodewatch-tui");
        }
    }

    #[test]
    fn a_name_cannot_write_yaml() {
        for name in ["", "a: b", "a\nb", "a\"b", "a]"] {
            assert!(job(name).is_err(), "{name:?}");
        }
    }
}
