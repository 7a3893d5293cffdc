//! What the user can want, and what the app can want done.
//!
//! Owns the vocabulary between keys, the app and the runtime. Does nothing.

use std::{path::PathBuf, time::Duration};

use nodewatch_protocol::{CaptureFile, CaptureSpec, ReportState, Request, Response, UnixMillis};
use nodewatch_report::Event as ReportEvent;
use serde::{Deserialize, Serialize};

use super::{Screen, cursor::RowKey, sort::Column};
use crate::model::{
    ContextRow, DeployProgress, Expectations, FetchProgress, Group, Held, Keep, MadeObject, Node, NodeName,
    NodesChange, Notice, PastQuery, PastReport, Removal, SeenObject, SessionId, SessionSummary, StandIn, StoredFile,
    StoredSummary, Summary, TunnelChange,
};

/// A user's intent, whatever key stood for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    Up,
    Down,
    Top,
    Bottom,
    PageUp,
    PageDown,
    Open,
    Back,
    NextView,
    PreviousView,
    Mark,
    MarkRange,
    ClearMarks,
    MarkAll,
    Filter,
    Deploy,
    Capture,
    CaptureOptions,
    Files,
    FetchAll,
    Notices,
    Pause,
    Help,
    Quit,
    Interrupt,
    /// The exit dialog's way past files that cannot be fetched.
    Skip,
    /// Move the session's end.
    Budget,
    /// List other sessions.
    Sessions,
    /// Remove what the cursor is on.
    Remove,
    /// Save the last seconds of armed flight recorders.
    Freeze,
    /// Follow a running capture in the viewer, or open a file in it.
    Follow,
    /// Make one file of several.
    Merge,
    /// To the terminal's clipboard.
    Copy,
    /// The open ports of all nodes.
    Ports,
    /// Leave the port under the cursor out of lists and reports.
    Exclude,
    /// Take back what was left out by key.
    IncludeAgain,
    /// Try the port under the cursor from another node.
    Probe,
    /// Past reports of what the cursor is on.
    History,
    /// Type a command.
    Command,
    /// More columns to the left and to the right.
    Left,
    Right,
    /// Sort the rows, or the other way around.
    Sort(Column),
    /// More columns.
    Wide,
    /// Only what is at fault.
    Faults,
    /// The list or view alone.
    Zoom,
    /// What happened on all nodes.
    Events,
    /// The screen before this one, and after it again.
    GoBack,
    GoForward,
    /// The table into a file.
    Save,
    /// Another context of the kubeconfig.
    Contexts,
    /// The session's report.
    Report,
    /// Back to the shell for a while.
    Suspend,
    /// Into a text field.
    Edit(Edit),
}

impl Action {
    /// It is about the row under the cursor, or about the marked ones, and does more than show something.
    pub fn acts(self, screen: &Screen) -> bool {
        match self {
            Self::Deploy
            | Self::Capture
            | Self::CaptureOptions
            | Self::Freeze
            | Self::Follow
            | Self::Remove
            | Self::Merge
            | Self::Probe
            | Self::Exclude => true,
            Self::Open => matches!(screen, Screen::Files | Screen::Node(_)),
            _ => false,
        }
    }

    /// It moves through what is shown, or takes something of it away, and changes nothing else.
    pub(super) fn only_looks(self, screen: &Screen) -> bool {
        match self {
            Self::Up
            | Self::Down
            | Self::Top
            | Self::Bottom
            | Self::PageUp
            | Self::PageDown
            | Self::Left
            | Self::Right
            | Self::NextView
            | Self::PreviousView
            | Self::Mark
            | Self::MarkRange
            | Self::MarkAll
            | Self::ClearMarks
            | Self::Sort(_)
            | Self::Wide
            | Self::Faults
            | Self::Zoom
            | Self::GoBack
            | Self::GoForward
            | Self::Back
            | Self::Copy
            | Self::Save
            | Self::Ports
            | Self::Files
            | Self::Events => true,
            Self::Open => !self.acts(screen),
            _ => false,
        }
    }

    /// Hidden and refused where nothing may be changed.
    pub fn changes_cluster(self) -> bool {
        matches!(self, Self::Deploy | Self::Capture | Self::CaptureOptions | Self::Budget | Self::Remove | Self::Freeze)
    }
}

/// One change of a text field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Edit {
    Insert(char),
    DeleteBack,
    DeleteWord,
    Delete,
    Left,
    Right,
    Start,
    End,
    Clear,
}

/// What the mouse was pointed at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pointed {
    /// A row of the screen's list.
    Row(RowKey),
    /// A tab, from the first.
    Tab(usize),
    /// A part of the capture chart, in milliseconds since 1970.
    Window(UnixMillis, UnixMillis),
}

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

/// What happened, for [`crate::app::update`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The user wants something.
    Action(Action),
    /// A text came at once, as a paste does.
    Pasted(String),
    /// The mouse was pointed at something.
    Pointed(Pointed),
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
    /// Which ports should answer on these nodes.
    Expected(Vec<NodeName>, Expectations),
    /// How this laptop's reports to CloudWatch Logs stand.
    Reports(ReportState),
    /// Past reports were read back.
    Past(Result<Vec<PastReport>, Notice>),
    /// What CloudWatch has of a group of the guided exit.
    CloudStock(Group, Result<String, Notice>),
    /// It was removed from there, or not.
    CloudRemoved(Group, Result<(), Notice>),
    /// Alarms were made and removed, or not.
    Alarms(Result<(usize, usize), Notice>),
    /// How much the session has in S3.
    StorageStock(Result<StoredSummary, Notice>),
    /// The session's captures in S3 were removed, or not.
    StorageRemoved(Result<StoredSummary, Notice>),
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
        /// When its agents end by themselves, by the same.
        ends: UnixMillis,
        /// A DaemonSet gives agents to nodes that join.
        #[serde(default)]
        stood_in: bool,
    },
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

/// I/O that the app asks for.
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
    },
    /// Read the kubeconfig's contexts.
    FindContexts,
    /// Write the session's report beside the captures.
    WriteReport(Box<Summary>),
    /// Give the terminal back until the shell says to go on.
    Suspend,
    /// Make one file of these.
    Merge(Vec<PathBuf>),
    /// Follow the running captures of these nodes in the viewer.
    Follow(Vec<NodeName>),
    /// Open a file in the viewer.
    View(PathBuf),
    /// Find out which ports should answer on these nodes.
    Expect(Vec<NodeName>),
    /// Send a report of a node.
    Report(NodeName, ReportEvent),
    /// Read past reports back.
    Past(PastQuery),
    /// Make alarms for these nodes, and remove those of others.
    Alarms(Vec<NodeName>),
    /// Find out what there is in CloudWatch.
    StockCloud,
    /// Remove a group of the guided exit from CloudWatch.
    RemoveCloud(Group),
    /// Find out what there is of the session.
    TakeStock,
    /// Remove all that was made and is not to be kept, after the manifests of these nodes' captures were gathered.
    CleanUp {
        /// Nodes with captures.
        captured: Vec<Node>,
        /// What stays.
        keep: Keep,
    },
    /// Find out how much the session has in S3.
    StockStorage,
    /// Remove the session's captures in S3.
    RemoveStorage,
    /// Move the end of everything in the cluster to that time on the wall.
    SetEnds(UnixMillis),
    /// Write down, on this laptop alone, that the session ends at that time on the wall.
    NoteEnds(UnixMillis),
    /// See to it that nodes which join while nobody is attached get agents.
    StandIn(Box<StandIn>),
    /// Write down that the session goes on without this program.
    Detach,
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
