//! Why connections fail: answers, each with its proof, from what interfaces have seen of connections, from kernels'
//! counters and from what was changed in the cluster at that moment.
//!
//! Owns the rules, one file a cause, and how what several interfaces and nodes have seen of one connection is put
//! together. Pure: no clock, no I/O, memory with a bound. The same rules judge live agents, recordings and files; what
//! cannot be known from them is said and not guessed. Must not know where its evidence comes from.
#![warn(missing_docs)]

mod alive;
mod answer;
mod clocks;
mod code;
mod engine;
mod explain;
mod group;
mod joined;
mod journal;
mod lost;
mod pairs;
mod paths;
mod places;
mod rules;
mod seconds;
mod signals;
mod standing;
#[cfg(test)]
mod tests;
mod told;
mod view;
mod ways;
pub mod words;
mod worst;

pub use answer::{Answer, Certainty, Ends, Hurt, Place, Proof, Runner, Step};
pub use clocks::ClockGap;
pub use code::{Code, Codes, UnknownCode};
pub use engine::{Engine, Looked};
pub use explain::{Block, Explanation, blocks, explain, reference};
pub use journal::{Journal, Labels, News, Pod, PodPhase, Policy, Source};
pub use paths::{Segment, Tap, TapId};
pub use signals::is_wanted;
pub use told::{Face, Pair, Told};
pub use worst::Worst;
