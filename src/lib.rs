//! nodewatch-tui: nodes, open ports and packets of a cluster, live in a terminal, with nothing left behind.
//!
//! The library behind the program, so that tests reach every layer. ARCHITECTURE.md says which module may know which.

pub mod agent_client;
pub mod app;
pub mod aws_http;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod disk;
pub mod drift;
pub mod fetch;
pub mod folders;
pub mod headless;
pub mod journal;
pub mod live;
pub mod local;
pub mod logs;
pub mod manifest;
pub mod merge;
pub mod model;
pub mod program;
pub mod proxy;
pub mod record;
pub mod report;
pub mod rings;
pub mod runtime;
pub mod site;
pub mod storage;
pub mod text;
pub mod ui;
