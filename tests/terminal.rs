//! The program on a terminal that closes, answers by itself, pastes, is lent, or is none: `terminal.py` is the other end of
//! it.

use std::process::{Command, Stdio};

#[test]
#[allow(clippy::print_stdout, reason = "what is skipped is said")]
fn whatever_a_terminal_does_the_program_ends_well() {
    if !Command::new("python3").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("skipped: needs python3");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/terminal.py");
    let pki = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/pki");
    let arguments = [script, env!("CARGO_BIN_EXE_nodewatch-tui"), pki];
    let output = Command::new("python3").arg("-B").args(arguments).output().expect("python3");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
}
