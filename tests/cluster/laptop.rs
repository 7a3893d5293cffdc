//! The program on somebody's laptop: somebody with no more rights than `manifests/operator-rbac.yaml`.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    time::Duration,
};

use nodewatch_testing::{
    program::{self, said},
    terminal::Tmux,
};

use crate::kubernetes::until;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");

/// The state folder of this test alone.
fn state() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("state-{}", std::process::id()))
}

/// The kubeconfig of somebody with no more rights than the operator's, where `run.sh` has made one.
pub fn operator() -> Option<PathBuf> {
    std::env::var_os("NODEWATCH_OPERATOR_KUBECONFIG").map(PathBuf::from)
}

/// The operator's environment, with a state folder of this test alone.
fn environment() -> Vec<(&'static str, String)> {
    let state = state().to_string_lossy().into_owned();
    let mut environment = vec![("XDG_STATE_HOME", state.clone()), ("XDG_CONFIG_HOME", state)];
    environment.extend(operator().map(|file| ("KUBECONFIG", file.to_string_lossy().into_owned())));
    environment
}

/// The program, to be started.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).envs(environment());
    command
}

/// The program, run to its end.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).stdin(std::process::Stdio::null()).output().expect("the program starts")
}

/// The program, run to its end with that exit code.
#[track_caller]
pub fn output_to(code: i32, arguments: &[&str]) -> Output {
    program::run_to(code, &mut command(arguments))
}

/// The same, for what it says.
#[track_caller]
pub fn run_to(code: i32, arguments: &[&str]) -> String {
    said(&output_to(code, arguments))
}

/// The program, running, with its output read here.
pub fn start(arguments: &[&str]) -> Child {
    program::start(&mut command(arguments))
}

/// Waits until so many of a node's capture files are here, as they come while a capture runs.
pub fn files_come(out: &Path, node: &str, count: usize) {
    let here = || std::fs::read_dir(out.join(node)).map_or(0, Iterator::count);
    until(&format!("{count} files of {node}"), Duration::from_secs(90), || here() >= count);
}

/// The program in a terminal of that size.
pub fn terminal(width: u16, height: u16, arguments: &str) -> Tmux {
    terminal_with(width, height, arguments, &[])
}

/// The same with more of an environment.
pub fn terminal_with(width: u16, height: u16, arguments: &str, more: &[(&'static str, String)]) -> Tmux {
    let environment = [environment(), more.to_vec()].concat();
    Tmux::program((width, height), PROGRAM, arguments, &environment)
}
