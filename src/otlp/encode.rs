//! A snapshot as one request of OTLP.
//!
//! Owns the form of messages. Pure.

use nodewatch_protocol::UnixMillis;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
        number_data_point::Value,
    },
    resource::v1::Resource,
};
use prost::Message;

use crate::model::metrics::{Instrument, Point, Series, Snapshot};

/// The body of a request.
pub(super) fn request(snapshot: &Snapshot, resource: &[(String, String)]) -> Vec<u8> {
    let resource = resource.iter().map(|(key, value)| attribute(key, value)).collect();
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let metrics = snapshot.series.iter().map(|series| metric(series, snapshot.at)).collect();
    let all = ResourceMetrics {
        resource: Some(Resource { attributes: resource, ..Resource::default() }),
        scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![all] }.encode_to_vec()
}

fn metric(series: &Series, at: UnixMillis) -> Metric {
    let data_points = series.points.iter().map(|one| point(one, at)).collect();
    let data = match series.metric.instrument {
        Instrument::Gauge => Data::Gauge(Gauge { data_points }),
        Instrument::Counter => Data::Sum(Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
    };
    Metric {
        name: series.metric.name.clone().into_owned(),
        description: series.metric.meaning.to_owned(),
        unit: series.metric.unit.clone().into_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn point(point: &Point, at: UnixMillis) -> NumberDataPoint {
    NumberDataPoint {
        attributes: point.attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
        start_time_unix_nano: point.since.map_or(0, |since| nanos(since.min(at))),
        time_unix_nano: nanos(at),
        value: Some(Value::AsInt(i64::try_from(point.value).unwrap_or(i64::MAX))),
        ..NumberDataPoint::default()
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn nanos(millis: UnixMillis) -> u64 {
    millis.saturating_mul(1_000_000)
}
