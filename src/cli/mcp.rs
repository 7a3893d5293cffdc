//! What tools for language models may do.

use std::time::Duration;

use clap::Args;

use crate::base::text;

/// What tools may change, and how much of it.
#[derive(Debug, Clone, Args)]
pub struct McpArgs {
    /// Also let tools deploy agents, capture, freeze and remove, within the budget
    #[arg(long)]
    pub allow_changes: bool,
    /// Budget: nodes with an agent at once
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_nodes: u32,
    /// Budget: how long one tool may watch or capture
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = text::parse_duration)]
    pub max_duration: Duration,
    /// Budget: size of all captures of this run
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = text::parse_size)]
    pub max_bytes: u64,
    /// Confirm that you mean this context, if the config file guards it
    #[arg(long, value_name = "CONTEXT")]
    pub confirm: Option<String>,
}
