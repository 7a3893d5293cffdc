//! Settings in layers: option, environment, config file, default.
//!
//! Owns which layer wins and where each value came from. The command line's own checks judge every layer's values. What
//! a command does not take is refused if it is typed, and not used if it comes from another layer.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write,
};

use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, error::ErrorKind, parser::ValueSource};
use serde_json::{Value, json};

use crate::{
    base::text::visible,
    cli::{Cli, DEFAULT_IMAGE, RELEASED_IMAGE, SETTINGS, command_of, leaf, takes},
    config::{
        file::{Config, ConfigError, Entry},
        keymap::{Keymap, shown_keys},
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
    /// A variable that sets an option.
    #[error("{variable}: {message}")]
    Environment {
        /// Its name.
        variable: String,
        /// What is wrong with its value.
        message: String,
    },
    /// The file.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Settings that are not used from the environment and the file when one of these options is typed.
const NOT_BESIDE: [(&str, &[&str]); 4] = [
    ("reaper", &["local", "namespace"]),
    ("daemonset", &["local", "namespace"]),
    ("push_agent", &["local"]),
    ("out", &["into"]),
];

/// Settings that are not used from the environment and the file without this other option.
const NEEDS: [(&str, &str); 9] = [
    ("push_agent_as_root", "push_agent"),
    ("s3_endpoint", "s3"),
    ("s3_region", "s3"),
    ("s3_path_style", "s3"),
    ("s3_kms_key", "s3"),
    ("s3_storage_class", "s3"),
    ("zstd", "s3"),
    ("log_group_per_node", "cloudwatch"),
    ("alarms", "cloudwatch"),
];

/// The command line, with everything that clap adds to it.
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command
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
    let (cli, settings) = read_with(arguments, &config, &|variable| std::env::var_os(variable))?;
    Ok((cli, config, settings))
}

/// A setting's value from the environment or the file, as an option; a switch that is off is none.
struct Layer {
    key: &'static str,
    value: Value,
    option: Option<OsString>,
    source: Source,
}

fn read_with(
    arguments: &[OsString],
    config: &Config,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(Cli, Vec<Setting>), LayersError> {
    let root = Cli::command();
    let (mut path, options) = in_order(arguments);
    // What is missing may come from the other layers, and whatever is wrong is still wrong with them.
    let typed = parse(root.clone().ignore_errors(true), &[&path[..], &options[..]].concat())?;
    for entry in &config.entries {
        judge(&root, entry, config)?;
    }
    let is_typed = |key: &str| leaf(&typed).value_source(key) == Some(ValueSource::CommandLine);
    let given = command_of(&root, &typed);
    let layers = layers((&root, given, leaf(&typed)), config, environment)?;
    let is_there = |key: &str| is_typed(key) || layers.iter().any(|layer| layer.key == key);
    let is_used = |layer: &&Layer| {
        let beside = NOT_BESIDE.iter().find(|(key, _)| *key == layer.key).map_or(&[][..], |(_, others)| others);
        let needed = NEEDS.iter().find(|(key, _)| *key == layer.key).is_none_or(|(_, needed)| is_there(needed));
        let kept_out = beside.iter().any(|other| takes(given, other) && is_typed(other));
        needed && !kept_out
    };
    path.extend(layers.iter().filter(is_used).filter_map(|layer| layer.option.clone()));
    path.extend(options);
    let matches = parse(root.clone(), &path)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let in_force = in_force(given, (leaf(&typed), leaf(&matches)), &layers, config);
    cli.options.agents.image_is_default = RELEASED_IMAGE.is_none() && in_force.iter().any(is_default_image);
    Ok((cli, in_force))
}

/// Nobody has named an image; the example of the config file that was copied names none either.
fn is_default_image(setting: &Setting) -> bool {
    let of_file = matches!(setting.source, Source::File(_)) && setting.value == DEFAULT_IMAGE;
    setting.key == "image" && (setting.source == Source::Default || of_file)
}

/// The program with its command, and the rest of the arguments: options before the command are moved behind it, and so
/// are its own to take or refuse.
fn in_order(arguments: &[OsString]) -> (Vec<OsString>, Vec<OsString>) {
    let all = Cli::command();
    let mut options = Vec::new();
    let mut rest: Vec<OsString> = arguments.iter().skip(1).cloned().collect();
    let mut path: Vec<OsString> = arguments.iter().take(1).cloned().collect();
    let mut at = &all;
    while at.has_subcommands() {
        let finder = clap::Command::new("").no_binary_name(true).disable_help_flag(true).disable_version_flag(true);
        let finder = finder.args(all.get_arguments().cloned()).allow_external_subcommands(true).ignore_errors(true);
        let Ok(found) = finder.try_get_matches_from(&rest) else { break };
        let Some((name, after)) = found.subcommand() else { break };
        let Some(next) = at.find_subcommand(name) else { break };
        let after: Vec<OsString> = after.get_many("").unwrap_or_default().cloned().collect();
        let name_at = rest.len() - 1 - after.len();
        options.extend(rest.drain(..name_at));
        path.extend(rest.first().cloned());
        (rest, at) = (after, next);
    }
    // Without a command that could take them, the rest comes first, for its help and its errors.
    if at.has_subcommands() {
        rest.extend(options);
        return (path, rest);
    }
    options.extend(rest);
    (path, options)
}

fn parse(mut command: clap::Command, arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let program = arguments.first().map(std::path::Path::new).and_then(|path| path.file_name());
    if program.is_some_and(|name| name.to_string_lossy().starts_with("kubectl-")) {
        command = command.bin_name("kubectl nodewatch");
    }
    command.try_get_matches_from(arguments)
}

/// The values from the environment, else the file, of settings that the command takes and that are not typed.
fn layers(
    (root, given, typed): (&clap::Command, &clap::Command, &ArgMatches),
    config: &Config,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Vec<Layer>, LayersError> {
    let is_open = |key: &&&str| takes(given, key) && typed.value_source(key) != Some(ValueSource::CommandLine);
    let mut found = Vec::new();
    for key in SETTINGS.iter().filter(is_open) {
        if let Some(value) = environment(&variable(key)).filter(|value| !value.is_empty()) {
            let option = from_environment(root, key, &value)
                .map_err(|message| LayersError::Environment { variable: variable(key), message })?;
            found.push(Layer {
                key,
                value: shown(root, key, option.is_some(), &value),
                option,
                source: Source::Environment,
            });
        } else if let Some(entry) = config.entries.iter().find(|entry| entry.key == **key) {
            let value = entry.value.as_ref();
            let option = as_option(root, key, value);
            let source = Source::File(entry.line);
            found.push(Layer { key, value: shown(root, key, option.is_some(), value), option, source });
        }
    }
    Ok(found)
}

/// A value as `config` shows it.
fn shown(root: &clap::Command, key: &str, is_on: bool, value: &OsStr) -> Value {
    if is_switch(root, key) { json!(is_on) } else { as_json_value(&value.to_string_lossy()) }
}

fn is_switch(root: &clap::Command, key: &str) -> bool {
    let argument = root.get_arguments().find(|argument| argument.get_id() == key);
    argument.is_some_and(|argument| matches!(argument.get_action(), ArgAction::SetTrue))
}

/// `true` for a switch is the switch alone, and `false` nothing.
fn as_option(root: &clap::Command, key: &str, value: &OsStr) -> Option<OsString> {
    if is_switch(root, key) {
        return (value == "true").then(|| flag(key).into());
    }
    let mut option = OsString::from(flag(key) + "=");
    option.push(value);
    Some(option)
}

/// A variable's value as an option. A switch takes any word for yes and no.
fn from_environment(root: &clap::Command, key: &str, value: &OsStr) -> Result<Option<OsString>, String> {
    let option = if is_switch(root, key) {
        match value.to_string_lossy().to_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => as_option(root, key, "true".as_ref()),
            "false" | "f" | "no" | "n" | "off" | "0" => None,
            other => return Err(format!("invalid value {other:?}: use true or false")),
        }
    } else {
        as_option(root, key, value)
    };
    option.as_ref().map_or(Ok(()), |option| check(root, option))?;
    Ok(option)
}

/// What the command line says to one option alone.
fn check(root: &clap::Command, option: &OsString) -> Result<(), String> {
    match root.clone().try_get_matches_from([&OsString::from("nodewatch-tui"), option]) {
        Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => {
            let text = error.to_string();
            // After what is wrong come the values that there are, and then the usage behind an empty line.
            let lines: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            Err(lines.join(" ").trim_start_matches("error: ").to_owned())
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A value in the file that the command line would not accept is the file's error.
fn judge(root: &clap::Command, entry: &Entry, config: &Config) -> Result<(), ConfigError> {
    let key = &entry.key;
    let checked = if is_switch(root, key) && entry.value != "true" && entry.value != "false" {
        Err(format!("invalid value {:?}: use true or false", entry.value))
    } else {
        as_option(root, key, entry.value.as_ref()).as_ref().map_or(Ok(()), |option| check(root, option))
    };
    checked.map_err(|message| ConfigError::Invalid {
        path: config.shown_path().to_owned(),
        line: entry.line,
        message: format!("{key}: {message}"),
    })
}

/// Every setting that the command takes, the options first.
fn in_force(
    given: &clap::Command,
    (typed, matches): (&ArgMatches, &ArgMatches),
    layers: &[Layer],
    config: &Config,
) -> Vec<Setting> {
    let flags = SETTINGS.iter().filter(|key| takes(given, key)).map(|&key| {
        let (value, source) = match (typed.value_source(key), layers.iter().find(|layer| layer.key == key)) {
            (Some(ValueSource::CommandLine), _) => (value_of(matches, key), Source::Flag),
            (_, Some(layer)) => (layer.value.clone(), layer.source),
            (_, None) => (value_of(matches, key), Source::Default),
        };
        Setting { key: key.to_owned(), value, source }
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

pub(super) fn bindings(keys: &Keymap) -> Vec<(&'static str, Vec<String>)> {
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
    raw.map_or(Value::Null, |text| as_json_value(&text.to_string_lossy()))
}

/// A truth, a number or a text.
pub(super) fn as_json_value(text: &str) -> Value {
    match text {
        "true" => json!(true),
        "false" => json!(false),
        _ => text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number)),
    }
}

/// Why there is no config file.
const NO_FOLDER: &str = "No config file: neither XDG_CONFIG_HOME nor HOME is set to an absolute path";

/// The settings as a config file that says where each came from; what has no value is commented out.
pub fn as_toml(settings: &[Setting], file: Option<&std::path::Path>) -> String {
    let file = match file {
        Some(path) if path.exists() => format!("Config file: {}", path.display()),
        Some(path) => format!("No config file: {} does not exist", path.display()),
        None => NO_FOLDER.to_owned(),
    };
    let mut out = format!("# Settings in force. {}\n", visible(&file));
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
pub(super) fn toml_value(value: &Value) -> String {
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

#[cfg(test)]
mod tests;
