//! What kubectl is told when it completes `kubectl nodewatch ...`: it runs `kubectl_complete-nodewatch` with the words so far.
//!
//! Owns which words fit, and kubectl's form for them: a word and its help a line, then what the shell is to do. Pure.

use std::ffi::OsString;

/// The name by which kubectl runs what completes the plugin.
const NAME: &str = "kubectl_complete-nodewatch";
/// Files fit as well.
const FILES_TOO: u8 = 0;
/// Nothing else fits.
const NOTHING_ELSE: u8 = 4;

/// The words typed so far, if this is how the program was run.
pub(super) fn words(arguments: &[OsString]) -> Option<&[OsString]> {
    let (own, words) = arguments.split_first()?;
    (std::path::Path::new(own).file_name()? == NAME).then_some(words)
}

/// What fits after these; the last of them is the one that is typed.
pub(super) fn completions(words: &[OsString], root: &clap::Command) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let (typed, before) = words.split_last().map_or(("", &[][..]), |(typed, before)| (&**typed, before));
    let (mut command, mut option) = (root, None);
    for word in before {
        let is_value = std::mem::take(&mut option).is_some();
        match command.find_subcommand(&**word).filter(|_| !is_value) {
            Some(below) => command = below,
            None if !is_value => option = option_with_value(command, word),
            None => {}
        }
    }
    let (found, then) = match option {
        Some(option) => words_of(option),
        None if typed.starts_with('-') => (options(command), NOTHING_ELSE),
        None => {
            let positional = command.get_positionals().next().map(words_of);
            let (values, then) = positional.unwrap_or((Vec::new(), NOTHING_ELSE));
            (subcommands(command).chain(values).collect(), then)
        }
    };
    let fitting = found.into_iter().filter(|(word, _)| word.starts_with(typed));
    let lines = fitting.map(|(word, help)| format!("{word}\t{help}"));
    lines.chain([format!(":{then}")]).map(|line| line + "\n").collect()
}

/// A word and its help.
type Word = (String, String);

fn option_with_value<'a>(command: &'a clap::Command, word: &str) -> Option<&'a clap::Arg> {
    let is_named = |option: &&clap::Arg| {
        let long = option.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
        let short = option.get_short().is_some_and(|short| word == format!("-{short}"));
        long || short
    };
    command.get_arguments().find(is_named).filter(|option| option.get_action().takes_values())
}

fn first_line(help: Option<&clap::builder::StyledStr>) -> String {
    help.map(|help| help.to_string().lines().next().unwrap_or_default().to_owned()).unwrap_or_default()
}

fn words_of(option: &clap::Arg) -> (Vec<Word>, u8) {
    let values = option.get_possible_values();
    let then = if values.is_empty() { FILES_TOO } else { NOTHING_ELSE };
    (values.iter().map(|value| (value.get_name().to_owned(), first_line(value.get_help()))).collect(), then)
}

fn options(command: &clap::Command) -> Vec<Word> {
    let seen = command.get_arguments().filter(|option| !option.is_hide_set());
    seen.filter_map(|option| Some((format!("--{}", option.get_long()?), first_line(option.get_help())))).collect()
}

fn subcommands(command: &clap::Command) -> impl Iterator<Item = Word> {
    let seen = command.get_subcommands().filter(|below| !below.is_hide_set());
    seen.map(|below| (below.get_name().to_owned(), first_line(below.get_about())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        completions(&words, &super::super::layers::command())
    }

    #[test]
    fn words_fit_where_they_stand() {
        let text = fit(&["ca"]);
        assert!(text.starts_with("capture\t") && text.ends_with("\n:4\n"), "{text}");
        let text = fit(&["capture", "--cont"]);
        assert!(text.contains("--content\t") && text.contains("--context\t"), "{text}");
        assert_eq!(fit(&["--theme", "hi"]), "high-contrast\t\n:4\n");
        // A value is no command.
        assert!(fit(&["--context", "capture", "por"]).starts_with("ports\t"));
        assert_eq!(fit(&["merge", "--into", ""]), ":0\n");
        assert!(fit(&[]).contains("preflight\t"));
    }

    #[test]
    fn it_is_for_kubectl_alone() {
        let run_as = |name: &str| words(&[name, "ca"].map(OsString::from)).is_some();
        assert!(run_as("/usr/bin/kubectl_complete-nodewatch"));
        assert!(!run_as("kubectl-nodewatch") && !run_as("nodewatch-tui"));
    }
}
