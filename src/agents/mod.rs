//! How the laptop reaches agents, wherever they run.
//!
//! Owns the seam behind which a cluster or this machine stands (`site`), one tunnel (`client`), one file home (`fetch`),
//! running captures as one stream (`live`) and as lines (`tail`), and the agent of this machine (`local`, `rings`, and in
//! `ready` what that needs). Must not know what a session
//! is, nor what is on a screen.

pub mod client;
pub mod fetch;
pub mod live;
pub mod local;
pub mod ready;
pub mod rings;
pub mod site;
pub mod tail;
