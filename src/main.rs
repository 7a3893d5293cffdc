//! `nodewatch-tui`: start the runtime, run the program, exit with its code.

use std::{ffi::OsString, process::ExitCode};

use anyhow::Context;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let exit = runtime.block_on(nodewatch_tui::program::run(&arguments));
    // Whatever still waits for a server that does not answer is not waited for.
    runtime.shutdown_background();
    Ok(ExitCode::from(exit.code()))
}
