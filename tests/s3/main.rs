//! Captures on their way to a real S3 server: what a grant is good for, faults on the way, what is where in the end.

mod agent;
mod delivery;
mod faults;
mod laptop;
mod odd;
mod program;
mod storage;
