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
    "deploy" [letter('d')] => Action::Deploy, BROWSE, "deploy", "deploy the agent to the cursor's node, or to all marked, without a capture";
    "capture" [letter('c')] => Action::Capture, BROWSE, "capture", "capture, deploying first where needed; again: stop it, or take back the start";
    "capture-options" [letter('C')] => Action::CaptureOptions, BROWSE, "options", "the same with filter, interfaces, limits";
    "freeze" [letter('F')] => Action::Freeze, SCREENS, "", "save the last seconds of armed flight recorders: the chosen, or all";
    "files" [letter('f')] => Action::Files, SCREENS, "files", "every capture file: on nodes, on the way, here, in S3; again: refresh";
    "fetch-all" [letter('s')] => Action::FetchAll, SCREENS, "", "fetch every closed capture file that is on its node alone";
    "follow" [letter('w')] => Action::Follow, SCREENS, "", "follow captures in Wireshark, started where none runs; on a file: open it there";
    "ports" [letter('o')] => Action::Ports, &[Scope::List, Scope::Node, Scope::Files, Scope::Events], "ports", "the open ports of all nodes: by node, by port, as a matrix";
    "events" [letter('v')] => Action::Events, SCREENS, "", "what happened on all nodes, newest first";
    "probe" [letter('P')] => Action::Probe, PORTS, "probe", "try the port from another node: TCP connect, UDP with an answer";
    "exclude" [letter('e')] => Action::Exclude, PORTS, "exclude", "leave the port out of lists and reports; it is counted";
    "include-again" [letter('E')] => Action::IncludeAgain, PORTS, "", "take back what was left out by key";
    "history" [letter('H')] => Action::History, WITH_HISTORY, "", "past reports of the node or port, from CloudWatch Logs";
    "merge" [letter('m')] => Action::Merge, FILES, "merge", "one file of the marked ones, in time order";
    "filter" [letter('/')] => Action::Filter, SCREENS, "filter", "filter: regex, !regex, -l label=value, field:value as in zone:1a, class:unexpected";
    "command" [letter(':')] => Action::Command, SCREENS, "", "type a command; Tab completes it, Up brings back earlier ones";
    "mark" [SPACE] => Action::Mark, MARKED_AND_DIALOG, "mark", "mark the node or file; in the guided exit: keep or remove";
    "mark-range" CTRL_SPACE => Action::MarkRange, LIST, "", "mark from the last mark to here";
    "mark-all" [ctrl('a')] => Action::MarkAll, LIST, "", "mark all nodes that are shown; again: also those that join; again: no more";
    "clear-marks" CTRL_BACKSLASH => Action::ClearMarks, MARKED, "", "clear all marks";
    "open" [key(KeyCode::Enter)] => Action::Open, EVERYWHERE, "", "open the node; say yes; fetch the file, from its node or S3";
    "back" [key(KeyCode::Esc)] => Action::Back, EVERYWHERE, "", "back; say no; in the list: show all again, then clear marks";
    "go-back" [letter('[')] => Action::GoBack, SCREENS, "", "to the screen before this one";
    "go-forward" [letter(']')] => Action::GoForward, SCREENS, "", "to the screen after it again";
    "next-view" [key(KeyCode::Tab)] => Action::NextView, WITH_VIEWS, "", "next view: ports, capture, flows, files, events; by node, by port, matrix";
    "previous-view" [key(KeyCode::BackTab)] => Action::PreviousView, WITH_VIEWS, "", "previous view";
    "up" [letter('k'), key(KeyCode::Up)] => Action::Up, MOVE_AND_DIALOG, "", "up";
    "down" [letter('j'), key(KeyCode::Down)] => Action::Down, MOVE_AND_DIALOG, "", "down";
    "" [key(KeyCode::Up)] => Action::Up, TEXT, "", "";
    "" [key(KeyCode::Down)] => Action::Down, TEXT, "", "";
    "left" [letter('h'), key(KeyCode::Left)] => Action::Left, TABLES, "", "columns to the left";
    "right" [letter('l'), key(KeyCode::Right)] => Action::Right, TABLES, "", "columns to the right";
    "top" [letter('g'), key(KeyCode::Home)] => Action::Top, MOVE, "", "first";
    "bottom" [letter('G'), key(KeyCode::End)] => Action::Bottom, MOVE, "", "last";
    "page-up" [ctrl('b'), key(KeyCode::PageUp)] => Action::PageUp, MOVE_AND_DIALOG, "", "page up";
    "page-down" [ctrl('f'), key(KeyCode::PageDown)] => Action::PageDown, MOVE_AND_DIALOG, "", "page down";
    "wide" [ctrl('w')] => Action::Wide, LIST, "", "more columns: address, version, instance";
    "faults" [letter('!')] => Action::Faults, TABLES_AND_EVENTS, "", "only what is at fault: nodes, ports, files, events";
    "zoom" [letter('z')] => Action::Zoom, SCREENS, "", "the list or view alone on the whole screen";
    "sort-name" [letter('N')] => Action::Sort(Column::Name), TABLES, "", "sort by name; any sort key again: the other way around";
    "sort-status" [letter('S')] => Action::Sort(Column::Status), LIST, "", "sort by status";
    "sort-zone" [letter('Z')] => Action::Sort(Column::Zone), LIST, "", "sort by zone";
    "sort-type" [letter('T')] => Action::Sort(Column::Type), LIST, "", "sort by instance type";
    "sort-agent" [letter('A')] => Action::Sort(Column::Agent), LIST, "", "sort by agent";
    "sort-ports" [letter('O')] => Action::Sort(Column::Ports), &[Scope::List, Scope::Ports], "", "sort by number of open ports; in the ports: by port";
    "sort-packets" [letter('R')] => Action::Sort(Column::Packets), MARKED, "", "sort by packets: their rate, or a file's number";
    "sort-bytes" [letter('B')] => Action::Sort(Column::Bytes), MARKED, "", "sort by bits a second, or a file's size";
    "sort-drops" [letter('D')] => Action::Sort(Column::Drops), MARKED, "", "sort by drops";
    "sort-time" [letter('T')] => Action::Sort(Column::Time), &[Scope::Files, Scope::Ports], "", "sort by time";
    "sort-class" [letter('A')] => Action::Sort(Column::Class), PORTS, "", "sort by class, the worst first";
    "pause" [letter('p')] => Action::Pause, SCREENS, "", "hold the screen still; what happens is not lost";
    "copy" [letter('y')] => Action::Copy, SCREENS, "", "copy what the cursor is on; a file's place in S3 or here";
    "save-table" [ctrl('s')] => Action::Save, SCREENS, "", "save the table as CSV; :save FILE.json as JSON";
    "notices" [letter('n')] => Action::Notices, MOVE, "", "past notices";
    "budget" [letter('b')] => Action::Budget, BROWSE, "", "move the session's end: shorten or extend its budget";
    "sessions" [letter('L')] => Action::Sessions, BROWSE, "", "other sessions: detached, left over, of other laptops";
    "contexts" [letter('x')] => Action::Contexts, SCREENS, "", "another context of the kubeconfig";
    "remove" [ctrl('d')] => Action::Remove, &[Scope::Files, Scope::Dialog], "", "remove the file, or in the list of sessions the session";
    "skip" [letter('x')] => Action::Skip, DIALOG, "", "in the guided exit: go on without it";
    "report" [letter('r')] => Action::Report, &[Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Events, Scope::Dialog], "", "write the session's report; in the guided exit: at its end, or not";
    "suspend" [ctrl('z')] => Action::Suspend, EVERYWHERE, "", "back to the shell for a while, agents go on for --lease; fg comes back";
    "help" [letter('?')] => Action::Help, MOVE, "help", "this help";
    "quit" [letter('q')] => Action::Quit, OUTSIDE_TEXT, "quit", "leave: the guided exit fetches captures and removes everything";
    "" [ctrl('c')] => Action::Interrupt, EVERYWHERE, "", "the same from anywhere; again: detach, agents and captures go on";
};
