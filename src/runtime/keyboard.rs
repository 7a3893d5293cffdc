//! What is typed, for as long as the terminal is this program's.
//!
//! Owns the reader of keys, and that there is none while the terminal is lent. Must not know what keys mean.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use crossterm::event::{Event, EventStream};
use futures::Stream;

use crate::base::loan;

/// Events of the terminal.
#[derive(Default)]
pub(super) struct Keyboard(Option<EventStream>);

impl Stream for Keyboard {
    type Item = io::Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if loan::is_lent() {
            // Its thread would take what is typed for somebody else.
            self.0 = None;
            return Poll::Pending;
        }
        Pin::new(self.0.get_or_insert_with(EventStream::new)).poll_next(context)
    }
}
