//! What can happen to a session, and what it can want done.
//!
//! Owns the vocabulary between a session, the screens over it and the runtime. Does nothing.

use std::{path::PathBuf, time::Duration};

use nodewatch_answers::News;
use nodewatch_protocol::{CaptureFile, CaptureSpec, ReportState, Request, Response, RingList, UnixMillis, WatchSpec};
use nodewatch_report::Event as ReportEvent;
use serde::{Deserialize, Serialize};

use super::{files::MadeFile, ledger::Found};
use crate::model::{
    Aimed, BundleFiles, BundleOf, ContextRow, DeployProgress, Expectations, FetchProgress, Group, Held, Keep,
    MadeObject, Moment, Node, NodeName, NodesChange, Notice, PastQuery, PastReport, Removal, SeenObject, SessionId,
    SessionSummary, StandIn, StoredFile, Summary, TailNews, Target, TunnelChange, Workloads, metrics::Snapshot,
};

/// What happened, by whoever did it.
#[allow(clippy::large_enum_variant, reason = "it is handed on once and not kept")]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened<I> {
    /// A user did something.
    Input(I),
    /// Everything else.
    Event(Event),
}

impl<I> From<Event> for Happened<I> {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// Where nobody does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoInput {}

/// What the program goes on with after a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Next {
    /// Another session.
    Attach(SessionId),
    /// A session in another context.
    Context(String),
    /// A session whose agents go into that namespace; `None` is one of its own.
    Namespace(Option<String>),
}

/// What is begun beside the agents and goes on for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Job {
    /// Files are made one.
    Merge,
    /// An object is removed from S3.
    RemoveStored,
    /// Running captures are shown in the viewer.
    Follow,
    /// A table or report is written.
    Write,
}

/// What happened, for [`super::update`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The kubeconfig's contexts.
    Contexts(Result<Vec<ContextRow>, Notice>),
    /// The list of nodes changed.
    Nodes(NodesChange),
    /// A deployment went on.
    Deploy(NodeName, DeployProgress),
    /// A tunnel changed or brought something.
    Tunnel(NodeName, TunnelChange),
    /// An agent's answer; `None` when the tunnel was cut before it came.
    Answer(NodeName, Request, Option<Response>),
    /// A file's way home went on.
    Fetch(NodeName, String, FetchProgress),
    /// A node's network state was written here, or not.
    Bundled(NodeName, Result<BundleFiles, Notice>),
    /// A file that some laptop has fetched is on this one, compared with its checksum.
    Here {
        /// Its node.
        node: NodeName,
        /// Its name in the ring.
        file: String,
        /// Where it is.
        path: PathBuf,
        /// Its checksum.
        sha256: String,
    },
    /// An agent was told where to deliver, and for how long that holds.
    Granted(NodeName, Result<Option<Duration>, Notice>),
    /// What S3 has.
    Stored(Result<Vec<StoredFile>, Notice>),
    /// An object's way here went on, by key.
    Download(String, FetchProgress),
    /// Something that was asked for beside the agents is done, or not.
    Told(Notice),
    /// What was begun beside the agents has ended.
    Ended(Job, Notice),
    /// A file was made here.
    #[serde(alias = "Merged")]
    Made(MadeFile),
    /// A node's packets, one by one.
    Tail(NodeName, TailNews),
    /// Which ports should answer on these nodes.
    Expected(Vec<NodeName>, Expectations),
    /// Where pods run, and which nodes services lead to.
    Workloads(Workloads),
    /// What the API server says of pods, endpoints, services and policies, for the answers.
    Changes(Vec<News>),
    /// These are to be captured, chosen outside the screens; none ends what was followed.
    Aim(Vec<Target>),
    /// What these targets are now, or why that is not known.
    Aimed(Vec<Target>, Result<Aimed, Notice>),
    /// How this laptop's reports to CloudWatch Logs stand.
    Reports(ReportState),
    /// Past reports were read back.
    Past(Result<Vec<PastReport>, Notice>),
    /// What S3 or CloudWatch has of a group of the guided exit.
    Stocked(Group, Result<Found, Notice>),
    /// It was removed from there, or not.
    Removed(Group, Result<Found, Notice>),
    /// Alarms were made and removed, or not.
    Alarms(Result<(usize, usize), Notice>),
    /// What S3 has of the session, after the last of it got there.
    InBucket(Result<Vec<StoredFile>, Notice>),
    /// The session's manifest is not where it should be.
    NoManifest(Notice),
    /// Cleanup went on.
    Removal(Removal),
    /// What there is of the session.
    Stock(Result<Vec<SeenObject>, Notice>),
    /// Nodes that join while nobody is attached get agents, by this, or not.
    StoodIn(Result<String, Notice>),
    /// Agents are deployed from that image from now on, with what is odd about it, or not.
    ImageSet(String, Result<String, Notice>),
    /// The session's end was moved in the cluster, or not.
    EndsSet(Result<(), Notice>),
    /// Whether the way to a session's cluster was taken over.
    Trusted(SessionId, Result<(), Notice>),
    /// Sessions that are not this one.
    Sessions {
        /// What was found.
        found: Result<Vec<SessionSummary>, Notice>,
        /// The user wants to see them.
        asked: bool,
    },
    /// What another session's agents have that nobody else has.
    Held(SessionId, Result<Vec<Held>, Notice>),
    /// The removal of another session went on.
    Sweep(SessionId, Removal),
    /// Take up the agents of a session that began then and ends then.
    Attach {
        /// When it began, by the clock on the wall.
        began: UnixMillis,
        /// When its agents end by themselves, by the same; on this machine they have no end.
        ends: Option<UnixMillis>,
        /// A DaemonSet gives agents to nodes that join.
        #[serde(default)]
        stood_in: bool,
    },
    /// What was seen and done in this session before this program took it up.
    Earlier(Box<Summary>),
    /// Look at the agents of a session that another program has.
    Observe,
    /// All nodes are meant, also those that join.
    MeanLaterNodes,
    /// Deploy to these nodes, chosen outside the screens.
    DeployTo(Vec<NodeName>),
    /// Start this capture on these nodes, chosen outside the screens.
    StartCaptures(Vec<NodeName>, CaptureSpec),
    /// The hosts that a capture's filter names were looked up for these nodes, or not: the capture as it was asked for,
    /// and as it is with their addresses.
    Resolved(Vec<NodeName>, CaptureSpec, Result<CaptureSpec, Notice>),
    /// Somebody outside the screens asks an agent something.
    Asked(NodeName, Request),
    /// Watch these nodes, and those that join where all are meant; asked outside the screens.
    Watch(Vec<NodeName>, WatchSpec),
    /// Watch these nodes no more; asked outside the screens.
    StopWatching(Vec<NodeName>),
    /// End every capture, asked outside the screens.
    StopCaptures,
    /// The clock on the laptop's wall was set: it is that far ahead of the steady one, in milliseconds.
    ClockSet(i64),
    /// A second has passed.
    Tick,
    /// Somebody outside (a signal, a headless command) wants the program to clean up and end, without a dialog.
    Finish,
    /// The program ends now, whatever is under way. As far as anyone here knows, this was made and is still there.
    Abandon(Vec<MadeObject>),
}

impl Effect {
    /// Puts these into the terminal's clipboard, each on a line of its own, whatever is in it: somebody pastes it into a shell.
    pub fn copy<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let lines: Vec<String> = lines.into_iter().map(crate::base::text::line).collect();
        Self::Copy(lines.join("\n"))
    }
}

/// I/O that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Put agents onto these nodes and keep tunnels to them.
    Deploy(Vec<NodeName>),
    /// Ask an agent something.
    Ask(NodeName, Request),
    /// Look up the hosts that this capture's filter names, before it is started on these nodes.
    Resolve(Vec<NodeName>, CaptureSpec),
    /// Bring a capture file home.
    Fetch(NodeName, CaptureFile),
    /// Write a node's network state as it is now beside its captures, for that moment of a capture or for none.
    TakeBundle(NodeName, Option<BundleOf>),
    /// Look whether a file that some laptop has fetched is on this one.
    LookFor(NodeName, CaptureFile),
    /// Tell an agent where to deliver.
    Grant(NodeName),
    /// Find out what S3 has.
    ListStored,
    /// Bring an object home.
    Download {
        /// Its key.
        key: String,
        /// Its node, for the folder.
        node: String,
        /// Its session, where that is another.
        session: Option<String>,
    },
    /// Remove an object of this session.
    RemoveStored(String),
    /// Put a text into the terminal's clipboard: made by [`Effect::copy`].
    Copy(String),
    /// Write a table into a file of that name.
    Save {
        /// The file; a name alone goes beside the captures.
        name: String,
        /// What is in it.
        contents: String,
        /// How many rows that is.
        rows: usize,
    },
    /// Read the kubeconfig's contexts.
    FindContexts,
    /// Write the session's report beside the captures.
    WriteReport(Box<Summary>),
    /// Give the terminal back until the shell says to go on.
    Suspend,
    /// Make one file of these.
    Merge(Vec<PathBuf>),
    /// The same, each packet that several nodes have once.
    MergePairs(Vec<PathBuf>),
    /// Follow the running captures of these nodes in the viewer.
    Follow(Vec<NodeName>),
    /// The same, each packet that several of them have once.
    FollowPairs(Vec<NodeName>),
    /// Tell of a node's packets, one by one, instead of any other's.
    Tail(NodeName),
    /// Nobody looks at packets any more.
    EndTail,
    /// Open a file in the viewer.
    View(PathBuf),
    /// Open a file in the viewer, and show of it what a display filter lets through.
    ViewOf {
        /// Which file.
        file: PathBuf,
        /// What is to be seen of it, in Wireshark's words.
        filter: String,
    },
    /// Find out which ports should answer on these nodes.
    Expect(Vec<NodeName>),
    /// Hear what the API server says of pods, endpoints, services and policies from now on, or no more.
    HearChanges(bool),
    /// Find out where pods run, and which nodes services lead to.
    FindWorkloads,
    /// Find out what these targets are, and every change of that, in place of any others; none ends that.
    Aim(Vec<Target>),
    /// Send a report of a node.
    Report(NodeName, ReportEvent),
    /// Send these metrics.
    Measure(Box<Snapshot>),
    /// Read past reports back.
    Past(PastQuery),
    /// Make alarms for these nodes, and remove those of others.
    Alarms(Vec<NodeName>),
    /// Find out what S3 or CloudWatch has of a group of the guided exit.
    Stock(Group),
    /// Remove a group of the guided exit from S3 or CloudWatch.
    Remove(Group),
    /// Find out what there is of the session.
    TakeStock,
    /// Remove all that was made and is not to be kept, after the manifests of these nodes' captures were gathered.
    CleanUp {
        /// Nodes whose agents can say what they have captured.
        captured: Vec<Node>,
        /// What this program knows itself of files that no ring may have any more.
        known: Vec<(Node, RingList)>,
        /// What stays.
        keep: Keep,
    },
    /// Deploy agents from that image from now on.
    SetImage(String),
    /// Move the end of everything in the cluster to that time on the wall.
    SetEnds(UnixMillis),
    /// Write down, on this laptop alone, that the session ends at that time on the wall.
    NoteEnds(UnixMillis),
    /// See to it that nodes which join while nobody is attached get agents.
    StandIn(Box<StandIn>),
    /// Write down what was done on nodes.
    Remember(Vec<Moment>),
    /// Write down that the session goes on without this program.
    Detach,
    /// Say what was made, so that the program can end now and name what may be left.
    Abandon,
    /// Look for other sessions, because the user wants to see them.
    FindSessions,
    /// Find out what another session's agents have that nobody else has.
    AskHeld(SessionId),
    /// Remove what is left of another session.
    Sweep(SessionId),
    /// What of others may go with the session's own namespace, by name.
    AllowContents(Vec<String>),
    /// Write down that the way to another session's cluster is right as it is now.
    Trust(SessionId),
    /// Follow the agents that run already.
    Attach,
    /// End the program.
    Quit,
}
