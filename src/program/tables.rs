//! What the documentation has of the source: the example config, and the reference's tables.

use std::{collections::BTreeSet, fmt::Write};

use clap::{Arg, ArgAction, Command, CommandFactory};
use nodewatch_signals::SIGNALS;
use serde_json::json;

use super::layers::{as_json_value, bindings, command, toml_value};
use crate::{
    cli::{Cli, SETTINGS},
    config::{
        file::{PRODUCTION, VIEWER},
        keymap::{BINDINGS, Keymap, shown_keys},
    },
    headless::{
        ExitCode,
        records::{PARTS, RECORDS, Record, SCHEMA, TIMES},
    },
    model::metrics::{METRICS, Metric, NODE, SIGNAL_ITEM},
};

/// The defaults as a config file, with what each setting does.
pub fn example() -> String {
    let command = Cli::command();
    let mut out = String::from(
        "# Settings of nodewatch-tui with their defaults. Copy to $XDG_CONFIG_HOME/nodewatch-tui/config.toml\n\
         # (~/.config/nodewatch-tui/config.toml). Options override the environment (NODEWATCH_ and the name in capitals), which\n\
         # overrides this file. `nodewatch-tui config` prints each setting with its value and source.\n",
    );
    let own = [
        (
            "production",
            "Regular expression, in any case, for contexts to guard: before the first deployment in a session, type the name of\n\
             the context or pass it with --confirm. Empty guards none",
            json!(PRODUCTION),
        ),
        ("viewer", "Viewer for captures, with its arguments; {} stands for the pipe or file to read", json!(VIEWER)),
    ];
    for (key, help, value) in own {
        let help = help.replace('\n', "\n# ");
        let _ = writeln!(out, "\n# {help}.\n{key} = {}", toml_value(&value));
    }
    for key in SETTINGS {
        let Some(argument) = command.get_arguments().find(|argument| argument.get_id() == key) else { continue };
        let help = help(argument);
        let help = textwrap::fill(&help, textwrap::Options::new(120).initial_indent("# ").subsequent_indent("# "));
        let default = argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        let line = match (default, argument.get_action()) {
            (None, ArgAction::SetTrue) => format!("{key} = false"),
            (None, _) => {
                let name = argument.get_value_names().and_then(<[_]>::first).map(ToString::to_string);
                format!("# {key} = \"{}\"", name.unwrap_or_default())
            }
            (Some(text), _) => {
                format!("{key} = {}", toml_value(&as_json_value(&text)))
            }
        };
        let _ = writeln!(out, "\n{help}\n{line}");
    }
    out.push_str(
        "\n# Key bindings: a key or a list of keys, the one for the hint line first. Names are those in `?`: d, C, Ctrl-d, Alt-x,\n\
         # F5, Space, Enter, Esc, Tab, PgUp. The same key for two actions on one screen is an error.\n[keys]\n",
    );
    for (name, keys) in bindings(&Keymap::default()) {
        let _ = writeln!(out, "{name} = {}", toml_value(&json!(keys)));
    }
    out
}

/// The reference's table of keys: what is shown in help, by the default keymap.
pub fn key_table() -> String {
    let mut out = String::from("| key | where | does | name in the config |\n|---|---|---|---|\n");
    for binding in BINDINGS.iter().filter(|binding| !binding.help.is_empty()) {
        let keys =
            shown_keys(binding.keys).iter().map(|key| format!("`{}`", key.replace('|', "\\|"))).collect::<Vec<_>>();
        let scopes: Vec<&str> = binding.scopes.iter().map(|scope| scope.word()).collect();
        let shown_where = if scopes.len() > 5 { "everywhere".to_owned() } else { scopes.join(", ") };
        let name = if binding.name.is_empty() { "fixed".to_owned() } else { format!("`{}`", binding.name) };
        let _ = writeln!(out, "| {} | {shown_where} | {} | {name} |", keys.join(" "), binding.help);
    }
    out
}

/// The reference's tables of options that several commands take, one for each heading of the help.
pub fn option_tables() -> String {
    let root = command();
    let mut headings: Vec<&str> = Vec::new();
    let options: Vec<&Arg> = root.get_arguments().filter(|argument| argument.get_help_heading().is_some()).collect();
    for heading in options.iter().filter_map(|argument| argument.get_help_heading()) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let mut out = String::new();
    for heading in headings {
        let _ = writeln!(out, "\n### {heading}\n\n| option | default | does | commands |\n|---|---|---|---|");
        for argument in options.iter().filter(|argument| argument.get_help_heading() == Some(heading)) {
            let names = commands_with(&root, argument).into_iter().map(|name| format!("`{name}`"));
            let names = names.collect::<Vec<_>>().join(", ");
            let default = argument.get_default_values().first().filter(|_| argument.get_action().takes_values());
            let default = default.map(|value| format!("`{}`", value.to_string_lossy())).unwrap_or_default();
            let help = help(argument).replace('|', "\\|");
            let _ = writeln!(out, "| {} | {default} | {help} | {names} |", spelled(argument));
        }
    }
    out.push('\n');
    out
}

/// The reference's table of records: what `-o json`, `-o yaml` and `-o name` print.
pub fn record_table() -> String {
    let mut out = String::from("| `kind` | command | one line per | fields | `-o name` |\n|---|---|---|---|---|\n");
    for Record { kind, commands, one, name, fields } in RECORDS {
        let commands: Vec<String> = commands.split(", ").map(|name| format!("`{name}`")).collect();
        let _ = writeln!(out, "| `{kind}` | {} | {one} | {} | {name} |", commands.join(", "), field_list(fields));
    }
    let times: Vec<String> = TIMES.iter().map(|time| format!("`{time}`")).collect();
    let _ = writeln!(
        out,
        "\nEach record also has `kind` and `schema` (now {SCHEMA}; it changes only when a field goes or means something else). \
         Moments ({}) are milliseconds since 1970, and each has its RFC 3339 text beside it, under the same name and `_time`.",
        times.join(", ")
    );
    let _ = writeln!(out, "\nParts of these:\n\n| part | fields |\n|---|---|");
    for (part, fields) in &PARTS {
        let _ = writeln!(out, "| `{part}` | {} |", field_list(fields));
    }
    out
}

fn field_list(fields: &[(&str, &str)]) -> String {
    let field = |(name, says): &(&str, &str)| {
        if says.is_empty() { format!("`{name}`") } else { format!("`{name}` ({says})") }
    };
    fields.iter().map(field).collect::<Vec<_>>().join(", ")
}

/// The reference's table of metrics.
pub fn metric_table() -> String {
    let mut out = String::from("| metric | kind | unit | attributes | means |\n|---|---|---|---|---|\n");
    for Metric { name, instrument, unit, attributes, meaning } in METRICS {
        let attributes: Vec<String> = attributes.iter().map(|key| format!("`{key}`")).collect();
        let (kind, attributes) = (instrument.word(), attributes.join(", "));
        let _ = writeln!(out, "| `{name}` | {kind} | `{unit}` | {attributes} | {meaning}. |");
    }
    let paths = SIGNALS.iter().filter(|signal| Metric::of_signal(signal).is_none());
    let paths: Vec<String> = paths.map(|signal| format!("`{}`", signal.name)).collect();
    let _ = writeln!(
        out,
        "| `nodewatch.signal.SIGNAL` | as the signal | `By`, `us`, `%`, or what is counted, as `{{packet}}` | `{NODE}`, and for \
         interfaces and listening sockets `{SIGNAL_ITEM}` | Each signal by its name in [signals](signals.md); not {}, as there is one for \
         each pair of addresses. |",
        paths.join(", ")
    );
    out
}

/// The reference's table of exit codes.
pub fn exit_code_table() -> String {
    let mut out = String::from("| code | means |\n|---|---|\n");
    for code in ExitCode::ALL {
        let _ = writeln!(out, "| {} | {} |", code.code(), code.meaning());
    }
    out
}

fn spelled(argument: &Arg) -> String {
    let long = argument.get_long().unwrap_or_default();
    let value = argument.get_value_names().and_then(<[_]>::first).filter(|_| argument.get_action().takes_values());
    let value = value.map(|name| format!(" {name}")).unwrap_or_default();
    let short = argument.get_short().map(|short| format!("`-{short}` ")).unwrap_or_default();
    format!("{short}`--{long}{value}`")
}

/// The whole help of an option as sentences.
fn help(argument: &Arg) -> String {
    let text = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let sentences: Vec<&str> = text.split("\n\n").map(|paragraph| paragraph.trim_end_matches('.')).collect();
    sentences.join(". ") + "."
}

/// The commands that take an option of the terminal program too, but for `attach`, which takes all of them.
fn commands_with(root: &Command, option: &Arg) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for command in root.get_subcommands().filter(|command| !["help", "attach"].contains(&command.get_name())) {
        let takes = |command: &Command| {
            command.get_arguments().any(|argument| argument.get_id() == option.get_id() && !argument.is_hide_set())
        };
        if takes(command) {
            found.insert(command.get_name().to_owned());
        }
        let below = command.get_subcommands().filter(|below| takes(below));
        found.extend(below.map(|below| format!("{} {}", command.get_name(), below.get_name())));
    }
    found
}
