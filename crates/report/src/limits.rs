//! What CloudWatch Logs takes at once, see PutLogEvents.

/// Events in one batch.
pub const MAX_BATCH_EVENTS: usize = 10_000;
/// Bytes of a batch's messages, with [`OVERHEAD`] for each.
pub const MAX_BATCH_BYTES: usize = 1_048_576;
/// A message's bytes: 1 MiB with its overhead.
pub const MAX_EVENT_BYTES: usize = MAX_BATCH_BYTES - OVERHEAD;
/// What each event counts for beside its message.
pub const OVERHEAD: usize = 26;
