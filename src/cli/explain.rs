//! What is explained.

use clap::Args;
use nodewatch_answers::Code;

use super::{OutputArgs, words::Words};

/// Which codes.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// Codes of answers, N-01 to N-16 [default: list them all]
    #[arg(value_name = "CODE", hide_possible_values = true, value_parser = Words::new(code, Code::ALL.map(Code::text)))]
    pub codes: Vec<Code>,
    #[command(flatten)]
    pub output: OutputArgs,
}

fn code(text: &str) -> Result<Code, String> {
    text.parse().map_err(|error| format!("{error}; nodewatch-tui explain lists them"))
}
