//! What the user can want, and what the app can want done.
//!
//! Owns the vocabulary between keys, the app and the runtime. Does nothing.

use nodewatch_protocol::{CaptureFile, CaptureSpec, Request, Response};

use crate::model::{DeployProgress, FetchProgress, NodeName, NodesChange, Removal, TunnelChange};

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
    /// Into a text field.
    Edit(Edit),
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
    /// Remove all that was made.
    CleanUp,
    /// End the program.
    Quit,
}
