//! The hosts that a capture's filter names: looked up on the laptop, as no node looks names up.
//!
//! Owns how long that may take and what is said when it fails.

use std::time::Duration;

use nodewatch_protocol::CaptureSpec;

use crate::{
    base::text::chain,
    model::{Failure, Notice},
};

/// Name servers have so long.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(5);
/// The capture with the addresses of the hosts that its filter names.
pub(super) async fn resolved(spec: CaptureSpec) -> Result<CaptureSpec, Notice> {
    let failed = |cause: String, next_step: &str| {
        Notice::error("invalid capture filter", cause, next_step).of(Failure::BadInput)
    };
    let work = move || {
        let hosts = nodewatch_filter::SystemHosts { within: LOOKED_UP_WITHIN };
        let filter = spec.filter.as_deref().map(|filter| nodewatch_filter::resolve(filter, &hosts)).transpose()?;
        Ok(CaptureSpec { filter, ..spec })
    };
    let found: Result<CaptureSpec, nodewatch_filter::FilterError> =
        tokio::task::spawn_blocking(work).await.map_err(|error| failed(error.to_string(), "try again"))?;
    found.map_err(|error| failed(chain(&error), error.next_step()))
}
