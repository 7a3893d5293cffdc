//! The config file: `$XDG_CONFIG_HOME/nodewatch-tui/config.toml`.
//!
//! Owns its keys and defaults. A flag overrules it; what it does not say is as in `assets/config.example.toml`.

use std::{
    io,
    path::{Path, PathBuf},
};

use nodewatch_report::PortSet;
use regex::Regex;
use serde::Deserialize;

use crate::{
    model::{Failure, Notice},
    text,
};

/// Wireshark, capturing from a pipe at once.
const VIEWER: [&str; 4] = ["wireshark", "-k", "-i", "{}"];

/// The settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Contexts that match this need their name typed before the first deployment; empty guards none.
    #[serde(deserialize_with = "pattern")]
    pub production: Option<Regex>,
    /// Nothing in a cluster may be changed.
    pub read_only: bool,
    /// Ports that are counted and neither listed nor reported, as `--exclude` takes them.
    #[serde(deserialize_with = "ports")]
    pub exclude: PortSet,
    /// Ports that should be open, as `--expect` takes them.
    #[serde(deserialize_with = "ports")]
    pub expect: PortSet,
    /// The viewer of captures and its arguments; `{}` stands for the pipe or file that it reads.
    #[serde(deserialize_with = "command")]
    pub viewer: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            production: Regex::new("prod").ok(),
            read_only: false,
            exclude: PortSet::default(),
            expect: PortSet::default(),
            viewer: VIEWER.map(str::to_owned).to_vec(),
        }
    }
}

/// The config file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is there and cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no TOML, or has a key or a value that does not exist.
    #[error("{path:?}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
}

impl From<ConfigError> for Notice {
    fn from(error: ConfigError) -> Self {
        let next_step = "mend it, or remove it to go on with the defaults";
        Self::error("the config file cannot be used", text::chain(&error), next_step).of(Failure::BadInput)
    }
}

impl Config {
    /// Reads the file where the environment says; without one these are the defaults.
    pub fn load() -> Result<Self, ConfigError> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
        folder.map_or_else(|| Ok(Self::default()), |folder| Self::read(&folder.join("nodewatch-tui/config.toml")))
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                let line = error.span().map_or(0, |span| 1 + text[..span.start].matches('\n').count());
                let message = format!("line {line}: {}", error.message());
                ConfigError::Invalid { path: path.to_owned(), message }
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    /// Whether a context's name has to be typed before the first deployment.
    pub fn guards(&self, context: &str) -> bool {
        self.production.as_ref().is_some_and(|production| production.is_match(context))
    }
}

/// A list of ports.
fn ports<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PortSet, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// A program that reads something.
fn command<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let parts = Vec::<String>::deserialize(deserializer)?;
    let reads = parts.iter().skip(1).any(|part| part == "{}");
    if parts.first().is_some_and(|program| !program.is_empty()) && reads {
        return Ok(parts);
    }
    Err(serde::de::Error::custom("viewer needs a program and, among its arguments, \"{}\" for what it reads"))
}

fn pattern<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    Regex::new(&text).map(Some).map_err(|error| {
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        serde::de::Error::custom(format!("{text:?} is no regular expression: {last}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).expect("written");
        Config::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_file_contexts_named_prod_are_guarded() {
        let config = Config::read(Path::new("/nowhere/config.toml")).expect("the defaults");
        assert!(config.guards("prod-eu") && config.guards("eks-production") && !config.guards("staging"));
        assert!(!config.read_only);
    }

    #[test]
    fn the_example_says_the_defaults() {
        let example = read(include_str!("../../assets/config.example.toml")).expect("readable");
        let default = Config::default();
        assert_eq!(example.production.map(|it| it.to_string()), default.production.map(|it| it.to_string()));
        assert_eq!(example.read_only, default.read_only);
        assert_eq!((example.exclude, example.expect), (default.exclude, default.expect));
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_line() {
        assert!(!read("production = \"\"").expect("none is guarded").guards("prod"));
        for (text, token) in [
            ("read_only = true\nreadonly = true", "line 2: unknown field `readonly`"),
            ("read_only = 7", "line 1: invalid type"),
            ("exclude = \"22,65536\"", "\"65536\" in \"22,65536\": not a port"),
            ("production = \"(\"", "\"(\" is no regular expression"),
            ("what", "line 1"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(token), "{error}");
        }
    }
}
