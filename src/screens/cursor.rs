//! A cursor that stays on what it was put on, whatever the rows around it do.
//!
//! Owns where it is among rows that have moved, and where it goes when its own has gone. Pure.

use nodewatch_answers::Code;
use nodewatch_protocol::{Endpoint, Port, Transport, Tunnel, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{
    model::{NodeName, PortKey},
    session::{answers::AnswerId, files::FileKey, node::watch::PairKey},
};

/// A row of a screen, wherever it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowKey {
    /// A node of the list.
    Node(NodeName),
    /// A file of the Files screen.
    File(FileKey),
    /// A row of a node's view.
    NodeRow(RowId),
    /// A port of a node, and whether a socket holds it.
    Port(NodeName, Port, bool),
    /// A port of all nodes.
    Group(PortKey),
    /// Something that has happened.
    Event(EventKey),
    /// A pod, by `NAMESPACE/NAME`.
    Pod(String),
    /// A signal of all nodes, by its name.
    Signal(String),
    /// A pair of ends, as a node has seen it.
    Connection(NodeName, PairKey),
    /// A row of the Answers screen.
    Answer(AnswerKey),
}

/// A row of the Answers screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerKey {
    /// An answer, and which part of it.
    Answer(Box<AnswerId>, Option<usize>),
    /// A code that is silenced.
    Silenced(Code),
}

/// A row of a node's view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowId {
    /// A port, and whether a socket holds it.
    Port(Port, bool),
    /// A flow.
    Flow(Transport, Endpoint, Endpoint, Option<Tunnel>),
    /// A file, by name.
    File(String),
    /// Something that happened then.
    Event(UnixMillis, String),
    /// A signal, by its name, and what it is about.
    Signal(String, String),
    /// A pair of ends.
    Pair(PairKey),
}

/// Something that has happened: when, on which node, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventKey {
    /// When.
    pub at: UnixMillis,
    /// The node; empty where it is none's.
    pub node: String,
    /// What.
    pub text: String,
}

/// On a row by its key; on the first row, whichever that is, as long as nobody has moved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor<K> {
    key: Option<K>,
    at: usize,
}

impl<K> Default for Cursor<K> {
    fn default() -> Self {
        Self { key: None, at: 0 }
    }
}

impl<K> Cursor<K> {
    /// Where it is among these rows; when its row has gone, where that was.
    pub fn place<R>(&self, rows: &[R], is: impl Fn(&R, &K) -> bool) -> usize {
        let found = self.key.as_ref().and_then(|key| rows.iter().position(|row| is(row, key)));
        found.unwrap_or(self.at).min(rows.len().saturating_sub(1))
    }

    /// Puts it on a row.
    pub fn put(&mut self, at: usize, key: Option<K>) {
        *self = Self { key, at };
    }

    /// Remembers where its row is, so that the next one takes its place when it goes. On which row it is then.
    pub fn settle<R>(&mut self, rows: &[R], is: impl Fn(&R, &K) -> bool, key: impl Fn(&R) -> K) {
        let at = self.place(rows, &is);
        if self.key.is_some() {
            self.key = rows.get(at).map(key);
        }
        self.at = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_with_its_row_and_is_followed_by_the_next_one() {
        let is = |row: &char, key: &char| row == key;
        let mut cursor = Cursor::default();
        assert_eq!(cursor.place(&['x', 'a', 'b'], is), 0, "nobody has moved it");
        cursor.put(1, Some('b'));
        assert_eq!(cursor.place(&['z', 'y', 'b', 'c'], is), 2);
        cursor.settle(&['z', 'y', 'b', 'c'], is, |row| *row);
        cursor.settle(&['z', 'y', 'c'], is, |row| *row);
        assert_eq!(cursor.place(&['c', 'z', 'y'], is), 0, "it is on what took the place");
        assert_eq!(cursor.place::<char>(&[], is), 0);
    }
}
