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
