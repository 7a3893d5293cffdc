//! `explain`: what the code of an answer means.
//!
//! Owns how it is laid out on a terminal. Where it is read by a program, it is Markdown as it stands in docs/answers.md.

use std::{
    io::{self, IsTerminal},
    mem::discriminant,
};

use nodewatch_answers::{Block, Code, Explanation, blocks, explain as explanation};
use serde_json::{Map, Value, json};

use super::{ExitCode, output, records};
use crate::cli::{ExplainArgs, Format};

/// As wide as help is at most.
const WIDEST: u16 = 100;

/// Explains the codes, or lists all of them.
pub fn explain(arguments: &ExplainArgs) -> ExitCode {
    let codes = if arguments.codes.is_empty() { &Code::ALL[..] } else { &arguments.codes };
    match arguments.output.format {
        Format::Json | Format::Yaml => {
            let values = codes.iter().map(|&code| value(explanation(code)));
            output::print_values(&records::EXPLANATION, values, arguments.output.format);
        }
        Format::Name => output::print_names(codes.iter().map(|code| code.text().to_owned())),
        Format::Table | Format::Wide if arguments.codes.is_empty() => {
            let rows = Code::ALL.map(|code| vec![code.text().to_owned(), code.name().to_owned()]);
            output::print_table(&["CODE", "CAUSE"], &rows);
        }
        Format::Table | Format::Wide => {
            let terminal = io::stdout().is_terminal().then(Terminal::of_this_process);
            let text = |code: &Code| match &terminal {
                Some(terminal) => terminal.laid_out(explanation(*code)),
                None => explanation(*code).text.to_owned(),
            };
            output::print(&codes.iter().map(text).collect::<Vec<_>>().join("\n"));
        }
    }
    ExitCode::Done
}

fn value(explanation: Explanation) -> Value {
    let section = |(heading, text): (&str, &str)| (heading.to_lowercase().replace(' ', "_"), json!(text));
    let sections: Map<String, Value> = explanation.sections().map(section).collect();
    json!({ "code": explanation.code.text(), "name": explanation.code.name(), "sections": sections })
}

/// What a text is laid out for.
struct Terminal {
    width: usize,
    bold: bool,
}

impl Terminal {
    fn of_this_process() -> Self {
        let width = rustix::termios::tcgetwinsize(io::stdout()).map_or(WIDEST, |size| size.ws_col);
        // One that does not know its size says zero.
        let width = if width == 0 { WIDEST } else { width.min(WIDEST) };
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { width: width.into(), bold: !plain }
    }

    fn laid_out(&self, explanation: Explanation) -> String {
        let mut out = self.heading(explanation.title());
        for (heading, text) in explanation.sections() {
            out.push('\n');
            out.push_str(&self.heading(&heading.to_uppercase()));
            let blocks = blocks(text);
            for (at, block) in blocks.iter().enumerate() {
                let before = at.checked_sub(1).map(|before| &blocks[before]);
                // Items stand one below the other, all else by itself.
                let is_list =
                    |before: &Block| matches!(block, Block::Item(_)) && discriminant(block) == discriminant(before);
                if before.is_some_and(|before| !is_list(before)) {
                    out.push('\n');
                }
                out.push_str(&self.block(block));
            }
        }
        out
    }

    fn heading(&self, text: &str) -> String {
        if self.bold { format!("\x1b[1m{text}\x1b[0m\n") } else { format!("{text}\n") }
    }

    fn block(&self, block: &Block) -> String {
        let wrapped = |text: &str, first: &str, rest: &str| {
            let options = textwrap::Options::new(self.width).initial_indent(first).subsequent_indent(rest);
            // A command or a path in a sentence stays one word.
            textwrap::fill(text, options.break_words(false)) + "\n"
        };
        match block {
            Block::Paragraph(text) => wrapped(text, "  ", "  "),
            Block::Item(text) => wrapped(text, "  - ", "    "),
            // One that is copied must not be broken.
            Block::Literal(lines) => {
                lines.iter().map(|line| format!("      {line}").trim_end().to_owned() + "\n").collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_lines_that_fit_and_commands_that_can_be_copied() {
        for code in Code::ALL {
            let explanation = explanation(code);
            for width in [60, 100] {
                let text = Terminal { width, bold: false }.laid_out(explanation);
                let commands: Vec<String> = explanation
                    .sections()
                    .flat_map(|(_, text)| blocks(text))
                    .filter_map(|block| if let Block::Literal(lines) = block { Some(lines) } else { None })
                    .flatten()
                    .collect();
                assert!(!commands.is_empty(), "{code:?}");
                for line in text.lines() {
                    let is_command = commands.iter().any(|command| line.trim_start() == command.trim());
                    let is_one_word = !line.trim().trim_start_matches("- ").contains(' ');
                    assert!(line.chars().count() <= width || is_command || is_one_word, "{code:?}: {line}");
                    assert!(!line.starts_with('#') && !line.contains("```"), "{code:?}: {line}");
                }
                for command in commands {
                    assert!(text.lines().any(|line| line.trim_start() == command.trim()), "{code:?}: {command}");
                }
                assert!(text.starts_with(&format!("{} {}\n\nWHAT IT MEANS\n  ", code.text(), code.name())), "{text}");
            }
        }
    }

    #[test]
    fn headings_are_bold_where_that_is_wanted() {
        let text = Terminal { width: 80, bold: true }.laid_out(explanation(Code::AcceptQueue));
        assert!(text.starts_with("\x1b[1mN-11 accept queue full\x1b[0m\n"), "{text}");
        assert_eq!(text.matches("\x1b[1m").count(), 6, "the title and five sections");
    }
}
