//! The keymap: one table for keys, help and hints.
//!
//! Owns which key means which action where. Must not know what an action does.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::app::{Action, Edit, Permission, Scope};

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    code: KeyCode,
    modifiers: KeyModifiers,
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

impl Key {
    /// As people write it.
    pub fn text(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(character) => character.to_string(),
            KeyCode::Up => "Up".to_owned(),
            KeyCode::Down => "Down".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::BackTab => "Shift-Tab".to_owned(),
            other => format!("{other:?}"),
        };
        if self.modifiers.contains(KeyModifiers::CONTROL) { format!("Ctrl-{name}") } else { name }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// The keys, the one for the hint line first.
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

const BROWSE: &[Scope] = &[Scope::List, Scope::Node];
const SCREENS: &[Scope] = &[Scope::List, Scope::Node, Scope::Files, Scope::Ports];
const MOVE: &[Scope] = &[Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Reading];
const MOVE_AND_DIALOG: &[Scope] =
    &[Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Reading, Scope::Dialog];
const WITH_HISTORY: &[Scope] = &[Scope::List, Scope::Node, Scope::Ports];
const LIST: &[Scope] = &[Scope::List];
const FILES: &[Scope] = &[Scope::Files];
const PORTS: &[Scope] = &[Scope::Ports];
const OUTSIDE_TEXT: &[Scope] = &[Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Dialog, Scope::Reading];
const EVERYWHERE: &[Scope] =
    &[Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Text, Scope::Dialog, Scope::Reading];

/// The table. The order is the order of help and hints.
pub const BINDINGS: &[Binding] = &[
    Binding {
        keys: &[letter('d')],
        action: Action::Deploy,
        scopes: BROWSE,
        hint: "deploy",
        help: "deploy the agent to the cursor's node, or to all marked",
    },
    Binding {
        keys: &[letter('c')],
        action: Action::Capture,
        scopes: BROWSE,
        hint: "capture",
        help: "start or stop a capture, on the cursor's node or all marked",
    },
    Binding {
        keys: &[letter('C')],
        action: Action::CaptureOptions,
        scopes: BROWSE,
        hint: "options",
        help: "start a capture with filter, interfaces, limits",
    },
    Binding {
        keys: &[letter('F')],
        action: Action::Freeze,
        scopes: SCREENS,
        hint: "",
        help: "save the last seconds of armed flight recorders: the chosen, or all",
    },
    Binding {
        keys: &[letter('f')],
        action: Action::Files,
        scopes: SCREENS,
        hint: "files",
        help: "every capture file: on nodes, on the way, here, in S3; again: refresh",
    },
    Binding {
        keys: &[letter('s')],
        action: Action::FetchAll,
        scopes: SCREENS,
        hint: "",
        help: "fetch every closed capture file that is on its node alone",
    },
    Binding {
        keys: &[letter('w')],
        action: Action::Follow,
        scopes: SCREENS,
        hint: "",
        help: "follow running captures in Wireshark; on a file: open it there",
    },
    Binding {
        keys: &[letter('o')],
        action: Action::Ports,
        scopes: &[Scope::List, Scope::Node, Scope::Files],
        hint: "ports",
        help: "the open ports of all nodes: by node, by port, as a matrix",
    },
    Binding {
        keys: &[letter('P')],
        action: Action::Probe,
        scopes: PORTS,
        hint: "probe",
        help: "try the port from another node: TCP connect, UDP with an answer",
    },
    Binding {
        keys: &[letter('e')],
        action: Action::Exclude,
        scopes: PORTS,
        hint: "exclude",
        help: "leave the port out of lists and reports; it is counted",
    },
    Binding {
        keys: &[letter('E')],
        action: Action::IncludeAgain,
        scopes: PORTS,
        hint: "",
        help: "take back what was left out by key",
    },
    Binding {
        keys: &[letter('H')],
        action: Action::History,
        scopes: WITH_HISTORY,
        hint: "",
        help: "past reports of the node or port, from CloudWatch Logs",
    },
    Binding {
        keys: &[letter('h'), key(KeyCode::Left)],
        action: Action::Left,
        scopes: PORTS,
        hint: "",
        help: "in the matrix: nodes to the left",
    },
    Binding {
        keys: &[letter('l'), key(KeyCode::Right)],
        action: Action::Right,
        scopes: PORTS,
        hint: "",
        help: "in the matrix: nodes to the right",
    },
    Binding {
        keys: &[letter(':')],
        action: Action::Command,
        scopes: SCREENS,
        hint: "",
        help: "type a command: nodes, ports, files, history, sessions, quit",
    },
    Binding {
        keys: &[letter('m')],
        action: Action::Merge,
        scopes: FILES,
        hint: "merge",
        help: "one file of the marked ones, in time order",
    },
    Binding {
        keys: &[letter('y')],
        action: Action::Copy,
        scopes: FILES,
        hint: "copy URI",
        help: "copy the file's place in S3, or on this laptop",
    },
    Binding {
        keys: &[letter('/')],
        action: Action::Filter,
        scopes: &[Scope::List, Scope::Node, Scope::Ports],
        hint: "filter",
        help: "filter nodes: regex, !regex, -l label=value, zone:1a; ports: class:unexpected, port:22",
    },
    Binding {
        keys: &[key(KeyCode::Char(' '))],
        action: Action::Mark,
        scopes: &[Scope::List, Scope::Files, Scope::Dialog],
        hint: "mark",
        help: "mark the node or file; in the guided exit: keep or remove",
    },
    Binding {
        keys: &[Key { code: KeyCode::Char(' '), modifiers: KeyModifiers::CONTROL }, key(KeyCode::Null)],
        action: Action::MarkRange,
        scopes: LIST,
        hint: "",
        help: "mark from the last mark to here",
    },
    Binding {
        keys: &[ctrl('a')],
        action: Action::MarkAll,
        scopes: LIST,
        hint: "",
        help: "mark all nodes that are shown",
    },
    Binding {
        keys: &[ctrl('\\'), ctrl('4')],
        action: Action::ClearMarks,
        scopes: &[Scope::List, Scope::Files],
        hint: "",
        help: "clear all marks",
    },
    Binding {
        keys: &[key(KeyCode::Enter)],
        action: Action::Open,
        scopes: EVERYWHERE,
        hint: "",
        help: "open the node; say yes; fetch the file, from its node or S3",
    },
    Binding {
        keys: &[key(KeyCode::Esc)],
        action: Action::Back,
        scopes: EVERYWHERE,
        hint: "",
        help: "back; say no; in the list: show all again, then clear marks",
    },
    Binding {
        keys: &[key(KeyCode::Tab)],
        action: Action::NextView,
        scopes: &[Scope::List, Scope::Node, Scope::Ports, Scope::Text],
        hint: "",
        help: "next view: ports, capture, flows, files, events; by node, by port, matrix",
    },
    Binding {
        keys: &[key(KeyCode::BackTab)],
        action: Action::PreviousView,
        scopes: &[Scope::List, Scope::Node, Scope::Ports, Scope::Text],
        hint: "",
        help: "previous view",
    },
    Binding {
        keys: &[letter('k'), key(KeyCode::Up)],
        action: Action::Up,
        scopes: MOVE_AND_DIALOG,
        hint: "",
        help: "up",
    },
    Binding {
        keys: &[letter('j'), key(KeyCode::Down)],
        action: Action::Down,
        scopes: MOVE_AND_DIALOG,
        hint: "",
        help: "down",
    },
    Binding { keys: &[key(KeyCode::Up)], action: Action::Up, scopes: &[Scope::Text], hint: "", help: "" },
    Binding { keys: &[key(KeyCode::Down)], action: Action::Down, scopes: &[Scope::Text], hint: "", help: "" },
    Binding { keys: &[letter('g'), key(KeyCode::Home)], action: Action::Top, scopes: MOVE, hint: "", help: "first" },
    Binding { keys: &[letter('G'), key(KeyCode::End)], action: Action::Bottom, scopes: MOVE, hint: "", help: "last" },
    Binding {
        keys: &[ctrl('b'), key(KeyCode::PageUp)],
        action: Action::PageUp,
        scopes: MOVE_AND_DIALOG,
        hint: "",
        help: "page up",
    },
    Binding {
        keys: &[ctrl('f'), key(KeyCode::PageDown)],
        action: Action::PageDown,
        scopes: MOVE_AND_DIALOG,
        hint: "",
        help: "page down",
    },
    Binding {
        keys: &[letter('p')],
        action: Action::Pause,
        scopes: &[Scope::List, Scope::Node, Scope::Ports],
        hint: "",
        help: "hold the screen still; what happens is not lost",
    },
    Binding { keys: &[letter('n')], action: Action::Notices, scopes: MOVE, hint: "", help: "past notices" },
    Binding {
        keys: &[letter('b')],
        action: Action::Budget,
        scopes: BROWSE,
        hint: "",
        help: "move the session's end: shorten or extend its budget",
    },
    Binding {
        keys: &[letter('L')],
        action: Action::Sessions,
        scopes: BROWSE,
        hint: "",
        help: "other sessions: detached, left over, of other laptops",
    },
    Binding {
        keys: &[ctrl('d')],
        action: Action::Remove,
        scopes: &[Scope::Files, Scope::Dialog],
        hint: "",
        help: "remove the file, or in the list of sessions the session",
    },
    Binding {
        keys: &[letter('x')],
        action: Action::Skip,
        scopes: &[Scope::Dialog],
        hint: "",
        help: "in the guided exit: go on without it",
    },
    Binding { keys: &[letter('?')], action: Action::Help, scopes: MOVE, hint: "help", help: "this help" },
    Binding {
        keys: &[letter('q')],
        action: Action::Quit,
        scopes: OUTSIDE_TEXT,
        hint: "quit",
        help: "leave: the guided exit fetches captures and removes everything",
    },
    Binding {
        keys: &[ctrl('c')],
        action: Action::Interrupt,
        scopes: EVERYWHERE,
        hint: "",
        help: "the same from anywhere; again: detach, agents and captures go on",
    },
];

const EDITS: &[(Key, Edit)] = &[
    (key(KeyCode::Backspace), Edit::DeleteBack),
    (ctrl('h'), Edit::DeleteBack),
    (ctrl('w'), Edit::DeleteWord),
    (key(KeyCode::Delete), Edit::Delete),
    (key(KeyCode::Left), Edit::Left),
    (key(KeyCode::Right), Edit::Right),
    (key(KeyCode::Home), Edit::Start),
    (ctrl('a'), Edit::Start),
    (key(KeyCode::End), Edit::End),
    (ctrl('e'), Edit::End),
    (ctrl('u'), Edit::Clear),
];

/// The action of a key press, where it has one.
pub fn action(event: KeyEvent, scope: Scope) -> Option<Action> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    // Shift is part of the character itself.
    let pressed = Key { code: event.code, modifiers: event.modifiers.difference(KeyModifiers::SHIFT) };
    let bound = BINDINGS.iter().find(|binding| binding.scopes.contains(&scope) && binding.keys.contains(&pressed));
    if let Some(binding) = bound {
        return Some(binding.action);
    }
    if scope != Scope::Text {
        return None;
    }
    if let Some((_, edit)) = EDITS.iter().find(|(key, _)| *key == pressed) {
        return Some(Action::Edit(*edit));
    }
    match pressed {
        Key { code: KeyCode::Char(character), modifiers: KeyModifiers::NONE } => {
            Some(Action::Edit(Edit::Insert(character)))
        }
        _ => None,
    }
}

/// Whether a binding is shown: what may not be done is not offered.
pub fn is_offered(binding: &Binding, permission: Permission) -> bool {
    !(permission == Permission::ReadOnly && binding.action.changes_cluster())
}

/// The first key of an action, for texts that name it.
pub fn key_for(action: Action) -> String {
    let bound = BINDINGS.iter().find(|binding| binding.action == action);
    bound.and_then(|binding| binding.keys.first()).map_or_else(String::new, |key| key.text())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_scope() {
        let mut seen = HashSet::new();
        for binding in BINDINGS {
            for scope in binding.scopes {
                for key in binding.keys {
                    assert!(seen.insert((*scope, *key)), "{} twice in {scope:?}", key.text());
                }
            }
        }
    }

    #[test]
    fn letters_are_text_where_text_is_typed_and_ctrl_c_is_never() {
        let press = |code, modifiers| KeyEvent::new(code, modifiers);
        let q = press(KeyCode::Char('q'), KeyModifiers::NONE);
        assert_eq!(action(q, Scope::List), Some(Action::Quit));
        assert_eq!(action(q, Scope::Text), Some(Action::Edit(Edit::Insert('q'))));
        let capital = press(KeyCode::Char('C'), KeyModifiers::SHIFT);
        assert_eq!(action(capital, Scope::List), Some(Action::CaptureOptions));
        let interrupt = press(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for scope in [Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Text, Scope::Dialog, Scope::Reading]
        {
            assert_eq!(action(interrupt, scope), Some(Action::Interrupt));
        }
    }
}
