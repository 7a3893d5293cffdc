//! How the packets of several nodes are shown.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the viewer shows what several nodes capture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    /// Ask, once a session.
    #[default]
    Ask,
    /// A window for each node.
    Windows,
    /// One window; what several nodes have is in it once.
    Pair,
    /// One window; what several nodes have is in it once for each.
    Together,
}

impl Sides {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ask, Self::Windows, Self::Pair, Self::Together];
    /// Those that are an answer.
    pub const ANSWERS: [Self; 3] = [Self::Windows, Self::Pair, Self::Together];

    /// As the command line has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Windows => "windows",
            Self::Pair => "pair",
            Self::Together => "together",
        }
    }
}

impl FromStr for Sides {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::word).join(", ");
        Self::ALL.into_iter().find(|one| one.word() == word).ok_or_else(|| format!("expected one of {}", known()))
    }
}
