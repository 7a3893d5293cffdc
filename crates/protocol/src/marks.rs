//! Marks by which both programs know what a session has made, wherever it is.

/// The label of Kubernetes objects, and the tag of what is in AWS, that carries the session's id.
pub const SESSION_LABEL: &str = "nodewatch-tui/session";
/// The annotation that says when the session ends, RFC 3339.
pub const ENDS: &str = "nodewatch-tui/ends";
