//! How the screen looks and what it listens to.

use clap::Args;

use super::words::Words;
use crate::{model::Sides, ui::Palette};

/// How the screen looks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Display")]
pub struct DisplayArgs {
    /// Colour theme: auto, dark, light, high-contrast or terminal (the terminal's own 16 colours)
    #[arg(long, value_name = "NAME", default_value = "auto", hide_possible_values = true, hide_short_help = true,
        value_parser = Words::new(str::parse::<Palette>, Palette::ALL.map(|(name, _)| name)))]
    pub theme: Palette,
    /// Draw with ASCII characters only
    #[arg(long, hide_short_help = true)]
    pub ascii: bool,
}

/// What the screen listens to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Display")]
pub struct MouseArgs {
    /// Use the mouse to select, scroll and pick part of a chart
    #[arg(long, value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set, hide_short_help = true)]
    pub mouse: bool,
}

/// How the viewer shows what several nodes capture.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Display")]
pub struct ViewerArgs {
    /// How the viewer shows several nodes: ask, windows (one a node), pair (one window, each packet once) or together
    #[arg(long, value_name = "HOW", default_value = "ask", hide_possible_values = true, hide_short_help = true,
        value_parser = Words::new(str::parse::<Sides>, Sides::ALL.map(Sides::word)))]
    pub viewer_nodes: Sides,
}
