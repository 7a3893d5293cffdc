//! What each cause means, how it is decided, what looks like it, and what to do.
//!
//! Owns the texts, a Markdown file a cause below `explain/`, and docs/answers.md, which is made of them. Must not judge
//! anything, nor know how wide a terminal is.

use std::fmt::Write;

use crate::Code;

/// In the order of the codes.
const TEXTS: [&str; 16] = [
    include_str!("../explain/n-01.md"),
    include_str!("../explain/n-02.md"),
    include_str!("../explain/n-03.md"),
    include_str!("../explain/n-04.md"),
    include_str!("../explain/n-05.md"),
    include_str!("../explain/n-06.md"),
    include_str!("../explain/n-07.md"),
    include_str!("../explain/n-08.md"),
    include_str!("../explain/n-09.md"),
    include_str!("../explain/n-10.md"),
    include_str!("../explain/n-11.md"),
    include_str!("../explain/n-12.md"),
    include_str!("../explain/n-13.md"),
    include_str!("../explain/n-14.md"),
    include_str!("../explain/n-15.md"),
    include_str!("../explain/n-16.md"),
];

/// What docs/answers.md says before the causes.
const INTRODUCTION: &str = include_str!("../explain/introduction.md");

/// What is to be known of a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// Which cause.
    pub code: Code,
    /// The whole text, as Markdown.
    pub text: &'static str,
}

impl Explanation {
    /// Its code and name, as the text begins.
    pub fn title(self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }

    /// Its sections in their order, each with its heading.
    pub fn sections(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let sections = self.text.split("\n## ").skip(1);
        sections.filter_map(|section| section.split_once('\n')).map(|(heading, text)| (heading, text.trim()))
    }
}

/// The explanation of a cause.
pub fn explain(code: Code) -> Explanation {
    Explanation { code, text: TEXTS[code as usize - 1] }
}

/// A part of a section, for whoever lays it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A paragraph, on one line.
    Paragraph(String),
    /// An item of a list, on one line.
    Item(String),
    /// Lines to be typed, or to be written into a file, each as it is.
    Literal(Vec<String>),
}

/// The parts of a section's text.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    // Whether the next line goes on with the last block.
    let mut is_open = false;
    while let Some(line) = lines.next() {
        let line = line.trim_end();
        if line.starts_with("```") {
            let literal = lines.by_ref().take_while(|line| !line.starts_with("```"));
            blocks.push(Block::Literal(literal.map(str::to_owned).collect()));
            is_open = false;
        } else if let Some(item) = line.strip_prefix("- ") {
            blocks.push(Block::Item(item.to_owned()));
            is_open = true;
        } else if line.is_empty() {
            is_open = false;
        } else if let Some(Block::Paragraph(before) | Block::Item(before)) = blocks.last_mut().filter(|_| is_open) {
            before.push(' ');
            before.push_str(line.trim_start());
        } else {
            blocks.push(Block::Paragraph(line.to_owned()));
            is_open = true;
        }
    }
    blocks
}

/// All explanations as docs/answers.md.
pub fn reference() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str("\n| code | cause |\n|---|---|\n");
    for title in Code::ALL.map(|code| explain(code).title()) {
        let (code, name) = title.split_once(' ').unwrap_or((title, ""));
        let anchor = title.to_lowercase().replace(' ', "-");
        // Writing to a String does not fail.
        let _ = writeln!(out, "| [{code}](#{anchor}) | {name} |");
    }
    for code in Code::ALL {
        // Each heading is one level down, below that of the page.
        let _ = write!(out, "\n#{}", explain(code).text.replace("\n## ", "\n### "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: [&str; 5] =
        ["What it means", "How it is decided", "What looks like it", "Prove it by hand", "Fix it"];

    #[test]
    fn every_cause_has_all_sections_in_order_under_its_name() {
        for code in Code::ALL {
            let explanation = explain(code);
            assert!(explanation.text.starts_with("# ") && explanation.text.ends_with('\n'), "{code:?}");
            assert_eq!(explanation.title(), format!("{} {}", code.text(), code.name()));
            let headings: Vec<&str> = explanation.sections().map(|(heading, _)| heading).collect();
            assert_eq!(headings, HEADINGS, "{code:?}");
            for (heading, text) in explanation.sections() {
                assert!(text.len() > 60, "{code:?}: {heading} says nothing");
            }
            for heading in ["Prove it by hand", "Fix it"] {
                let (_, text) = explanation.sections().find(|(found, _)| *found == heading).expect("it is there");
                let is_exact =
                    blocks(text).iter().any(|block| matches!(block, Block::Literal(_))) || text.contains('`');
                assert!(is_exact, "{code:?}: {heading} names no command, setting or place");
            }
        }
    }

    /// Whoever lays them out knows paragraphs, items and literal lines, and nothing else.
    #[test]
    fn texts_use_no_more_of_markdown_than_is_laid_out() {
        let lines = |code: Code| explain(code).text.lines().count();
        for code in Code::ALL {
            let text = explain(code).text;
            assert!((25..=45).contains(&lines(code)), "{code:?} has {} lines", lines(code));
            assert_eq!(text.lines().filter(|line| line.starts_with("```")).count() % 2, 0, "{code:?}");
            assert_eq!(text.lines().filter(|line| line.starts_with('#')).count(), 6, "{code:?}");
            for line in text.lines() {
                assert!(line.chars().count() <= 140 && line.is_ascii() && !line.contains('\t'), "{code:?}: {line}");
                let other =
                    ["* ", "+ ", "> ", "|", "1. ", "    - ", "  - "].iter().find(|mark| line.starts_with(**mark));
                assert_eq!(other, None, "{code:?}: {line}");
            }
            for line in explain(code).sections().flat_map(|(_, text)| blocks(text)) {
                if let Block::Paragraph(text) | Block::Item(text) = line {
                    assert_eq!(text.matches('`').count() % 2, 0, "{code:?}: {text}");
                }
            }
        }
    }

    #[test]
    fn lines_that_belong_together_become_one() {
        let text = "One\ntwo.\n\nThree.\n- four\n  five\n- six\n\n```sh\n  seven\n\neight\n```\nNine.";
        let of = |text: &str| text.to_owned();
        let wanted = vec![
            Block::Paragraph(of("One two.")),
            Block::Paragraph(of("Three.")),
            Block::Item(of("four five")),
            Block::Item(of("six")),
            Block::Literal(vec![of("  seven"), of(""), of("eight")]),
            Block::Paragraph(of("Nine.")),
        ];
        assert_eq!(blocks(text), wanted);
        assert_eq!(blocks("```\nnever closed"), [Block::Literal(vec![of("never closed")])]);
    }

    #[test]
    fn the_page_has_every_cause_once_and_leads_to_it() {
        let page = reference();
        for code in Code::ALL {
            let title = explain(code).title();
            assert_eq!(page.matches(&format!("\n## {title}\n")).count(), 1, "{title}");
            let anchor = format!("](#{}-{})", code.text().to_lowercase(), code.name().to_lowercase().replace(' ', "-"));
            assert_eq!(page.matches(&anchor).count(), 1, "{anchor}");
        }
        assert_eq!(page.lines().filter(|line| line.starts_with("# ")).count(), 1, "one page, one title");
    }
}
