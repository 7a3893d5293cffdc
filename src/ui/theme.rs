//! How screens look: styles by role, signs, and keys as they are written.
//!
//! Owns the only place that names a colour. Never colour alone: whatever a colour says, a word or sign says too.

use std::str::FromStr;

use ratatui::style::{Color, Modifier, Style};

use crate::{base::text::line, config::keymap::Keymap, model::Notice};

/// Styles by role, the signs that a terminal can show, and the keymap that hints tell.
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
    /// The context's name where deployments are guarded.
    pub guarded: Style,
    pub symbols: Symbols,
    pub keys: Keymap,
}

/// Signs, as Unicode or ASCII.
#[derive(Debug, Clone, Copy)]
pub struct Symbols {
    pub cursor: &'static str,
    pub mark: &'static str,
    pub running: &'static str,
    pub recorder: &'static str,
    pub idle: &'static str,
    pub rule: &'static str,
    pub crumb: &'static str,
    pub bars: [&'static str; 8],
    pub unicode: bool,
}

const UNICODE: Symbols = Symbols {
    cursor: "▌",
    mark: "*",
    running: "●",
    recorder: "◉",
    idle: "○",
    rule: "─",
    crumb: "›",
    bars: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    unicode: true,
};

const ASCII: Symbols = Symbols {
    cursor: ">",
    mark: "*",
    running: "@",
    recorder: "(@)",
    idle: "o",
    rule: "-",
    crumb: ">",
    bars: ["_", "_", ".", ".", "-", "-", "=", "#"],
    unicode: false,
};

/// A family of colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Palette {
    /// As the terminal says: dark or light where it tells its background, otherwise its own sixteen colours.
    #[default]
    Auto,
    /// For a dark background.
    Dark,
    /// For a light background.
    Light,
    /// Black and white with few, strong colours.
    HighContrast,
    /// The terminal's own sixteen colours, which its user has made readable.
    Terminal,
}

impl Palette {
    /// Every palette with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("auto", Self::Auto),
        ("dark", Self::Dark),
        ("light", Self::Light),
        ("high-contrast", Self::HighContrast),
        ("terminal", Self::Terminal),
    ];
}

impl FromStr for Palette {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, palette)| *palette);
        let names = || Self::ALL.map(|(name, _)| name).join(", ");
        found.ok_or_else(|| format!("unknown theme {text:?}: use one of {}", names()))
    }
}

/// How many colours a terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    None,
    Sixteen,
    Many,
    True,
}

/// What the environment says of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terminal {
    depth: Depth,
    unicode: bool,
    /// Its background is light, where it says so.
    light: Option<bool>,
}

impl Terminal {
    /// By `NO_COLOR`, `COLORTERM`, `TERM`, `COLORFGBG` and the locale. The terminal itself is not asked: over a slow line
    /// its late answer would be read as keys.
    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let locale = set("LC_ALL").or(set("LC_CTYPE")).or(set("LANG")).unwrap_or_default().to_lowercase();
        let term = set("TERM").unwrap_or_default();
        let true_colour = set("COLORTERM").is_some_and(|it| it == "truecolor" || it == "24bit");
        let depth = match () {
            () if set("NO_COLOR").is_some() || term == "dumb" => Depth::None,
            () if true_colour => Depth::True,
            () if term.contains("256color") || term.ends_with("-direct") => Depth::Many,
            () => Depth::Sixteen,
        };
        // The last part is the background, one of sixteen; 7 and from 9 on they are light.
        let background = set("COLORFGBG").and_then(|it| it.rsplit(';').next()?.parse::<u8>().ok());
        Self {
            depth,
            unicode: (locale.contains("utf-8") || locale.contains("utf8")) && term != "linux",
            light: background.map(|colour| colour == 7 || colour > 8),
        }
    }
}

type Rgb = (u8, u8, u8);

/// Dim, good, warning, bad, accent. Distinct to people who cannot tell red from green: blue, yellow and vermilion after
/// Okabe and Ito.
type Shades = [Rgb; 5];

const DARK: Shades = [(142, 149, 160), (86, 200, 163), (240, 200, 80), (255, 122, 82), (102, 184, 240)];
const LIGHT: Shades = [(92, 99, 110), (0, 110, 84), (112, 72, 0), (176, 44, 8), (0, 86, 158)];
const STRONG: Shades = [(225, 225, 225), (120, 255, 210), (255, 230, 60), (255, 150, 120), (120, 210, 255)];

/// What lies behind the row under the cursor.
const DARK_BAND: Rgb = (46, 55, 75);
const LIGHT_BAND: Rgb = (214, 226, 242);

impl Theme {
    /// As the terminal can show it: `NO_COLOR` takes colours away, a locale without UTF-8 the signs beyond ASCII.
    pub fn from_environment(palette: Palette, ascii: bool, keys: Keymap) -> Self {
        let terminal = Terminal::of(|name| std::env::var(name).ok());
        let terminal = Terminal { unicode: terminal.unicode && !ascii, ..terminal };
        Self { keys, ..Self::of(palette, terminal) }
    }

    fn of(palette: Palette, terminal: Terminal) -> Self {
        let symbols = if terminal.unicode { UNICODE } else { ASCII };
        let palette = match (palette, terminal.light) {
            (Palette::Auto, Some(true)) => Palette::Light,
            (Palette::Auto, Some(false)) => Palette::Dark,
            (Palette::Auto, None) => Palette::Terminal,
            (chosen, _) => chosen,
        };
        let few = matches!(terminal.depth, Depth::None | Depth::Sixteen);
        match palette {
            Palette::Dark if !few => Self::shaded(&DARK, DARK_BAND, terminal.depth, symbols),
            Palette::Light if !few => Self::shaded(&LIGHT, LIGHT_BAND, terminal.depth, symbols),
            Palette::HighContrast if !few => Self::shaded(&STRONG, DARK_BAND, terminal.depth, symbols).on_black(),
            _ => Self::sixteen(terminal.depth, symbols),
        }
    }

    /// The terminal's own colours with Unicode signs, whatever the environment: for pictures and tests.
    pub fn standard() -> Self {
        Self::sixteen(Depth::Sixteen, UNICODE)
    }

    /// One of the palettes in true colour, whatever the environment: for pictures and tests.
    pub fn in_true_colour(palette: Palette) -> Self {
        Self::of(palette, Terminal { depth: Depth::True, unicode: true, light: Some(false) })
    }

    /// No colours, ASCII only.
    pub fn plain_ascii() -> Self {
        Self::sixteen(Depth::None, ASCII)
    }

    fn sixteen(depth: Depth, symbols: Symbols) -> Self {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let colour = |colour| if depth == Depth::None { Style::new() } else { Style::new().fg(colour) };
        let strong = |name| if depth == Depth::None { bold } else { colour(name) };
        Self {
            plain: Style::new(),
            dim: if depth == Depth::None { Style::new().add_modifier(Modifier::DIM) } else { colour(Color::DarkGray) },
            title: bold,
            selected: Style::new().add_modifier(Modifier::REVERSED),
            good: colour(Color::Green),
            warn: strong(Color::Yellow),
            bad: colour(Color::Red).add_modifier(Modifier::BOLD),
            accent: colour(Color::Cyan),
            key: colour(Color::Cyan).add_modifier(Modifier::BOLD),
            guarded: strong(Color::Yellow).add_modifier(Modifier::BOLD | Modifier::REVERSED),
            symbols,
            keys: Keymap::default(),
        }
    }

    fn shaded(shades: &Shades, band: Rgb, depth: Depth, symbols: Symbols) -> Self {
        let shown = |(red, green, blue): Rgb| {
            if depth == Depth::True { Color::Rgb(red, green, blue) } else { indexed((red, green, blue)) }
        };
        let colour = |shade: Rgb| Style::new().fg(shown(shade));
        let [dim, good, warn, bad, accent] = *shades;
        Self {
            selected: Style::new().bg(shown(band)),
            dim: colour(dim),
            good: colour(good),
            warn: colour(warn),
            bad: colour(bad).add_modifier(Modifier::BOLD),
            accent: colour(accent),
            key: colour(accent).add_modifier(Modifier::BOLD),
            guarded: colour(warn).add_modifier(Modifier::BOLD | Modifier::REVERSED),
            ..Self::sixteen(Depth::None, symbols)
        }
    }

    /// White on black whatever the terminal's own colours, and nothing dimmed.
    fn on_black(self) -> Self {
        let plain = Style::new().fg(Color::White).bg(Color::Black);
        let on = |style: Style| plain.patch(style);
        Self {
            plain,
            dim: on(self.dim),
            title: on(self.title),
            selected: Style::new().fg(Color::Black).bg(Color::White).add_modifier(Modifier::BOLD),
            good: on(self.good),
            warn: on(self.warn).add_modifier(Modifier::BOLD),
            bad: on(self.bad).add_modifier(Modifier::UNDERLINED),
            accent: on(self.accent),
            key: on(self.key),
            guarded: on(self.guarded),
            ..self
        }
    }

    /// What a style becomes in the row under the cursor. Colours of roles stay where the palette has a band that they can be
    /// read on; elsewhere the whole row is one.
    pub fn under_cursor(&self, style: Style) -> Style {
        let is_band = self.selected.bg.is_some() && self.selected.fg.is_none();
        let own = if style.fg == self.dim.fg { None } else { style.fg };
        match own {
            Some(colour) if is_band => self.selected.fg(colour).add_modifier(style.add_modifier),
            _ => self.selected.add_modifier(style.add_modifier & Modifier::BOLD),
        }
    }

    /// A notice on one line, as it may be shown. Keys are filled in where this program names them, and nowhere else.
    pub fn notice(&self, notice: &Notice) -> String {
        line(&notice.line_with(|step| self.keys.fill(step)))
    }

    /// What a notice says is to be done.
    pub fn next_step(&self, notice: &Notice) -> String {
        notice.next_step_with(|step| self.keys.fill(step))
    }
}

/// The nearest of the 240 colours that 256-colour terminals share.
fn indexed(wanted: Rgb) -> Color {
    let far = |(a, b): (u8, u8)| u32::from(a.abs_diff(b)).pow(2);
    let distance = |index: &u8| {
        let (red, green, blue) = shared(*index);
        far((red, wanted.0)) + far((green, wanted.1)) + far((blue, wanted.2))
    };
    (16..=255).min_by_key(distance).map_or(Color::Reset, Color::Indexed)
}

/// One of them, from 16 on: a cube of 6×6×6 colours, then 24 greys, as xterm has them.
fn shared(index: u8) -> Rgb {
    let step = |level: u8| if level == 0 { 0 } else { 55 + 40 * level };
    match index.saturating_sub(16) {
        cube @ 0..216 => (step(cube / 36), step(cube / 6 % 6), step(cube % 6)),
        grey => {
            let level = 8 + 10 * (grey - 216);
            (level, level, level)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(variables: &[(&str, &str)]) -> Terminal {
        Terminal::of(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_says_what_a_terminal_can_show() {
        let plain = terminal(&[("TERM", "xterm"), ("LANG", "C")]);
        assert_eq!(plain, Terminal { depth: Depth::Sixteen, unicode: false, light: None });
        let many = terminal(&[("TERM", "xterm-256color"), ("LANG", "de_DE.UTF-8"), ("COLORFGBG", "0;15")]);
        assert_eq!(many, Terminal { depth: Depth::Many, unicode: true, light: Some(true) });
        let dark = terminal(&[("COLORTERM", "truecolor"), ("LC_ALL", "C.UTF-8"), ("COLORFGBG", "15;default;0")]);
        assert_eq!(dark, Terminal { depth: Depth::True, unicode: true, light: Some(false) });
        assert_eq!(terminal(&[("NO_COLOR", "1"), ("COLORTERM", "truecolor")]).depth, Depth::None);
        assert!(!terminal(&[("TERM", "linux"), ("LANG", "C.UTF-8")]).unicode, "the console has few signs");
    }

    #[test]
    fn no_colour_at_all_where_none_is_wanted() {
        for (_, palette) in Palette::ALL {
            let theme = Theme::of(palette, Terminal { depth: Depth::None, unicode: true, light: Some(true) });
            for style in [theme.dim, theme.good, theme.warn, theme.bad, theme.accent, theme.key, theme.guarded] {
                assert_eq!((style.fg, style.bg), (None, None), "{palette:?}");
            }
        }
    }

    #[test]
    fn every_palette_can_be_read_on_its_background() {
        // The contrast of two colours after WCAG 2.1; 4.5 is what it asks of text.
        let light = |(red, green, blue): Rgb| {
            let part = |value: u8| {
                let value = f64::from(value) / 255.0;
                if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue)
        };
        let readable = |shade: Rgb, background: Rgb| {
            let (a, b) = (light(shade), light(background));
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast >= 4.5, "{shade:?} on {background:?}: {contrast:.1}");
        };
        let near = |shade: Rgb| match indexed(shade) {
            Color::Indexed(index) => shared(index),
            other => panic!("{other:?}"),
        };
        for (shades, background) in [(DARK, (30, 30, 30)), (LIGHT, (250, 250, 250)), (STRONG, (0, 0, 0))] {
            for shade in shades {
                readable(shade, background);
                readable(near(shade), background);
            }
        }
        // Under the cursor nothing is dimmed.
        for (shades, band) in [(DARK, DARK_BAND), (LIGHT, LIGHT_BAND)] {
            for shade in &shades[1..] {
                readable(*shade, band);
                readable(near(*shade), near(band));
            }
        }
    }

    #[test]
    fn the_row_under_the_cursor_is_one_band() {
        let dark = Theme::in_true_colour(Palette::Dark);
        assert_eq!(dark.under_cursor(dark.bad).fg, dark.bad.fg);
        assert_eq!(dark.under_cursor(dark.dim).fg, None);
        for style in [dark.plain, dark.dim, dark.good, dark.bad, dark.title] {
            assert_eq!(dark.under_cursor(style).bg, dark.selected.bg);
        }
        for theme in [Theme::standard(), Theme::plain_ascii(), Theme::in_true_colour(Palette::HighContrast)] {
            for style in [theme.plain, theme.dim, theme.good, theme.bad] {
                let shown = theme.under_cursor(style);
                assert_eq!((shown.fg, shown.bg), (theme.selected.fg, theme.selected.bg));
            }
        }
    }

    #[test]
    fn themes_are_read_by_name() {
        assert_eq!("high-contrast".parse(), Ok(Palette::HighContrast));
        assert!(
            "pink"
                .parse::<Palette>()
                .is_err_and(|error| error.contains("unknown theme \"pink\": use one of auto, dark"))
        );
        assert_eq!(indexed((255, 255, 255)), Color::Indexed(231));
        assert_eq!(indexed((0, 0, 0)), Color::Indexed(16));
        assert_eq!(indexed((48, 48, 48)), Color::Indexed(236));
    }
}
