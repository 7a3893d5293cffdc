//! What takes a real cluster, from outside, with the program as a user has it: `make test-cluster`.
//!
//! The scripts beside this file make such a cluster, and users with no more rights than they need. Tests share its nodes,
//! so they run one at a time, in the order of their modules' names; `incident` has three nodes and comes last.

mod arrive;
mod everyday;
mod faults;
mod incident;
mod joining;
mod kubernetes;
mod laptop;
mod leaks;
#[path = "../support/mcp.rs"]
mod mcp;
mod ports;
mod registry;
mod targets;
mod tools;
