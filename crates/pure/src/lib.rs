//! What is true and what is seen, compiled by themselves: without tokio, kube, ratatui, the AWS SDK or anything else that
//! waits for the world.
//!
//! Owns nothing: the sources are the laptop program's own, and this crate is how the compiler holds them pure. What it would
//! take to make them impure stands in its Cargo.toml, and does not.
#![allow(dead_code, unused_imports, missing_docs, reason = "what only the program uses is unused here")]

#[path = "../../../src/base"]
pub mod base {
    pub mod text;
}
#[path = "../../../src/model/mod.rs"]
pub mod model;
#[path = "../../../src/screens/mod.rs"]
pub mod screens;
#[path = "../../../src/session/mod.rs"]
pub mod session;
