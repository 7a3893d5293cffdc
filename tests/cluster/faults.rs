//! An incident by keys alone: calls from one node to another fail now and then, for two reasons that are made for real. A
//! listener that closes for a second after each ninth connection, and one with an accept queue of one that nobody empties.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nodewatch_testing::{eventually, terminal::Tmux};

use crate::{
    kubernetes::{disturb, kubectl, leftovers, nodes},
    laptop,
};

/// The two servers, in the network of the first node.
const SERVER: &str = "
import socket, sys, threading, time
def listen(port, backlog):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((sys.argv[1], port)); s.listen(backlog); return s
def closes():
    while True:
        s = listen(8080, 16)
        for _ in range(9):
            c, _ = s.accept(); c.sendall(b'ok'); c.close()
        s.close(); time.sleep(1.2)
def stalls():
    s = listen(8090, 0)
    while True:
        time.sleep(4.5); c, _ = s.accept(); c.close()
for run in closes, stalls: threading.Thread(target=run, daemon=True).start()
print('up', flush=True); sys.stdin.read()
";

/// Their clients, in the network of the second: one call a second to each.
const CLIENT: &str = "
import socket, sys, threading, time
def call(port):
    while True:
        try:
            s = socket.create_connection((sys.argv[1], port), timeout=2); s.recv(2); s.close()
        except OSError: pass
        time.sleep(1)
for port in 8080, 8090, 8090, 8090: threading.Thread(target=call, args=(port,), daemon=True).start()
print('up', flush=True); sys.stdin.read()
";

/// A program in a node's network, ended when dropped.
struct Inside(Child);

impl Inside {
    fn begin(namespace: &str, program: &str, address: &str) -> Self {
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace, "python3", "-c", program, address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip netns");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        assert_eq!(line, "up\n");
        Self(child)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Keys that were pressed, and counted.
struct Counted {
    tmux: Tmux,
    pressed: usize,
}

impl Counted {
    fn keys(&mut self, keys: &[&str]) {
        self.pressed += keys.len();
        self.tmux.keys(keys);
    }
}

/// What tshark makes of what the viewer was given: every packet, and those that it takes for sent again.
fn in_wireshark(file: &Path) -> (usize, usize) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let again = |line: &&str| line.split('\t').nth(1).is_some_and(|flag| !flag.is_empty());
    (text.lines().count(), text.lines().filter(again).count())
}

/// Whether a flight recorder on the screen says that it holds so many seconds of its two minutes, or all of them.
fn holds(screen: &str, seconds: u64) -> bool {
    let mut recorders = screen.split("◉ ").skip(1).filter_map(|rest| rest.split_once("/2m").map(|(held, _)| held));
    let held = recorders.find_map(|held| {
        let (minutes, rest) = held.split_once('m').unwrap_or(("0", held));
        Some(minutes.parse::<u64>().ok()? * 60 + rest.strip_suffix('s').unwrap_or("0").parse::<u64>().ok()?)
    });
    held.is_some_and(|held| held >= seconds) || screen.contains("◉ last 2m")
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn calls_that_fail_now_and_then_are_understood_by_keys_at_80x24() {
    understood((80, 24));
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn calls_that_fail_now_and_then_are_understood_by_keys_at_200x60() {
    understood((200, 60));
}

fn understood((width, height): (u16, u16)) {
    let Some(_) = disturb() else { return };
    let node = nodes().remove(0);
    let address = kubectl(&["get", "node", &node, "-o", "jsonpath={.status.addresses[0].address}"]);
    let _server = Inside::begin("nw-node1", SERVER, &address);
    let _clients = Inside::begin("nw-node2", CLIENT, &address);

    let folder = tempfile::tempdir().expect("a folder");
    let seen = folder.path().join("seen");
    let viewer = format!(
        "exec tshark -l -n -r \"$1\" -Y 'tcp.port == 8080' -T fields -e frame.number -e tcp.analysis.retransmission \
         > {} 2> {}.err",
        seen.display(),
        seen.display()
    );
    let config = folder.path().join("nodewatch-tui/config.toml");
    std::fs::create_dir_all(config.parent().expect("a folder")).expect("made");
    std::fs::write(&config, format!("viewer = ['sh', '-c', '''{viewer}''', 'sh', '{{}}']\n")).expect("written");
    let environment = [("XDG_CONFIG_HOME", folder.path().to_string_lossy().into_owned())];
    let tmux = laptop::terminal_with(width, height, "", &environment);
    let mut hands = Counted { tmux, pressed: 0 };
    hands.tmux.until("Ready");

    // Both ends remember their last two minutes.
    hands.keys(&["C-a", "C"]);
    hands.tmux.until("Capture filter");
    hands.keys(&["Tab", "Tab", "Right", "Right", "Enter"]);
    hands.tmux.until("capture on 2 nodes?");
    hands.keys(&["Enter"]);
    hands.tmux.until("agents 2/2 live");
    hands.tmux.until("s/2m");

    // The list itself names the port that flaps; its node names the queue that is full.
    hands.tmux.until("8080 FLAPS");
    hands.keys(&["Enter"]);
    hands.tmux.until("about every");
    hands.tmux.until("1/0 FULL");
    // With so much behind them, what they save is whole.
    hands.keys(&["Escape"]);
    hands.tmux.until_so("a recorder that holds half a minute and more", |screen| holds(screen, 35));
    hands.keys(&["F"]);
    hands.tmux.until("2 flight recorders save");
    hands.tmux.until_files(2);

    // Both nodes in one window, each packet once.
    hands.keys(&["w"]);
    hands.tmux.until("in the viewer");
    hands.keys(&["Down", "Enter"]);
    eventually("a clean pair in the viewer", Duration::from_secs(60), || match in_wireshark(&seen) {
        (20.., 0) => Ok(()),
        found => {
            let said = std::fs::read_to_string(seen.with_extension("err")).unwrap_or_default();
            Err(format!("{found:?} {said} {}", hands.tmux.screen()))
        }
    });

    hands.keys(&["q"]);
    hands.tmux.until("other object");
    hands.keys(&["Enter"]);
    let screen = hands.tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("nothing is left"), "{screen}");
    assert_eq!(leftovers(), "");
    assert!(hands.pressed <= 40, "{} keys", hands.pressed);

    let files = hands.tmux.all_files();
    let report = files.iter().find(|file| file.extension().is_some_and(|end| end == "md")).expect("a report");
    let report = std::fs::read_to_string(report).expect("text");
    let first_page = report.split("## Details").next().unwrap_or_default();
    let first_page: String = first_page.lines().take(30).collect::<Vec<_>>().join("\n");
    assert!(first_page.contains(&format!("tcp {address}:8080")) && first_page.contains("closed "), "{report}");
}
