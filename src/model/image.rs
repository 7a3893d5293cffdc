//! The agents' image and how it is pulled.

use serde::{Deserialize, Serialize};

use super::Notice;

/// What agents run from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentImage {
    /// As container runtimes read it; empty where there are no images.
    pub reference: String,
    /// Nobody has named it: it is the default, which is published nowhere.
    pub is_default: bool,
}

impl From<&str> for AgentImage {
    /// One that somebody has named.
    fn from(reference: &str) -> Self {
        Self { reference: reference.to_owned(), is_default: false }
    }
}

impl AgentImage {
    /// That it can be had only where somebody has loaded it by hand; `None` for one that was named.
    pub fn unpublished(&self) -> Option<Notice> {
        let cause = format!("docker.io/library/{} runs only on nodes that have it loaded", self.reference);
        let next_step = "name yours with --image or NODEWATCH_IMAGE, or use --push-agent busybox:1.36";
        self.is_default.then(|| Notice::warning("no agent image is published yet", cause, next_step))
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    /// Before each start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// It is there already.
    Never,
}

impl PullPolicy {
    /// As Kubernetes writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}
