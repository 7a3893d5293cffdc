//! The program on a terminal that closes, answers by itself, pastes, or is none: `terminal.py` is the other end of it.

use std::process::{Command, Stdio};

#[test]
#[allow(clippy::print_stdout, reason = "what is skipped is said")]
fn whatever_a_terminal_does_the_program_ends_well() {
    if !Command::new("python3").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("skipped: needs python3");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/terminal.py");
    let output = Command::new("python3").args([script, env!("CARGO_BIN_EXE_nodewatch-tui")]).output().expect("python3");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
}
