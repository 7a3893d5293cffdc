//! `preflight` and `manifests`: what would stop a session, and what one would apply.
//!
//! Owns their output. Nothing is created.

use serde_json::json;

use super::{ExitCode, output, records};
use crate::{
    cli::Format,
    cluster::Cluster,
    model::{Failure, NodeName, Outcome, PreflightCheck, SessionId},
    storage::Storage,
};

/// Runs all checks and prints them.
pub async fn preflight(cluster: &Cluster, storage: Option<&Storage>, nodes: &[NodeName], format: Format) -> ExitCode {
    // Where nobody answers nothing is known, and every check would wait for it.
    if let Err(notice) = cluster.answers().await
        && (notice.failure == Failure::Unreachable || notice.failure.is_passing())
    {
        output::say(&format!("error: {}", notice.line()));
        return ExitCode::of(&notice);
    }
    let mut checks = cluster.preflight(nodes).await;
    if let Some(storage) = storage {
        checks.extend(storage.check(cluster.session()).await);
    }
    shown(&checks, format)
}

/// The same for this machine, without a cluster.
pub async fn here(
    mut checks: Vec<PreflightCheck>,
    storage: Option<&Storage>,
    session: &SessionId,
    format: Format,
) -> ExitCode {
    if let Some(storage) = storage {
        checks.extend(storage.check(session).await);
    }
    shown(&checks, format)
}

fn shown(checks: &[PreflightCheck], format: Format) -> ExitCode {
    match format {
        Format::Json | Format::Yaml => {
            output::print_values(&records::PREFLIGHT_CHECK, checks.iter().map(|check| json!(check)), format);
        }
        Format::Name => output::print_names(checks.iter().map(|check| check.check.clone())),
        Format::Table | Format::Wide => {
            let rows = |check: &PreflightCheck| {
                vec![check.outcome.word().to_owned(), check.check.clone(), check.detail.clone()]
            };
            output::print_table(&["RESULT", "CHECK", "DETAIL"], &checks.iter().map(rows).collect::<Vec<_>>());
            for check in checks.iter().filter(|check| !check.fix.is_empty()) {
                let mut lines = vec![format!("{}: {}:", check.outcome.word(), check.detail)];
                // What is to be applied is ours, and is YAML of many lines.
                lines.extend(check.fix.lines().map(|line| format!("    {line}")));
                output::say_lines(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
    }
    match checks.iter().map(|check| check.outcome).max() {
        Some(Outcome::NotPermitted) => ExitCode::NotPermitted,
        Some(Outcome::Failed) => ExitCode::Failed,
        _ => ExitCode::Done,
    }
}

/// Prints YAML as it is.
pub fn manifests(yaml: &str) -> ExitCode {
    output::print(yaml);
    ExitCode::Done
}
