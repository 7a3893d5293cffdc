//! Which notice ends a pod before its time: a drain, an eviction, a spot interruption, a node that is shut down.
//!
//! Owns the words by which Kubernetes, its autoscalers and AWS tell one from another. Pure.

use super::Node;

/// Taints by which those who take nodes away say so first, and what each means: the autoscaler's, Karpenter's of v1 and before,
/// the AWS Node Termination Handler's, Kubernetes' own.
const TAINTS: [(&str, &str); 11] = [
    ("aws-node-termination-handler/spot-itn", "spot interruption"),
    ("aws-node-termination-handler/scheduled-maintenance", "scheduled maintenance of its instance"),
    ("aws-node-termination-handler/asg-lifecycle-termination", "its auto scaling group terminates its instance"),
    ("karpenter.sh/disrupted", "Karpenter takes its node away"),
    ("karpenter.sh/disruption", "Karpenter takes its node away"),
    ("ToBeDeletedByClusterAutoscaler", "the cluster autoscaler takes its node away"),
    // Which often comes to nothing.
    ("aws-node-termination-handler/rebalance-recommendation", "spot rebalance recommendation"),
    ("node.kubernetes.io/out-of-service", "its node is out of service"),
    ("node.cloudprovider.kubernetes.io/shutdown", "its instance is shut down"),
    ("node.kubernetes.io/unreachable", "its node cannot be reached"),
    ("node.kubernetes.io/not-ready", "its node is not ready"),
];

impl Node {
    /// What the node says of its own end, for people; `None` where it says nothing.
    pub fn notice(&self) -> Option<String> {
        if self.machine.shuts_down {
            return Some("its node is shutting down".to_owned());
        }
        let told = TAINTS.iter().find(|(key, _)| self.machine.taints.iter().any(|taint| taint == key));
        told.map(|(key, what)| format!("{what} (taint {key})"))
            .or_else(|| self.cordoned.then(|| "its node is cordoned, as by kubectl drain".to_owned()))
    }
}

/// What a pod's `DisruptionTarget` condition says, for people; from Kubernetes 1.26 on.
pub fn of_condition(reason: &str, message: &str) -> String {
    let what = match reason {
        "EvictionByEvictionAPI" => "its pod is evicted, as by kubectl drain or an autoscaler",
        "DeletionByTaintManager" => "its pod is deleted for a NoExecute taint of its node",
        "PreemptionByScheduler" => "its pod makes room for one of a higher priority",
        "DeletionByPodGC" => "its pod is deleted, as its node is gone",
        "TerminationByKubelet" => {
            return format!("its kubelet ends its pod: {message}").trim_end_matches(": ").to_owned();
        }
        _ => return format!("its pod is disrupted: {reason} {message}").trim_end().to_owned(),
    };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_names_the_notice_that_it_was_given() {
        let mut node = Node::named("n".into());
        assert_eq!(node.notice(), None);
        node.machine.taints = vec!["dedicated".into()];
        assert_eq!(node.notice(), None, "a taint like any other");
        node.cordoned = true;
        assert_eq!(node.notice().as_deref(), Some("its node is cordoned, as by kubectl drain"));
        node.machine.taints.push("karpenter.sh/disrupted".into());
        let karpenter = "Karpenter takes its node away (taint karpenter.sh/disrupted)";
        assert_eq!(node.notice().as_deref(), Some(karpenter));
        // What is behind it says more.
        node.machine.taints.push("aws-node-termination-handler/spot-itn".into());
        assert!(node.notice().is_some_and(|notice| notice.starts_with("spot interruption")));
        node.machine.shuts_down = true;
        assert_eq!(node.notice().as_deref(), Some("its node is shutting down"));
    }

    #[test]
    fn a_condition_is_told_in_words() {
        assert_eq!(of_condition("TerminationByKubelet", ""), "its kubelet ends its pod");
        assert_eq!(of_condition("TerminationByKubelet", "low on memory"), "its kubelet ends its pod: low on memory");
        assert_eq!(of_condition("Other", "why"), "its pod is disrupted: Other why");
        assert!(of_condition("EvictionByEvictionAPI", "Eviction API: evicting").contains("kubectl drain"));
    }
}
