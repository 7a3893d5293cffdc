//! Targets in place of nodes: pods, services, pods by label.

use clap::Args;

use super::NodesArgs;
use crate::model::Target;

/// Which pods are meant, whichever nodes they are on.
#[derive(Debug, Clone, Default, Args)]
pub struct TargetArgs {
    /// Only this pod, on the node that it is on, repeatable
    ///
    /// A capture takes its packets alone, at its own interface where the node has one, and follows it to other nodes. NAME
    /// alone is in the context's namespace.
    #[arg(long, value_name = "NS/NAME", value_parser = Target::pod,
        conflicts_with_all = ["nodes", "all", "selector", "pods"])]
    pub pod: Vec<Target>,
    /// Only the ready pods of this service, as with --pod, repeatable
    #[arg(long, value_name = "NS/NAME", value_parser = Target::service,
        conflicts_with_all = ["nodes", "all", "selector", "pods"])]
    pub service: Vec<Target>,
    /// Only pods with the labels of -l, in the namespace of -n [default: all]
    ///
    /// As with --pod. Agents then go into a namespace of the session's own.
    #[arg(long, requires = "selector", conflicts_with_all = ["nodes", "all"])]
    pub pods: bool,
    /// The namespace of those with labels, which is what -n says.
    #[arg(skip)]
    pub namespace: Option<String>,
}

impl TargetArgs {
    /// What is meant, if it is not nodes; the error names what cannot be read.
    pub fn targets(&self, nodes: &NodesArgs) -> Result<Vec<Target>, String> {
        if self.pods {
            let labels = nodes.selector.as_deref().unwrap_or_default();
            return Ok(vec![Target::pods(self.namespace.as_deref(), labels)?]);
        }
        let mut targets: Vec<Target> = Vec::new();
        for target in self.pod.iter().chain(&self.service) {
            if !targets.contains(target) {
                targets.push(target.clone());
            }
        }
        Ok(targets)
    }
}
