//! Colours and symbols by role.
//!
//! Owns the only place that names a colour. Never colour alone: whatever a colour says, a word or sign says too.

use ratatui::style::{Color, Modifier, Style};

/// Styles by role, and the signs that a terminal can show.
#[derive(Debug, Clone)]
pub struct Theme {
    pub plain: Style,
    pub dim: Style,
    pub title: Style,
    pub selected: Style,
    pub good: Style,
    pub warn: Style,
    pub bad: Style,
    pub accent: Style,
    pub key: Style,
    pub symbols: Symbols,
}

/// Signs, as Unicode or ASCII.
#[derive(Debug, Clone, Copy)]
pub struct Symbols {
    pub cursor: &'static str,
    pub mark: &'static str,
    pub running: &'static str,
    pub idle: &'static str,
    pub rule: &'static str,
    pub bars: [&'static str; 8],
    pub unicode: bool,
}

const UNICODE: Symbols = Symbols {
    cursor: "▌",
    mark: "*",
    running: "●",
    idle: "○",
    rule: "─",
    bars: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    unicode: true,
};

const ASCII: Symbols = Symbols {
    cursor: ">",
    mark: "*",
    running: "@",
    idle: "o",
    rule: "-",
    bars: ["_", "_", ".", ".", "-", "-", "=", "#"],
    unicode: false,
};

impl Theme {
    /// As the terminal can show it: `NO_COLOR` takes colours away, a locale without UTF-8 the signs beyond ASCII.
    pub fn from_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = set("LC_ALL").or(set("LC_CTYPE")).or(set("LANG")).unwrap_or_default().to_lowercase();
        let unicode = locale.contains("utf-8") || locale.contains("utf8");
        let symbols = if unicode { UNICODE } else { ASCII };
        if set("NO_COLOR").is_some() { Self::colourless(symbols) } else { Self::coloured(symbols) }
    }

    /// Colours with Unicode signs, whatever the environment: for pictures and tests.
    pub fn standard() -> Self {
        Self::coloured(UNICODE)
    }

    /// No colours, ASCII only.
    pub fn plain_ascii() -> Self {
        Self::colourless(ASCII)
    }

    /// The terminal's own sixteen colours, which its user has made readable on light or dark.
    fn coloured(symbols: Symbols) -> Self {
        let fg = |colour| Style::new().fg(colour);
        Self {
            plain: Style::new(),
            dim: fg(Color::DarkGray),
            title: Style::new().add_modifier(Modifier::BOLD),
            selected: Style::new().add_modifier(Modifier::REVERSED),
            good: fg(Color::Green),
            warn: fg(Color::Yellow),
            bad: fg(Color::Red).add_modifier(Modifier::BOLD),
            accent: fg(Color::Cyan),
            key: fg(Color::Cyan).add_modifier(Modifier::BOLD),
            symbols,
        }
    }

    fn colourless(symbols: Symbols) -> Self {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Self {
            plain: Style::new(),
            dim: Style::new().add_modifier(Modifier::DIM),
            title: bold,
            selected: Style::new().add_modifier(Modifier::REVERSED),
            good: Style::new(),
            warn: bold,
            bad: bold,
            accent: Style::new(),
            key: bold,
            symbols,
        }
    }
}
