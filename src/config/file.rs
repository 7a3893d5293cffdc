//! The config file: `$XDG_CONFIG_HOME/nodewatch-tui/config.toml`.
//!
//! Owns its form, the keys without an option, and errors that name line and key. Values of options are checked by the
//! command line. The defaults are in `assets/config.example.toml`.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use regex::{Regex, RegexBuilder};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{keymap::Keymap, suggest};
use crate::{
    base::{disk, folders, text},
    model::{Failure, Notice},
};

/// Placeholder in the viewer's command for the pipe or file to read.
pub const PLACE: &str = "{}";
/// Wireshark, capturing from a pipe at once; addresses go by the names that captures bring along, and no name server is
/// asked.
pub const VIEWER: [&str; 8] =
    ["wireshark", "-k", "-i", PLACE, "-N", "n", "-o", "nameres.use_external_name_resolver:FALSE"];
/// A file that is larger is no config.
const LARGEST: u64 = 1 << 20;
/// Contexts that are guarded.
pub const PRODUCTION: &str = "prod";
/// The keys without an option.
pub const OWN_KEYS: [&str; 3] = ["production", "viewer", "keys"];

/// A key of the file that a flag overrules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The flag's name with underscores.
    pub key: String,
    /// What it says, as the command line would have it.
    pub value: String,
    /// Where.
    pub line: usize,
}

/// The settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, where there is a folder for it.
    pub path: Option<PathBuf>,
    /// What it says of flags.
    pub entries: Vec<Entry>,
    /// Contexts that match this need their name typed before the first deployment; `None` guards none.
    pub production: Option<Regex>,
    /// The viewer of captures and its arguments, [`PLACE`] standing for what it reads.
    pub viewer: Vec<String>,
    /// What keys mean.
    pub keys: Keymap,
    /// The lines of the own keys that the file has, bindings as `keys.NAME`.
    pub lines: BTreeMap<String, usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: None,
            entries: Vec::new(),
            production: pattern_of_contexts(PRODUCTION).ok(),
            viewer: VIEWER.map(str::to_owned).to_vec(),
            keys: Keymap::default(),
            lines: BTreeMap::new(),
        }
    }
}

/// The config file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It exists and cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not TOML, or has an unknown key or an invalid value.
    #[error("{path:?}: line {line}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What.
        message: String,
    },
}

impl From<ConfigError> for Notice {
    fn from(error: ConfigError) -> Self {
        let next_step = "fix it, or remove it to use the defaults";
        Self::error("invalid config file", text::chain(&error), next_step).of(Failure::BadInput)
    }
}

impl Config {
    /// Reads the file in the folder that the environment gives, or the defaults. `flags` are the keys of options.
    pub fn load(flags: &[&str]) -> Result<Self, ConfigError> {
        folders::config().map_or_else(|| Ok(Self::default()), |folder| Self::read(folder.join("config.toml"), flags))
    }

    /// Reads a file. A missing file means the defaults.
    pub fn read(path: PathBuf, flags: &[&str]) -> Result<Self, ConfigError> {
        let read = disk::read_regular(&path, LARGEST).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
        });
        match read {
            Ok(text) => Self::parse(&text, flags)
                .map(|config| Self { path: Some(path.clone()), ..config })
                .map_err(|(line, message)| ConfigError::Invalid { path, line, message }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { path: Some(path), ..Self::default() }),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    /// Reads a file's text; the error has the line.
    pub fn parse(text: &str, flags: &[&str]) -> Result<Self, (usize, String)> {
        let line_of = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let table = DeTable::parse(text)
            .map_err(|error| (error.span().map_or(1, |span| line_of(span.start)), error.message().to_owned()))?;
        let mut config = Self::default();
        for (key, value) in table.get_ref() {
            let (name, line) = (key.get_ref().as_ref(), line_of(key.span().start));
            let at = |message: String| (line, message);
            config.lines.insert(name.to_owned(), line);
            match (name, value.get_ref()) {
                ("production", DeValue::String(pattern)) => config.production = production(pattern).map_err(at)?,
                ("production", _) => return Err(at("production must be a regular expression in quotes".to_owned())),
                ("viewer", value) => config.viewer = viewer(value).map_err(at)?,
                ("keys", DeValue::Table(keys)) => config.bind(keys, &line_of)?,
                ("keys", _) => return Err(at("keys must be a table: [keys]".to_owned())),
                (flag, value) if flags.contains(&flag) => {
                    let value =
                        scalar(value).ok_or_else(|| at(format!("{flag} must be a string, a number, true or false")))?;
                    config.entries.push(Entry { key: flag.to_owned(), value, line });
                }
                (unknown, _) => {
                    let known = flags.iter().copied().chain(OWN_KEYS);
                    return Err(at(format!("unknown key {unknown:?}{}", suggest(unknown, known))));
                }
            }
        }
        Ok(config)
    }

    fn bind(&mut self, keys: &DeTable<'_>, line_of: &dyn Fn(usize) -> usize) -> Result<(), (usize, String)> {
        let mut own = BTreeMap::new();
        let mut lines = BTreeMap::new();
        for (name, value) in keys {
            let line = line_of(name.span().start);
            let bound = key_list(value).ok_or_else(|| {
                (line, format!("keys.{} must be a key or a list of keys, e.g. [\"d\", \"F5\"]", name.get_ref()))
            })?;
            lines.insert(name.get_ref().to_string(), line);
            own.insert(name.get_ref().to_string(), bound);
        }
        self.keys = Keymap::with(&own)
            .map_err(|(name, message)| (lines.get(&name).copied().unwrap_or(1), format!("keys.{name}: {message}")))?;
        self.lines.extend(lines.into_iter().map(|(name, line)| (format!("keys.{name}"), line)));
        Ok(())
    }

    /// Whether a context's name has to be typed before the first deployment.
    pub fn guards(&self, context: &str) -> bool {
        self.production.as_ref().is_some_and(|production| production.is_match(context))
    }

    /// Where the file is, for messages.
    pub fn shown_path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("config.toml"))
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn strings(value: &DeValue<'_>) -> Option<Vec<String>> {
    let DeValue::Array(items) = value else { return None };
    let text = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    };
    items.iter().map(text).collect()
}

fn key_list(value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
    match value.get_ref() {
        DeValue::String(text) => Some(vec![text.to_string()]),
        list => strings(list),
    }
}

/// A program that reads something.
fn viewer(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let parts = strings(value).unwrap_or_default();
    let reads = parts.iter().skip(1).any(|part| part == PLACE);
    if parts.first().is_some_and(|program| !program.is_empty()) && reads {
        return Ok(parts);
    }
    Err("viewer must be a program and its arguments, with \"{}\" for what it reads".to_owned())
}

/// A guard errs on the safe side: `PROD-1` is as good as `prod-1`.
fn pattern_of_contexts(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).case_insensitive(true).build()
}

fn production(pattern: &str) -> Result<Option<Regex>, String> {
    if pattern.is_empty() {
        return Ok(None);
    }
    pattern_of_contexts(pattern).map(Some).map_err(|error| {
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("invalid regular expression {pattern:?}: {last}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [&str; 3] = ["read_only", "lease", "log_retention"];

    #[test]
    fn without_a_file_contexts_named_prod_are_guarded() {
        let config = Config::read("/nowhere/config.toml".into(), &FLAGS).expect("the defaults");
        assert!(config.guards("prod-eu") && config.guards("eks-production") && !config.guards("staging"));
        assert!(config.guards("PROD-1") && config.guards("Production"), "however it is written");
        let own = Config::parse("production = \"^Live\"", &FLAGS).expect("readable");
        assert!(own.guards("live-1") && own.guards("LIVE-1") && !own.guards("alive"));
        assert!(config.entries.is_empty());
    }

    #[test]
    fn a_pipe_or_device_in_its_place_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        std::os::unix::fs::symlink("/dev/zero", &path).expect("a link");
        let notice = Notice::from(Config::read(path, &FLAGS).expect_err("refused"));
        assert!(notice.line().contains("config.toml\": it is not a regular file"), "{}", notice.line());
    }

    #[test]
    fn what_it_says_of_flags_is_taken_as_the_command_line_would_have_it() {
        let config = Config::parse("lease = '5m'\n\nread_only = true\nlog_retention = 30", &FLAGS).expect("readable");
        let entry = |key: &str, value: &str, line| Entry { key: key.into(), value: value.into(), line };
        let mut found = config.entries;
        found.sort_by_key(|entry| entry.line);
        assert_eq!(found, [entry("lease", "5m", 1), entry("read_only", "true", 3), entry("log_retention", "30", 4)]);
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_line() {
        assert!(!Config::parse("production = \"\"", &FLAGS).expect("none is guarded").guards("prod"));
        for (text, line, told) in [
            ("read_only = true\nreadonly = true", 2, "unknown key \"readonly\": did you mean \"read_only\"?"),
            ("lease = [1]", 1, "lease must be a string, a number, true or false"),
            ("production = \"(\"", 1, "invalid regular expression \"(\""),
            ("\n[keys]\ndeploy = \"c\"", 3, "keys.deploy: \"c\" is already bound to \"capture\""),
            ("[keys]\n\ndeplyo = [\"x\"]", 3, "keys.deplyo: unknown action \"deplyo\""),
            ("[keys]\ndeploy = 7", 2, "keys.deploy must be a key or a list of keys"),
            ("viewer = ['tshark']", 1, "viewer must be a program"),
            ("what", 1, ""),
        ] {
            let (at, error) = Config::parse(text, &FLAGS).expect_err(text);
            assert!(at == line && error.contains(told), "{text:?}: line {at}: {error}");
        }
    }
}
