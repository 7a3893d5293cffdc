//! nodewatch-tui: nodes, open ports and packets of a cluster, live in a terminal, with nothing left behind.
//!
//! The library behind the program, so that tests reach every layer. ARCHITECTURE.md says which module may know which.

pub mod agents;
pub mod base;
pub mod captures;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod handover;
pub mod headless;
pub mod journal;
pub mod logs;
pub mod mcp;
pub mod model;
pub mod otlp;
pub mod packets;
pub mod program;
pub mod record;
pub mod runtime;
pub mod screens;
pub mod session;
pub mod storage;
pub mod ui;
