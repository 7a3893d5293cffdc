//! The table of bindings: what each key means where, as the program comes.
//!
//! Owns names, default keys, groups and help. Must not know what an action does.

use crossterm::event::{KeyCode, KeyModifiers};

use super::Key;
use crate::screens::{Action, Column, Scope};

/// What bindings belong to, in the order of help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Capture,
    Look,
    Files,
    Session,
    Move,
}

impl Group {
    /// Every group, in the order of help.
    pub const ALL: [Self; 5] = [Self::Capture, Self::Look, Self::Files, Self::Session, Self::Move];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Capture => "Capture",
            Self::Look => "Look",
            Self::Files => "Files",
            Self::Session => "Session",
            Self::Move => "Move",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// Its name in the config file, one for all rows of an action; empty where the keys are fixed.
    pub name: &'static str,
    /// The keys that it comes with, the one that texts name first.
    pub keys: &'static [Key],
    /// What they mean.
    pub action: Action,
    /// Where.
    pub scopes: &'static [Scope],
    /// What it belongs to.
    pub group: Group,
    /// A line for help, short enough for 80 columns.
    pub help: &'static str,
}

const fn key(code: KeyCode) -> Key {
    Key { code, modifiers: KeyModifiers::NONE }
}

const fn letter(character: char) -> Key {
    key(KeyCode::Char(character))
}

const fn ctrl(character: char) -> Key {
    Key { code: KeyCode::Char(character), modifiers: KeyModifiers::CONTROL }
}

const SPACE: Key = letter(' ');
/// Terminals send Ctrl-Space as the second.
const CTRL_SPACE: [Key; 2] = [ctrl(' '), key(KeyCode::Null)];
/// And Ctrl-\ as the second.
const CTRL_BACKSLASH: [Key; 2] = [ctrl('\\'), ctrl('4')];

const BROWSE: &[Scope] = &[Scope::List, Scope::Node];
const LIST: &[Scope] = &[Scope::List];
const FILES: &[Scope] = &[Scope::Files];
const PORTS: &[Scope] = &[Scope::Ports];
const DIALOG: &[Scope] = &[Scope::Dialog];
const TEXT: &[Scope] = &[Scope::Text];
const SCROLLED: &[Scope] = &[Scope::List, Scope::Files, Scope::Ports, Scope::Signals];
const TABLES: &[Scope] = &[
    Scope::List,
    Scope::Node,
    Scope::Files,
    Scope::Ports,
    Scope::Pods,
    Scope::Signals,
    Scope::Connections,
    Scope::Answers,
];
const CAPTURING: &[Scope] = &[Scope::List, Scope::Node, Scope::Pods, Scope::Answers];
const SCREENS: &[Scope] = &[
    Scope::List,
    Scope::Node,
    Scope::Files,
    Scope::Ports,
    Scope::Events,
    Scope::Pods,
    Scope::Signals,
    Scope::Connections,
    Scope::Answers,
];
/// All screens but that with answers, where the key means something else, or nothing.
const BUT_ANSWERS: &[Scope] = &[
    Scope::List,
    Scope::Node,
    Scope::Files,
    Scope::Ports,
    Scope::Events,
    Scope::Pods,
    Scope::Signals,
    Scope::Connections,
];
const ANSWERS: &[Scope] = &[Scope::Answers];
const WATCHING: &[Scope] = &[Scope::List, Scope::Node, Scope::Pods, Scope::Connections];
const OF_NODES: &[Scope] = &[Scope::List, Scope::Node, Scope::Pods];
const COUNTED: &[Scope] = &[Scope::List, Scope::Node, Scope::Files];
const COUNTED_AND_PAIRS: &[Scope] = &[Scope::List, Scope::Node, Scope::Files, Scope::Connections, Scope::Answers];
const COUNTED_SIGNALS_PAIRS: &[Scope] = &[Scope::List, Scope::Node, Scope::Files, Scope::Signals, Scope::Connections];
const NODE_AND_PORTS: &[Scope] = &[Scope::Node, Scope::Ports];
const SCREENS_AND_DIALOG: &[Scope] = &[
    Scope::List,
    Scope::Node,
    Scope::Files,
    Scope::Ports,
    Scope::Events,
    Scope::Pods,
    Scope::Signals,
    Scope::Connections,
    Scope::Answers,
    Scope::Dialog,
];
const SCREENS_AND_READING: &[Scope] = &[
    Scope::List,
    Scope::Node,
    Scope::Files,
    Scope::Ports,
    Scope::Events,
    Scope::Pods,
    Scope::Signals,
    Scope::Connections,
    Scope::Answers,
    Scope::Reading,
];
const MARKED: &[Scope] = &[Scope::List, Scope::Files];
const MARKED_AND_DIALOG: &[Scope] = &[Scope::List, Scope::Files, Scope::Dialog];
const WITH_HISTORY: &[Scope] = &[Scope::List, Scope::Node, Scope::Ports];
const WITH_VIEWS: &[Scope] = &[Scope::List, Scope::Node, Scope::Ports, Scope::Text];
const MOVE: &[Scope] = SCREENS_AND_READING;
const MOVE_AND_DIALOG: &[Scope] = &[
    Scope::List,
    Scope::Node,
    Scope::Files,
    Scope::Ports,
    Scope::Events,
    Scope::Pods,
    Scope::Signals,
    Scope::Connections,
    Scope::Answers,
    Scope::Reading,
    Scope::Dialog,
];
const OUTSIDE_TEXT: &[Scope] = MOVE_AND_DIALOG;
const EVERYWHERE: &[Scope] = Scope::ALL;

macro_rules! table {
    ($($name:literal $keys:expr => $action:expr, $scopes:expr, $group:ident, $help:literal;)+) => {
        &[$(Binding { name: $name, keys: &$keys, action: $action, scopes: $scopes, group: Group::$group, help: $help }),+]
    };
}

/// The table. The order is the order of help inside each group.
pub const BINDINGS: &[Binding] = table! {
    "deploy" [letter('d')] => Action::Deploy, BROWSE, Capture, "deploy the agent to the selected or marked nodes";
    "capture" [letter('c')] => Action::Capture, CAPTURING, Capture, "start a capture, deploying first; again: stop or cancel it";
    "capture-options" [letter('C')] => Action::CaptureOptions, CAPTURING, Capture, "start a capture with a filter, limits or a flight recorder";
    "answers" [letter('a')] => Action::Answers, BUT_ANSWERS, Capture, "answers: why connections fail; of nodes not watched: watch";
    "watch" [letter('U')] => Action::Watch, WATCHING, Capture, "stop watching packets; again: watch";
    "bundle" [letter('B')] => Action::Bundle, OF_NODES, Capture, "bundle: write the node's network state into files here";
    "freeze" [letter('F')] => Action::Freeze, SCREENS_AND_DIALOG, Capture, "save the last seconds of all flight recorders, or the marked";
    "files" [letter('f')] => Action::Files, SCREENS, Files, "all capture files, wherever they are; again: refresh";
    "silence" [letter('s')] => Action::Silence, ANSWERS, Look, "leave a cause out of the answers; on its line: show it again";
    "fetch-all" [letter('s')] => Action::FetchAll, BUT_ANSWERS, Files, "download all finished files that are nowhere else yet";
    "follow" [letter('w')] => Action::Follow, SCREENS, Capture, "follow captures in Wireshark, live; on a file: open it";
    "tail" [letter('t')] => Action::Tail, SCREENS, Capture, "the node's last packets, capturing first; again: cancel";
    "ports" [letter('o')] => Action::Ports, &[Scope::List, Scope::Node, Scope::Files, Scope::Events, Scope::Pods, Scope::Signals, Scope::Connections, Scope::Answers], Look, "open ports of all nodes";
    "signals" [letter('i')] => Action::Signals, &[Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Events, Scope::Pods, Scope::Connections, Scope::Answers], Look, "signals: what all nodes' kernels count";
    "connections" [letter('K')] => Action::Connections, &[Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Events, Scope::Pods, Scope::Signals, Scope::Answers], Look, "connections: failed, delayed, retransmitted, by pair";
    "events" [letter('v')] => Action::Events, SCREENS, Look, "events of all nodes, newest first";
    "probe" [letter('P')] => Action::Probe, NODE_AND_PORTS, Capture, "probe the port from another node";
    "exclude" [letter('e')] => Action::Exclude, NODE_AND_PORTS, Look, "leave the port out of lists and reports (still counted)";
    "include-again" [letter('E')] => Action::IncludeAgain, PORTS, Look, "undo the exclusions made by key";
    "history" [letter('H')] => Action::History, WITH_HISTORY, Look, "past reports of the node or port, from CloudWatch Logs";
    "merge" [letter('m')] => Action::Merge, FILES, Files, "merge the marked files into one, in time order";
    "filter" [letter('/')] => Action::Filter, SCREENS_AND_READING, Look, "filter the view in front; in help: search";
    "command" [letter(':')] => Action::Command, SCREENS, Session, "type a command; Tab completes, Up recalls earlier ones";
    "mark" [SPACE] => Action::Mark, MARKED_AND_DIALOG, Move, "mark the node or file; when leaving: keep or remove";
    "mark-range" CTRL_SPACE => Action::MarkRange, LIST, Move, "mark from the last mark to here";
    "mark-all" [ctrl('a')] => Action::MarkAll, LIST, Move, "mark all shown; again: also those that join; again: none";
    "clear-marks" CTRL_BACKSLASH => Action::ClearMarks, MARKED, Move, "clear all marks";
    "open" [key(KeyCode::Enter)] => Action::Open, EVERYWHERE, Move, "go into the row; confirm; download the file";
    "back" [key(KeyCode::Esc)] => Action::Back, EVERYWHERE, Move, "back; cancel; clear the filter, then the marks";
    "go-back" [letter('[')] => Action::GoBack, SCREENS, Move, "the screen before";
    "go-forward" [letter(']')] => Action::GoForward, SCREENS, Move, "the screen after it";
    "next-view" [key(KeyCode::Tab)] => Action::NextView, WITH_VIEWS, Look, "next view";
    "previous-view" [key(KeyCode::BackTab)] => Action::PreviousView, WITH_VIEWS, Look, "previous view";
    "up" [letter('k'), key(KeyCode::Up)] => Action::Up, MOVE_AND_DIALOG, Move, "up";
    "down" [letter('j'), key(KeyCode::Down)] => Action::Down, MOVE_AND_DIALOG, Move, "down";
    "" [key(KeyCode::Up)] => Action::Up, TEXT, Move, "";
    "" [key(KeyCode::Down)] => Action::Down, TEXT, Move, "";
    "left" [letter('h'), key(KeyCode::Left)] => Action::Left, SCROLLED, Move, "scroll columns left";
    "right" [letter('l'), key(KeyCode::Right)] => Action::Right, SCROLLED, Move, "scroll columns right";
    "top" [letter('g'), key(KeyCode::Home)] => Action::Top, MOVE_AND_DIALOG, Move, "first";
    "bottom" [letter('G'), key(KeyCode::End)] => Action::Bottom, MOVE_AND_DIALOG, Move, "last";
    "page-up" [ctrl('b'), key(KeyCode::PageUp)] => Action::PageUp, MOVE_AND_DIALOG, Move, "page up";
    "page-down" [ctrl('f'), key(KeyCode::PageDown)] => Action::PageDown, MOVE_AND_DIALOG, Move, "page down";
    "wide" [ctrl('w')] => Action::Wide, LIST, Look, "more columns: address, version, instance";
    "faults" [letter('!')] => Action::Faults, SCREENS, Look, "only problems";
    "zoom" [letter('z')] => Action::Zoom, SCREENS, Look, "the list or view alone, without what is around it";
    "sort-name" [letter('N')] => Action::Sort(Column::Name), TABLES, Look, "sort by name; any sort key again: reverse";
    "sort-status" [letter('S')] => Action::Sort(Column::Status), &[Scope::List, Scope::Pods], Look, "sort by status";
    "sort-zone" [letter('Z')] => Action::Sort(Column::Zone), LIST, Look, "sort by zone";
    "sort-type" [letter('T')] => Action::Sort(Column::Type), LIST, Look, "sort by instance type";
    "sort-agent" [letter('A')] => Action::Sort(Column::Agent), LIST, Look, "sort by agent";
    "sort-ports" [letter('O')] => Action::Sort(Column::Ports), &[Scope::List, Scope::Node, Scope::Ports, Scope::Connections], Look, "sort by number of ports; of ports: by port";
    "sort-packets" [letter('R')] => Action::Sort(Column::Packets), COUNTED_SIGNALS_PAIRS, Look, "sort by packets, or rate; of signals: by amount";
    "sort-bytes" [letter('V')] => Action::Sort(Column::Bytes), COUNTED, Look, "sort by bytes, or bit rate";
    "sort-drops" [letter('D')] => Action::Sort(Column::Drops), COUNTED_AND_PAIRS, Look, "sort by drops; of connections: by failures";
    "sort-time" [letter('T')] => Action::Sort(Column::Time), &[Scope::Node, Scope::Files, Scope::Ports, Scope::Connections, Scope::Answers], Look, "sort by time; of connections: by answer time";
    "sort-class" [letter('A')] => Action::Sort(Column::Class), NODE_AND_PORTS, Look, "sort by class, worst first";
    "pause" [letter('p')] => Action::Pause, SCREENS, Look, "hold the screen still; nothing is lost";
    "copy" [letter('y')] => Action::Copy, SCREENS, Look, "copy the row; of a file its path here or in S3";
    "save-table" [ctrl('s')] => Action::Save, SCREENS, Files, "save the table as CSV; :save FILE.json as JSON";
    "notices" [letter('n')] => Action::Notices, MOVE, Look, "past notices, whole";
    "budget" [letter('b')] => Action::Budget, BROWSE, Session, "change when the session ends";
    "sessions" [letter('L')] => Action::Sessions, BROWSE, Session, "other sessions: detached, left over, of other laptops";
    "contexts" [letter('x')] => Action::Contexts, SCREENS, Session, "another context of the kubeconfig";
    "remove" [ctrl('d')] => Action::Remove, &[Scope::Files, Scope::Dialog], Files, "delete the selected file, or session";
    "details" [letter('d')] => Action::Details, DIALOG, Session, "when leaving: each thing, or a line a group";
    "skip" [letter('x')] => Action::Skip, DIALOG, Session, "when leaving: go on without it";
    "report" [letter('r')] => Action::Report, SCREENS_AND_DIALOG, Session, "write the report; when leaving: write one at the end, or not";
    "suspend" [ctrl('z')] => Action::Suspend, EVERYWHERE, Session, "suspend to the shell; agents go on for --lease; fg resumes";
    "help" [letter('?'), key(KeyCode::F(1))] => Action::Help, MOVE, Session, "this help";
    "quit" [letter('q'), key(KeyCode::F(10))] => Action::Quit, OUTSIDE_TEXT, Session, "quit: fetch captures, remove everything";
    "" [ctrl('c')] => Action::Interrupt, EVERYWHERE, Session, "quit from anywhere; again: detach, agents and captures go on";
};
