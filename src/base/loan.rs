//! The terminal, lent by the screen that draws on it to a program that has to ask something there.
//!
//! Owns the asking, the lending and the giving back. Must not know what draws, nor what asks.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

/// A screen answers at once, once it has put the terminal back.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// A screen is drawn on this process's terminal.
static DRAWN: AtomicBool = AtomicBool::new(false);
/// It has lent it.
static LENT: AtomicBool = AtomicBool::new(false);
/// Who asks for it.
static ASKED: Mutex<Option<oneshot::Sender<Loan>>> = Mutex::new(None);
static MORE: Notify = Notify::const_new();

/// From now on a screen has the terminal.
pub fn screen_opens() {
    DRAWN.store(true, Ordering::SeqCst);
}

/// The screen has the terminal: nothing else may write there, and nobody else may read.
pub fn is_taken() -> bool {
    DRAWN.load(Ordering::SeqCst) && !is_lent()
}

/// The screen has lent the terminal.
pub fn is_lent() -> bool {
    LENT.load(Ordering::SeqCst)
}

/// The terminal, until this is dropped.
#[derive(Debug)]
pub struct Loan(Option<oneshot::Sender<()>>);

impl Drop for Loan {
    fn drop(&mut self) {
        LENT.store(false, Ordering::SeqCst);
        if let Some(back) = self.0.take() {
            // A screen that is gone wants nothing back.
            let _ = back.send(());
        }
    }
}

/// Asks the screen for the terminal; `None` where it does not lend it now.
pub async fn borrow() -> Option<Loan> {
    if !is_taken() {
        return None;
    }
    let (answer, answered) = oneshot::channel();
    // Of two that ask the later one is heard.
    *ASKED.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    MORE.notify_one();
    timeout(ANSWERED_WITHIN, answered).await.ok()?.ok()
}

/// Somebody wants the terminal; dropped, it is refused.
#[derive(Debug)]
pub struct Ask(oneshot::Sender<Loan>);

/// The next one who wants it. Cancel-safe.
pub async fn asked() -> Ask {
    loop {
        if let Some(answer) = ASKED.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ask(answer);
        }
        MORE.notified().await;
    }
}

impl Ask {
    /// The terminal is lent from now on, so that whoever reads it lets it go before it is handed over.
    pub fn accept(self) -> Lending {
        LENT.store(true, Ordering::SeqCst);
        Lending { answer: self.0, loan: Loan(None) }
    }
}

/// A terminal that is lent and not yet handed over.
#[derive(Debug)]
pub struct Lending {
    answer: oneshot::Sender<Loan>,
    loan: Loan,
}

impl Lending {
    /// Hands over the terminal, which has been put back; what comes is its return. `None` when nobody wants it any more.
    pub fn hand_over(mut self) -> Option<oneshot::Receiver<()>> {
        let (back, returned) = oneshot::channel();
        self.loan.0 = Some(back);
        // One that is not taken is given back by being dropped.
        self.answer.send(self.loan).is_ok().then_some(returned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_terminal_is_lent_by_whoever_draws_on_it_and_comes_back() {
        assert!(borrow().await.is_none(), "nobody draws");
        screen_opens();
        assert!(borrow().await.is_none(), "nobody answers");
        let (refused, ()) = tokio::join!(borrow(), async { drop(asked().await) });
        assert!(refused.is_none() && is_taken());
        let lends = async {
            let lending = asked().await.accept();
            assert!(!is_taken(), "nobody reads from here on");
            lending.hand_over()
        };
        let (loan, returned) = tokio::join!(borrow(), lends);
        assert!(loan.is_some() && is_lent());
        drop(loan);
        assert!(returned.expect("wanted").await.is_ok() && is_taken());
        let gone = tokio::select! {
            _ = borrow() => panic!("nobody has answered"),
            ask = asked() => ask,
        };
        assert!(gone.accept().hand_over().is_none() && is_taken(), "who asked does not wait any more");
    }
}
