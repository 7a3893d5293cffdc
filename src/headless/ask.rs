//! Questions to whoever sits at the terminal.
//!
//! Owns how they are asked and what counts as yes. Must not know what is asked about.

use std::io::{self, BufRead, IsTerminal};

use tokio::sync::oneshot;

use super::output;

/// A question that a person says yes to.
pub(super) async fn asked(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        output::say("error: cannot ask, stdin is not a terminal: use --yes, or --dry-run to see the plan");
        return false;
    }
    output::say(question);
    matches!(answer().await.as_str(), "y" | "Y" | "yes")
}

/// What is typed, read by a thread that nobody waits for at the end: a signal ends the program all the same.
pub(super) async fn answer() -> String {
    let (typed, line) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // No answer is no.
        let _ = io::stdin().lock().read_line(&mut line);
        let _ = typed.send(line);
    });
    line.await.unwrap_or_default().trim().to_owned()
}
