//! Waiting for something to come about: the one loop that looks again and again.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// Between two looks at least, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// What one look has found: what was waited for, or the state as it is.
pub trait Look {
    /// What was waited for.
    type Found;

    /// The state as it is goes into the words of a test that has waited in vain.
    fn found(self) -> Result<Self::Found, String>;
}

impl Look for bool {
    type Found = ();

    fn found(self) -> Result<(), String> {
        if self { Ok(()) } else { Err(String::new()) }
    }
}

impl<T> Look for Option<T> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self.ok_or_else(String::new)
    }
}

impl<T, S: Display> Look for Result<T, S> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self.map_err(|state| state.to_string())
    }
}

/// Looks until what is waited for is there, and returns it. A look that says `Err` says what it saw instead.
///
/// # Panics
///
/// After that time, with what was waited for and what was seen last.
#[track_caller]
pub fn eventually<L: Look>(what: &str, within: Duration, mut look: impl FnMut() -> L) -> L::Found {
    let begin = Instant::now();
    loop {
        let looked = Instant::now();
        match look().found() {
            Ok(found) => return found,
            Err(state) => in_time(what, begin, within, &state),
        }
        thread::sleep(pause(looked));
    }
}

/// [`eventually`] for looks that ask a server.
///
/// # Panics
///
/// After that time, with what was waited for and what was seen last.
pub async fn eventually_async<L: Look>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> L) -> L::Found {
    let begin = Instant::now();
    loop {
        let looked = Instant::now();
        match look().await.found() {
            Ok(found) => return found,
            Err(state) => in_time(what, begin, within, &state),
        }
        tokio::time::sleep(pause(looked)).await;
    }
}

#[track_caller]
fn in_time(what: &str, begin: Instant, within: Duration, state: &str) {
    assert!(begin.elapsed() < within, "{what}: not within {within:?}\n{state}");
}

/// As long as the look took, so that at most half of the time goes into looking.
fn pause(looked: Instant) -> Duration {
    looked.elapsed().clamp(PAUSES.0, PAUSES.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_returned() {
        let mut looks = 0;
        let found = eventually("the third look", Duration::from_secs(10), || {
            looks += 1;
            (looks == 3).then_some("there")
        });
        assert_eq!((found, looks), ("there", 3));
    }

    #[test]
    #[should_panic(expected = "a miracle: not within 1ms\n7 of 8")]
    fn what_does_not_come_is_named_with_what_was_seen_last() {
        eventually::<Result<(), _>>("a miracle", Duration::from_millis(1), || Err("7 of 8"));
    }
}
