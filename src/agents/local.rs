//! This machine as the only node: the agent as a child process, on the same kind of tunnel.
//!
//! Owns the child, which goes with the program, and holds the ring's folder. Must not know the app.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::process::{Child, Command};

use crate::{
    agents::{
        rings::{LeftRing, Ring, RingError},
        site::{Bulk, FilePart, OpenError, Site, StreamFrom, Tunnel},
    },
    model::{DeployProgress, Failure, Keep, Machine, Node, NodeName, NodesChange, Notice, Readiness, Removal},
};

const AGENT: &str = "nodewatch-agent";
/// Beside the ring: where the agent meets other programs of the same user.
const SOCKET: &str = "agent.sock";
/// The longest name that a socket can have everywhere, see unix(7).
const LONGEST_SOCKET: usize = 100;

/// This machine cannot be the node.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The agent's program is missing.
    #[error("cannot find the program {AGENT} beside {beside:?} or in PATH")]
    NoAgent {
        /// Where it was looked for first.
        beside: PathBuf,
    },
    /// The ring's folder.
    #[error(transparent)]
    Ring(#[from] RingError),
}

impl From<LocalError> for Notice {
    fn from(error: LocalError) -> Self {
        let (next_step, failure) = match error {
            LocalError::NoAgent { .. } => {
                ("cargo build --workspace puts both programs into one folder", Failure::Other)
            }
            LocalError::Ring(RingError::Folder { .. }) => {
                ("set XDG_STATE_HOME to a folder that you can write to", Failure::Other)
            }
            LocalError::Ring(RingError::InUse(_)) => ("quit it there first", Failure::Other),
            LocalError::Ring(RingError::Unknown(_)) => ("see nodewatch-tui sessions --local", Failure::BadInput),
        };
        Self::error("cannot watch this machine", crate::base::text::chain(&error), next_step).of(failure)
    }
}

/// This machine.
pub struct Local {
    agent: PathBuf,
    /// Where the agent's files are.
    folder: PathBuf,
    name: NodeName,
    whose: Whose,
}

/// Whose agent it is.
enum Whose {
    /// This program's, which holds the ring and starts it.
    Own {
        ring: Arc<Ring>,
        /// The agent finds out who holds ports.
        processes: bool,
    },
    /// Of another program, which has the session open.
    Others,
}

impl Local {
    /// Finds the agent's program; its files go into this ring.
    pub fn new(ring: Ring, processes: bool) -> Result<Self, LocalError> {
        Self::with(ring.path(), Whose::Own { ring: Arc::new(ring), processes })
    }

    /// Beside the program that has the session open: through its agent's socket. Nothing of it is this program's to remove.
    pub fn beside(ring: &LeftRing) -> Result<Self, LocalError> {
        Self::with(ring.folder.clone(), Whose::Others)
    }

    fn with(folder: PathBuf, whose: Whose) -> Result<Self, LocalError> {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = if name.trim().is_empty() { "localhost" } else { name.trim() };
        Ok(Self { agent: find_agent()?, folder, name: name.into(), whose })
    }

    /// Where the agent meets other programs; `None` where the place has a longer name than a socket can have.
    fn socket(&self) -> Option<PathBuf> {
        let path = self.folder.with_file_name(SOCKET);
        (path.as_os_str().len() <= LONGEST_SOCKET).then_some(path)
    }

    /// A command of the agent's program on its files.
    fn on_ring(&self, name: &str) -> Command {
        let mut command = Command::new(&self.agent);
        command.arg(name).arg("--ring").arg(&self.folder);
        command
    }
}

/// Beside this program, where both are built and installed; otherwise in PATH.
pub(super) fn find_agent() -> Result<PathBuf, LocalError> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned)).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Tests and benches run from a folder below the programs.
    let folders = [beside.clone(), beside.join("..")].into_iter().chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(AGENT)).find(|file| file.is_file()).ok_or(LocalError::NoAgent { beside })
}

fn start(command: &mut Command) -> Result<Child, OpenError> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        // Ctrl-C in the terminal is for this program; the agent ends with its standard input.
        .process_group(0)
        .spawn()
        .map_err(|why| OpenError::NotStarted { program: AGENT, why })
}

impl Site for Local {
    fn nodes(&self) -> BoxStream<'static, NodesChange> {
        let node = Node {
            name: self.name.clone(),
            readiness: Readiness::Ready,
            cordoned: false,
            zone: None,
            instance_type: Some("local".to_owned()),
            addresses: Vec::new(),
            labels: std::collections::BTreeMap::new(),
            version: None,
            uid: None,
            created: None,
            instance_id: None,
            kubelet_port: None,
            machine: Machine::default(),
        };
        stream::once(async { NodesChange::Replaced(vec![node]) }).chain(stream::pending()).boxed()
    }

    fn deploy(&self, nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)> {
        stream::iter(nodes).map(|node| (node, DeployProgress::Running)).chain(stream::pending()).boxed()
    }

    fn attach(&self) -> BoxStream<'static, (NodeName, DeployProgress)> {
        self.deploy(vec![self.name.clone()])
    }

    fn ring_folder(&self) -> Option<PathBuf> {
        Some(self.folder.clone())
    }

    /// The agent has ended by then, with its tunnel.
    fn remove(&self, _keep: Keep) -> BoxStream<'static, Removal> {
        let own = match &self.whose {
            Whose::Own { ring, .. } => Some(Arc::clone(ring)),
            Whose::Others => None,
        };
        let removed = async move {
            let ring = own?;
            let refused = |error: std::io::Error| {
                let headline = format!("capture files were left in {}", ring.path().display());
                Removal::Refused(Notice::error(headline, error.to_string(), "remove them by hand"))
            };
            ring.remove().err().map(refused)
        };
        stream::once(removed).filter_map(std::future::ready).chain(stream::once(async { Removal::Finished })).boxed()
    }

    fn open(&self, _node: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>> {
        let socket = self.socket();
        let mut command = match (&self.whose, &socket) {
            (Whose::Own { processes, .. }, socket) => {
                let mut command = self.on_ring("serve");
                command.arg("--stdio");
                if let Some(socket) = socket {
                    command.arg("--shared").arg("--socket").arg(socket);
                }
                if *processes {
                    command.arg("--processes");
                }
                command
            }
            (Whose::Others, Some(socket)) => {
                let mut command = Command::new(&self.agent);
                command.arg("connect").arg("--socket").arg(socket);
                command
            }
            (Whose::Others, None) => {
                let error = OpenError::TooLong(self.folder.clone());
                return async move { Err(error) }.boxed();
            }
        };
        async move {
            let mut child = start(&mut command)?;
            let (Some(reader), Some(writer)) = (child.stdout.take(), child.stdin.take()) else {
                return Err(OpenError::NoStream { opened: AGENT, stream: "standard input and output" });
            };
            Ok(Tunnel { reader: Box::new(reader), writer: Box::new(writer), guard: Box::new(child) })
        }
        .boxed()
    }

    fn follow(&self, _node: &NodeName, from: StreamFrom) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        let mut command = self.on_ring("follow");
        command.args(from.arguments());
        bulk(command)
    }

    fn fetch(&self, _node: &NodeName, part: FilePart) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        let mut command = self.on_ring("fetch");
        command
            .arg(format!("--offset={}", part.offset))
            .arg(format!("--length={}", part.length))
            .arg("--")
            .arg(part.file);
        bulk(command)
    }
}

/// What a process writes to its standard output.
fn bulk(mut command: Command) -> BoxFuture<'static, Result<Bulk, OpenError>> {
    async move {
        let mut child = start(&mut command)?;
        let none = OpenError::NoStream { opened: AGENT, stream: "standard output" };
        let reader = child.stdout.take().ok_or(none)?;
        Ok(Bulk { reader: Box::new(reader), guard: Box::new(child) })
    }
    .boxed()
}
