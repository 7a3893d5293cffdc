//! A program: its exit code, what it prints, its signals.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::wait::eventually;

/// What never ends is noticed by then.
pub const SOON: Duration = Duration::from_secs(30);

/// What a program wrote on standard error, where it speaks to people.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a program wrote on standard output, where its results go.
pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Results as JSON, one a line.
pub fn json_lines(output: &Output) -> Vec<Value> {
    printed(output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Runs a program to its end.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).stdin(Stdio::null()).output().expect("the program starts")
}

/// Runs a program to its end, which must be with that exit code.
#[track_caller]
pub fn run_to(code: i32, command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(code), "{command:?}: {}", said(&output));
    output
}

/// Starts a program whose output is read here.
pub fn start(command: &mut Command) -> Child {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().expect("the program starts")
}

/// What a running program says, line by line.
pub fn errors(child: &mut Child) -> Lines<BufReader<ChildStderr>> {
    BufReader::new(child.stderr.take().expect("piped")).lines()
}

/// The next line with that text.
#[track_caller]
pub fn line_with(lines: &mut Lines<BufReader<ChildStderr>>, text: &str) -> String {
    let mut passed = Vec::new();
    for line in lines.map_while(Result::ok) {
        if line.contains(text) {
            return line;
        }
        passed.push(line);
    }
    panic!("the program did not say {text:?}: {passed:#?}");
}

/// The first line of results. What follows is left in the pipe, which has room for it.
pub fn first_result(child: &mut Child) -> String {
    let results = child.stdout.as_mut().expect("piped");
    let mut line = String::new();
    BufReader::new(results).read_line(&mut line).expect("a line");
    line
}

/// Sends a signal, by its name.
pub fn kill(child: &Child, signal: &str) {
    let sent = run("kill", &[&format!("-{signal}"), &child.id().to_string()]);
    assert!(sent.status.success(), "{}", said(&sent));
}

/// Its end, which must come [`SOON`]; one that does not end is killed, and the test fails with what it said.
#[track_caller]
pub fn ended_soon(mut child: Child) -> Output {
    let within = std::time::Instant::now() + SOON;
    eventually("its end", 2 * SOON, || {
        if std::time::Instant::now() > within {
            kill(&child, "KILL");
        }
        child.try_wait().expect("it is ours").is_some()
    });
    let in_time = std::time::Instant::now() <= within;
    let output = child.wait_with_output().expect("it ends");
    assert!(in_time, "it did not end by itself: {}", said(&output));
    output
}
