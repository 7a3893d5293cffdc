//! `watch`, from outside: the program and its agent on this machine, over packets between namespaces.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Output},
    sync::mpsc,
    thread,
    time::Instant,
};

use nodewatch_testing::{
    here,
    namespaces::{Net, in_namespace, ip},
    program::{SOON, ended_soon, kill, printed, run, said, start},
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");

/// A watch of one of two joined namespaces, and what it has printed.
struct Watch {
    net: Net,
    child: Child,
    _state: tempfile::TempDir,
    results: mpsc::Receiver<Value>,
    records: Vec<Value>,
}

impl Watch {
    /// One that has watched for long enough to judge, and has seen a connection of this side; `None` where that cannot be.
    fn begun() -> Option<Self> {
        if !here::possible(&["ip", "nsenter", "pgrep"]) {
            return None;
        }
        let net = Net::new();
        let state = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", net.here)).arg(PROGRAM).args(["watch", "--local", "-o", "json"]);
        let mut child = start(command.env("XDG_STATE_HOME", state.path()).env("XDG_CONFIG_HOME", state.path()));
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (sender, results) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The test may have failed.
                let _ = sender.send(serde_json::from_str(&line).expect("JSON"));
            }
        });
        let mut watch = Self { net, child, _state: state, results, records: Vec::new() };
        watch.seconds(4);
        let listener = in_namespace(&watch.net.there, || TcpListener::bind("10.66.0.2:8080").expect("bind"));
        drop(in_namespace(&watch.net.here, || TcpStream::connect("10.66.0.2:8080").expect("connect")));
        drop(listener);
        Some(watch)
    }

    /// The next record that is so.
    #[track_caller]
    fn until(&mut self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + SOON;
        loop {
            let record = self.results.recv_timeout(end.saturating_duration_since(Instant::now()));
            let record = record.unwrap_or_else(|_| panic!("{what} did not come: {:?}", self.records.last()));
            self.records.push(record.clone());
            if so(&record) {
                return record;
            }
        }
    }

    /// So many seconds more.
    #[track_caller]
    fn seconds(&mut self, count: usize) {
        (0..count).for_each(|_| drop(self.until("a second", |record| record["kind"] == "watch")));
    }

    /// A connection that nobody answers, once its first packet was seen.
    #[track_caller]
    fn unanswered(&mut self, port: u16) {
        let arguments = ["neigh", "replace", "10.66.0.77", "lladdr", "02:00:00:00:00:77", "dev", "veth0"];
        ip(&[&["-n", &self.net.here], &arguments[..]].concat());
        let (here, to) = (self.net.here.clone(), SocketAddr::from(([10, 66, 0, 77], port)));
        // It waits for longer than any test.
        thread::spawn(move || in_namespace(&here, || TcpStream::connect_timeout(&to, 10 * SOON).is_ok()));
        self.until("its packets", |record| pair(record, port).is_some());
    }

    /// Told to end, it ends; everything that it has printed is in `records`.
    #[track_caller]
    fn ended(&mut self) -> Output {
        kill(&self.child, "TERM");
        let child = std::mem::replace(&mut self.child, Command::new("true").spawn().expect("a process"));
        let output = ended_soon(child);
        self.records.extend(self.results.iter());
        output
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A test that has failed must not leave it behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a record says of connections to that port.
fn pair(record: &Value, port: u16) -> Option<&Value> {
    record["pairs"].as_array()?.iter().find(|pair| pair["port"] == port)
}

#[test]
fn what_waits_for_an_answer_at_the_end_is_judged_or_counted_in_the_last_record() {
    let Some(mut watch) = Watch::begun() else { return };
    watch.unanswered(4444);
    watch.seconds(4);
    watch.unanswered(4445);
    let output = watch.ended();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let last = watch.records.last().expect("a record");
    assert_eq!(pair(last, 4444).map(|pair| &pair["symptoms"]["unanswered"]["there"]), Some(&1.into()), "{last}");
    assert_eq!((&last["not_judged"]["undecided"], &last["sums"]["failed"]), (&1.into(), &1.into()), "{last}");
    let failed: u64 = watch.records.iter().filter_map(|record| record["sums"]["failed"].as_u64()).sum();
    assert_eq!(failed, 1);
}

#[test]
fn an_agent_that_goes_is_named_with_the_time_that_it_was_away_and_the_watch_is_done_in_part() {
    let Some(mut watch) = Watch::begun() else { return };
    let agents = run("pgrep", &["-P", &watch.child.id().to_string(), "nodewatch-agent"]);
    let agent = printed(&agents);
    assert!(run("kill", &["-KILL", agent.trim()]).status.success(), "{agent}");
    let gap = watch.until("the time without it", |record| record["kind"] == "gap");
    assert!(gap["node"].is_string() && gap["until"].as_u64() >= gap["from"].as_u64(), "{gap}");
    watch.seconds(2);
    let output = watch.ended();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
}

#[test]
fn an_interface_that_is_deleted_is_named_on_standard_error_and_gone_in_the_record() {
    let Some(mut watch) = Watch::begun() else { return };
    ip(&["-n", &watch.net.here, "link", "del", "veth1"]);
    let gone = |record: &Value| {
        let all = record["interfaces"].as_array().into_iter().flatten();
        all.filter(|one| one["gone"] == true).map(|one| one["name"].clone()).collect::<Vec<_>>()
    };
    watch.until("what is gone", |record| gone(record) == ["veth1"]);
    let record = watch.until("its time", |record| record["unseen_millis"]["gone"].as_u64() >= Some(2_000));
    assert_eq!(record["unseen_millis"]["untold"], 0, "{record}");
    let told = said(&watch.ended());
    assert!(told.contains("interface veth1 is gone"), "{told}");
}
