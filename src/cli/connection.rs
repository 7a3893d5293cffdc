//! Which cluster, or this machine.

use std::path::PathBuf;

use clap::Args;

/// Which cluster.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// Path to the kubeconfig file [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Kubeconfig context to use [default: the current context]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Hide and refuse everything that changes the cluster
    #[arg(long)]
    pub read_only: bool,
}

/// This machine instead of a cluster.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct LocalArgs {
    /// Use this machine as the only node, without Kubernetes
    #[arg(long, conflicts_with_all = ["kubeconfig", "context"])]
    pub local: bool,
}
