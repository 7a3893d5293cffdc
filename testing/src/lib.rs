//! What the tests of all crates share. One module is one job; none knows a crate of ours but the protocol's.
//!
//! | module | its job |
//! |---|---|
//! | [`wait`] | waiting for something to come about |
//! | [`program`] | a program: its exit code, what it prints, its signals |
//! | [`here`] | what this machine allows, and saying why a test is skipped |
//! | [`terminal`] | a terminal with a program in it, driven by keys |
//! | [`packets`] | packets with numbers, and tshark as the referee of captures |
//! | [`namespaces`] | network namespaces |
//! | [`agent`] | an agent as a child process, spoken to in the protocol |
//! | [`bucket`] | an S3 server, and what is in its bucket |
//! | [`proxy`] | a TCP proxy that makes faults |
//! | [`recorder`] | a server that writes down what it is asked |
#![allow(clippy::missing_panics_doc, reason = "a panic is how a test fails")]

pub mod agent;
pub mod bucket;
pub mod here;
pub mod namespaces;
pub mod packets;
pub mod program;
pub mod proxy;
pub mod recorder;
pub mod terminal;
pub mod wait;

pub use wait::{eventually, eventually_async};
