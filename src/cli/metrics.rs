//! Metrics to an OpenTelemetry collector.

use std::str::FromStr;

use clap::Args;

/// Where metrics go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsArgs {
    /// Send metrics to an OpenTelemetry collector (OTLP, HTTP with protobuf only)
    ///
    /// This program sends them, by default every 60 s. The URL is the collector's, as in otlp=http://localhost:4318. Without one,
    /// OTEL_EXPORTER_OTLP_ENDPOINT and OpenTelemetry's other variables say it; credentials come from
    /// OTEL_EXPORTER_OTLP_HEADERS alone.
    #[arg(long, value_name = "otlp[=URL]", hide_short_help = true)]
    pub metrics: Option<MetricsTarget>,
}

/// A collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsTarget {
    /// Its URL; `None` where the environment says it.
    pub url: Option<String>,
}

impl FromStr for MetricsTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "otlp" => Ok(Self { url: None }),
            // Whoever opens it says what is wrong with it: this parser's message would repeat a password in it.
            Some(("otlp", url)) => Ok(Self { url: Some(url.to_owned()) }),
            _ => Err("expected otlp or otlp=URL".to_owned()),
        }
    }
}
