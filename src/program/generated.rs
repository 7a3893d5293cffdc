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

const SYNOPSIS: &str = "\
.SH SYNOPSIS
\\fBnodewatch\\-tui\\fR [\\fIOPTIONS\\fR]
.br
\\fBnodewatch\\-tui\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]
";

/// The manual page, with every command in it.
pub fn man() -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let root = layers::command();
    let page = clap_mangen::Man::new(root.clone());
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    // Every option has its place below; all of them in a row help nobody.
    out.write_all(SYNOPSIS.as_bytes())?;
    page.render_description_section(&mut out)?;
    page.render_options_section(&mut out)?;
    page.render_subcommands_section(&mut out)?;
    page.render_extra_section(&mut out)?;
    page.render_version_section(&mut out)?;
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        section(&mut out, (&root, command), command.get_name())?;
    }
    Ok(out)
}

/// A command and those below it. Options that are on the page already are only named.
fn section(out: &mut Vec<u8>, (root, command): (&clap::Command, &clap::Command), name: &str) -> io::Result<()> {
    let is_on_page = |argument: &clap::Arg| {
        argument.get_help_heading().is_some()
            && root.get_arguments().any(|other| {
                other.get_id() == argument.get_id()
                    && other.get_help().map(ToString::to_string) == argument.get_help().map(ToString::to_string)
            })
    };
    let own = command.clone().mut_args(|argument| {
        let hidden = argument.is_hide_set() || is_on_page(&argument);
        argument.hide(hidden)
    });
    let shared = command.get_arguments().filter(|argument| is_on_page(argument) && !argument.is_hide_set());
    let shared: Vec<String> = shared.filter_map(clap::Arg::get_long).map(|long| format!("--{long}")).collect();
    let page = clap_mangen::Man::new(own);
    writeln!(out, ".SH \"COMMAND {}\"", name.to_uppercase())?;
    let mut text = Vec::new();
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    out.write_all(String::from_utf8_lossy(&text).replace(".SH ", ".SS ").as_bytes())?;
    if !shared.is_empty() {
        writeln!(out, ".PP\nAlso takes, as above: {}.", shared.join(", ").replace('-', "\\-"))?;
    }
    for below in command.get_subcommands().filter(|command| command.get_name() != "help") {
        section(out, (root, below), &format!("{name} {}", below.get_name()))?;
    }
    Ok(())
}
