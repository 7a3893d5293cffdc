//! `--metrics otlp`, from outside: the program and its agent on this machine, and a collector that decodes what arrives, refuses it,
//! or never answers.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use nodewatch_testing::{
    here,
    program::{SOON, ended_soon, said, start},
    recorder::Recorder,
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{AggregationTemporality, Metric, NumberDataPoint, metric::Data},
};
use prost::Message;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");

/// What a collector does with a request.
#[derive(Clone, Copy)]
enum Answer {
    Status(u16),
    Never,
}

/// A request: its line and headers, in small letters, and its body.
struct Received {
    head: String,
    body: Vec<u8>,
}

/// A collector that answers the first requests as it is told, and all others as the last of these; its port, and what it is sent.
fn collector(answers: &'static [Answer]) -> (u16, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, received) = mpsc::channel();
    thread::spawn(move || {
        // Those that wait for an answer stay open.
        let mut open = Vec::new();
        for (at, stream) in listener.incoming().flatten().enumerate() {
            let Some(request) = read(&stream) else { continue };
            match answers[at.min(answers.len() - 1)] {
                Answer::Never => open.push(stream),
                Answer::Status(status) => {
                    let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    // A client that is gone is the test's to notice.
                    let _ = (&stream).write_all(answer.as_bytes());
                }
            }
            // The test may have ended.
            let _ = sender.send(request);
        }
    });
    (port, received)
}

fn read(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { head, body })
}

/// A watch of this machine that sends metrics every second; `None` where that cannot be.
fn watched(arguments: &[&str], variables: &[(&str, &str)]) -> Option<Output> {
    if !here::possible(&[]) {
        return None;
    }
    let state = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(PROGRAM);
    command.args(["watch", "--local", "-o", "json"]).args(arguments).env("OTEL_METRIC_EXPORT_INTERVAL", "1000");
    command.env("XDG_STATE_HOME", state.path()).env("XDG_CONFIG_HOME", state.path()).envs(variables.iter().copied());
    // What it prints is more than a pipe holds.
    let mut child = start(&mut command);
    let mut printed = child.stdout.take().expect("piped");
    let reading = thread::spawn(move || std::io::copy(&mut printed, &mut std::io::sink()));
    let output = ended_soon(child);
    // Its end was seen.
    let _ = reading.join();
    Some(output)
}

fn text(attributes: &[KeyValue]) -> BTreeMap<&str, &str> {
    let value = |one: &KeyValue| match one.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{}: {other:?}", one.key),
    };
    attributes.iter().map(|one| (one.key.as_str(), &*value(one).leak())).collect()
}

fn points(metric: &Metric) -> &[NumberDataPoint] {
    match &metric.data {
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        Some(Data::Sum(sum)) => {
            assert!(sum.is_monotonic, "{}", metric.name);
            assert_eq!(sum.aggregation_temporality, AggregationTemporality::Cumulative as i32, "{}", metric.name);
            &sum.data_points
        }
        other => panic!("{}: {other:?}", metric.name),
    }
}

#[test]
fn a_collector_gets_the_metrics_of_a_watched_node_by_name_unit_and_attribute() {
    let (port, received) = collector(&[Answer::Status(200)]);
    let target = format!("otlp=http://127.0.0.1:{port}");
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20s3cret");
    let proxy = ("HTTP_PROXY", "http://127.0.0.1:1");
    let Some(output) = watched(&["--metrics", &target, "--duration", "4s"], &[headers, proxy]) else { return };
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("s3cret") && !said(&output).contains("metrics"), "{}", said(&output));
    let received: Vec<Received> = received.try_iter().collect();
    assert!(received.len() >= 3, "one a second, and the last: {}", received.len());
    for Received { head, .. } in &received {
        assert!(head.starts_with("post /v1/metrics http/1.1"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
        assert!(head.contains("authorization: bearer s3cret\r\n"), "{head}");
    }
    let last = received.last().expect("the last");
    let request = ExportMetricsServiceRequest::decode(&*last.body).expect("a request of OTLP");
    let [all] = &request.resource_metrics[..] else { panic!("{request:?}") };
    let resource = text(&all.resource.as_ref().expect("a resource").attributes);
    assert_eq!((resource["service.name"], resource["service.version"]), ("nodewatch-tui", env!("CARGO_PKG_VERSION")));
    assert_eq!((resource["k8s.cluster.name"], resource["service.instance.id"].len()), ("local", 8), "{resource:?}");
    let metrics: BTreeMap<&str, &Metric> =
        all.scope_metrics[0].metrics.iter().map(|metric| (metric.name.as_str(), metric)).collect();
    for (name, unit, keys) in [
        ("nodewatch.ports", "{port}", &["k8s.node.name", "nodewatch.port.class"][..]),
        ("nodewatch.answers", "{answer}", &["nodewatch.answer.code"]),
        ("nodewatch.attempts.failed", "{attempt}", &["k8s.node.name"]),
        ("nodewatch.attempts.delayed", "{attempt}", &["k8s.node.name"]),
        ("nodewatch.segments.retransmitted", "{segment}", &["k8s.node.name"]),
        ("nodewatch.dns.unanswered", "{question}", &["k8s.node.name"]),
        ("nodewatch.signal.tcp.listen_overflows", "{connection}", &["k8s.node.name"]),
    ] {
        let metric = metrics.get(name).unwrap_or_else(|| panic!("{name}: {:?}", metrics.keys()));
        assert_eq!(metric.unit, unit, "{name}");
        assert!(!metric.description.is_empty(), "{name}");
        for point in points(metric) {
            assert_eq!(text(&point.attributes).into_keys().collect::<Vec<_>>(), keys, "{name}");
            let counter = matches!(metric.data, Some(Data::Sum(_)));
            assert_eq!(point.start_time_unix_nano > 0, counter, "{name}: {point:?}");
            assert!(point.start_time_unix_nano <= point.time_unix_nano, "{name}: {point:?}");
        }
    }
    assert_eq!(points(metrics["nodewatch.answers"]).len(), 16, "each code has its number");
    assert!(!metrics.contains_key("nodewatch.capture.packets"), "nothing is captured");
}

#[test]
fn a_collector_that_refuses_is_told_of_once_and_so_is_what_is_lacking_in_the_end() {
    let (port, received) = collector(&[Answer::Status(503)]);
    let target = format!("otlp=http://127.0.0.1:{port}");
    let Some(output) = watched(&["--metrics", &target, "--duration", "4s"], &[]) else { return };
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(received.try_iter().count() >= 3, "later exports are tried");
    let told = format!("warning: metrics do not reach http://127.0.0.1:{port}/v1/metrics: HTTP 503");
    assert_eq!(said.matches(&told).count(), 1, "{said}");
    assert_eq!(said.matches("of metrics did not reach").count(), 1, "{said}");
}

#[test]
fn a_collector_that_never_answers_holds_the_end_up_for_a_bounded_time() {
    let (port, received) = collector(&[Answer::Never]);
    let target = format!("otlp=http://127.0.0.1:{port}");
    let began = Instant::now();
    let Some(output) = watched(&["--metrics", &target, "--duration", "3s"], &[]) else { return };
    let took = began.elapsed();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(took < SOON.min(Duration::from_secs(25)), "{took:?}");
    assert_eq!(received.try_iter().count(), 1, "one export at a time");
    assert!(said(&output).contains("of metrics did not reach"), "{}", said(&output));
}

#[test]
fn a_collector_that_is_slow_at_first_gets_all_counters_later() {
    let (port, received) = collector(&[Answer::Never, Answer::Status(200)]);
    let endpoint = format!("http://127.0.0.1:{port}");
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "700")];
    let Some(output) = watched(&["--metrics", "otlp", "--duration", "5s"], &variables) else { return };
    let said = said(&output);
    assert!(said.contains("no answer within 0.7 s"), "{said}");
    assert!(received.try_iter().count() >= 3, "{said}");
}

/// The program trusts whom the variable names and nobody else, and a file that is no list of certificates ends nothing.
#[test]
fn a_collector_over_tls_is_vouched_for_by_the_authorities_that_the_environment_names() {
    const PKI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/pki");
    let pem = |name: &str| format!("{PKI}/{name}");
    let chain = CertificateDer::pem_file_iter(pem("server.pem")).expect("PEM").map(|one| one.expect("a certificate"));
    let key = PrivateKeyDer::from_pem_file(pem("server.key")).expect("a key");
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain.collect(), key);
    let recorder = Recorder::secure("127.0.0.1", Arc::new(config.expect("a pair")), |_| (200, String::new()));
    let target = format!("otlp=https://127.0.0.1:{}", recorder.port);
    let run = |variables: &[(&str, &str)]| {
        let output = watched(&["--metrics", &target, "--duration", "2s"], variables)?;
        let seen = recorder.seen();
        recorder.forget();
        Some((output.status.code(), said(&output), seen.len()))
    };
    let Some((code, said, seen)) = run(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", &pem("ca.pem"))]) else { return };
    assert!(code == Some(0) && seen >= 2 && !said.contains("metrics"), "{seen} {said}");
    let (code, said, seen) = run(&[]).expect("as before");
    assert!(code == Some(0) && seen == 0 && said.contains("metrics do not reach"), "{seen} {said}");

    let folder = tempfile::tempdir().expect("a folder");
    let odd = folder.path().join("odd.pem").to_string_lossy().into_owned();
    std::fs::write(&odd, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("written");
    let (code, said, seen) = run(&[("AWS_CA_BUNDLE", &odd)]).expect("as before");
    let told = said.contains("AWS_CA_BUNDLE: ") && said.contains("odd.pem is not a list of certificates");
    assert!(code == Some(2) && seen == 0 && told, "{seen} {said}");
    let (code, said, _) = run(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", &odd)]).expect("as before");
    assert!(code == Some(2) && said.contains("OTEL_EXPORTER_OTLP_CERTIFICATE: "), "{said}");
    let (code, said, seen) = run(&[("OTEL_SDK_DISABLED", "true")]).expect("as before");
    assert!(code == Some(0) && seen == 0 && said.contains("no metrics are sent: OTEL_SDK_DISABLED is true"), "{said}");
}
