//! What long lists of objects are read for: names, UIDs, and the few labels and annotations that count.
//!
//! Owns the small form of an object's metadata; everything else of it is dropped while it is read.

use serde::Deserialize;

/// Of any object.
#[derive(Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    pub uid: Option<String>,
    #[serde(default)]
    pub annotations: Option<Annotations>,
    #[serde(default)]
    pub labels: Option<Labels>,
}

/// Those that count here.
#[derive(Deserialize)]
pub(super) struct Annotations {
    /// A static pod's processes carry this, not the UID of the pod that stands for it in the API.
    #[serde(rename = "kubernetes.io/config.hash")]
    pub config_hash: Option<String>,
}

/// Those that count here.
#[derive(Deserialize)]
pub(super) struct Labels {
    /// The service that an endpoint slice is of.
    #[serde(rename = "kubernetes.io/service-name")]
    pub service: Option<String>,
}

impl Metadata {
    /// `NAMESPACE/NAME`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}
