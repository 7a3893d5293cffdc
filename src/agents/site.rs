//! Where agents run: the seam between the program and a cluster, this machine, or a test.
//!
//! Owns the traits and the stream types. Must not know Kubernetes, processes or the app.

use std::{any::Any, collections::BTreeMap, io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use nodewatch_answers::News;
use nodewatch_protocol::UnixMillis;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use crate::{
    base::text,
    model::{
        Aimed, ContextRow, DeployProgress, Expectations, Keep, Made, MadeObject, Moment, NetworkProgram, NodeName,
        NodesChange, Notice, Removal, SeenObject, SessionId, SessionSummary, StandIn, Summary, Target, Workloads,
    },
};

/// Bytes from an agent.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// Bytes to an agent.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The byte stream between this program and one agent. Dropping it cuts it.
pub struct Tunnel {
    /// What the agent says.
    pub reader: Reader,
    /// What it is told.
    pub writer: Writer,
    /// What must live as long as the stream: a process, a connection.
    pub guard: Box<dyn Any + Send>,
}

/// Bytes of a capture file. Dropping it cuts the stream.
pub struct Bulk {
    /// The bytes.
    pub reader: Reader,
    /// What must live as long as the stream.
    pub guard: Box<dyn Any + Send>,
}

/// A stream to an agent could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The agent that it was to lead to is no more.
    #[error("its agent is gone")]
    AgentGone,
    /// No socket can be in that folder.
    #[error("{}: its name is too long for a socket in it", .0.display())]
    TooLong(PathBuf),
    /// Nor is its pod.
    #[error("its pod is gone")]
    PodGone,
    /// A program on this machine does not start.
    #[error("cannot start {program}: {why}")]
    NotStarted {
        /// Which.
        program: &'static str,
        /// Why not.
        why: io::Error,
    },
    /// What was opened carries nothing.
    #[error("{opened} has no {stream}")]
    NoStream {
        /// What was opened: a program, an exec.
        opened: &'static str,
        /// Which stream it lacks.
        stream: &'static str,
    },
    /// Whoever was asked for the stream refused it.
    #[error("{}", text::root_cause(&**.0))]
    Refused(Box<dyn std::error::Error + Send + Sync>),
    /// The agent program did not get into its pod in time.
    #[error("the pod did not accept the agent program within {} min", .0.as_secs() / 60)]
    NotTaken(Duration),
    /// Its way there was cut.
    #[error("the agent program was not sent: {0}")]
    NotSent(io::Error),
    /// A stock image that cannot take it.
    #[error(
        "the stock image did not accept the agent program, or its checksum differs: it needs sh, head, sha256sum, \
         chmod and mv ({})",
        text::visible(heard)
    )]
    NotAccepted {
        /// What it said.
        heard: String,
    },
    /// The pod waits for a program that this laptop has no more.
    #[error(
        "its pod waits for the agent program that the session was started with, but {} has changed: set the original \
         with --agent-binary",
        text::visible(&path.display().to_string())
    )]
    OtherProgram {
        /// Where it was.
        path: PathBuf,
    },
}

/// A part of a capture file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePart {
    /// The file's name in the agent's ring.
    pub file: String,
    /// Its first byte.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

/// Where a running capture is to be followed from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamFrom {
    /// Files that were closed before this time are left out.
    pub since: UnixMillis,
    /// The capture that began then, by the agent's clock, whether or not it still runs; `None` is the one that runs.
    pub capture: Option<UnixMillis>,
    /// At most so many packets a second, the latest ones, and of each its headers; `None` is every one, whole.
    pub rate: Option<u32>,
}

impl StreamFrom {
    /// As the agent's program takes it.
    pub fn arguments(self) -> Vec<String> {
        let mut arguments = vec![format!("--since={}", self.since)];
        arguments.extend(self.capture.map(|capture| format!("--capture={capture}")));
        arguments.extend(self.rate.map(|rate| format!("--rate={rate}")));
        arguments
    }
}

/// A set of nodes and a way to run agents on them. Everything is lazy: nothing happens before a stream or future is
/// polled, and dropping it ends what it does. What is said here by default is true of a site that makes nothing
/// outside this program.
pub trait Site: Send + Sync + 'static {
    /// The nodes, and every change to them, for good.
    fn nodes(&self) -> BoxStream<'static, NodesChange>;
    /// Puts agents onto nodes and tells how it goes, for as long as they should run.
    fn deploy(&self, nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)>;
    /// A tunnel to a deployed agent.
    fn open(&self, node: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>>;
    /// What tells the agent that is there now from any other one of its node; `None` where there is only ever one.
    fn agent_of(&self, _node: &NodeName) -> Option<String> {
        None
    }
    /// A part of a capture file, on a stream of its own.
    fn fetch(&self, node: &NodeName, part: FilePart) -> BoxFuture<'static, Result<Bulk, OpenError>>;
    /// The running capture as it grows, on a stream of its own.
    fn follow(&self, node: &NodeName, from: StreamFrom) -> BoxFuture<'static, Result<Bulk, OpenError>>;
    /// Names of what has addresses here, for the readers of captures; empty where nothing is known.
    fn names(&self) -> BoxFuture<'static, BTreeMap<IpAddr, String>> {
        async { BTreeMap::new() }.boxed()
    }
    /// Which ports should answer on these nodes; `None` where nobody says.
    fn expected(&self, _nodes: Vec<NodeName>) -> Option<BoxFuture<'static, Expectations>> {
        None
    }
    /// Which programs make a node's network, or why that is not known; `None` where nobody says.
    fn network_programs(&self, _node: &NodeName) -> Option<BoxFuture<'static, Result<Vec<NetworkProgram>, String>>> {
        None
    }
    /// Where pods run, and which nodes services lead to; `None` where there are no pods.
    fn workloads(&self) -> Option<BoxFuture<'static, Workloads>> {
        None
    }
    /// What there is of pods, endpoints, services and policies, and every change of it, for good; what may not be heard is
    /// told once, and asked for again. `None` where nobody says.
    fn changes(&self) -> Option<BoxStream<'static, Result<News, Notice>>> {
        None
    }
    /// What targets are, and every change of that, for good; after a failure, which is told, it is asked again. `None` where
    /// there are no pods.
    fn aim(&self, _targets: Vec<Target>) -> Option<BoxStream<'static, Result<Aimed, Notice>>> {
        None
    }
    /// Writes down that something of the session may be there from now on, before it is.
    fn note_making(&self, _made: Made) -> Result<(), Notice> {
        Ok(())
    }
    /// Writes down that something of the session was seen gone.
    fn note_gone(&self, _made: Made) -> Result<(), Notice> {
        Ok(())
    }
    /// Deploys agents from that image from now on, in this session for good; what is odd about it is returned.
    fn set_image(&self, _reference: &str) -> Result<String, Notice> {
        Err(Notice::error("the image was not changed", "agents have none here", ""))
    }
    /// Takes up agents that run already, and tells how it goes as [`Site::deploy`] does.
    fn attach(&self) -> BoxStream<'static, (NodeName, DeployProgress)> {
        stream::pending().boxed()
    }
    /// What there is of the session now.
    fn inventory(&self) -> BoxFuture<'static, Result<Vec<SeenObject>, Notice>> {
        async { Ok(Vec::new()) }.boxed()
    }
    /// Removes all that was made and is not to be kept, ending with [`Removal::Finished`].
    fn remove(&self, _keep: Keep) -> BoxStream<'static, Removal> {
        stream::once(async { Removal::Finished }).boxed()
    }
    /// What of others may go with the session's own namespace, by name; nothing else may.
    fn allow_contents(&self, _names: Vec<String>) {}
    /// What the session has made and not seen gone, as far as this program knows without asking anybody.
    fn made(&self) -> Vec<MadeObject> {
        Vec::new()
    }
    /// Writes down, on this laptop alone, when the session ends by the clock on the wall.
    fn note_ends(&self, _ends: UnixMillis) {}
    /// Moves the end of everything that the session has made.
    fn set_ends(&self, _ends: UnixMillis) -> BoxFuture<'static, Result<(), Notice>> {
        async { Ok(()) }.boxed()
    }
    /// Where on this machine capture files stay that nobody fetches; `None` where agents keep them.
    fn ring_folder(&self) -> Option<PathBuf> {
        None
    }
    /// Sees to it that nodes which join while nobody is attached get an agent and this too; who does so is returned.
    fn stand_in(&self, _what: StandIn) -> BoxFuture<'static, Result<String, Notice>> {
        let cause = "agents run inside this program here";
        async move { Err(Notice::error("nodes that join later get no agent", cause, "")) }.boxed()
    }
    /// Writes down what was done on nodes, for the session's report.
    fn remember(&self, _acts: Vec<Moment>) {}
    /// The session is left running on purpose.
    fn detach(&self) {}
    /// The session is over, or goes on without this program; this is what became of it, and what its report is made of.
    fn conclude(&self, _receipt: serde_json::Value, _summary: &Summary) {}
    /// Other contexts that there are.
    fn contexts(&self) -> Result<Vec<ContextRow>, Notice> {
        Ok(Vec::new())
    }
    /// Sessions that are not this program's and have left something: here, or everywhere that this laptop knows of.
    fn leftovers(&self, _everywhere: bool) -> BoxFuture<'static, Result<Vec<SessionSummary>, Notice>> {
        async { Ok(Vec::new()) }.boxed()
    }
    /// Takes over the way to another session's cluster, which has another address or CA than at its beginning.
    fn trust(&self, _session: SessionId) -> BoxFuture<'static, Result<(), Notice>> {
        async { Ok(()) }.boxed()
    }
    /// Another session's agents, to be looked at and not changed.
    fn beside(&self, session: SessionId) -> BoxFuture<'static, Result<Arc<dyn Site>, Notice>> {
        let headline = format!("cannot show session {session}");
        async move { Err(Notice::error(headline, "it is not in this place", "")) }.boxed()
    }
    /// Removes what is left of another session.
    fn sweep(&self, _session: SessionId) -> BoxStream<'static, Removal> {
        stream::once(async { Removal::Finished }).boxed()
    }
}

/// A stream of what a future sends while it runs. Polling the stream runs the future; dropping it ends both.
pub fn produce<T, F>(work: impl FnOnce(mpsc::Sender<T>) -> F) -> BoxStream<'static, T>
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(64);
    let work = work(sender).into_stream().filter_map(|()| async { None });
    let items = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    stream::select(items, work).boxed()
}
