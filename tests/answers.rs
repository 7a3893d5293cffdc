//! `diagnose` on nodes, from outside: the program and its agent on this machine, over packets between namespaces.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command},
    thread,
    time::Duration,
};

use nodewatch_testing::{
    here,
    namespaces::{Net, in_namespace},
    program::{ended_soon, errors, json_lines, kill, line_with, start},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");
/// What is seen in the beginning is not judged: an agent's first two seconds.
const NOT_JUDGED: Duration = Duration::from_secs(3);

/// A server in one of two joined namespaces whose accept queue takes two connections and is never emptied.
struct Overrun {
    net: Net,
    to: SocketAddr,
    _listener: TcpListener,
}

impl Overrun {
    /// `None` where that cannot be.
    fn new() -> Option<Self> {
        if !here::possible(&["ip", "nsenter"]) {
            return None;
        }
        let net = Net::new();
        let to = SocketAddr::from(([10, 66, 0, 1], 8080));
        let listener = in_namespace(&net.here, || TcpListener::bind(to).expect("bind"));
        rustix::net::listen(&listener, 1).expect("a short queue");
        Some(Self { net, to, _listener: listener })
    }

    /// The program beside the server.
    fn program(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.net.here)).arg(PROGRAM).args(arguments);
        let state = self.net.ring.path();
        start(command.env("XDG_STATE_HOME", state).env("XDG_CONFIG_HOME", state))
    }

    /// Clients, of which all but two or three wait in vain, for longer than any test.
    fn asked(&self) {
        let long = Duration::from_secs(120);
        for _ in 0..12 {
            let (there, to) = (self.net.there.clone(), self.to);
            thread::spawn(move || {
                let mut connected = in_namespace(&there, || TcpStream::connect_timeout(&to, long));
                // Without data a server may wait for it, and nobody has to wait for the server.
                if let Ok(client) = &mut connected {
                    let _ = client.write_all(b"GET / HTTP/1.0\r\n\r\n");
                }
                thread::sleep(long);
                drop(connected);
            });
        }
    }
}

#[test]
fn a_server_that_accepts_nothing_is_told_while_it_is_watched_and_is_the_result() {
    let Some(overrun) = Overrun::new() else { return };
    let diagnose = ["diagnose", "--local", "--interface", "veth0", "--duration", "90s", "-o", "json"];
    let mut child = overrun.program(&diagnose);
    let mut said = errors(&mut child);
    line_with(&mut said, "live after");
    thread::sleep(NOT_JUDGED);
    overrun.asked();
    let told = line_with(&mut said, "N-11");
    assert!(told.contains("10.66.0.1:8080"), "{told}");
    kill(&child, "TERM");
    let output = ended_soon(child);
    assert_eq!(output.status.code(), Some(6), "{told}");
    let records = json_lines(&output);
    let answer = records.iter().find(|record| record["kind"] == "answer").expect("an answer");
    assert_eq!((&answer["code"], &answer["certainty"]), (&"N-11".into(), &"verdict".into()), "{answer}");
    assert!(answer["failed"].as_u64() >= Some(5) && answer["proof"][0]["time"].is_string(), "{answer}");
    let looked = records.last().expect("what was looked at");
    assert_eq!(
        (&looked["kind"], &looked["taps"], &looked["nodes"]),
        (&"looked".into(), &1.into(), &1.into()),
        "{looked}"
    );
    assert!(looked["not_seen"].is_array(), "{looked}");
}

/// Both the agent and the program find the cause: one freeze comes of it, and is here when the capture has ended.
#[test]
fn a_recorder_saves_by_itself_what_led_to_a_verdict() {
    let Some(overrun) = Overrun::new() else { return };
    let out = overrun.net.ring.path().join("out").to_string_lossy().into_owned();
    let capture = ["capture", "--local", "--interface", "veth0", "--recorder", "60s", "--freeze-on", "verdict"];
    let mut child = overrun.program(&[&capture[..], &["--duration", "90s", "--out", &out, "-o", "json"]].concat());
    let mut said = errors(&mut child);
    line_with(&mut said, "is armed: ");
    thread::sleep(NOT_JUDGED);
    overrun.asked();
    let told = line_with(&mut said, "froze by itself");
    assert!(told.ends_with("froze by itself: N-11 accept queue full"), "{told}");
    // What it saves is waited for.
    kill(&child, "TERM");
    let output = ended_soon(child);
    let records = json_lines(&output);
    let [file] = &records[..] else { panic!("one file: {records:?}") };
    let bytes = std::fs::read(file["path"].as_str().expect("a path")).expect("the file");
    let reason = b"frozen by itself: N-11 accept queue full";
    assert!(bytes.windows(reason.len()).any(|part| part == reason), "{file}");
}
