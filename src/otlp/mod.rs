//! OTLP, OpenTelemetry's protocol: metrics to a collector, over HTTP with protobuf bodies.
//!
//! Owns the way there and what a message says. The messages are OpenTelemetry's own types; its SDK is not used, as it goes on
//! sending the last value of a gauge whose node is gone. What is sent and when is the session's to say.

mod encode;
mod settings;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use tokio::time::timeout;

pub use self::settings::{OFF, SettingsError, is_off};
use crate::{
    base::{
        aws_http::{self, TrustStore},
        text,
    },
    model::metrics::Snapshot,
};

/// So much of an answer is read.
const MOST_READ: usize = 64 * 1024;

/// What keeps metrics from a collector.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// It was not reached.
    #[error("{0}")]
    Unreached(String),
    /// It did not answer.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Late(Duration),
    /// It refused them.
    #[error("HTTP {status}")]
    Status {
        /// With this.
        status: u16,
    },
    /// It took some of them.
    #[error("{points} data points were rejected: {said}")]
    Partly {
        /// So many it did not.
        points: i64,
        /// What it says of that.
        said: String,
    },
}

/// A collector, and what goes along with all that is sent to it.
#[derive(Debug)]
pub struct Exporter {
    endpoint: Uri,
    /// Marked as sensitive, so that nothing prints their values.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Who vouches for it, where that is not who vouches for AWS's servers.
    trusted: Option<TrustStore>,
    timeout: Duration,
    every: Duration,
    /// Attributes of what sends them.
    resource: Vec<(String, String)>,
}

impl Exporter {
    /// Time between two exports.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// The collector's URL, without a query, which may have a secret.
    pub fn shown(&self) -> String {
        let Self { endpoint, .. } = self;
        let authority = endpoint.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        text::line(&format!("{}://{authority}{}", endpoint.scheme_str().unwrap_or("http"), endpoint.path()))
    }

    /// Sends them, once: what counters have risen by is in the next ones too.
    pub async fn send(&self, snapshot: &Snapshot) -> Result<(), OtlpError> {
        let body = ("application/x-protobuf", encode::request(snapshot, &self.resource));
        let to = (&self.endpoint, self.trusted.as_ref());
        let (status, answer) = timeout(self.timeout, aws_http::post(to, &self.headers, body, MOST_READ))
            .await
            .map_err(|_| OtlpError::Late(self.timeout))?
            .map_err(|error| OtlpError::Unreached(text::line(&text::root_cause(&error))))?;
        if !(200..300).contains(&status) {
            return Err(OtlpError::Status { status });
        }
        // A collector that answers otherwise has taken them all the same.
        let partial = ExportMetricsServiceResponse::decode(&*answer).ok().and_then(|answer| answer.partial_success);
        match partial.filter(|partial| partial.rejected_data_points > 0) {
            Some(partial) => Err(OtlpError::Partly {
                points: partial.rejected_data_points,
                said: text::line(&partial.error_message).chars().take(200).collect(),
            }),
            None => Ok(()),
        }
    }
}
