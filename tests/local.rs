//! A session on this machine by keys alone: the program, its agent as a child process, a real terminal.

mod outside;

use std::process::Command;

use outside::{Tmux, tshark};

/// tmux to type into, and root to capture; says why not.
fn possible() -> bool {
    let tmux = Command::new("tmux").arg("-V").output().is_ok_and(|output| output.status.success());
    let id = Command::new("id").arg("-u").output().expect("id");
    let root = id.stdout.trim_ascii() == b"0";
    if !(tmux && root) {
        outside::skip("needs tmux and root");
    }
    tmux && root
}

#[test]
fn a_capture_on_loopback_comes_home_and_nothing_is_left() {
    if !possible() {
        return;
    }
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let to = receiver.local_addr().expect("an address");
    let mut tmux = Tmux::start(80, 24, "--local");
    tmux.until("Ready");
    tmux.keys(&["d"]);
    tmux.until(&format!("udp {to}"));
    tmux.keys(&["C"]);
    tmux.until("Capture filter");
    tmux.text(&format!("udp port {}", to.port()));
    tmux.keys(&["Tab"]);
    tmux.text("lo");
    tmux.keys(&["Enter"]);
    tmux.until("● 00:00:0");
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
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
    assert_eq!((files.len(), tshark(&files[0])), (1, 25), "{files:?}");
}

#[test]
fn a_resized_and_interrupted_screen_leaves_the_terminal_as_it_was() {
    if !possible() {
        return;
    }
    let mut tmux = Tmux::start(80, 24, "--local");
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
    let mut tmux = Tmux::start(80, 24, "--local");
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
    let program = env!("CARGO_BIN_EXE_nodewatch-tui");
    let mut tmux = Tmux::running(80, 24, "bash --norc -i");
    // No other test's program has that lease.
    let arguments = "--local --lease 599s";
    tmux.text(&format!("PS1='$ '; clear; LANG=C.UTF-8 {program} {arguments}"));
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
        Command::new("pkill").args(["-TSTP", "-f", &format!("^{program} {arguments}")]).status().expect("pkill");
    assert!(stopped.success());
    tmux.until("Stopped");
    tmux.text("fg");
    tmux.keys(&["Enter"]);
    tmux.until("NODES (1)");
    tmux.keys(&["q"]);
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
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_nodewatch-tui")).with_file_name("examples/panics");
    let mut tmux = Tmux::running(80, 24, "bash --norc -i");
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
