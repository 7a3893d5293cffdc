//! How the screen looks and what it listens to.

use clap::Args;

use super::words::Words;
use crate::{
    model::{Sides, Target},
    ui::Palette,
};

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

/// What the list of nodes shows at first.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Display")]
pub struct FirstArgs {
    /// Start with this node; clearing the filter shows all
    #[arg(long, value_name = "NAME", value_parser = node, conflicts_with = "pod", hide_short_help = true)]
    pub node: Option<String>,
    /// Start with the node of this pod
    #[arg(long, value_name = "NS/NAME", value_parser = Target::pod, conflicts_with = "local", hide_short_help = true)]
    pub pod: Option<Target>,
}

impl FirstArgs {
    /// As the list's filter says it.
    pub fn filter(&self) -> Option<String> {
        let of_node = self.node.as_ref().map(|name| format!("^{}$", name.replace('.', r"\.")));
        let of_pod = self.pod.as_ref().and_then(|target| match target {
            Target::Pod(name) => Some(format!("pod:{name}")),
            _ => None,
        });
        of_node.or(of_pod)
    }
}

fn node(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| format!("invalid node {text:?}: use its name, see nodewatch-tui nodes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_or_a_pod_is_a_filter_at_first() {
        let first = FirstArgs { node: Some("ip-10-0-1-12.ec2.internal".into()), pod: None };
        assert_eq!(first.filter().as_deref(), Some(r"^ip-10-0-1-12\.ec2\.internal$"));
        let first = FirstArgs { node: None, pod: Target::pod("shop/web-0").ok() };
        assert_eq!(first.filter().as_deref(), Some("pod:shop/web-0"));
        assert!(node("a b").is_err() && node("").is_err() && node("node-1").is_ok());
    }
}
