//! `completions` and `man`: made from the command line itself.

use std::io::{self, Write};

use clap_complete::Shell;

use super::layers;

/// A shell's completions.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut layers::command(), "nodewatch-tui", &mut out);
    if shell == Shell::Bash {
        // clap_complete 4.6 spells a hyphen in a program's name in two ways, so that nothing of a command is completed
        // (https://github.com/clap-rs/clap/issues/6421).
        out = String::from_utf8_lossy(&out).replace("nodewatch__subcmd__tui", "nodewatch__tui").into_bytes();
    }
    out
}

/// The manual page, with every command in it.
pub fn man() -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut command = layers::command().bin_name("nodewatch-tui");
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    page.render(&mut out)?;
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        section(&mut out, command, command.get_name())?;
    }
    Ok(out)
}

/// A command and those below it.
fn section(out: &mut Vec<u8>, command: &clap::Command, name: &str) -> io::Result<()> {
    // Options of every command are on the page already.
    let own = command.clone().mut_args(|argument| {
        let is_global = argument.is_global_set();
        argument.hide(is_global)
    });
    let page = clap_mangen::Man::new(own);
    writeln!(out, ".SH \"COMMAND {}\"", name.to_uppercase())?;
    let mut text = Vec::new();
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    out.write_all(String::from_utf8_lossy(&text).replace(".SH ", ".SS ").as_bytes())?;
    for below in command.get_subcommands().filter(|command| command.get_name() != "help") {
        section(out, below, &format!("{name} {}", below.get_name()))?;
    }
    Ok(())
}
