//! What failed on a node that nobody asked about.
//!
//! Owns what of it is kept, each once. Pure.

/// Texts of failures kept a node.
const MAX_TROUBLES: usize = 50;

/// What failed on a node that nobody asked about, for the receipt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Each once, oldest first.
    pub texts: Vec<String>,
    /// How many more there were than are kept.
    pub more: u64,
}

impl Troubles {
    pub(in crate::session) fn add(&mut self, message: &str) {
        // A scan that fails says nothing of packets, and has a counter of its own.
        if message.starts_with("ports: ") || self.texts.iter().any(|known| known == message) {
            return;
        }
        if self.texts.len() < MAX_TROUBLES {
            self.texts.push(message.to_owned());
        } else {
            self.more += 1;
        }
    }

    /// Nothing has failed.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}
