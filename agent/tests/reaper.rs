//! The reaper against an API server of a few lines: when it deletes, what exactly, and when it leaves alone.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
};

use nodewatch_agent::reaper::{InCluster, Reaper, ReaperError, Step, Word, client};
use serde_json::{Value, json};

const NAMESPACE: &str = "/api/v1/namespaces/nodewatch-00000001";
/// 2023-11-14 22:13:20 UTC.
const ENDS: u64 = 1_700_000_000_000;

/// Objects and lists by path; the rest of a known namespace's lists are empty.
#[derive(Default)]
struct Server {
    answers: BTreeMap<String, (u16, Value)>,
    deletions: Vec<(String, String, Value)>,
}

type Shared = Arc<Mutex<Server>>;

fn start() -> (Shared, Reaper, tempfile::NamedTempFile) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let server = Shared::default();
    let ours = Arc::clone(&server);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            reader.read_line(&mut line).expect("a request");
            let mut words = line.split_whitespace().map(str::to_owned);
            let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
            let (mut length, mut token) = (0, String::new());
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).expect("a header");
                let Some((name, value)) = header.trim_end().split_once(": ") else { break };
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().expect("a length"),
                    "authorization" => value.clone_into(&mut token),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let (code, answer) = {
                let mut server = ours.lock().expect("whole");
                if method == "DELETE" {
                    let body = serde_json::from_slice(&body).expect("JSON");
                    server.deletions.push((path.clone(), token, body));
                }
                let plain = path.split('?').next().unwrap_or_default();
                let known = server.answers.get(&path).or_else(|| server.answers.get(plain)).cloned();
                known.unwrap_or_else(|| if path == NAMESPACE { (404, json!({})) } else { (200, json!({"items": []})) })
            };
            let answer = answer.to_string();
            let head = format!("HTTP/1.1 {code} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
            // A client that has gone away has seen enough.
            let _ = reader.get_mut().write_all(format!("{head}{answer}").as_bytes());
        }
    });
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), "secret\n").expect("written");
    let reaper = Reaper {
        namespace: "nodewatch-00000001".into(),
        uid: "uid-1".into(),
        session: "00000001".into(),
        server: InCluster { base, token: token.path().to_owned(), client: client(None) },
    };
    put(&server, NAMESPACE, namespace(&json!({})));
    (server, reaper, token)
}

fn namespace(more: &Value) -> Value {
    let mut namespace = json!({"metadata": {"name": "nodewatch-00000001", "uid": "uid-1",
        "labels": {"nodewatch-tui/session": "00000001"}, "annotations": {"nodewatch-tui/ends": "2023-11-14T22:13:20Z"}}});
    for (key, value) in more.as_object().expect("an object") {
        namespace["metadata"][key] = value.clone();
    }
    namespace
}

fn put(server: &Shared, path: &str, object: Value) {
    server.lock().expect("whole").answers.insert(path.to_owned(), (200, object));
}

fn deletions(server: &Shared) -> Vec<(String, String, Value)> {
    server.lock().expect("whole").deletions.clone()
}

fn jobs(metadata: &Value) -> (String, Value) {
    let path = NAMESPACE.replace("/api/v1", "/apis/batch/v1");
    (format!("{path}/jobs"), json!({"items": [{"metadata": metadata}]}))
}

#[test]
fn at_the_end_exactly_this_namespace_is_deleted() {
    let (server, reaper, _token) = start();
    assert_eq!(reaper.look(ENDS - 1).expect("answered"), Step::Wait);
    assert!(deletions(&server).is_empty());
    assert_eq!(reaper.look(ENDS).expect("answered"), Step::Done);
    let [(path, token, body)] = &deletions(&server)[..] else { panic!("one deletion") };
    assert_eq!((path.as_str(), token.as_str()), (NAMESPACE, "Bearer secret"));
    assert_eq!(body["preconditions"]["uid"], "uid-1");
}

#[test]
fn an_end_that_was_moved_is_waited_for() {
    let (server, reaper, _token) = start();
    put(&server, NAMESPACE, namespace(&json!({"annotations": {"nodewatch-tui/ends": "2023-11-14T23:13:20Z"}})));
    assert_eq!(reaper.look(ENDS).expect("answered"), Step::Wait);
    assert_eq!(reaper.look(ENDS + 3_600_000).expect("answered"), Step::Done);
}

#[test]
fn agents_get_their_time_to_end_and_no_more() {
    let (server, reaper, _token) = start();
    let labels = json!({"nodewatch-tui/session": "00000001", "app.kubernetes.io/name": "nodewatch-agent"});
    let (path, list) = jobs(&json!({"name": "agent", "labels": labels}));
    put(&server, &path, list);
    assert_eq!(reaper.look(ENDS + 1000).expect("answered"), Step::Wait);
    assert_eq!(reaper.look(ENDS + 150_000).expect("answered"), Step::Done);
}

#[test]
fn somebody_elses_workload_keeps_the_namespace() {
    let (server, reaper, _token) = start();
    let (path, list) = jobs(&json!({"name": "backup"}));
    put(&server, &path, list);
    let error = reaper.look(ENDS).expect_err("it is left alone").to_string();
    assert!(error.contains("jobs/backup is not the session's"), "{error}");
    assert!(deletions(&server).is_empty());
}

/// The last of many pages has something that is not the session's.
#[test]
fn a_list_is_read_to_its_last_page() {
    let (server, reaper, _token) = start();
    let ours = json!({"nodewatch-tui/session": "00000001"});
    let (path, _) = jobs(&json!({}));
    for page in 0..4 {
        let query = if page == 0 { String::new() } else { format!("&continue=page+{page}") };
        let next = if page == 3 { String::new() } else { format!("page+{}", page + 1) };
        let labels = if page == 3 { json!({}) } else { ours.clone() };
        let item = json!({"metadata": {"name": format!("job-{page}"), "labels": labels}});
        let list = json!({"items": [item], "metadata": {"continue": next}});
        put(&server, &format!("{path}?limit=50{}", query.replace('+', "%2B")), list);
    }
    let error = reaper.look(ENDS).expect_err("it is left alone").to_string();
    assert!(error.contains("jobs/job-3 is not the session's"), "{error}");
    assert!(deletions(&server).is_empty());
}

#[test]
fn a_list_without_an_end_is_no_reason_to_delete() {
    let (server, reaper, _token) = start();
    let (path, _) = jobs(&json!({}));
    put(&server, &path, json!({"items": [], "metadata": {"continue": "again"}}));
    assert!(matches!(reaper.look(ENDS), Err(ReaperError::Endless { .. })));
    assert!(deletions(&server).is_empty());
}

/// More than a client takes at once by itself.
#[test]
fn a_long_page_is_read() {
    let (server, reaper, _token) = start();
    let long = "x".repeat(12 * 1024 * 1024);
    let labels = json!({"nodewatch-tui/session": "00000001", "note": long});
    let (path, list) = jobs(&json!({"name": "agent", "labels": labels}));
    put(&server, &path, list);
    assert_eq!(reaper.look(ENDS).expect("answered"), Step::Done);
}

#[test]
fn the_environments_proxy_is_not_asked() {
    let mut command = std::process::Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "at_the_end_exactly_this_namespace_is_deleted"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        // Nobody listens there.
        command.env(name, "http://127.0.0.1:1");
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = command.output().expect("it ran");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_is_not_this_sessions_namespace_is_left_alone() {
    let (server, reaper, _token) = start();
    put(&server, NAMESPACE, namespace(&json!({"uid": "uid-2"})));
    assert_eq!(reaper.look(ENDS).expect("answered"), Step::Done, "ours is gone");
    put(&server, NAMESPACE, namespace(&json!({"labels": {}})));
    assert!(matches!(reaper.look(ENDS), Err(ReaperError::LeftAlone { .. })));
    put(&server, NAMESPACE, namespace(&json!({"annotations": {"nodewatch-tui/ends": "soon"}})));
    assert!(matches!(reaper.look(ENDS), Err(ReaperError::LeftAlone { .. })));
    assert!(deletions(&server).is_empty());
}

#[test]
fn a_server_that_refuses_or_is_away_is_asked_again_later() {
    let (server, reaper, _token) = start();
    server.lock().expect("whole").answers.insert(NAMESPACE.into(), (503, json!({})));
    assert!(matches!(reaper.look(ENDS), Err(ReaperError::Refused { status: 503, .. })));
    let away = InCluster { base: "http://127.0.0.1:1".into(), ..reaper.server };
    let reaper = Reaper { server: away, ..reaper };
    assert!(matches!(reaper.look(ENDS), Err(ReaperError::Call(_))));
}

#[test]
fn a_server_that_does_not_answer_is_named_at_first_and_then_once_a_minute() {
    use std::time::{Duration, Instant};
    let (_server, reaper, _token) = start();
    let away = InCluster { base: "http://127.0.0.1:1".into(), ..reaper.server };
    let error = Reaper { server: away, ..reaper }.look(ENDS).expect_err("nobody listens");
    let mut word = Word::default();
    let began = Instant::now();
    let said: Vec<(u64, String)> = (0..30)
        .filter_map(|look| Some((look * 10, word.failed(began + Duration::from_secs(look * 10), &error)?)))
        .collect();
    let times: Vec<u64> = said.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 60, 120, 180, 240]);
    assert!(said.iter().all(|(_, line)| line.contains("cannot call the API server: ")), "{said:?}");
    assert!(said[1].1.contains("for 60 s"), "{said:?}");
    assert_eq!(word.worked().as_deref(), Some("the API server answers again"));
    assert_eq!(word.worked(), None);
    assert!(word.failed(began, &error).is_some(), "another trouble is said at once");
}
