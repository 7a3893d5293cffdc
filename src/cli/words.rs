//! Options that take one of a few words.
//!
//! Owns their completion in shells. Their meaning, and the errors for other words, belong to their parser.

use std::ffi::OsStr;

use clap::{
    Arg, Command, Error,
    builder::{PossibleValue, TypedValueParser},
};

/// A parser, and the words that it takes.
#[derive(Clone)]
pub(super) struct Words<T: 'static> {
    parse: fn(&str) -> Result<T, String>,
    words: Vec<&'static str>,
}

impl<T> Words<T> {
    pub(super) fn new(parse: fn(&str) -> Result<T, String>, words: impl IntoIterator<Item = &'static str>) -> Self {
        Self { parse, words: words.into_iter().collect() }
    }
}

impl<T: Clone + Send + Sync> TypedValueParser for Words<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        self.parse.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.words.iter().map(PossibleValue::new)))
    }
}
