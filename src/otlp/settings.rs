//! Where metrics go and what goes along with them, as the command line and OpenTelemetry's own variables say.
//!
//! Owns which variables count, and their forms. No value of a header is in any message.

use std::{path::Path, time::Duration};

use http::{HeaderName, HeaderValue, Uri, uri::Scheme};

use super::Exporter;
use crate::{
    base::{
        authorities,
        aws_http::{self, TrustStore},
        endpoint::{base, plain},
        text,
    },
    model::{Failure, Notice, SessionId},
};

/// Who gives the URL where no variable does.
const OPTION: &str = "--metrics";
/// Switches all telemetry off.
pub const OFF: &str = "OTEL_SDK_DISABLED";
/// Where a collector on this machine listens.
const HERE: &str = "http://localhost:4318";
/// What a collector's URL ends with, for metrics.
const PATH: &str = "/v1/metrics";
/// Time between two exports, and for one of them.
const EVERY: Duration = Duration::from_secs(60);
const WITHIN: Duration = Duration::from_secs(10);

/// What is wrong with a variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {message}")]
pub struct SettingsError {
    /// Its name.
    variable: &'static str,
    /// Why it cannot be used.
    message: String,
}

impl From<SettingsError> for Notice {
    fn from(error: SettingsError) -> Self {
        let next_step = if error.variable == OPTION {
            "name the collector as in --metrics otlp=http://localhost:4318"
        } else {
            "correct the variable, or unset it"
        };
        Self::error("metrics cannot be sent", error.to_string(), next_step).of(Failure::BadInput)
    }
}

impl Exporter {
    /// To the collector of that URL, or to the one that the environment names, for a session of a cluster. `None` where the
    /// environment has telemetry switched off.
    pub fn open(
        url: Option<&str>,
        (cluster, session): (&str, &SessionId),
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsError> {
        let variable = |name: &str| environment(name).map(|value| value.trim().to_owned()).filter(|it| !it.is_empty());
        if is_off(environment) {
            return Ok(None);
        }
        let found = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name)?)));
        let mut headers = Vec::new();
        if let Some((name, list)) = found(["OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]) {
            let bad = |()| SettingsError { variable: name, message: "expected NAME=VALUE,...".to_owned() };
            for (key, value) in pairs(&list).map_err(bad)? {
                let key: HeaderName = key.parse().map_err(|_| bad(()))?;
                let mut value: HeaderValue = value.parse().map_err(|_| bad(()))?;
                value.set_sensitive(true);
                headers.push((key, value));
            }
        }
        let millis = |names: [&'static str; 2], otherwise| match found(names) {
            None => Ok(otherwise),
            Some((name, text)) => match text.parse() {
                Ok(count @ 1..) => Ok(Duration::from_millis(count)),
                _ => Err(wrong(name)(format!("{:?} is no number of milliseconds", text::visible(&text)))),
            },
        };
        let timeouts = ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
        let given = "OTEL_RESOURCE_ATTRIBUTES";
        let own = variable(given).map(|list| pairs(&list)).transpose();
        let mut own = own.map_err(|()| wrong(given)("expected NAME=VALUE,...".to_owned()))?.unwrap_or_default();
        if let Some(name) = variable("OTEL_SERVICE_NAME") {
            own.retain(|(key, _)| key != "service.name");
            own.push(("service.name".to_owned(), name));
        }
        let mut resource: Vec<(String, String)> = [
            ("service.name", env!("CARGO_PKG_NAME")),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", session.as_str()),
            ("k8s.cluster.name", cluster),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        // What somebody has set is so.
        resource.retain(|(key, _)| !own.iter().any(|(known, _)| known == key));
        resource.extend(own);
        let endpoint = endpoint(url, &variable)?;
        let is_secure = endpoint.scheme() == Some(&Scheme::HTTPS);
        Ok(Some(Self {
            endpoint,
            headers,
            trusted: if is_secure { trusted(&found)? } else { None },
            timeout: millis(timeouts, WITHIN)?,
            every: millis(["OTEL_METRIC_EXPORT_INTERVAL"; 2], EVERY)?,
            resource,
        }))
    }
}

/// Whether the environment has telemetry switched off. Whatever else the variable says counts as no, by OpenTelemetry's
/// specification.
pub fn is_off(environment: &dyn Fn(&str) -> Option<String>) -> bool {
    environment(OFF).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
}

/// Who vouches for the collector, where a variable says that.
fn trusted(
    found: &dyn Fn([&'static str; 2]) -> Option<(&'static str, String)>,
) -> Result<Option<TrustStore>, SettingsError> {
    let of_client = [
        ["OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"],
        ["OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"],
    ];
    if let Some((name, _)) = of_client.into_iter().find_map(found) {
        return Err(wrong(name)("certificates of clients are not supported".to_owned()));
    }
    let names = ["OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
    let read = |(name, path): (&'static str, String)| {
        let read = authorities::read(Path::new(&path)).map_err(|error| wrong(name)(text::line(&error)));
        read.map(|(_, pem)| pem)
    };
    match found(names) {
        Some(own) => Ok(Some(aws_http::only(read(own)?))),
        // Those are read anew for each export; what is wrong with them is said before anything runs.
        None => found([authorities::AWS; 2]).map(read).transpose().map(|_| None),
    }
}

/// Where metrics are posted.
fn endpoint(url: Option<&str>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Uri, SettingsError> {
    for name in ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        if let Some(other) = variable(name).filter(|it| it != "http/protobuf") {
            let message = format!("{:?} is not supported, only http/protobuf", text::visible(&other));
            return Err(wrong(name)(message));
        }
    }
    if let Some(url) = url {
        return base(url, PATH).map_err(wrong(OPTION));
    }
    let (own, all) = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
    match variable(own) {
        // This one is the whole URL.
        Some(url) => plain(&url).map_err(wrong(own)),
        None => base(variable(all).as_deref().unwrap_or(HERE), PATH).map_err(wrong(all)),
    }
}

fn wrong(variable: &'static str) -> impl Fn(String) -> SettingsError {
    move |message| SettingsError { variable, message }
}

/// `NAME=VALUE,...` with values percent-encoded, as OpenTelemetry's variables have lists.
fn pairs(list: &str) -> Result<Vec<(String, String)>, ()> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=').filter(|(key, _)| !key.trim().is_empty()).ok_or(())?;
        let value = urlencoding::decode(value.trim()).map_err(|_| ())?;
        Ok((key.trim().to_owned(), value.into_owned()))
    };
    parts.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: Option<&str>, variables: &[(&str, &str)]) -> Result<Exporter, SettingsError> {
        let read =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Exporter::open(url, ("prod", &SessionId::new(7)), &read).map(|exporter| exporter.expect("not switched off"))
    }

    #[test]
    fn the_collector_is_where_the_command_line_or_the_environment_says() {
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m.example/in?key=1");
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c.example/otlp/");
        for (url, variables, wanted) in [
            (None, &[][..], "http://localhost:4318/v1/metrics"),
            (None, &[all], "https://c.example/otlp/v1/metrics"),
            (None, &[all, own], "https://m.example/in"),
            (None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], "http://localhost:4318/v1/metrics"),
            (Some("http://127.0.0.1:9"), &[all, own], "http://127.0.0.1:9/v1/metrics"),
            (Some("http://[::1]:9/v1/metrics"), &[], "http://[::1]:9/v1/metrics"),
        ] {
            assert_eq!(open(url, variables).expect("read").shown(), wanted);
        }
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_named_and_no_header_is_shown() {
        for (variable, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret%0a"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1m"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=x"),
        ] {
            let said = Notice::from(open(None, &[(variable, value)]).expect_err(variable)).line();
            assert!(said.contains(variable) && !said.contains("secret"), "{said}");
        }
        for variable in [
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
        ] {
            let file = (variable, "/nowhere/one.pem");
            let error = open(Some("https://c.example"), &[file]).expect_err(variable).to_string();
            assert!(error.contains(variable), "{error}");
            assert!(open(Some("http://c.example"), &[file]).is_ok(), "nobody is to be vouched for");
        }
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret, x-scope=a");
        let exporter = open(None, &[headers]).expect("read");
        assert_eq!(exporter.headers.len(), 2);
        assert_eq!(exporter.headers[0].1, "Bearer secret");
        assert!(!format!("{exporter:?}").contains("secret"), "{exporter:?}");
    }

    #[test]
    fn switched_off_nothing_is_read_of_the_rest() {
        for (value, off) in [("true", true), (" TRUE ", true), ("false", false), ("1", false), ("", false)] {
            let read = |name: &str| (name == OFF).then(|| value.to_owned());
            let found = Exporter::open(None, ("prod", &SessionId::new(7)), &read).expect("read");
            assert_eq!(found.is_none(), off, "{value:?}");
        }
        let read = |name: &str| Some(if name == OFF { "true" } else { "grpc" }.to_owned());
        assert!(Exporter::open(None, ("prod", &SessionId::new(7)), &read).expect("read").is_none());
    }

    #[test]
    fn the_standard_variables_set_times_and_attributes() {
        let exporter = open(
            None,
            &[
                ("OTEL_METRIC_EXPORT_INTERVAL", "1500"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
                ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "300"),
                ("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=mine,team=a%2Cb"),
            ],
        );
        let exporter = exporter.expect("read");
        assert_eq!((exporter.every, exporter.timeout), (Duration::from_millis(1500), Duration::from_millis(300)));
        let value = |key| exporter.resource.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
        assert_eq!((value("k8s.cluster.name"), value("team")), (Some("mine"), Some("a,b")));
        assert_eq!((value("service.name"), value("service.instance.id")), (Some("nodewatch-tui"), Some("00000007")));
        let plain = open(None, &[]).expect("read");
        assert_eq!((plain.every, plain.timeout), (EVERY, WITHIN));
    }
}
