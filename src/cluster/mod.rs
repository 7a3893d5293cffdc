//! Kubernetes: the node watch, the agents' objects, tunnels by exec, and the removal of all that was made.
//!
//! Owns every call to the API server. Speaks `model` and the tunnel's byte stream; must not know the app or a screen.

mod connect;
mod deploy;
mod error;
mod exec;
mod nodes;
mod objects;
mod progress;
mod remove;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use futures::{future::BoxFuture, stream::BoxStream};
use kube::Client;

pub use connect::{Connection, Target};
pub use objects::PullPolicy;

use crate::{
    model::{DeployProgress, MadeObject, NodeName, NodesChange, Removal, SessionId},
    site::{Bulk, FilePart, OpenError, Site, Tunnel},
};

/// What a session's agents are made of.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The agent image.
    pub image: String,
    /// When it is pulled; `None` leaves it to the manifest.
    pub pull_policy: Option<PullPolicy>,
    /// How long agents may run.
    pub budget: Duration,
}

/// One cluster and what this session has made in it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    session: SessionId,
    settings: AgentSettings,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// What was made and not seen gone, in order of creation.
    made: Mutex<Vec<Made>>,
    /// Each node's current Job, by the Job's name.
    jobs: Mutex<HashMap<String, NodeName>>,
    /// Each node's current pod.
    pods: Mutex<HashMap<NodeName, String>>,
    /// The pods are being followed.
    following: AtomicBool,
    /// Only one task makes the namespace.
    base: tokio::sync::Mutex<()>,
    /// When the budget began to run.
    began: std::sync::OnceLock<Instant>,
}

/// An object of ours, and the UID that the server gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    kind: Kind,
    name: String,
    uid: String,
    purpose: String,
}

/// The kinds that a session makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Namespace,
    ServiceAccount,
    Job,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::Job => "Job",
        }
    }
}

impl Made {
    fn facts(&self) -> MadeObject {
        MadeObject { kind: self.kind.word(), name: self.name.clone(), purpose: self.purpose.clone() }
    }
}

/// Every change under these locks is one call, so the data is whole even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// A session on a connected cluster. Nothing is made yet.
    pub fn new(connection: Connection, session: SessionId, settings: AgentSettings) -> Self {
        Self { client: connection.client, session, settings, state: Arc::default() }
    }

    /// What has been made so far and not been seen gone.
    pub fn made(&self) -> Vec<MadeObject> {
        lock(&self.state.made).iter().map(Made::facts).collect()
    }

    fn namespace(&self) -> String {
        format!("nodewatch-{}", self.session)
    }
}

impl Site for Cluster {
    fn nodes(&self) -> BoxStream<'static, NodesChange> {
        nodes::watch(self.client.clone())
    }

    fn deploy(&self, nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)> {
        deploy::deploy(self.clone(), nodes)
    }

    fn open(&self, node: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>> {
        exec::open(self, node)
    }

    fn fetch(&self, node: &NodeName, part: FilePart) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        exec::fetch(self, node, &part)
    }

    fn remove(&self) -> BoxStream<'static, Removal> {
        remove::remove(self.clone())
    }
}
