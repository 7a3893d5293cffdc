//! Objects by name, and which of them the latest list has had.
//!
//! Owns that a list is the whole truth: what it lacks is known by name.

use std::collections::BTreeMap;

/// Objects of one kind.
#[derive(Debug, Clone)]
pub(super) struct Objects<V> {
    by_name: BTreeMap<String, (u64, V)>,
    /// Lists that were begun.
    lists: u64,
}

impl<V> Default for Objects<V> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), lists: 0 }
    }
}

impl<V> Objects<V> {
    /// All there is follows.
    pub(super) fn lists(&mut self) {
        self.lists += 1;
    }

    /// What the list that was begun last has not had.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = self.by_name.iter().filter(|(_, (list, _))| *list != self.lists);
        missing.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn put(&mut self, name: &str, object: V) {
        self.by_name.insert(name.to_owned(), (self.lists, object));
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<V> {
        self.by_name.remove(name).map(|(_, object)| object)
    }

    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.by_name.get(name).map(|(_, object)| object)
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Those whose names begin so.
    pub(super) fn below(&self, beginning: &str) -> impl Iterator<Item = &V> {
        let from = self.by_name.range(beginning.to_owned()..);
        from.take_while(move |(name, _)| name.starts_with(beginning)).map(|(_, (_, object))| object)
    }
}
