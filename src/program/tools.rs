//! `mcp`: the program's commands as tools.
//!
//! Owns how the options of the server become those of the commands that it runs.

use std::{ffi::OsString, path::PathBuf};

use serde_json::Value;

use super::layers::{Setting, Source, variable};
use crate::{
    cli::{McpArgs, Options},
    headless::ExitCode,
    mcp::{self, Limits},
    model::Notice,
};

/// Serves until standard input ends.
pub(super) async fn serve(
    (options, in_force): (&Options, &[Setting]),
    arguments: &McpArgs,
) -> Result<ExitCode, Notice> {
    let program = std::env::current_exe()
        .map_err(|error| Notice::error("cannot find this program", error.to_string(), "call it by its whole path"))?;
    let settings = mcp::Settings {
        program,
        site: site(options),
        deploy: deploy(options, arguments),
        environment: environment(in_force),
        local: options.local,
        folder: options.out.clone().unwrap_or_else(|| PathBuf::from("nodewatch-captures")),
        allow_changes: arguments.allow_changes,
        limits: Limits { nodes: arguments.max_nodes, duration: arguments.max_duration, bytes: arguments.max_bytes },
    };
    mcp::serve(settings).await
}

fn valued(name: &str, value: impl Into<OsString>) -> OsString {
    let mut option = OsString::from(format!("--{name}="));
    option.push(value.into());
    option
}

/// Which cluster, or this machine.
fn site(options: &Options) -> Vec<OsString> {
    let connection = &options.connection;
    let kubeconfig = connection.kubeconfig.as_ref().map(|file| valued("kubeconfig", file));
    let context = connection.context.as_ref().map(|name| valued("context", name));
    let local = options.local.then(|| OsString::from("--local"));
    kubeconfig.into_iter().chain(context).chain(local).collect()
}

/// What is no setting, of commands that deploy.
fn deploy(options: &Options, arguments: &McpArgs) -> Vec<OsString> {
    let namespace = options.session.namespace.as_ref().map(|name| valued("namespace", name));
    let confirm = arguments.confirm.as_ref().map(|context| valued("confirm", context));
    namespace.into_iter().chain(confirm).collect()
}

/// Settings that were typed: a command that does not take one leaves its variable alone.
fn environment(in_force: &[Setting]) -> Vec<(String, String)> {
    // A command's files go where its tool says.
    let typed = in_force.iter().filter(|setting| setting.source == Source::Flag && setting.key != "out");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    typed.map(|setting| (variable(&setting.key), text(&setting.value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_typed_goes_on_as_a_variable() {
        let setting = |key: &str, value, source| Setting { key: key.into(), value, source };
        let in_force = [
            setting("lease", json!("20m"), Source::Flag),
            setting("processes", json!(true), Source::Flag),
            setting("image", json!("a:1"), Source::File(3)),
            setting("out", json!("x"), Source::Flag),
        ];
        let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(environment(&in_force), [named("NODEWATCH_LEASE", "20m"), named("NODEWATCH_PROCESSES", "true")]);
    }
}
