//! Servers that take a connection and never say anything: commands end all the same.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use super::*;

/// Connections to it are accepted, read from, and never answered.
fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let accepted: Vec<_> = listener.incoming().collect();
        drop(accepted);
    });
    port
}

/// The limit that is promised: the program is started by then, too.
#[test]
fn a_cleanup_ends_within_its_timeout_and_names_what_it_could_not_see() {
    let state = tempfile::tempdir().expect("a folder");
    let server = format!("http://127.0.0.1:{}", silent());
    let file = kubeconfig(&server);
    leave_session(state.path(), file.path(), &server);
    for which in ["--all", "7f3a91c2"] {
        let begin = Instant::now();
        let output = Command::new(PROGRAM)
            .args(["cleanup", which, "--yes", "--timeout", "10s", "--kubeconfig"])
            .arg(file.path())
            .env("XDG_STATE_HOME", state.path())
            .env("HOME", "/nonexistent")
            .env_remove("KUBECONFIG")
            .output()
            .expect("the program starts");
        let (took, said) = (begin.elapsed(), String::from_utf8_lossy(&output.stderr).into_owned());
        assert_eq!(output.status.code(), Some(4), "{which}: {said}");
        assert!(took < Duration::from_secs(12), "{which}: {took:?}: {said}");
        let named = said.lines().find(|line| line.starts_with("LEFT  Namespace nodewatch-7f3a91c2"));
        assert!(named.is_some_and(|line| line.ends_with("not checked, may still exist")), "{which}: {said}");
    }
}
