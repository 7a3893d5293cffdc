//! What the user can want.
//!
//! Owns the vocabulary between keys, the mouse and the screens. Does nothing.

use nodewatch_protocol::UnixMillis;
use serde::{Deserialize, Serialize};

use super::{Screen, cursor::RowKey, order::Column};
use crate::session::Happened;

/// What a user did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Wanted something, by whatever key.
    Key(Action),
    /// Gave a text at once, as a paste does.
    Pasted(String),
    /// Pointed the mouse at something.
    Pointed(Pointed),
    /// Pressed a key that means nothing there, by its name.
    Unbound(String),
    /// Pressed a key that means nothing there: by its name, and the screens where it means something.
    Elsewhere(String, String),
    /// Sees the text of a dialog from this line on: it was scrolled past its end, or is shorter now.
    Sees(usize),
}

impl From<Input> for Happened<Input> {
    fn from(input: Input) -> Self {
        Self::Input(input)
    }
}

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
    /// Look at every packet of the node, or no more.
    Watch,
    /// Write the node's network state into files.
    Bundle,
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
    /// What the kernels of all nodes count.
    Signals,
    /// What is seen between pairs of ends.
    Connections,
    /// Why connections fail; first watch the nodes that are meant.
    Answers,
    /// Leave a cause out of answers, or have it there again.
    Silence,
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
    /// The last packets of the node.
    Tail,
    /// The screen before this one, and after it again.
    GoBack,
    GoForward,
    /// The table into a file.
    Save,
    /// Another context of the kubeconfig.
    Contexts,
    /// The session's report.
    Report,
    /// Each thing of what is summed up.
    Details,
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
            | Self::Watch
            | Self::Bundle
            | Self::Freeze
            | Self::Follow
            | Self::Tail
            | Self::Remove
            | Self::Merge
            | Self::Probe
            | Self::Exclude => true,
            Self::Open => matches!(screen, Screen::Files | Screen::Node(_)),
            // It watches what is meant.
            Self::Answers => matches!(screen, Screen::Nodes | Screen::Node(_) | Screen::Pods),
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
            | Self::Signals
            | Self::Connections
            | Self::Files
            | Self::Events => true,
            Self::Open | Self::Answers => !self.acts(screen),
            _ => false,
        }
    }

    /// Hidden and refused where nothing may be changed.
    pub fn changes_cluster(self) -> bool {
        matches!(
            self,
            Self::Deploy
                | Self::Capture
                | Self::CaptureOptions
                | Self::Watch
                | Self::Budget
                | Self::Remove
                | Self::Freeze
        )
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
