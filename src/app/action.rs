//! What the user can want, and what the app can want done.
//!
//! Owns the vocabulary between keys, the app and the runtime. Does nothing.

use nodewatch_protocol::{CaptureFile, CaptureSpec, Request, Response, UnixMillis};

use crate::model::{
    DeployProgress, FetchProgress, Keep, NodeName, NodesChange, Notice, Removal, SeenObject, SessionId, SessionSummary,
    TunnelChange,
};

/// A user's intent, whatever key stood for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Into a text field.
    Edit(Edit),
}

impl Action {
    /// Hidden and refused where nothing may be changed.
    pub fn changes_cluster(self) -> bool {
        matches!(self, Self::Deploy | Self::Capture | Self::CaptureOptions | Self::Budget | Self::Remove)
    }
}

/// One change of a text field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// What happened, for [`crate::app::update`].
#[derive(Debug, Clone)]
pub enum Event {
    /// The user wants something.
    Action(Action),
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
    /// Cleanup went on.
    Removal(Removal),
    /// What there is of the session.
    Stock(Result<Vec<SeenObject>, Notice>),
    /// The session's end was moved in the cluster, or not.
    EndsSet(Result<(), Notice>),
    /// Sessions that are not this one.
    Sessions {
        /// What was found.
        found: Result<Vec<SessionSummary>, Notice>,
        /// The user wants to see them.
        asked: bool,
    },
    /// The removal of another session went on.
    Sweep(SessionId, Removal),
    /// Take up the agents of a session that began then and ends then.
    Attach {
        /// When it began.
        began: UnixMillis,
        /// When its agents end by themselves.
        ends: UnixMillis,
    },
    /// Deploy to these nodes, chosen outside the screens.
    DeployTo(Vec<NodeName>),
    /// Start this capture on these nodes, chosen outside the screens.
    StartCaptures(Vec<NodeName>, CaptureSpec),
    /// A second has passed.
    Tick,
    /// Somebody outside (a signal, a headless command) wants the program to clean up and end, without a dialog.
    Finish,
}

/// I/O that the app asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Put agents onto these nodes and keep tunnels to them.
    Deploy(Vec<NodeName>),
    /// Ask an agent something.
    Ask(NodeName, Request),
    /// Bring a capture file home.
    Fetch(NodeName, CaptureFile),
    /// Find out what there is of the session.
    TakeStock,
    /// Remove all that was made and is not to be kept.
    CleanUp(Keep),
    /// Move the end of everything in the cluster.
    SetEnds(UnixMillis),
    /// Write down that the session goes on without this program.
    Detach,
    /// Look for other sessions, because the user wants to see them.
    FindSessions,
    /// Remove what is left of another session.
    Sweep(SessionId),
    /// Follow the agents that run already.
    Attach,
    /// End the program.
    Quit,
}
