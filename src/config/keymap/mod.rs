//! The keymap: one table for keys and help, and what the config file makes of it.
//!
//! Owns which key means which action where. Must not know what an action does.

mod table;

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::suggest;
use crate::{
    screens::{Action, Edit, Scope},
    session::Permission,
};
pub use table::{BINDINGS, Binding, Group};

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    code: KeyCode,
    modifiers: KeyModifiers,
}

/// Keys that are written as words.
const WORDS: [(&str, KeyCode); 15] = [
    ("Space", KeyCode::Char(' ')),
    ("Enter", KeyCode::Enter),
    ("Esc", KeyCode::Esc),
    ("Tab", KeyCode::Tab),
    ("Shift-Tab", KeyCode::BackTab),
    ("Backspace", KeyCode::Backspace),
    ("Delete", KeyCode::Delete),
    ("Up", KeyCode::Up),
    ("Down", KeyCode::Down),
    ("Left", KeyCode::Left),
    ("Right", KeyCode::Right),
    ("Home", KeyCode::Home),
    ("End", KeyCode::End),
    ("PgUp", KeyCode::PageUp),
    ("PgDn", KeyCode::PageDown),
];

impl fmt::Display for Key {
    /// As people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.modifiers.contains(KeyModifiers::CONTROL) {
            f.write_str("Ctrl-")?;
        }
        if self.modifiers.contains(KeyModifiers::ALT) {
            f.write_str("Alt-")?;
        }
        match (WORDS.iter().find(|(_, code)| *code == self.code), self.code) {
            (Some((word, _)), _) => f.write_str(word),
            (None, KeyCode::Char(character)) => write!(f, "{character}"),
            (None, KeyCode::F(number)) => write!(f, "F{number}"),
            (None, other) => write!(f, "{other:?}"),
        }
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut modifiers = KeyModifiers::NONE;
        let mut rest = text;
        loop {
            if let Some(after) = rest.strip_prefix("Ctrl-").filter(|after| !after.is_empty()) {
                (modifiers, rest) = (modifiers | KeyModifiers::CONTROL, after);
            } else if let Some(after) = rest.strip_prefix("Alt-").filter(|after| !after.is_empty()) {
                (modifiers, rest) = (modifiers | KeyModifiers::ALT, after);
            } else {
                break;
            }
        }
        let word = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(rest));
        let function = || rest.strip_prefix('F')?.parse().ok().filter(|number| (1..=24).contains(number));
        let mut characters = rest.chars();
        let code = match (word, function(), characters.next(), characters.next()) {
            (Some((_, code)), ..) => *code,
            (None, Some(number), ..) => KeyCode::F(number),
            (None, None, Some(one), None) if !one.is_control() => KeyCode::Char(one),
            _ => {
                return Err(format!("unknown key {text:?}: use e.g. d, C, Ctrl-d, Alt-x, F5, Space, Enter or PgUp"));
            }
        };
        Ok(Self { code, modifiers })
    }
}

/// What stands for a key where an action has none.
pub const NO_KEY: &str = "(no key)";

/// What keys mean: the table, with what the user has set instead.
#[derive(Debug, Clone)]
pub struct Keymap {
    bound: Arc<Vec<(&'static Binding, Vec<Key>)>>,
}

impl Default for Keymap {
    fn default() -> Self {
        Self { bound: Arc::new(BINDINGS.iter().map(|binding| (binding, binding.keys.to_vec())).collect()) }
    }
}

impl Keymap {
    /// The table with these keys instead, by the bindings' names. The error names the entry and what is wrong with it.
    pub fn with(own: &BTreeMap<String, Vec<String>>) -> Result<Self, (String, String)> {
        let mut bound = (*Self::default().bound).clone();
        for (name, keys) in own {
            let keys: Vec<Key> = keys
                .iter()
                .map(|key| key.parse())
                .collect::<Result<_, _>>()
                .map_err(|error: String| (name.clone(), error))?;
            let mut known = false;
            for (_, current) in bound.iter_mut().filter(|(binding, _)| binding.name == name && !name.is_empty()) {
                current.clone_from(&keys);
                known = true;
            }
            if !known {
                let names = BINDINGS.iter().map(|binding| binding.name).filter(|name| !name.is_empty());
                return Err((name.clone(), format!("unknown action {name:?}{}", suggest(name, names))));
            }
        }
        let map = Self { bound: Arc::new(bound) };
        match map.conflict() {
            // The error names the user's own entry.
            Some((first, second, key)) => {
                let (own, other) = if own.contains_key(second.name) { (second, first) } else { (first, second) };
                let means = if other.name.is_empty() { other.help } else { other.name };
                Err((
                    own.name.to_owned(),
                    format!("{:?} is already bound to {means:?}: change one of them", key.to_string()),
                ))
            }
            None => Ok(map),
        }
    }

    /// Two meanings of one key in one scope.
    fn conflict(&self) -> Option<(&'static Binding, &'static Binding, Key)> {
        let bound = &self.bound;
        for (index, (first, keys)) in bound.iter().enumerate() {
            for (second, others) in &bound[index + 1..] {
                let meet = first.scopes.iter().any(|scope| second.scopes.contains(scope));
                if let Some(key) = keys.iter().find(|key| meet && others.contains(key)) {
                    return Some((first, second, *key));
                }
            }
        }
        None
    }

    /// The bindings with their keys, in the order of help.
    pub fn rows(&self) -> impl Iterator<Item = (&'static Binding, &[Key])> {
        self.bound.iter().map(|(binding, keys)| (*binding, keys.as_slice()))
    }

    /// The action of a key press, where it has one.
    pub fn action(&self, event: KeyEvent, scope: Scope) -> Option<Action> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        // Shift is part of the character itself.
        let pressed = Key { code: event.code, modifiers: event.modifiers.difference(KeyModifiers::SHIFT) };
        let is_text = matches!(pressed, Key { code: KeyCode::Char(_), modifiers: KeyModifiers::NONE });
        let bound = self.rows().find(|(binding, keys)| {
            // Whatever the user has bound, letters stay letters where text is typed.
            binding.scopes.contains(&scope) && keys.contains(&pressed) && !(scope == Scope::Text && is_text)
        });
        if let Some((binding, _)) = bound {
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

    /// What a key press is called that means nothing there; `None` where it is no key of its own, or text is typed.
    pub fn unbound(&self, event: KeyEvent, scope: Scope) -> Option<String> {
        let alone = matches!(event.code, KeyCode::Null | KeyCode::Modifier(_) | KeyCode::CapsLock | KeyCode::NumLock);
        let dead = event.kind != KeyEventKind::Release && scope != Scope::Text && !alone;
        let pressed = Key { code: event.code, modifiers: event.modifiers.difference(KeyModifiers::SHIFT) };
        (dead && self.action(event, scope).is_none()).then(|| pressed.to_string())
    }

    /// The screens where a key press means something, in words.
    pub fn screens_of(&self, event: KeyEvent) -> Option<String> {
        let screens = [Scope::List, Scope::Node, Scope::Files, Scope::Ports, Scope::Events];
        let bound: Vec<&str> =
            screens.into_iter().filter(|scope| self.action(event, *scope).is_some()).map(Scope::word).collect();
        (!bound.is_empty()).then(|| bound.join(", "))
    }

    /// The first key of an action, for texts that name it.
    pub fn key_for(&self, action: Action) -> String {
        let bound = self.rows().find(|(binding, _)| binding.action == action);
        bound.and_then(|(_, keys)| keys.first()).map_or_else(|| NO_KEY.to_owned(), Key::to_string)
    }

    /// A text with the key for each `{name}` in it, as notices have them.
    pub fn fill(&self, text: &str) -> String {
        if !text.contains('{') {
            return text.to_owned();
        }
        let names = self.rows().filter(|(binding, _)| !binding.name.is_empty());
        names.fold(text.to_owned(), |text, (binding, _)| {
            let token = format!("{{{}}}", binding.name);
            if text.contains(&token) { text.replace(&token, &self.key_for(binding.action)) } else { text }
        })
    }
}

const EDITS: &[(Key, Edit)] = &[
    (plain(KeyCode::Backspace), Edit::DeleteBack),
    (ctrl('h'), Edit::DeleteBack),
    (ctrl('w'), Edit::DeleteWord),
    (plain(KeyCode::Delete), Edit::Delete),
    (plain(KeyCode::Left), Edit::Left),
    (plain(KeyCode::Right), Edit::Right),
    (plain(KeyCode::Home), Edit::Start),
    (ctrl('a'), Edit::Start),
    (plain(KeyCode::End), Edit::End),
    (ctrl('e'), Edit::End),
    (ctrl('u'), Edit::Clear),
];

const fn plain(code: KeyCode) -> Key {
    Key { code, modifiers: KeyModifiers::NONE }
}

const fn ctrl(character: char) -> Key {
    Key { code: KeyCode::Char(character), modifiers: KeyModifiers::CONTROL }
}

/// Whether a binding is shown: actions without permission are not offered.
pub fn is_offered(binding: &Binding, permission: Permission) -> bool {
    !(permission == Permission::ReadOnly && binding.action.changes_cluster())
}

/// Keys as help and the reference show them, without the second names that terminals send for some.
pub fn shown_keys(keys: &[Key]) -> Vec<String> {
    keys.iter().map(Key::to_string).filter(|key| key != "Null" && key != "Ctrl-4").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(entries: &[(&str, &[&str])]) -> Result<Keymap, (String, String)> {
        let list = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect();
        Keymap::with(&entries.iter().map(|(name, keys)| ((*name).to_owned(), list(keys))).collect())
    }

    fn press(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn no_key_means_two_things_in_one_scope() {
        let conflict = Keymap::default().conflict().map(|(first, second, key)| (first.help, second.help, key));
        assert_eq!(conflict, None);
    }

    #[test]
    fn every_key_is_read_back_as_it_is_written() {
        for (_, keys) in Keymap::default().rows() {
            for key in keys.iter().filter(|key| key.code != KeyCode::Null) {
                assert_eq!(key.to_string().parse(), Ok(*key));
            }
        }
        for wrong in ["", "Ctrl-", "dd", "F25", "Hyper-x", "\u{1b}"] {
            assert!(wrong.parse::<Key>().is_err_and(|error| error.contains("unknown key")), "{wrong:?}");
        }
    }

    #[test]
    fn letters_are_text_where_text_is_typed_and_ctrl_c_is_never() {
        let keys = own(&[("open", &["y", "Enter"]), ("copy", &["Y"])]).expect("a keymap");
        let q = press(KeyCode::Char('q'), KeyModifiers::NONE);
        assert_eq!(keys.action(q, Scope::List), Some(Action::Quit));
        assert_eq!(keys.action(q, Scope::Text), Some(Action::Edit(Edit::Insert('q'))));
        let y = press(KeyCode::Char('y'), KeyModifiers::NONE);
        assert_eq!(keys.action(y, Scope::Dialog), Some(Action::Open));
        assert_eq!(keys.action(y, Scope::Text), Some(Action::Edit(Edit::Insert('y'))));
        let capital = press(KeyCode::Char('C'), KeyModifiers::SHIFT);
        assert_eq!(keys.action(capital, Scope::List), Some(Action::CaptureOptions));
        let interrupt = press(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for &scope in Scope::ALL {
            assert_eq!(keys.action(interrupt, scope), Some(Action::Interrupt));
        }
    }

    #[test]
    fn a_rebound_key_is_the_one_that_works_and_is_shown() {
        let keys = own(&[("deploy", &["Ctrl-x", "F5"])]).expect("a keymap");
        let old = press(KeyCode::Char('d'), KeyModifiers::NONE);
        assert_eq!(keys.action(old, Scope::List), None);
        assert_eq!(keys.action(press(KeyCode::F(5), KeyModifiers::NONE), Scope::Node), Some(Action::Deploy));
        assert_eq!(keys.key_for(Action::Deploy), "Ctrl-x");
        assert_eq!(keys.fill("press {deploy}, or {no such} thing"), "press Ctrl-x, or {no such} thing");
    }

    #[test]
    fn what_cannot_be_bound_is_named() {
        for (entries, entry, told) in [
            (vec![("deploy", &["c"][..])], "deploy", "\"c\" is already bound to \"capture\""),
            (vec![("deploy", &["Ctrl-c"][..])], "deploy", "\"Ctrl-c\" is already bound to"),
            (vec![("deplyo", &["x"][..])], "deplyo", "unknown action \"deplyo\": did you mean \"deploy\""),
            (vec![("files", &["Strg-x"][..])], "files", "unknown key \"Strg-x\""),
        ] {
            let (named, error) = own(&entries).expect_err(told);
            assert!(named == entry && error.contains(told), "{named}: {error}");
        }
    }
}
