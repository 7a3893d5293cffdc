//! A session on this machine by keys alone: the program, its agent as a child process, a real terminal.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nodewatch_testing::{
    eventually,
    here::{self, skip},
    packets,
    program::{SOON, ended_soon, errors, kill, line_with, printed, said},
    terminal::Tmux,
};
use nodewatch_tui::headless::records::{RECORDS, schema::faults, undocumented};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");

/// tmux to type into, tshark to read what was captured, and root to capture; says why not.
fn possible() -> bool {
    here::possible(&["tmux", "tshark"])
}

/// The state folder of this test alone.
fn state() -> [(&'static str, String); 2] {
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("state-{}", std::process::id()));
    let state = state.to_string_lossy().into_owned();
    [("XDG_STATE_HOME", state.clone()), ("XDG_CONFIG_HOME", state)]
}

/// The program in a terminal, of the smallest size that it is made for.
fn terminal(arguments: &str) -> Tmux {
    Tmux::program((80, 24), PROGRAM, arguments, &state())
}

/// Another program than ours in a terminal.
fn running(size: (u16, u16), command: &str) -> Tmux {
    Tmux::running(size, command, &state())
}

#[test]
fn a_capture_on_loopback_comes_home_and_nothing_is_left() {
    if !possible() {
        return;
    }
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let to = receiver.local_addr().expect("an address");
    let mut tmux = terminal("--local");
    tmux.until("Ready");
    tmux.keys(&["d"]);
    tmux.until(&to.to_string());
    tmux.keys(&["C"]);
    tmux.until("Capture filter");
    tmux.text(&format!("udp port {}", to.port()));
    tmux.keys(&["Tab", "Tab", "Tab"]);
    tmux.text("lo");
    tmux.keys(&["Enter"]);
    tmux.until("● ");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("bind");
    for _ in 0..25 {
        sender.send_to(b"hello", to).expect("sent");
    }
    tmux.keys(&["Tab"]);
    tmux.until("packets     25");
    tmux.keys(&["C-c"]);
    tmux.until("remove everything");
    tmux.keys(&["Enter"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("nothing is left"), "{screen}");
    let files = tmux.files();
    assert_eq!((files.len(), packets::count(&files[0])), (1, 25), "{files:?}");
}

#[test]
fn a_resized_and_interrupted_screen_leaves_the_terminal_as_it_was() {
    if !possible() {
        return;
    }
    let mut tmux = terminal("--local");
    tmux.until("Ready");
    for (width, height) in [(20, 6), (1, 1), (200, 60), (80, 24)] {
        tmux.resize(width, height);
    }
    tmux.until("Ready");
    tmux.keys(&["q"]);
    let screen = tmux.until("EXIT 0");
    assert!(!screen.contains("NODES"), "the screen before the program is back: {screen}");
}

/// Over SSH nothing but the terminal can reach the clipboard.
#[test]
fn what_is_copied_arrives_in_the_terminals_clipboard() {
    if !possible() {
        return;
    }
    let mut tmux = terminal("--local");
    tmux.take_what_is_copied();
    tmux.until("Ready");
    tmux.keys(&["y"]);
    let screen = tmux.until("copied ");
    let name = screen.split("copied ").nth(1).and_then(|rest| rest.lines().next()).expect("a name").trim().to_owned();
    assert!(!name.is_empty());
    assert_eq!(tmux.copied(), name);
    tmux.keys(&["q"]);
    tmux.until("EXIT 0");
}

/// What a terminal that is as it was says of itself.
const AS_IT_WAS: &str = "stty -a | tr ' ;' '\\n\\n' | grep -xE 'icanon|echo|isig' | sort | tr '\\n' ' '";

/// Stopped and continued like any other program of a shell.
#[test]
fn a_stopped_program_gives_the_terminal_back_and_comes_again() {
    if !possible() {
        return;
    }
    let mut tmux = running((80, 24), "bash --norc -i");
    // No other test's program has that lease.
    let arguments = "--local --lease 599s";
    tmux.text(&format!("PS1='$ '; clear; LANG=C.UTF-8 {PROGRAM} {arguments}"));
    tmux.keys(&["Enter"]);
    tmux.until("Ready");
    tmux.keys(&["C-z"]);
    tmux.until("Stopped");
    tmux.text(AS_IT_WAS);
    tmux.keys(&["Enter"]);
    tmux.until("echo icanon isig");
    tmux.text("fg");
    tmux.keys(&["Enter"]);
    tmux.until("NODES (1)");
    // It takes keys again, and a signal from elsewhere stops it as well.
    tmux.keys(&["?"]);
    tmux.until("Keys of nodewatch-tui");
    tmux.keys(&["Escape"]);
    let stopped =
        Command::new("pkill").args(["-TSTP", "-f", &format!("^{PROGRAM} {arguments}")]).status().expect("pkill");
    assert!(stopped.success());
    tmux.until("Stopped");
    tmux.text("fg");
    tmux.keys(&["Enter"]);
    tmux.until("NODES (1)");
    tmux.keys(&["q"]);
    // The screen before the program is back, and with it the shell.
    tmux.until_gone("NODES (1)");
    tmux.text("echo left with $?");
    tmux.keys(&["Enter"]);
    tmux.until("left with 0");
}

/// A panic leaves a usable terminal, and a file that says what happened.
#[test]
fn a_panic_gives_the_terminal_back_and_leaves_a_report() {
    if !possible() {
        return;
    }
    let program = Path::new(PROGRAM).with_file_name("examples/panics");
    let mut tmux = running((80, 24), "bash --norc -i");
    tmux.text(&format!("PS1='$ '; clear; LANG=C.UTF-8 {}; echo ended with $?", program.display()));
    tmux.keys(&["Enter"]);
    let screen = tmux.until("ended with 101");
    assert!(screen.contains("nodewatch-tui has failed") && screen.contains("on purpose \\u{1b}[31m"), "{screen}");
    let place = screen.split("a report is in ").nth(1).and_then(|rest| rest.split(';').next()).expect("its place");
    let report = std::fs::read_to_string(place).expect("the report");
    assert!(
        report.contains("nodewatch-tui 0.") && report.contains("on purpose") && report.contains("panics.rs"),
        "{report}"
    );
    assert!(!report.contains('\u{1b}'));
    tmux.text(AS_IT_WAS);
    tmux.keys(&["Enter"]);
    tmux.until("echo icanon isig");
}

/// The program without a terminal, with a state folder, a home and a folder for captures of its own.
struct Headless {
    folder: tempfile::TempDir,
    to: SocketAddr,
    _receiver: UdpSocket,
}

impl Headless {
    /// `None` where packets cannot be captured.
    fn new() -> Option<Self> {
        if !possible() {
            return None;
        }
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let to = receiver.local_addr().expect("an address");
        Some(Self { folder: tempfile::tempdir().expect("a folder"), to, _receiver: receiver })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.folder.path()).env("HOME", self.folder.path());
        command.env("XDG_STATE_HOME", self.folder.path().join("state")).env_remove("KUBECONFIG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(arguments).output().expect("the program starts");
        (output.status.code(), printed(&output), said(&output))
    }

    /// A capture of this test's packets, all of whose bytes are kept.
    fn capture(&self, more: &[&str]) -> Child {
        let filter = format!("udp port {}", self.to.port());
        let capture = ["--local", "capture", "-i", "lo", "--content", "full", "--filter", &filter];
        self.command(&[&capture[..], more].concat()).spawn().expect("the program starts")
    }

    fn send(&self, packets: usize) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        for _ in 0..packets {
            socket.send_to(&[0x42; 1000], self.to).expect("sent");
            // So that no buffer on the way is too small.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn rings(&self) -> PathBuf {
        self.folder.path().join("state/nodewatch-tui/rings")
    }

    /// Capture files in rings, once there is one that is as large as that.
    fn until_in_ring(&self, bytes: u64) -> Vec<PathBuf> {
        eventually(&format!("{bytes} bytes in rings"), Duration::from_secs(60), || {
            let files = captures(&self.rings());
            let size = |path: &PathBuf| path.metadata().map_or(0, |facts| facts.len());
            if files.iter().map(size).sum::<u64>() >= bytes { Ok(files) } else { Err(format!("{files:?}")) }
        })
    }
}

/// Its end, which must come soon: its exit code, and what it said.
fn ends_soon(child: Child) -> (Option<i32>, String) {
    let output = ended_soon(child);
    (output.status.code(), said(&output))
}

/// Its end: its exit code, what it printed and what it said.
fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), printed(&output), said(&output))
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    files_of(folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "pcapng")).collect()
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files_of(&entry.path()) } else { vec![entry.path()] }).collect()
}

/// Whatever ends it, the capture comes home and nothing stays on this machine.
#[test]
fn every_signal_that_ends_a_capture_brings_it_home() {
    let Some(here) = Headless::new() else { return };
    for signal in ["HUP", "TERM", "INT"] {
        let child = here.capture(&["--out", signal, "-o", "json"]);
        here.until_in_ring(1);
        here.send(20);
        kill(&child, signal);
        let (code, told, said) = ended(child);
        assert_eq!(code, Some(0), "{signal}: {said}");
        let file: serde_json::Value = serde_json::from_str(&told).expect("one file");
        assert_eq!((&file["packets"], &file["incomplete"], &file["reason"]), (&20.into(), &().into(), &().into()));
        let files = captures(&here.folder.path().join(signal));
        assert_eq!((files.len(), packets::count(&files[0])), (1, 20), "{signal}");
        assert_eq!(files_of(&here.rings()), Vec::<PathBuf>::new(), "{signal}");
        assert!(said.contains("nothing is left"), "{said}");
    }
}

/// The agent's program reads it, without a right that it does not have for anything else.
#[test]
fn a_capture_with_a_bundle_has_the_state_of_its_begin_and_its_end() {
    let Some(here) = Headless::new() else { return };
    let child = here.capture(&["--out", "with", "-o", "json", "--bundle"]);
    here.until_in_ring(1);
    here.send(20);
    kill(&child, "INT");
    let (code, told, said) = ended(child);
    assert_eq!(code, Some(0), "{said}");
    let records: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let files = records.iter().find(|record| record["kind"] == "bundle_files").expect("where it is");
    assert_eq!(files["taken"], 2, "{said}");
    let read = |path: &serde_json::Value| {
        let path = here.folder.path().join(path.as_str().expect("a path"));
        std::fs::read_to_string(path).expect("the file")
    };
    let bundle: serde_json::Value = serde_json::from_str(&read(&files["path"])).expect("JSON");
    let record = RECORDS.iter().find(|record| record.kind == "bundle").expect("its schema");
    assert_eq!((faults(record, &bundle), undocumented(record, &bundle)), (Vec::new(), Vec::new()));
    let counters = |at: usize| {
        let sections = bundle["taken"][at]["sections"].as_array().expect("sections");
        let udp = sections.iter().find_map(|section| section["numbers"]["UdpOutDatagrams"].as_u64());
        udp.expect("a counter of UDP")
    };
    assert!(counters(1) >= counters(0));
    let text = read(&files["text_path"]);
    for title in ["== IPv4 routes", "== IPv4 rules", "== Addresses", "== Settings", "net.ipv4.ip_forward = "] {
        assert!(text.contains(title), "{title} is not in {text}");
    }
    let all = files_of(&here.folder.path().join("with"));
    let is_manifest =
        |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains("manifest"));
    let manifest = std::fs::read_to_string(all.iter().find(is_manifest).expect("a manifest")).expect("text");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let listed = manifest["bundles"].as_array().expect("bundles");
    let sizes: Vec<u64> = listed.iter().filter_map(|one| one["size"].as_u64()).collect();
    let written = ["path", "text_path"].map(|field| read(&files[field]).len() as u64);
    assert_eq!(sizes, written);
}

/// The terminal and the shell may both tell that the terminal is gone.
#[test]
fn a_terminal_that_goes_away_twice_is_one_signal() {
    let Some(here) = Headless::new() else { return };
    let mut child = here.capture(&["--out", "twice"]);
    let mut said = errors(&mut child);
    here.until_in_ring(1);
    here.send(20);
    kill(&child, "HUP");
    line_with(&mut said, "shutting down");
    kill(&child, "HUP");
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("nothing is left")), "{rest:?}");
}

/// A disk that is full is no reader that has enough.
#[test]
fn a_stream_that_cannot_be_written_is_no_success() {
    let Some(here) = Headless::new() else { return };
    let filter = format!("udp port {}", here.to.port());
    let full = std::fs::File::options().write(true).open("/dev/full").expect("opened");
    let mut command = here.command(&["--local", "--out", "-", "capture", "-i", "lo", "--filter", &filter]);
    let mut child = command.stdout(full).spawn().expect("the program starts");
    eventually("its end", SOON, || {
        here.send(10);
        if child.try_wait().expect("asked").is_some() { Ok(()) } else { Err("it goes on") }
    });
    let (code, said) = ends_soon(child);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("error: standard output ends early: No space left on device"), "{said}");
}

/// `nohup` means that it goes on.
#[test]
fn a_program_that_is_to_outlive_its_terminal_does() {
    let Some(here) = Headless::new() else { return };
    let mut command = Command::new("nohup");
    command.args([PROGRAM, "--local", "--out", "h", "capture", "-i", "lo", "--duration", "6s"]);
    command.current_dir(here.folder.path()).env("XDG_STATE_HOME", here.folder.path().join("state"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("nohup");
    here.until_in_ring(1);
    here.send(20);
    kill(&child, "HUP");
    let (code, _, said) = ended(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("fetched"), "{said}");
}

/// Tells the program's agent something.
fn signal_agent(child: &Child, signal: &str) {
    let agents =
        Command::new("pgrep").args(["-P", &child.id().to_string(), "nodewatch-agent"]).output().expect("pgrep");
    let agent = String::from_utf8(agents.stdout).expect("text");
    let sent = Command::new("kill").args([signal, agent.trim()]).status().expect("kill");
    assert!(sent.success(), "{agent:?}");
}

/// An agent that is stopped under a capture, as an eviction does, has not captured to the end.
#[test]
fn a_capture_whose_agent_ends_is_done_in_part() {
    let Some(here) = Headless::new() else { return };
    let child = here.capture(&["--out", "h"]);
    here.until_in_ring(1);
    here.send(20);
    here.until_in_ring(1000);
    signal_agent(&child, "-TERM");
    let (code, _, said) = ended(child);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("ended early") && said.contains("fetched"), "{said}");
}

/// From another terminal, as in a cluster.
#[test]
fn the_recorder_of_a_session_on_this_machine_is_frozen_from_elsewhere() {
    let Some(here) = Headless::new() else { return };
    let mut child = here.capture(&["--recorder", "60s", "--out", "h"]);
    let mut said = errors(&mut child);
    let armed = line_with(&mut said, "is armed: nodewatch-tui freeze ");
    let session = armed.split(' ').nth(1).expect("an id").to_owned();
    assert!(armed.contains(&format!("freeze {session} --local saves")), "{armed}");
    here.until_in_ring(1);
    here.send(20);
    here.until_in_ring(20_000);
    let freeze = ["freeze", &session, "--local", "--freeze-after", "1s", "--out", "frozen", "-o", "json"];
    let (code, told, said) = here.run(&freeze);
    assert_eq!(code, Some(0), "{said}");
    let file: serde_json::Value = serde_json::from_str(&told).expect("one file");
    assert_eq!((&file["kind"], &file["packets"]), (&"capture_file".into(), &20.into()), "{file}");
    assert!(file["incomplete"].is_null(), "before it was armed there is nothing to miss: {file}");
    let files = captures(&here.folder.path().join("frozen"));
    assert_eq!((files.len(), packets::count(&files[0])), (1, 20), "{said}");
    assert_eq!(said, "saving 30 s before and 1 s after now on 1 node: 1 s and a little more\n");
    // The session goes on, and ends as ever.
    kill(&child, "INT");
    let (code, _, said) = ended(child);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(files_of(&here.rings()), Vec::<PathBuf>::new());
    let (code, _, said) = here.run(&["freeze", &session, "--local"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("there is no such session on this machine"), "{said}");
}

/// What kill -9 leaves is named by whatever starts next, and removed on demand, without a cluster.
#[test]
fn captures_of_a_killed_program_are_named_and_removed() {
    let Some(here) = Headless::new() else { return };
    let child = here.capture(&["--out", "h"]);
    here.until_in_ring(1);
    here.send(20);
    let (code, listed, _) = here.run(&["sessions", "--local", "-o", "json"]);
    let row: serde_json::Value = serde_json::from_str(&listed).expect("one session");
    assert_eq!((code, &row["holder"]), (Some(0), &"running".into()));
    let session = row["id"].as_str().expect("an id").to_owned();
    let (code, _, said) = here.run(&["cleanup", &session, "--local", "--yes"]);
    assert_eq!(code, Some(4), "not while it runs: {said}");

    kill(&child, "KILL");
    child.wait_with_output().expect("it ends");
    here.until_in_ring(20_000);
    let (code, _, said) = here.run(&["nodes", "--local"]);
    assert_eq!(code, Some(0), "{said}");
    let named = format!("session {session} on this machine ended without cleanup: 1 capture file");
    assert!(said.contains(&named) && said.contains(&format!("cleanup {session} --local removes them")), "{said}");
    let (code, _, said) = here.run(&["cleanup", &session, "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(files_of(&here.rings()), Vec::<PathBuf>::new());
    let (_, _, said) = here.run(&["nodes", "--local"]);
    assert_eq!(said, "");
}

/// A file system of its own, which is small.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&at).expect("a folder");
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).status();
        assert!(mounted.expect("mount").success());
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A failed test must not be followed by a failed clean-up.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A disk that is full at home costs no capture: its only copy stays, and where and how to get it is said.
#[test]
fn a_full_disk_at_home_costs_no_capture() {
    let Some(here) = Headless::new() else { return };
    let disk = SmallDisk::mount(here.folder.path().join("small"), "64k");
    let child = here.capture(&["--out", "small/x", "-o", "json"]);
    here.until_in_ring(1);
    here.send(200);
    kill(&child, "TERM");
    let (code, told, said) = ended(child);
    assert_eq!(code, Some(4), "{said}");
    let file: serde_json::Value = serde_json::from_str(&told).expect("one file");
    assert!(
        file["path"].is_null() && file["reason"].as_str().is_some_and(|why| why.contains("no space left")),
        "{told}"
    );
    assert_eq!(files_of(&disk.0), Vec::<PathBuf>::new(), "no part of it takes the room that is short");
    let kept = captures(&here.rings());
    assert_eq!((kept.len(), packets::count(&kept[0])), (1, 200));
    assert!(said.contains("KEPT") && said.contains(kept[0].to_str().expect("text")), "{said}");
    assert!(said.contains("nodewatch-tui attach ") && said.contains("nodewatch-tui cleanup "), "{said}");
    assert!(!said.contains("nothing is left"), "{said}");

    // It can be taken home from there later.
    let session = kept[0].ancestors().nth(2).and_then(Path::file_name).and_then(|name| name.to_str()).expect("an id");
    let state = here.folder.path().join("state");
    let home = here.folder.path().join("home");
    let line = format!(
        "cd {}; XDG_STATE_HOME={} LANG=C.UTF-8 {PROGRAM} attach {session} --local --record r.jsonl --out {}; \
         echo left with $?",
        here.folder.path().display(),
        state.display(),
        home.display()
    );
    let mut tmux = running((100, 30), "bash --norc -i");
    tmux.text(&line);
    tmux.keys(&["Enter"]);
    tmux.until("agents 1/1 live");
    tmux.keys(&["f"]);
    tmux.until("200");
    tmux.keys(&["q"]);
    tmux.until("remove everything");
    tmux.keys(&["Enter"]);
    tmux.until("left with 0");
    let files = captures(&home);
    assert_eq!((files.len(), packets::count(&files[0])), (1, 200));
    assert_eq!(files_of(&here.rings()), Vec::<PathBuf>::new());
    // The recording begins with what the session began with, and a report of it has what the fetch has checked.
    let recording = std::fs::read_to_string(here.folder.path().join("r.jsonl")).expect("a recording");
    assert!(recording.lines().nth(1).is_some_and(|line| line.contains("\"Attach\"")), "{recording:.2000}");
    let output = here.command(&["report", "--from", "r.jsonl", "--print"]).output().expect("it runs");
    let sum = Command::new("sha256sum").arg(&files[0]).output().expect("sha256sum");
    let sum = printed(&sum).split(' ').next().expect("a sum").to_owned();
    assert!(printed(&output).contains(&sum), "{}", printed(&output));
}

/// A terminal that goes away, as a lost SSH connection leaves it, does not take the capture with it.
#[test]
fn a_terminal_that_goes_away_leaves_the_capture_at_home() {
    let Some(here) = Headless::new() else { return };
    let state = here.folder.path().join("state");
    let home = here.folder.path().join("home");
    let arguments = format!("--local --out {}", home.display());
    let line = format!("env XDG_STATE_HOME={} LANG=C.UTF-8 {PROGRAM} {arguments}", state.display());
    let mut tmux = running((100, 30), &line);
    tmux.until("Ready");
    tmux.keys(&["d"]);
    tmux.until("agents 1/1 live");
    tmux.keys(&["C"]);
    tmux.until("Capture filter");
    tmux.text(&format!("udp port {}", here.to.port()));
    tmux.keys(&["Tab", "Tab", "Tab"]);
    tmux.text("lo");
    tmux.keys(&["Enter"]);
    tmux.until("● ");
    here.send(20);
    drop(tmux);
    eventually("the capture at home", Duration::from_secs(60), || {
        let (at_home, left) = (captures(&home), files_of(&here.rings()));
        if !at_home.is_empty() && left.is_empty() { Ok(()) } else { Err(format!("{at_home:?} and {left:?}")) }
    });
    assert_eq!(packets::count(&captures(&home)[0]), 20);
}

/// As of `| head -1`. Nothing more is written that it could notice by.
#[test]
fn a_watch_ends_with_its_reader() {
    let Some(here) = Headless::new() else { return };
    let watch = ["--local", "ports", "--watch", "--interval", "1h", "-o", "json"];
    let mut child = here.command(&watch).spawn().expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert!(line.starts_with('{'), "{line}");
    let (code, said) = ends_soon(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing is left") && !said.contains("error"), "{said}");
    assert_eq!(files_of(&here.rings()), Vec::<PathBuf>::new());
}

/// Those of its threads that write to both outputs stand in a write to a pipe.
fn waits_for_reader(child: &Child) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten();
    threads
        .map(|thread| std::fs::read_to_string(thread.path().join("wchan")).unwrap_or_default())
        .filter(|place| place.contains("pipe_write"))
        .count()
        == 2
}

/// Both outputs into a pipe that is full and that nobody reads: a signal is heard, and everything is cleaned up.
#[test]
fn a_reader_that_does_not_read_holds_no_signal_up() {
    let Some(here) = Headless::new() else { return };
    let (_reader, mut writer) = std::io::pipe().expect("a pipe");
    // As much as a pipe takes.
    writer.write_all(&vec![b'\n'; 64 * 1024]).expect("room");
    let mut watch = here.command(&["--local", "ports", "--watch", "--interval", "1s"]);
    watch.stdout(writer.try_clone().expect("a copy")).stderr(writer);
    let child = watch.spawn().expect("the program starts");
    eventually("what was printed to wait for its reader", SOON, || waits_for_reader(&child));
    kill(&child, "TERM");
    let (code, _) = ends_soon(child);
    assert_eq!(code, Some(3), "what it printed did not get there");
    assert_eq!(files_of(&here.rings()), Vec::<PathBuf>::new());
}

/// A clean-up that hangs on an agent that does not answer is ended by a second signal, and what stays is named.
#[test]
fn a_second_signal_ends_without_waiting() {
    let Some(here) = Headless::new() else { return };
    let mut child = here.capture(&["--out", "h"]);
    here.until_in_ring(1);
    here.send(20);
    here.until_in_ring(20_000);
    signal_agent(&child, "-STOP");
    kill(&child, "INT");
    let mut said = errors(&mut child);
    line_with(&mut said, "a second signal exits without waiting");
    let begin = Instant::now();
    kill(&child, "INT");
    let (code, _) = ends_soon(child);
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let rest = said.map_while(Result::ok).collect::<Vec<_>>().join("\n");
    assert_eq!(code, Some(4), "{rest}");
    let kept = captures(&here.rings());
    assert_eq!(kept.len(), 1);
    assert!(rest.contains("KEPT") && rest.contains(kept[0].to_str().expect("text")), "{rest}");
    assert!(rest.contains("nodewatch-tui cleanup ") && !rest.contains("nothing is left"), "{rest}");
}

/// A terminal that takes nothing in: its reader sleeps once the screen has begun to come.
const STALLED: &str = "
import fcntl, os, pty, signal, struct, sys, termios, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
os.read(terminal, 10)
for step in range(80):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 60, 200 - step % 2, 0, 0))
    time.sleep(0.05)
os.kill(pid, signal.SIGTERM)
for _ in range(200):
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        print('ended with', os.waitstatus_to_exitcode(status))
        break
    time.sleep(0.1)
else:
    os.kill(pid, signal.SIGKILL)
    print('it does not end')
";

#[test]
fn a_terminal_that_does_not_read_holds_no_signal_up() {
    let Some(here) = Headless::new() else { return };
    let mut stalled = Command::new("python3");
    stalled.args(["-c", STALLED, PROGRAM, "--local"]).current_dir(here.folder.path());
    stalled.env("XDG_STATE_HOME", here.folder.path().join("state")).env("TERM", "xterm-256color");
    let Ok(output) = stalled.output() else { return skip("needs python3") };
    let (told, said) = (printed(&output), said(&output));
    assert_eq!(told.trim(), "ended with 0", "{said}");
    assert_eq!(files_of(&here.rings()), Vec::<PathBuf>::new());
}

/// Whoever takes only the beginning of anything is no failure, and nothing panics.
#[test]
fn every_command_takes_a_reader_that_goes() {
    let Some(here) = Headless::new() else { return };
    for arguments in [
        &["nodes", "--local"][..],
        &["--local", "ports", "-o", "json"],
        &["sessions", "--local"],
        &["config"],
        &["man"],
        &["completions", "bash"],
        &["manifests", "--nodes", "a"],
    ] {
        let mut command = here.command(arguments);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.stdout(writer.try_clone().expect("a copy")).stderr(writer);
        let (code, _) = ends_soon(command.spawn().expect("the program starts"));
        assert_eq!(code, Some(0), "{arguments:?}");
    }
}
