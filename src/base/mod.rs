//! What everything else stands on: clocks, text, URLs, files, folders and proxies of this laptop.
//!
//! Owns none of it but the list. Must not know Kubernetes, sessions or screens.

pub mod authorities;
pub mod aws_http;
pub mod clock;
pub mod disk;
pub mod endpoint;
pub mod folders;
pub mod loan;
pub mod proxy;
pub mod text;
pub mod user;
pub mod yaml;
