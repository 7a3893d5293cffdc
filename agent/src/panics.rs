//! What a panic means in a program that nobody watches: its end, and not a process that is deaf in one part. But for
//! what says itself that it has ended, and for what its caller can do without.
//!
//! Owns the exit code. A container that ends so is started again, and goes on with what is in its ring.

use std::{
    cell::{Cell, RefCell},
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
    thread,
};

/// What Rust's own programs end with when their first thread panics.
pub const EXIT_CODE: i32 = 101;

thread_local! {
    /// What is said if this thread panics, where that does not end the process.
    static CONTAINED: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    /// A panic on this thread is its caller's to deal with.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What was done has panicked, which was told on standard error.
#[derive(Debug, thiserror::Error)]
#[error("it has panicked: this is a bug")]
pub struct Panicked;

/// Does that, of which a panic ends nothing but this work. A program that cannot unwind ends all the same.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let before = CAUGHT.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(before);
    done.map_err(|_| Panicked)
}

/// Does that on this thread, of which a panic ends nothing but this work: then `say` is called.
pub fn contained(say: impl FnOnce() + 'static, work: impl FnOnce()) {
    CONTAINED.set(Some(Box::new(say)));
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    // Where no hook has said it.
    if let (Err(_), Some(say)) = (done, CONTAINED.take()) {
        say();
    }
}

/// Goes on to unwind; a program that cannot unwind would end, so there the thread stands still for ever.
fn end_the_thread() {
    while cfg!(panic = "abort") {
        thread::park();
    }
}

/// From now on a panic of any thread or task, caught or not, ends this process once it is told on standard error.
pub fn end_the_process() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tell(panic);
        if cfg!(panic = "unwind") && CAUGHT.get() {
            return;
        }
        if let Some(say) = CONTAINED.take() {
            say();
            return end_the_thread();
        }
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(io::stderr(), "nodewatch-agent: this is a bug; exiting so that the agent is restarted");
        // Nothing is closed here, as a lock may be held: the next start cuts and marks what is torn.
        std::process::exit(EXIT_CODE);
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Says which part is to panic, in a process of its own.
    const PART: &str = "NODEWATCH_TEST_PANIC";

    /// Not a test by itself: what the one below runs.
    #[test]
    fn a_process_with_a_part_that_panics() {
        let Ok(part) = std::env::var(PART) else { return };
        end_the_process();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            match part.as_str() {
                "thread" => drop(thread::spawn(|| panic!("a thread"))),
                "task" => drop(tokio::spawn(async { panic!("a task") })),
                "contained" => {
                    let (said, hears) = std::sync::mpsc::channel();
                    let say = move || said.send("over").expect("it is heard");
                    thread::spawn(move || contained(say, || panic!("a part that says so")));
                    assert_eq!(hears.recv(), Ok("over"));
                    std::process::exit(7);
                }
                "work" => {
                    assert!(caught(|| panic!("what its caller can do without")).is_err());
                    assert_eq!(caught(|| 7).ok(), Some(7));
                    thread::spawn(|| panic!("nobody's")).join().expect_err("the process has ended by then");
                }
                "blocking" => drop(tokio::task::spawn_blocking(|| panic!("a thread beside the hub"))),
                other => drop(panic::catch_unwind(|| panic!("caught: {other}"))),
            }
            std::future::pending::<()>().await;
        });
    }

    #[test]
    fn a_part_that_says_that_it_has_ended_ends_alone() {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command
            .args(["--exact", "panics::tests::a_process_with_a_part_that_panics", "--nocapture"])
            .env(PART, "contained");
        assert_eq!(command.output().expect("it ran").status.code(), Some(7));
        contained(|| panic!("nothing has failed"), || ());
    }

    #[test]
    fn whatever_part_panics_the_process_ends_and_says_so() {
        for part in ["thread", "task", "blocking", "caught", "work"] {
            let mut command = Command::new(std::env::current_exe().expect("this test"));
            command
                .args(["--exact", "panics::tests::a_process_with_a_part_that_panics", "--nocapture"])
                .env(PART, part);
            let output = command.output().expect("it ran");
            assert_eq!(output.status.code(), Some(EXIT_CODE), "{part}");
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(told.contains("panicked at") && told.contains("so that the agent is restarted"), "{part}: {told}");
            assert_eq!(told.contains("nobody's"), part == "work", "{part}: {told}");
        }
    }
}
