//! What tools take, each argument with its unit.
//!
//! Owns their names, which are a contract, and the options that they become. A name that is unknown is refused, as what a
//! model has meant by it would otherwise not be done.

use std::ffi::OsString;

use rmcp::{handler::server::common::schema_for_input, model::JsonObject, schemars::JsonSchema};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::refusal::Refusal;

/// Which nodes; one of these.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct Where {
    /// Names of nodes.
    pub nodes: Vec<String>,
    /// Nodes with these labels, in kubectl's syntax.
    pub selector: Option<String>,
    /// All nodes.
    pub all: bool,
    /// Pods as NAMESPACE/NAME, on whichever nodes they are: only their packets. Each counts as one node.
    pub pods: Vec<String>,
}

/// `nodes`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct NodesArguments {
    /// Only nodes with these labels, in kubectl's syntax.
    pub selector: Option<String>,
    /// Leave out so many at the beginning, of a list that was truncated.
    pub skip: usize,
}

/// `preflight` and `manifests`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct NamedArguments {
    /// Only for these nodes.
    pub nodes: Vec<String>,
}

/// `sessions` and `captures`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct ListArguments {
    /// Leave out so many at the beginning, of a list that was truncated.
    pub skip: usize,
}

/// `explain`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct ExplainArguments {
    /// Code of an answer, N-01 to N-16; without it, all codes with their names.
    pub code: Option<String>,
    /// Only this section: what_it_means, how_it_is_decided, what_looks_like_it, prove_it_by_hand or fix_it.
    pub section: Option<String>,
}

/// `ports`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct PortsArguments {
    #[serde(flatten)]
    pub on: Where,
}

/// `signals`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct SignalsArguments {
    #[serde(flatten)]
    pub on: Where,
    /// How long to watch, in seconds; 30 without it.
    pub seconds: Option<u64>,
    /// Only packets that this matches, in tcpdump syntax.
    pub filter: Option<String>,
}

/// `diagnose`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct DiagnoseArguments {
    #[serde(flatten)]
    pub on: Where,
    /// Captures instead of nodes: paths in the server's directory, as `captures` lists them.
    pub files: Vec<String>,
    /// How long to watch nodes, in seconds; 60 without it.
    pub seconds: Option<u64>,
    /// Only packets that this matches, in tcpdump syntax.
    pub filter: Option<String>,
}

/// `capture_start`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct StartArguments {
    #[serde(flatten)]
    pub on: Where,
    /// How long to capture, in seconds; 60 without it.
    pub seconds: Option<u64>,
    /// The most bytes on each node; 16777216 (16 MiB) without it.
    pub bytes: Option<u64>,
    /// Only packets that this matches, in tcpdump syntax.
    pub filter: Option<String>,
    /// A flight recorder: keep only the last so many seconds, for capture_freeze to save.
    pub recorder_seconds: Option<u64>,
}

/// `capture_freeze`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct FreezeArguments {
    /// Session ID of a flight recorder, from capture_start.
    pub session: String,
    /// How far back to save, in seconds; 30 without it.
    pub before_seconds: Option<u64>,
    /// How long to go on, in seconds; 5 without it.
    pub after_seconds: Option<u64>,
}

/// `capture_stop`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct StopArguments {
    /// Session ID, from capture_start.
    pub session: String,
}

/// `cleanup`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(default)]
pub(super) struct CleanupArguments {
    /// Session ID; without it, all sessions of this laptop in the current context.
    pub session: Option<String>,
    /// Remove what is listed. Without it nothing is removed. Needs a session ID.
    pub remove: bool,
}

/// The arguments of a call; unknown names are refused.
pub(super) fn read<T: DeserializeOwned + JsonSchema + 'static>(given: Option<JsonObject>) -> Result<T, Refusal> {
    let given = given.unwrap_or_default();
    let known = names::<T>();
    if let Some(unknown) = given.keys().find(|name| !known.contains(name)) {
        return Err(Refusal::bad_arguments(
            format!("unknown argument {unknown:?}"),
            format!("use {}", known.join(", ")),
        ));
    }
    serde_json::from_value(Value::Object(given))
        .map_err(|error| Refusal::bad_arguments(error.to_string(), "see the tool's input schema"))
}

/// The names that a tool takes.
fn names<T: JsonSchema + 'static>() -> Vec<String> {
    let schema = schema_for_input::<T>().unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(|properties| properties.keys().cloned()).collect()
}

/// An option with its value in one word, so that no value is taken for an option.
pub(super) fn option(name: &str, value: &str) -> OsString {
    format!("--{name}={value}").into()
}

/// Names as one option; a comma would make two of one.
pub(super) fn listed(name: &str, values: &[String]) -> Result<OsString, Refusal> {
    if let Some(bad) = values.iter().find(|value| value.is_empty() || value.contains(',')) {
        return Err(Refusal::bad_arguments(format!("{bad:?} is no name"), "give a list of names, one each"));
    }
    Ok(option(name, &values.join(",")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(value: &Value) -> Option<JsonObject> {
        value.as_object().cloned()
    }

    #[test]
    fn unknown_arguments_are_refused_with_those_that_there_are() {
        let read = |value: Value| read::<SignalsArguments>(given(&value));
        let known = read(json!({"nodes": ["a"], "seconds": 5})).expect("known");
        assert_eq!((known.on.nodes, known.seconds), (vec!["a".to_owned()], Some(5)));
        let unknown = read(json!({"duration": "5m"})).expect_err("unknown");
        assert_eq!(unknown.code, "bad_arguments");
        assert!(unknown.message.contains("\"duration\"") && unknown.next_step.contains("seconds"), "{unknown:?}");
        assert!(read(json!({"seconds": "5m"})).is_err() && read(json!({"seconds": -1})).is_err());
    }

    #[test]
    fn a_value_is_never_an_option() {
        assert_eq!(option("filter", "--out=/etc"), "--filter=--out=/etc");
        assert_eq!(listed("nodes", &["a".into(), "-b".into()]).expect("names"), "--nodes=a,-b");
        assert!(listed("nodes", &["a,b".into()]).is_err() && listed("nodes", &[String::new()]).is_err());
    }
}
