//! What a node is, as far as it decides whether an agent can ever run there.
//!
//! Owns the marks by which the platforms tell their kinds of compute apart: labels, taints, operating system and
//! architecture. Pure.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::Node;

/// What the agent image is built for, as Kubernetes names architectures.
pub const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// Labels with these values mark nodes that have no kernel of their own.
const VIRTUAL_LABELS: [(&str, &str); 3] =
    [("type", "virtual-kubelet"), ("type", "kwok"), ("liqo.io/type", "virtual-node")];
/// Taints and labels whose keys begin so do the same: virtual kubelets by provider, KWOK, Liqo, Tencent's super nodes.
const VIRTUAL_KEYS: [&str; 5] = [
    "virtual-kubelet.io/",
    "kwok.x-k8s.io/",
    "virtual-node.liqo.io/",
    "eks.tke.cloud.tencent.com/eklet",
    "node.kubernetes.io/virtual-kubelet",
];
/// The label by which EKS tells its kinds of compute: `auto`, `fargate`, `hybrid`.
const EKS_COMPUTE: &str = "eks.amazonaws.com/compute-type";

/// A node's machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its operating system as Kubernetes names it: `linux`, `windows`.
    #[serde(default)]
    pub system: Option<String>,
    /// Its architecture as Kubernetes names it: `amd64`.
    #[serde(default)]
    pub architecture: Option<String>,
    /// The keys of its taints.
    #[serde(default)]
    pub taints: Vec<String>,
    /// It says that it is shutting down.
    #[serde(default)]
    pub shuts_down: bool,
    /// The one architecture that the agent program at hand is for; `None` for the image's.
    #[serde(default)]
    pub program_for: Option<String>,
}

/// Why no agent can ever run on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAgent {
    /// AWS Fargate: no host network, no capabilities.
    Fargate,
    /// A virtual kubelet or a simulated node: there is no machine behind it. What tells so.
    Virtual(String),
    /// Another operating system than Linux.
    System(String),
    /// An architecture that the agent is not built for, and those that it is for.
    Architecture(String, String),
}

impl NoAgent {
    /// In a word, for a column.
    pub fn word(&self) -> &str {
        match self {
            Self::Fargate => "fargate",
            Self::Virtual(_) => "virtual",
            Self::System(system) => system,
            Self::Architecture(architecture, _) => architecture,
        }
    }
}

impl fmt::Display for NoAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fargate => f.write_str("a Fargate node: pods there get neither the host's network nor NET_RAW"),
            Self::Virtual(mark) => write!(f, "a virtual node ({mark}): there is no machine to watch"),
            Self::System(system) => write!(f, "the agent runs on Linux, and its operating system is {system}"),
            Self::Architecture(architecture, known) => {
                write!(f, "the agent is built for {known}, and its architecture is {architecture}")
            }
        }
    }
}

impl Node {
    /// Why no agent can ever run on this node; `None` where one can, as far as the node tells.
    pub fn cannot_run(&self) -> Option<NoAgent> {
        if is_fargate(&self.name.0, &self.labels) {
            return Some(NoAgent::Fargate);
        }
        if let Some(mark) = virtual_mark(&self.labels, &self.machine.taints) {
            return Some(NoAgent::Virtual(mark));
        }
        let told = |own: &Option<String>, labels: [&str; 2]| {
            let label = || labels.iter().find_map(|label| self.labels.get(*label)).cloned();
            own.clone().or_else(label).filter(|text| !text.is_empty())
        };
        let system = told(&self.machine.system, ["kubernetes.io/os", "beta.kubernetes.io/os"]);
        if let Some(system) = system.filter(|system| !system.eq_ignore_ascii_case("linux")) {
            return Some(NoAgent::System(system));
        }
        let known = self.machine.program_for.as_deref().map_or(ARCHITECTURES.to_vec(), |one| vec![one]);
        told(&self.machine.architecture, ["kubernetes.io/arch", "beta.kubernetes.io/arch"])
            .filter(|architecture| !known.contains(&architecture.as_str()))
            .map(|architecture| NoAgent::Architecture(architecture, known.join(" and ")))
    }

    /// Its state, all of it, as kubectl has it: `Ready`, `NotReady,cordoned`.
    pub fn status(&self) -> String {
        let closed = if self.cordoned { ",cordoned" } else { "" };
        format!("{}{closed}", self.readiness.word())
    }
}

/// By its label; the name counts only where there is none, as before EKS set it.
fn is_fargate(name: &str, labels: &BTreeMap<String, String>) -> bool {
    labels.get(EKS_COMPUTE).map_or_else(|| name.starts_with("fargate-"), |kind| kind == "fargate")
}

fn virtual_mark(labels: &BTreeMap<String, String>, taints: &[String]) -> Option<String> {
    let by_value = VIRTUAL_LABELS.iter().find(|(key, value)| labels.get(*key).is_some_and(|found| found == value));
    if let Some((key, value)) = by_value {
        return Some(format!("label {key}={value}"));
    }
    let marks = |key: &&String| VIRTUAL_KEYS.iter().any(|mark| key.starts_with(mark));
    let label = labels.keys().find(marks).map(|key| format!("label {key}"));
    label.or_else(|| taints.iter().find(marks).map(|key| format!("taint {key}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, labels: &[(&str, &str)]) -> Node {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Node { labels, ..Node::named(name.into()) }
    }

    fn word(node: &Node) -> Option<String> {
        node.cannot_run().map(|reason| reason.word().to_owned())
    }

    #[test]
    fn kinds_of_compute_without_a_machine_are_known() {
        let fargate = node("fargate-ip-10-0-1-2.eu-west-1.compute.internal", &[(EKS_COMPUTE, "fargate")]);
        assert_eq!(word(&fargate).as_deref(), Some("fargate"));
        assert_eq!(word(&node("fargate-ip-10-0-1-2", &[])).as_deref(), Some("fargate"));
        for kind in ["auto", "hybrid", "ec2"] {
            assert_eq!(word(&node("fargate-lover", &[(EKS_COMPUTE, kind), ("kubernetes.io/os", "linux")])), None);
        }
        for label in [
            ("type", "virtual-kubelet"),
            ("type", "kwok"),
            ("liqo.io/type", "virtual-node"),
            ("virtual-kubelet.io/provider", "admiralty"),
        ] {
            assert_eq!(word(&node("a", &[label])).as_deref(), Some("virtual"), "{label:?}");
        }
        let mut tainted = node("aci", &[("kubernetes.io/os", "linux")]);
        tainted.machine.taints = vec!["node.kubernetes.io/unreachable".into(), "virtual-kubelet.io/provider".into()];
        let reason = tainted.cannot_run().expect("a reason").to_string();
        assert!(reason.contains("taint virtual-kubelet.io/provider"), "{reason}");
        assert_eq!(word(&node("plain", &[("type", "worker")])), None);
    }

    #[test]
    fn other_systems_and_architectures_are_known_by_label_or_by_what_the_kubelet_says() {
        assert_eq!(word(&node("w", &[("kubernetes.io/os", "windows")])).as_deref(), Some("windows"));
        assert_eq!(word(&node("s", &[("kubernetes.io/arch", "s390x")])).as_deref(), Some("s390x"));
        assert_eq!(word(&node("g", &[("kubernetes.io/arch", "arm64"), ("kubernetes.io/os", "linux")])), None);
        let mut told = node("w", &[]);
        told.machine.system = Some("windows".into());
        assert_eq!(word(&told).as_deref(), Some("windows"));
        let mut sent = node("g", &[("kubernetes.io/arch", "arm64")]);
        sent.machine.program_for = Some("amd64".into());
        assert_eq!(word(&sent).as_deref(), Some("arm64"), "the program that is sent is for another one");
        assert_eq!(word(&Node::named("unknown".into())), None, "where nothing is told it is tried");
    }

    #[test]
    fn a_node_that_is_closed_and_not_ready_says_both_as_kubectl_does() {
        let node = Node { cordoned: true, ..Node::named("a".into()) };
        assert_eq!(node.status(), "Unknown,cordoned");
    }
}
