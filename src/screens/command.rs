//! Commands that are typed after `:`.
//!
//! Owns their names, completion and history. Each does what some key does, or takes a word that no key could. Pure.

use nodewatch_answers::Code;
use tui_input::Input;

use super::{
    App, Layer, Screen, View,
    action::{Action, Edit},
    answers, connections,
    order::{Column, Order},
    text_field,
};
use crate::{
    base::text,
    model::{Notice, Place},
    session::{Effect, Next},
};

/// Commands remembered.
const REMEMBERED: usize = 50;

/// What the command line remembers.
#[derive(Debug, Clone, Default)]
pub(super) struct Commands {
    /// Commands that were typed, oldest first.
    typed: Vec<String>,
    /// The kubeconfig's contexts, once they were read.
    pub(super) contexts: Vec<String>,
}

/// A command that is being typed.
#[derive(Debug, Clone, Default)]
pub struct CommandLine {
    /// The text so far.
    pub input: Input,
    /// What is wrong with it.
    pub error: Option<String>,
    /// How many commands back, when an earlier one was brought back.
    recalled: usize,
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// What a key does.
    Key(Action),
    /// The list of nodes.
    Nodes,
    /// The pods.
    Pods,
    /// Why connections fail.
    Answers,
    /// The same of one pair.
    Why,
    /// What a cause means.
    Explain,
    /// A node's view.
    View(View),
    /// Another context: the list, or by name.
    Context,
    /// Another namespace for agents.
    Namespace,
    /// The table into a file.
    Save,
    /// Sort by a column.
    Sort,
    /// Filter by an expression.
    Filter,
    /// End the session in so long.
    Budget,
    /// A try of the port under the cursor.
    Probe,
    /// Files into one.
    Merge,
    /// The image of agents that are deployed from now on.
    Image,
}

struct Command {
    /// Its name, and k9s' short ones.
    names: &'static [&'static str],
    does: Does,
    /// What may follow it; empty when nothing may.
    takes: &'static str,
}

const fn plain(names: &'static [&'static str], does: Does) -> Command {
    Command { names, does, takes: "" }
}

const COMMANDS: [Command; 33] = [
    plain(&["nodes", "node", "no"], Does::Nodes),
    plain(&["ports", "port", "po"], Does::Key(Action::Ports)),
    plain(&["pods", "pod"], Does::Pods),
    plain(&["captures", "capture", "cap"], Does::Key(Action::Files)),
    plain(&["files", "file"], Does::Key(Action::Files)),
    plain(&["flows", "flow"], Does::View(View::Flows)),
    plain(&["events", "event", "ev"], Does::Key(Action::Events)),
    plain(&["signals", "signal", "sig"], Does::Key(Action::Signals)),
    plain(&["connections", "connection", "conn"], Does::Key(Action::Connections)),
    plain(&["answers", "answer"], Does::Answers),
    Command { names: &["why"], does: Does::Why, takes: "SOURCE TARGET: address, NAMESPACE/NAME or node, with :PORT" },
    Command {
        names: &["explain"],
        does: Does::Explain,
        takes: "CODE, or nothing: that of the answer under the cursor",
    },
    plain(&["watch"], Does::Key(Action::Watch)),
    plain(&["bundle"], Does::Key(Action::Bundle)),
    plain(&["tail"], Does::Key(Action::Tail)),
    plain(&["sessions", "session"], Does::Key(Action::Sessions)),
    plain(&["history"], Does::Key(Action::History)),
    plain(&["notices"], Does::Key(Action::Notices)),
    Command { names: &["ctx", "context", "contexts"], does: Does::Context, takes: "NAME" },
    Command { names: &["ns", "namespace"], does: Does::Namespace, takes: "NAME, or - for the session's own" },
    Command { names: &["filter"], does: Does::Filter, takes: "EXPRESSION" },
    Command { names: &["sort"], does: Does::Sort, takes: "COLUMN" },
    Command { names: &["merge"], does: Does::Merge, takes: "--pair, or nothing" },
    Command { names: &["save"], does: Does::Save, takes: "FILE.csv or FILE.json" },
    Command { names: &["budget"], does: Does::Budget, takes: "DURATION" },
    Command { names: &["image"], does: Does::Image, takes: "NAME, for agents deployed from now on" },
    plain(&["freeze"], Does::Key(Action::Freeze)),
    Command { names: &["probe"], does: Does::Probe, takes: "nothing: it tries the port under the cursor" },
    plain(&["wireshark", "follow"], Does::Key(Action::Follow)),
    plain(&["report"], Does::Key(Action::Report)),
    plain(&["pause"], Does::Key(Action::Pause)),
    plain(&["help", "h"], Does::Key(Action::Help)),
    plain(&["quit", "q", "q!"], Does::Key(Action::Quit)),
];

/// The commands' names, for the line below what is typed.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.names[0])
}

/// The command of that name, or the only one that begins so.
fn meant(name: &str) -> Result<&'static Command, String> {
    if let Some(command) = COMMANDS.iter().find(|command| command.names.contains(&name)) {
        return Ok(command);
    }
    let beginning: Vec<&Command> = COMMANDS.iter().filter(|command| command.names[0].starts_with(name)).collect();
    let listed = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>().join(" ");
    match beginning.as_slice() {
        [command] => Ok(command),
        [] => Err(format!("unknown command {name:?}; available: {}", listed(&mut names()))),
        several => {
            let mut names = several.iter().map(|command| command.names[0]);
            Err(format!("{name:?} may be: {}", listed(&mut names)))
        }
    }
}

impl App {
    pub(super) fn open_command(&mut self) {
        self.open(Layer::Command(CommandLine::default()));
    }

    /// A key while a command is typed.
    pub(super) fn command_key(&mut self, action: Action) -> Vec<Effect> {
        let completed = if action == Action::NextView { self.completed() } else { None };
        let Some(Layer::Command(CommandLine { input, error, recalled })) = self.layers.last_mut() else {
            return Vec::new();
        };
        match action {
            Action::Edit(edit) => {
                // What was refused is not what the next letters belong to; who wants to mend it moves or deletes in it.
                if error.take().is_some() && matches!(edit, Edit::Insert(_)) {
                    *input = Input::default();
                }
                text_field::apply(input, edit);
            }
            Action::NextView => {
                if let Some(text) = completed {
                    *input = Input::new(text);
                }
            }
            Action::Up | Action::Down => {
                let most = self.past.commands.typed.len();
                *recalled = if action == Action::Up { (*recalled + 1).min(most) } else { recalled.saturating_sub(1) };
                let text =
                    self.past.commands.typed.iter().rev().nth(recalled.wrapping_sub(1)).cloned().unwrap_or_default();
                *input = Input::new(text);
                *error = None;
            }
            Action::Back => self.close(),
            Action::Open => {
                let text = input.value().trim().to_owned();
                return self.run_command(&text);
            }
            _ => {}
        }
        Vec::new()
    }

    fn run_command(&mut self, typed: &str) -> Vec<Effect> {
        if typed.is_empty() {
            self.close();
            return Vec::new();
        }
        let (name, rest) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
        let (name, rest) = (name.to_lowercase(), rest.trim());
        let outcome = match meant(&name) {
            Err(error) => Err(error),
            Ok(command) if command.takes.is_empty() && !rest.is_empty() => {
                Err(format!("{} takes no argument, got {rest:?}", command.names[0]))
            }
            Ok(command) => self.obey(command, rest),
        };
        match outcome {
            Ok(effects) => {
                self.past.commands.typed.retain(|known| known != typed);
                if self.past.commands.typed.len() == REMEMBERED {
                    self.past.commands.typed.remove(0);
                }
                self.past.commands.typed.push(typed.to_owned());
                effects
            }
            Err(message) => {
                if let Some(Layer::Command(line)) = self.layers.last_mut() {
                    line.error = Some(message);
                }
                Vec::new()
            }
        }
    }

    /// Does it; the error says why not, and leaves everything as it was.
    fn obey(&mut self, command: &Command, rest: &str) -> Result<Vec<Effect>, String> {
        let needs = |what: &str| if rest.is_empty() { Err(format!("{} {what}", command.names[0])) } else { Ok(()) };
        let line = self.layers.pop();
        let outcome = match command.does {
            // The screen has a meaning of its own for it.
            Does::Probe if rest.is_empty() => Ok(self.act(Action::Probe)),
            Does::Probe => {
                let elsewhere = text::command(["probe", rest, "--from", "NODE"]);
                Err(format!("probe tries the port under the cursor; any other, in a shell: {elsewhere}"))
            }
            Does::Key(action) => Ok(self.common_key(action)),
            Does::Nodes => {
                self.screen = Screen::Nodes;
                Ok(Vec::new())
            }
            Does::Pods => {
                self.open_pods();
                Ok(Vec::new())
            }
            Does::Answers => {
                self.open_answers();
                Ok(Vec::new())
            }
            Does::Why => self.ask_why(rest),
            Does::Explain => self.explain(rest),
            Does::View(view) => {
                self.screen = self.list.cursor.clone().map_or(Screen::Nodes, Screen::Node);
                self.view = view;
                Ok(Vec::new())
            }
            Does::Context if rest.is_empty() => Ok(vec![Effect::FindContexts]),
            Does::Context
                if !self.past.commands.contexts.is_empty()
                    && !self.past.commands.contexts.iter().any(|name| name == rest) =>
            {
                Err(format!("no context {rest:?}; available: {}", self.past.commands.contexts.join(" ")))
            }
            Does::Context => Ok(self.session.switch(Next::Context(rest.to_owned()))),
            Does::Namespace => self.namespace_command(rest),
            Does::Image if rest.is_empty() => self.session.tell_image().map(|()| Vec::new()),
            Does::Image => self.session.name_image(rest),
            Does::Save => Ok(self.save_table((!rest.is_empty()).then_some(rest))),
            Does::Sort => self.sort_by_word(rest),
            Does::Filter => self.set_filter(rest).map(|()| Vec::new()),
            Does::Merge if self.screen != Screen::Files => {
                Err("merge works on the files screen, on marked files".to_owned())
            }
            Does::Merge => match rest {
                "" => Ok(self.merge_marked(false)),
                "--pair" | "pair" => Ok(self.merge_marked(true)),
                other => Err(format!("merge takes --pair or nothing, got {other:?}")),
            },
            Does::Budget if rest.is_empty() => Ok(self.common_key(Action::Budget)),
            Does::Budget => needs(command.takes).and_then(|()| self.session.move_end(rest)),
        };
        if outcome.is_err() {
            self.layers.extend(line);
        }
        outcome
    }

    fn namespace_command(&mut self, name: &str) -> Result<Vec<Effect>, String> {
        if self.session.terms.place == Place::Local {
            return Err("this machine has no namespaces".to_owned());
        }
        match name {
            "" => {
                let headline = match &self.session.terms.namespace {
                    Some(name) => format!("agents are deployed to namespace {name}"),
                    None => "agents are deployed to the session's own namespace".to_owned(),
                };
                self.session.notify(Notice::info(headline));
                Ok(Vec::new())
            }
            "-" => Ok(self.session.switch(Next::Namespace(None))),
            name if text::is_dns_label(name) => Ok(self.session.switch(Next::Namespace(Some(name.to_owned())))),
            name => Err(format!("invalid namespace {name:?}: use lowercase letters, digits and -")),
        }
    }

    fn sort_by_word(&mut self, word: &str) -> Result<Vec<Effect>, String> {
        let found = Column::ALL.into_iter().find(|column| column.word() == word);
        let words = || Column::ALL.map(Column::word).join(" ");
        if word.is_empty() {
            return Err(format!("sort COLUMN: one of {}", words()));
        }
        let column = found.ok_or_else(|| format!("unknown column {word:?}; available: {}", words()))?;
        match self.screen {
            Screen::Nodes => self.list.order = Some(Order::toggled(self.list.order, column)),
            Screen::Node(_) => {
                if !self.sort_tab(column) {
                    return Err(format!("{} cannot be sorted by {word}", self.view.title()));
                }
            }
            Screen::Files => self.files.order = Some(Order::toggled(self.files.order, column)),
            Screen::Ports => {
                self.ports.order = Some(Order::toggled(self.ports.order, column));
                self.sift_ports();
            }
            Screen::Pods if matches!(column, Column::Name | Column::Status) => {
                self.pods.order = Some(Order::toggled(self.pods.order, column));
            }
            Screen::Pods => return Err(format!("pods cannot be sorted by {word}: use name or status")),
            Screen::Signals if matches!(column, Column::Name | Column::Packets) => self.sort_signals(column),
            Screen::Signals => return Err(format!("signals cannot be sorted by {word}")),
            Screen::Connections if connections::COLUMNS.contains(&column) => self.sort_connections(column),
            Screen::Connections => return Err(format!("connections cannot be sorted by {word}")),
            Screen::Answers if answers::COLUMNS.contains(&column) => self.sort_answers(column),
            Screen::Answers => return Err(format!("answers cannot be sorted by {word}")),
            Screen::Events => return Err("events are always sorted by time".to_owned()),
            Screen::Tail => return Err("packets are always in the order in which they came".to_owned()),
        }
        Ok(Vec::new())
    }

    /// What Tab makes of the text: the longest beginning that all that could be meant share.
    fn completed(&self) -> Option<String> {
        let Some(Layer::Command(CommandLine { input, .. })) = self.layers.last() else { return None };
        let typed = input.value();
        let (before, word, candidates): (String, &str, Vec<String>) = match typed.split_once(' ') {
            None => (String::new(), typed, names().map(str::to_owned).collect()),
            Some((name, word)) => {
                let command = meant(name).ok()?;
                let candidates = match command.does {
                    Does::Context => self.past.commands.contexts.clone(),
                    Does::Sort => Column::ALL.map(|column| column.word().to_owned()).to_vec(),
                    Does::Filter => self.filter_fields().iter().map(|name| format!("{name}:")).collect(),
                    Does::Explain => Code::ALL.map(|code| code.text().to_owned()).to_vec(),
                    Does::Why => self.known_names().into_iter().map(str::to_owned).collect(),
                    _ => return None,
                };
                // Of several words the last one is being typed.
                let (before, word) = match command.does {
                    Does::Why => word.split_at(word.rfind(' ').map_or(0, |at| at + 1)),
                    _ => ("", word),
                };
                (format!("{name} {before}"), word, candidates)
            }
        };
        let fitting: Vec<&String> = candidates.iter().filter(|name| name.starts_with(word)).collect();
        let (first, more) = fitting.split_first()?;
        let shared = more.iter().fold(first.as_str(), |shared, name| {
            let same = shared.chars().zip(name.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
            &shared[..same]
        });
        Some(format!("{before}{shared}"))
    }

    /// What could follow, for the line below what is typed.
    pub fn command_hint(&self) -> String {
        let Some(Layer::Command(CommandLine { input, .. })) = self.layers.last() else { return String::new() };
        let typed = input.value().trim_start();
        match typed.split_once(' ') {
            Some((name, _)) => meant(name).map_or_else(|_| String::new(), |command| command.takes.to_owned()),
            None => names().filter(|name| name.starts_with(typed)).collect::<Vec<_>>().join(" "),
        }
    }
}
