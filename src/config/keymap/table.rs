//! The table of bindings: what each key means where, as the program comes.
//!
//! Owns names, default keys, hints and help. Must not know what an action does.

use crossterm::event::{KeyCode, KeyModifiers};

use super::Key;
use crate::screens::{Action, Column, Scope};

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// Its name in the config file, one for all rows of an action; empty where the keys are fixed.
    pub name: &'static str,
    /// The keys that it comes with, the one for the hint line first.
    pub keys: &'static [Key],
    /// What they mean.
    pub action: Action,
    /// Where.
    pub scopes: &'static [Scope],
    /// Two words for the hint line; empty keeps it out.
    pub hint: &'static str,
    /// A line for help.
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
const TABLES: &[Scope] = &[Scope::List, Scope::Files, Scope::Ports];
const TABLES_AND_EVENTS: &[Scope] = &[Scope::List, Scope::Files, Scope::Ports, Scope::Events];
const SCREENS: &[Scope] = &[Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Events];
const MARKED: &[Scope] = &[Scope::List, Scope::Files];
const MARKED_AND_DIALOG: &[Scope] = &[Scope::List, Scope::Files, Scope::Dialog];
const WITH_HISTORY: &[Scope] = &[Scope::List, Scope::Node, Scope::Ports];
const WITH_VIEWS: &[Scope] = &[Scope::List, Scope::Node, Scope::Ports, Scope::Text];
const MOVE: &[Scope] = &[Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Events, Scope::Reading];
const MOVE_AND_DIALOG: &[Scope] =
    &[Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Events, Scope::Reading, Scope::Dialog];
const OUTSIDE_TEXT: &[Scope] = MOVE_AND_DIALOG;
const EVERYWHERE: &[Scope] = Scope::ALL;

macro_rules! table {
    ($($name:literal $keys:expr => $action:expr, $scopes:expr, $hint:literal, $help:literal;)+) => {
        &[$(Binding { name: $name, keys: &$keys, action: $action, scopes: $scopes, hint: $hint, help: $help }),+]
    };
}

/// The table. The order is the order of help and hints.
pub const BINDINGS: &[Binding] = table! {
    "deploy" [letter('d')] => Action::Deploy, BROWSE, "deploy", "deploy the agent to the selected or marked nodes, without capturing";
    "capture" [letter('c')] => Action::Capture, BROWSE, "capture", "start a capture, deploying the agent if needed; again: stop or cancel it";
    "capture-options" [letter('C')] => Action::CaptureOptions, BROWSE, "options", "start a capture with a filter, interfaces, limits";
    "freeze" [letter('F')] => Action::Freeze, SCREENS, "", "save the last seconds of the flight recorders: the selected ones, or all";
    "files" [letter('f')] => Action::Files, SCREENS, "files", "all capture files: on nodes, in transit, here, in S3; again: refresh";
    "fetch-all" [letter('s')] => Action::FetchAll, SCREENS, "", "download all finished captures not yet copied anywhere";
    "follow" [letter('w')] => Action::Follow, SCREENS, "", "follow captures in Wireshark, starting them if needed; on a file: open it";
    "tail" [letter('t')] => Action::Tail, SCREENS, "", "the last packets of the node, as tcpdump prints them, while a capture runs";
    "ports" [letter('o')] => Action::Ports, &[Scope::List, Scope::Node, Scope::Files, Scope::Events], "ports", "open ports of all nodes: by node, by port, as a matrix";
    "events" [letter('v')] => Action::Events, SCREENS, "", "events of all nodes, newest first";
    "probe" [letter('P')] => Action::Probe, PORTS, "probe", "probe the port from another node: TCP connect, UDP with an answer";
    "exclude" [letter('e')] => Action::Exclude, PORTS, "exclude", "leave the port out of lists and reports (still counted)";
    "include-again" [letter('E')] => Action::IncludeAgain, PORTS, "", "undo the exclusions made by key";
    "history" [letter('H')] => Action::History, WITH_HISTORY, "", "past reports of the node or port, from CloudWatch Logs";
    "merge" [letter('m')] => Action::Merge, FILES, "merge", "merge the marked files into one, in time order";
    "filter" [letter('/')] => Action::Filter, SCREENS, "filter", "filter: regex, !regex, -l label=value, field:value e.g. zone:1a, class:unexpected";
    "command" [letter(':')] => Action::Command, SCREENS, "", "type a command; Tab completes, Up recalls earlier ones";
    "mark" [SPACE] => Action::Mark, MARKED_AND_DIALOG, "mark", "mark the node or file; in the guided exit: keep or remove";
    "mark-range" CTRL_SPACE => Action::MarkRange, LIST, "", "mark from the last mark to here";
    "mark-all" [ctrl('a')] => Action::MarkAll, LIST, "", "mark all shown nodes; again: also new nodes as they join; again: unmark";
    "clear-marks" CTRL_BACKSLASH => Action::ClearMarks, MARKED, "", "clear all marks";
    "open" [key(KeyCode::Enter)] => Action::Open, EVERYWHERE, "", "open the node; confirm; download the file from its node or S3";
    "back" [key(KeyCode::Esc)] => Action::Back, EVERYWHERE, "", "back; cancel; in the list: clear the filter, then the marks";
    "go-back" [letter('[')] => Action::GoBack, SCREENS, "", "back";
    "go-forward" [letter(']')] => Action::GoForward, SCREENS, "", "forward";
    "next-view" [key(KeyCode::Tab)] => Action::NextView, WITH_VIEWS, "", "next view: ports, capture, flows, files, events; by node, by port, matrix";
    "previous-view" [key(KeyCode::BackTab)] => Action::PreviousView, WITH_VIEWS, "", "previous view";
    "up" [letter('k'), key(KeyCode::Up)] => Action::Up, MOVE_AND_DIALOG, "", "up";
    "down" [letter('j'), key(KeyCode::Down)] => Action::Down, MOVE_AND_DIALOG, "", "down";
    "" [key(KeyCode::Up)] => Action::Up, TEXT, "", "";
    "" [key(KeyCode::Down)] => Action::Down, TEXT, "", "";
    "left" [letter('h'), key(KeyCode::Left)] => Action::Left, TABLES, "", "scroll columns left";
    "right" [letter('l'), key(KeyCode::Right)] => Action::Right, TABLES, "", "scroll columns right";
    "top" [letter('g'), key(KeyCode::Home)] => Action::Top, MOVE, "", "first";
    "bottom" [letter('G'), key(KeyCode::End)] => Action::Bottom, MOVE, "", "last";
    "page-up" [ctrl('b'), key(KeyCode::PageUp)] => Action::PageUp, MOVE_AND_DIALOG, "", "page up";
    "page-down" [ctrl('f'), key(KeyCode::PageDown)] => Action::PageDown, MOVE_AND_DIALOG, "", "page down";
    "wide" [ctrl('w')] => Action::Wide, LIST, "", "more columns: address, version, instance";
    "faults" [letter('!')] => Action::Faults, TABLES_AND_EVENTS, "", "show only problems: nodes, ports, files, events";
    "zoom" [letter('z')] => Action::Zoom, SCREENS, "", "show only the list or view, full screen";
    "sort-name" [letter('N')] => Action::Sort(Column::Name), TABLES, "", "sort by name; any sort key again: reverse the order";
    "sort-status" [letter('S')] => Action::Sort(Column::Status), LIST, "", "sort by status";
    "sort-zone" [letter('Z')] => Action::Sort(Column::Zone), LIST, "", "sort by zone";
    "sort-type" [letter('T')] => Action::Sort(Column::Type), LIST, "", "sort by instance type";
    "sort-agent" [letter('A')] => Action::Sort(Column::Agent), LIST, "", "sort by agent";
    "sort-ports" [letter('O')] => Action::Sort(Column::Ports), &[Scope::List, Scope::Ports], "", "sort by number of open ports; in the ports view: by port";
    "sort-packets" [letter('R')] => Action::Sort(Column::Packets), MARKED, "", "sort by packet rate, or by a file's packet count";
    "sort-bytes" [letter('B')] => Action::Sort(Column::Bytes), MARKED, "", "sort by bit rate, or by file size";
    "sort-drops" [letter('D')] => Action::Sort(Column::Drops), MARKED, "", "sort by drops";
    "sort-time" [letter('T')] => Action::Sort(Column::Time), &[Scope::Files, Scope::Ports], "", "sort by time";
    "sort-class" [letter('A')] => Action::Sort(Column::Class), PORTS, "", "sort by class, worst first";
    "pause" [letter('p')] => Action::Pause, SCREENS, "", "pause the screen; nothing is lost";
    "copy" [letter('y')] => Action::Copy, SCREENS, "", "copy the selected item; a file's path here or in S3";
    "save-table" [ctrl('s')] => Action::Save, SCREENS, "", "save the table as CSV; :save FILE.json for JSON";
    "notices" [letter('n')] => Action::Notices, MOVE, "", "past notices";
    "budget" [letter('b')] => Action::Budget, BROWSE, "", "change when the session ends";
    "sessions" [letter('L')] => Action::Sessions, BROWSE, "", "other sessions: detached, left over, from other laptops";
    "contexts" [letter('x')] => Action::Contexts, SCREENS, "", "switch to another kubeconfig context";
    "remove" [ctrl('d')] => Action::Remove, &[Scope::Files, Scope::Dialog], "", "delete the selected file (or session)";
    "skip" [letter('x')] => Action::Skip, DIALOG, "", "in the guided exit: continue without it";
    "report" [letter('r')] => Action::Report, &[Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Events, Scope::Dialog], "", "write the session's report; in the guided exit: at its end, or not";
    "suspend" [ctrl('z')] => Action::Suspend, EVERYWHERE, "", "suspend to the shell; agents keep running for --lease; fg resumes";
    "help" [letter('?')] => Action::Help, MOVE, "help", "this help";
    "quit" [letter('q')] => Action::Quit, OUTSIDE_TEXT, "quit", "quit: the guided exit downloads captures and removes everything";
    "" [ctrl('c')] => Action::Interrupt, EVERYWHERE, "", "quit from anywhere; again: detach, and agents and captures keep running";
};
