//! Settings in layers: flag, environment, config file, default.
//!
//! Owns which layer wins and where each value came from. The command line's own checks judge every layer's values.

use std::{ffi::OsString, fmt::Write};

use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, builder::BoolishValueParser, parser::ValueSource};
use serde_json::{Value, json};

use crate::{
    cli::{Cli, SETTINGS},
    config::{
        file::{Config, ConfigError, Entry, PRODUCTION, VIEWER},
        keymap::{BINDINGS, Keymap, shown_keys},
    },
};

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Flag,
    Environment,
    /// The config file's line.
    File(usize),
    Default,
}

impl Source {
    fn text(self) -> String {
        match self {
            Self::Flag => "flag".to_owned(),
            Self::Environment => "environment".to_owned(),
            Self::File(line) => format!("file, line {line}"),
            Self::Default => "default".to_owned(),
        }
    }
}

/// One setting as it is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its key in the file.
    pub key: String,
    /// Its value; null when it has none.
    pub value: Value,
    /// Where it came from.
    pub source: Source,
}

/// What keeps the program from starting.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    /// The command line; help and version come this way too.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The file.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Options that are not taken from the file beside these.
const NOT_BESIDE: [(&str, &[&str]); 2] = [("reaper", &["local", "namespace"]), ("daemonset", &["local", "namespace"])];

/// The command line with the environment's names.
pub fn command() -> clap::Command {
    SETTINGS.iter().fold(Cli::command(), |command, &key| {
        command.mut_arg(key, |argument| {
            let argument = argument.env(variable(key));
            let is_switch = matches!(argument.get_action(), ArgAction::SetTrue);
            if is_switch { argument.value_parser(BoolishValueParser::new()) } else { argument }
        })
    })
}

/// The variable of a setting.
pub fn variable(key: &str) -> String {
    format!("NODEWATCH_{}", key.to_uppercase())
}

fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// Reads all layers.
pub fn read(arguments: &[OsString]) -> Result<(Cli, Config, Vec<Setting>), LayersError> {
    let config = Config::load(&SETTINGS)?;
    let (cli, settings) = read_with(arguments, &config)?;
    Ok((cli, config, settings))
}

fn read_with(arguments: &[OsString], config: &Config) -> Result<(Cli, Vec<Setting>), LayersError> {
    let given = matches(arguments)?;
    let mut all: Vec<OsString> = arguments.iter().take(1).cloned().collect();
    for entry in &config.entries {
        judge(entry, config)?;
        let beside = NOT_BESIDE.iter().find(|(key, _)| *key == entry.key).map_or(&[][..], |(_, others)| others);
        let kept_out = beside.iter().any(|other| is_given(&given, other));
        let overruled = is_given(&given, &entry.key);
        if !(kept_out || overruled) {
            all.extend(as_arguments(entry));
        }
    }
    all.extend(arguments.iter().skip(1).cloned());
    let matches = matches(&all)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok((cli, in_force(&given, &matches, config)))
}

fn matches(arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let mut command = command();
    let program = arguments.first().map(std::path::Path::new).and_then(|path| path.file_name());
    if program.is_some_and(|name| name.to_string_lossy().starts_with("kubectl-")) {
        command = command.bin_name("kubectl nodewatch");
    }
    command.try_get_matches_from(arguments)
}

fn is_given(matches: &ArgMatches, key: &str) -> bool {
    matches!(matches.value_source(key), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// `true` for a switch is the switch alone, and `false` nothing.
fn as_arguments(entry: &Entry) -> Vec<OsString> {
    let command = Cli::command();
    let argument = command.get_arguments().find(|argument| argument.get_id() == entry.key.as_str());
    let is_switch = argument.is_some_and(|argument| matches!(argument.get_action(), ArgAction::SetTrue));
    match (is_switch, entry.value.as_str()) {
        (true, "true") => vec![flag(&entry.key).into()],
        (true, _) => Vec::new(),
        (false, value) => vec![format!("{}={value}", flag(&entry.key)).into()],
    }
}

/// A value in the file that the command line would not take is the file's error.
fn judge(entry: &Entry, config: &Config) -> Result<(), ConfigError> {
    let wrong =
        |message: String| Err(ConfigError::Invalid { path: config.place().to_owned(), line: entry.line, message });
    let arguments: Vec<OsString> = std::iter::once("nodewatch-tui".into()).chain(as_arguments(entry)).collect();
    let is_switch = Cli::command()
        .get_arguments()
        .any(|argument| argument.get_id() == entry.key.as_str() && matches!(argument.get_action(), ArgAction::SetTrue));
    if is_switch && entry.value != "true" && entry.value != "false" {
        return wrong(format!("{}: {:?} is neither true nor false", entry.key, entry.value));
    }
    match Cli::command().try_get_matches_from(arguments) {
        Err(error) if error.kind() != clap::error::ErrorKind::MissingRequiredArgument => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            wrong(format!("{}: {first}", entry.key))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Every setting, the flags' first.
fn in_force(given: &ArgMatches, matches: &ArgMatches, config: &Config) -> Vec<Setting> {
    let flags = SETTINGS.iter().map(|&key| {
        let source = match given.value_source(key) {
            Some(ValueSource::CommandLine) => Source::Flag,
            Some(ValueSource::EnvVariable) => Source::Environment,
            _ => match config.entries.iter().find(|entry| entry.key == key) {
                Some(entry) => Source::File(entry.line),
                None => Source::Default,
            },
        };
        Setting { key: key.to_owned(), value: value_of(matches, key), source }
    });
    let own_source = |key: &str| config.lines.get(key).map_or(Source::Default, |line| Source::File(*line));
    let own = [
        ("production", json!(config.production.as_ref().map_or("", |pattern| pattern.as_str()))),
        ("viewer", json!(config.viewer)),
    ]
    .map(|(key, value)| Setting { key: key.to_owned(), value, source: own_source(key) });
    let mut settings: Vec<Setting> = flags.chain(own).collect();
    settings.extend(bindings(&config.keys).into_iter().map(|(name, keys)| {
        let key = format!("keys.{name}");
        Setting { source: own_source(&key), key, value: json!(keys) }
    }));
    settings
}

fn bindings(keys: &Keymap) -> Vec<(&'static str, Vec<String>)> {
    let mut found: Vec<(&'static str, Vec<String>)> = Vec::new();
    for (binding, bound) in keys.rows().filter(|(binding, _)| !binding.name.is_empty()) {
        if !found.iter().any(|(name, _)| *name == binding.name) {
            found.push((binding.name, shown_keys(bound)));
        }
    }
    found
}

fn value_of(matches: &ArgMatches, key: &str) -> Value {
    let raw = matches.get_raw(key).and_then(|mut values| values.next_back());
    match raw.map(|text| text.to_string_lossy().into_owned()) {
        None => Value::Null,
        Some(text) if text == "true" => json!(true),
        Some(text) if text == "false" => json!(false),
        Some(text) => text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number)),
    }
}

/// The settings as a config file that says where each came from; what has no value is commented out.
pub fn as_toml(settings: &[Setting], place: &std::path::Path) -> String {
    let mut out = format!("# in force; the file is {}\n", place.display());
    let mut in_keys = false;
    for setting in settings {
        let key = match setting.key.strip_prefix("keys.") {
            Some(name) => {
                if !std::mem::replace(&mut in_keys, true) {
                    out.push_str("\n[keys]\n");
                }
                name
            }
            None => &setting.key,
        };
        let line = match &setting.value {
            Value::Null => format!("# {key} ="),
            value => format!("{key} = {}", toml_value(value)),
        };
        // Writing to a String does not fail.
        let _ = writeln!(out, "{line}  # {}", setting.source.text());
    }
    out
}

/// JSON's texts, numbers, truths and lists of texts are TOML's.
fn toml_value(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml_value).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// The settings for machines, one a line.
pub fn as_json(settings: &[Setting]) -> impl Iterator<Item = Value> {
    settings
        .iter()
        .map(|setting| json!({ "key": setting.key, "value": setting.value, "source": setting.source.text() }))
}

/// The defaults as a config file, with what each setting does.
pub fn example() -> String {
    let command = Cli::command();
    let mut out = String::from(
        "# Settings of nodewatch-tui, as they are without a file. Its place is $XDG_CONFIG_HOME/nodewatch-tui/config.toml\n\
         # (~/.config/nodewatch-tui/config.toml). A flag overrules the environment (NODEWATCH_ and the name in capitals), that\n\
         # the file, that the default; `nodewatch-tui config` says what is in force and why.\n",
    );
    let own = [
        (
            "production",
            "Contexts that match this regular expression, in capitals or not, are guarded: before the first deployment in a\n\
             session their name has to be typed, or given with --confirm. Empty guards none",
            json!(PRODUCTION),
        ),
        (
            "viewer",
            "The viewer of captures and its arguments; {} stands for the pipe or file that it reads",
            json!(VIEWER),
        ),
    ];
    for (key, help, value) in own {
        let help = help.replace('\n', "\n# ");
        let _ = writeln!(out, "\n# {help}.\n{key} = {}", toml_value(&value));
    }
    for key in SETTINGS {
        let Some(argument) = command.get_arguments().find(|argument| argument.get_id() == key) else { continue };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let help = textwrap::fill(&help, textwrap::Options::new(120).initial_indent("# ").subsequent_indent("# "));
        let default = argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        let line = match (default, argument.get_action()) {
            (None, ArgAction::SetTrue) => format!("{key} = false"),
            (None, _) => {
                let name = argument.get_value_names().and_then(<[_]>::first).map(ToString::to_string);
                format!("# {key} = \"{}\"", name.unwrap_or_default())
            }
            (Some(text), _) => {
                let value = match text.as_str() {
                    "true" => json!(true),
                    "false" => json!(false),
                    other => other.parse::<u64>().map_or_else(|_| json!(other), |number| json!(number)),
                };
                format!("{key} = {}", toml_value(&value))
            }
        };
        let _ = writeln!(out, "\n{help}.\n{line}");
    }
    out.push_str(
        "\n# What keys do: a key or a list of keys, the one for the hint line first. Names are as in `?`: d, C, Ctrl-d, Alt-x,\n\
         # F5, Space, Enter, Esc, Tab, PgUp. A key that means two things on one screen is refused.\n[keys]\n",
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
        let place = if scopes.len() > 4 { "everywhere".to_owned() } else { scopes.join(", ") };
        let name = if binding.name.is_empty() { "fixed".to_owned() } else { format!("`{}`", binding.name) };
        let _ = writeln!(out, "| {} | {place} | {} | {name} |", keys.join(" "), binding.help);
    }
    out
}

/// The reference's table of options that go with every command.
pub fn flag_table() -> String {
    let mut out = String::from("| option | default | does |\n|---|---|---|\n");
    for argument in Cli::command().get_arguments().filter(|argument| argument.is_global_set()) {
        let Some(long) = argument.get_long() else { continue };
        let value = argument.get_value_names().and_then(<[_]>::first).map(ToString::to_string);
        let takes_value = argument.get_action().takes_values();
        let value = value.filter(|_| takes_value).map(|name| format!(" {name}")).unwrap_or_default();
        let short = argument.get_short().map(|short| format!("`-{short}` ")).unwrap_or_default();
        let default = argument.get_default_values().first().filter(|_| takes_value);
        let default = default.map(|value| format!("`{}`", value.to_string_lossy())).unwrap_or_default();
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
        let _ = writeln!(out, "| {short}`--{long}{value}` | {default} | {help} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, &SETTINGS).expect("a config")
    }

    fn read(arguments: &[&str], text: &str) -> Result<(Cli, Vec<Setting>), LayersError> {
        let arguments: Vec<OsString> =
            std::iter::once("nodewatch-tui").chain(arguments.iter().copied()).map(Into::into).collect();
        read_with(&arguments, &config(text))
    }

    fn source(settings: &[Setting], key: &str) -> (Value, Source) {
        let setting = settings.iter().find(|setting| setting.key == key).expect("a setting");
        (setting.value.clone(), setting.source)
    }

    #[test]
    fn a_flag_overrules_the_file_and_the_file_the_default() {
        let text = "lease = '5m'\ninterval = 30\nread_only = true\nmouse = false";
        let (cli, settings) = read(&["nodes", "--local", "--lease", "7m"], text).expect("read");
        assert_eq!((cli.place.lease.as_secs(), cli.place.interval.as_secs()), (420, 30));
        assert!(cli.place.read_only && !cli.place.mouse);
        assert_eq!(source(&settings, "lease"), (json!("7m"), Source::Flag));
        assert_eq!(source(&settings, "interval"), (json!(30), Source::File(2)));
        assert_eq!(source(&settings, "session_budget"), (json!("4h"), Source::Default));
        assert_eq!(source(&settings, "production"), (json!("prod"), Source::Default));
        let (cli, _) = read(&["--lease", "7m", "nodes"], text).expect("the place of a global flag does not matter");
        assert_eq!(cli.place.lease.as_secs(), 420);
    }

    #[test]
    fn the_file_does_not_stand_in_the_way_of_what_is_typed() {
        let (cli, _) = read(&["nodes", "--local"], "reaper = true").expect("read");
        assert!(!cli.place.reaper);
        assert!(read(&["nodes"], "reaper = true").expect("read").0.place.reaper);
    }

    #[test]
    fn a_value_that_the_command_line_would_not_take_is_the_files_error() {
        for (text, told) in [
            ("\nlease = 'soon'", "line 2: lease: invalid value 'soon'"),
            ("read_only = 7", "line 1: read_only: \"7\" is neither true nor false"),
            ("exclude = \"22,65536\"", "\"65536\" in \"22,65536\": not a port"),
            ("theme = 'pink'", "unknown theme \"pink\""),
        ] {
            let error = read(&["nodes"], text).expect_err(text).to_string();
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_is_in_force_can_be_read_back() {
        let (_, settings) = read(&["nodes"], "lease = '5m'\n[keys]\ndeploy = ['F5', 'd']").expect("read");
        let text = as_toml(&settings, std::path::Path::new("config.toml"));
        assert!(text.contains("lease = \"5m\"  # file, line 1\n"), "{text}");
        assert!(text.contains("deploy = [\"F5\", \"d\"]  # file, line 3\n"), "{text}");
        let again = config(&text);
        assert_eq!(again.keys.key_for(crate::screens::Action::Deploy), "F5");
        let error = read_with(&["nodewatch-tui".into()], &again).err();
        assert!(error.is_none(), "{error:?}");
    }
}
