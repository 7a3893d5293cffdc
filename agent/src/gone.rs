//! A process that writes for somebody ends when nobody is there any more.
//!
//! Owns the watch over standard input and output of `follow` and `fetch`, which may have nothing to write for hours: a
//! reader that is gone shows as a broken output, and behind an exec as the end of the input.

use std::{
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{FileType, fstat},
};

/// Ends this process, as a failure, once its reader is gone. Output that is no pipe has a reader for good, input that
/// is none says nothing of one.
pub fn end_with_the_reader() {
    let watch = || {
        wait(io::stdin().as_fd(), io::stdout().as_fd());
        // Perhaps nobody reads this either.
        let _ = writeln!(io::stderr(), "nodewatch-agent: the reader closed the output");
        std::process::exit(1);
    };
    // Without the thread a reader that is gone is noticed at the next byte.
    let _ = thread::Builder::new().name("reader".to_owned()).spawn(watch);
}

/// Returns when the input, if it is a pipe, has ended, or the output is broken.
fn wait(input: BorrowedFd<'_>, output: BorrowedFd<'_>) {
    let mut listens = is_pipe(input);
    loop {
        let mut watched = vec![PollFd::from_borrowed_fd(output, PollFlags::empty())];
        if listens {
            watched.push(PollFd::from_borrowed_fd(input, PollFlags::IN));
        }
        if poll(&mut watched, None).is_err() {
            continue;
        }
        let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        if watched[0].revents().intersects(broken) {
            return;
        }
        let Some(said) = watched.get(1).map(PollFd::revents) else { continue };
        if said.contains(PollFlags::IN) {
            // What is said here means nothing; its end does.
            match rustix::io::read(input, &mut [0; 512]) {
                Ok(0) => return,
                Ok(_) | Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(_) => listens = false,
            }
        } else if said.intersects(broken) {
            return;
        }
    }
}

fn is_pipe(descriptor: BorrowedFd<'_>) -> bool {
    fstat(descriptor)
        .is_ok_and(|facts| matches!(FileType::from_raw_mode(facts.st_mode), FileType::Fifo | FileType::Socket))
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::fd::OwnedFd, sync::mpsc};

    use super::*;

    /// Waits on a thread of its own; the receiver hears of its end.
    fn waiting(input: OwnedFd, output: OwnedFd) -> mpsc::Receiver<()> {
        let (told, heard) = mpsc::channel();
        thread::spawn(move || {
            wait(input.as_fd(), output.as_fd());
            told.send(()).expect("the test listens");
        });
        heard
    }

    #[test]
    fn the_end_of_the_input_is_the_end_also_after_words() {
        let (input, mut said) = io::pipe().expect("a pipe");
        let (_reader, output) = io::pipe().expect("a pipe");
        let ended = waiting(input.into(), output.into());
        said.write_all(b"words").expect("room");
        assert!(ended.try_recv().is_err());
        drop(said);
        ended.recv().expect("it ends");
    }

    #[test]
    fn a_reader_that_is_gone_is_the_end() {
        let (input, _said) = io::pipe().expect("a pipe");
        let (reader, output) = io::pipe().expect("a pipe");
        let ended = waiting(input.into(), output.into());
        assert!(ended.try_recv().is_err());
        drop(reader);
        ended.recv().expect("it ends");
    }

    #[test]
    fn an_input_that_is_no_pipe_says_nothing() {
        let null = std::fs::File::open("/dev/null").expect("there");
        let (mut reader, output) = io::pipe().expect("a pipe");
        let kept: OwnedFd = output.try_clone().expect("a descriptor").into();
        let ended = waiting(null.into(), kept);
        { output }.write_all(b"x").expect("room");
        reader.read_exact(&mut [0]).expect("a byte");
        assert!(ended.try_recv().is_err());
        drop(reader);
        ended.recv().expect("it ends");
    }
}
