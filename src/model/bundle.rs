//! What there is to know of a bundle, a node's network state in files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a bundle is on this laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleFiles {
    /// For programs.
    pub json: PathBuf,
    /// For people.
    pub text: PathBuf,
    /// How many times the state is in it: of a capture its beginning and its end.
    pub taken: usize,
}

/// A program that makes a node's network, such as kube-proxy or a plugin for CNI.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetworkProgram {
    /// Its pod, with the namespace.
    pub pod: String,
    /// Its image, which says the version.
    pub image: String,
}
