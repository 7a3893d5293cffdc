//! The tools: their names, what they do, and whether they change anything.
//!
//! Owns the table, from which a client's list and docs/mcp.md are made.

use std::{fmt::Write, sync::Arc};

use rmcp::{
    handler::server::common::schema_for_input,
    model::{JsonObject, Tool, ToolAnnotations},
    schemars::JsonSchema,
};
use serde_json::Value;

use super::{
    arguments::{
        CleanupArguments, DiagnoseArguments, ExplainArguments, FreezeArguments, ListArguments, NamedArguments,
        NodesArguments, PortsArguments, SignalsArguments, StartArguments, StopArguments,
    },
    refusal::CODES,
};
use crate::headless::ExitCode;

/// What a tool may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// Reads.
    Reads,
    /// Changes something, and needs `--allow-changes`.
    Changes,
    /// Reads, and with some arguments changes something.
    Both,
}

/// One tool.
pub(super) struct Row {
    pub name: &'static str,
    pub does: Does,
    pub about: &'static str,
    schema: fn() -> Arc<JsonObject>,
}

fn schema<T: JsonSchema + 'static>() -> Arc<JsonObject> {
    // All of them are objects: a test holds it.
    schema_for_input::<T>().unwrap_or_default()
}

/// Every tool, those that only read first.
pub(super) const TOOLS: [Row; 13] = [
    Row {
        name: "nodes",
        does: Does::Reads,
        about: "List the nodes of the cluster, with their status, zone, type and addresses.",
        schema: schema::<NodesArguments>,
    },
    Row {
        name: "preflight",
        does: Does::Reads,
        about: "Check what would stop agents from being deployed, and how to fix it. Creates nothing.",
        schema: schema::<NamedArguments>,
    },
    Row {
        name: "manifests",
        does: Does::Reads,
        about: "Show the Kubernetes objects that deploying agents would create.",
        schema: schema::<NamedArguments>,
    },
    Row {
        name: "sessions",
        does: Does::Reads,
        about: "List sessions that run, are detached or have left objects behind.",
        schema: schema::<ListArguments>,
    },
    Row {
        name: "captures",
        does: Does::Reads,
        about: "List the captures that this server runs, and the capture files in its directory.",
        schema: schema::<ListArguments>,
    },
    Row {
        name: "explain",
        does: Does::Reads,
        about: "Explain the code of an answer, such as N-11: what it means, how it is decided, how to prove and fix it.",
        schema: schema::<ExplainArguments>,
    },
    Row {
        name: "diagnose",
        does: Does::Both,
        about: "Say why connections fail: on nodes, which deploys agents, watches packets for some seconds and removes the \
                agents (needs --allow-changes), or in capture files, which only reads.",
        schema: schema::<DiagnoseArguments>,
    },
    Row {
        name: "cleanup",
        does: Does::Both,
        about: "Show what earlier sessions have left behind; with remove (needs --allow-changes) remove it, by UID.",
        schema: schema::<CleanupArguments>,
    },
    Row {
        name: "ports",
        does: Does::Changes,
        about: "Report the open ports of nodes and whether they are expected: deploys agents, reports, removes them.",
        schema: schema::<PortsArguments>,
    },
    Row {
        name: "signals",
        does: Does::Changes,
        about: "Watch nodes for some seconds: counters of their kernels that moved or are out of the normal, and what \
                failed among packets, in sums. Deploys agents and removes them.",
        schema: schema::<SignalsArguments>,
    },
    Row {
        name: "capture_start",
        does: Does::Changes,
        about: "Start capturing packet headers on nodes into files in the server's directory, and return its session ID. \
                Deploys agents, which capture_stop removes, or the end of the time.",
        schema: schema::<StartArguments>,
    },
    Row {
        name: "capture_freeze",
        does: Does::Changes,
        about: "Save the last seconds of a flight recorder that capture_start has armed.",
        schema: schema::<FreezeArguments>,
    },
    Row {
        name: "capture_stop",
        does: Does::Changes,
        about: "Stop a capture, fetch its files, remove its agents, and return the files. Of one that has ended by itself, \
                only return them.",
        schema: schema::<StopArguments>,
    },
];

/// As a client lists them.
pub(super) fn all() -> Vec<Tool> {
    let tool = |row: &Row| {
        let hints = ToolAnnotations::new()
            .read_only(row.does == Does::Reads)
            .destructive(row.name == "cleanup")
            .open_world(!matches!(row.name, "explain" | "captures"));
        Tool::new(row.name, row.about, (row.schema)()).with_annotations(hints)
    };
    TOOLS.iter().map(tool).collect()
}

/// The tables of docs/mcp.md.
pub fn reference() -> String {
    let mut out = String::from("| tool | changes | does | arguments |\n|---|---|---|---|\n");
    for row in &TOOLS {
        let changes = match row.does {
            Does::Reads => "no",
            Does::Changes => "yes",
            Does::Both => "with some arguments",
        };
        let schema = (row.schema)();
        let arguments = schema.get("properties").and_then(Value::as_object);
        let arguments = arguments.into_iter().flatten().map(|(name, argument)| {
            let about = argument["description"].as_str().unwrap_or_default();
            format!("`{name}`: {}", about.trim_end_matches('.'))
        });
        let arguments = arguments.collect::<Vec<_>>().join("<br>");
        // Writing to a String does not fail.
        let _ = writeln!(out, "| `{}` | {changes} | {} | {arguments} |", row.name, row.about.trim_end_matches('.'));
    }
    out.push_str("\n| `outcome` | means |\n|---|---|\n");
    for exit in ExitCode::ALL {
        let _ = writeln!(out, "| `{}` | exit code {}: {} |", exit.word(), exit.code(), exit.meaning());
    }
    out.push_str("| `running` | the capture was started and goes on |\n");
    out.push_str("\n| `code` of an error | means |\n|---|---|\n");
    for (code, means) in CODES {
        let _ = writeln!(out, "| `{code}` | {means} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_takes_an_object_and_says_what_each_argument_is() {
        for tool in all() {
            assert_eq!(tool.input_schema.get("type"), Some(&Value::from("object")), "{}", tool.name);
            let properties = tool.input_schema.get("properties").and_then(Value::as_object).expect("arguments");
            for (name, argument) in properties {
                assert!(
                    argument["description"].as_str().is_some_and(|about| !about.is_empty()),
                    "{}: {name}",
                    tool.name
                );
            }
        }
        let reads = |name: &str| TOOLS.iter().find(|row| row.name == name).map(|row| row.does);
        assert_eq!(reads("nodes"), Some(Does::Reads));
        assert_eq!(reads("capture_start"), Some(Does::Changes));
    }
}
