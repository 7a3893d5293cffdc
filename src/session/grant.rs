//! An agent's right to deliver, as the laptop knows it.
//!
//! Owns its states. When they change is for `delivery.rs`.

use nodewatch_protocol::UnixMillis;

/// An agent's right to deliver, as this side knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GrantState {
    /// It was not told anything.
    #[default]
    Nothing,
    /// On its way.
    Asked,
    /// It has one; `None` needs no renewal.
    Held(Option<Renewal>),
    /// It could not be told; tried again then.
    Failed {
        /// When.
        retry_at: UnixMillis,
    },
}

/// When a grant is to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// Early enough that a few failures cost nothing.
    pub(super) at: UnixMillis,
    /// Not before, whatever the agent says: what it said of an earlier grant may still be on its way.
    pub(super) not_before: UnixMillis,
    /// Less than that is little, in seconds: the agent goes by its own clock.
    pub(super) little: u64,
}
