//! What a process that was killed has left, and files that are not as they should be.

use super::*;

#[test]
fn one_bad_file_keeps_no_ring_from_opening_and_what_was_known_of_it_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = open(&folder);
    for name in ["a-1.pcapng", "b-2.pcapng", "c-3.pcapng"] {
        write(&ring, name, 2, true);
    }
    close_down(ring);
    let at = |name: &str| folder.path().join(name);
    // Of one there is a folder now, of another a pipe; a third looks other than it was and cannot be opened.
    fs::remove_file(at("a-1.pcapng")).expect("removed");
    fs::create_dir(at("a-1.pcapng")).expect("a folder");
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("x-9.pcapng"), pipe, rustix::fs::Mode::RWXU, 0).expect("a pipe");
    let known = fs::read(at("b-2.pcapng")).expect("read");
    fs::write(at("b-2.pcapng"), &known[..known.len() - 100]).expect("cut");
    fs::write(at("y-8.pcapng"), bytes(1, true)).expect("written");
    // What is run cannot be opened for writing, whoever asks.
    let running: Vec<_> = ["b-2.pcapng", "y-8.pcapng"].map(|name| Running::instead_of(&at(name))).into();

    let ring = open(&folder);
    let files = ring.files();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["b-2.pcapng", "c-3.pcapng"]);
    assert!(matches!(&files[0].delivery, Delivery::Lost { reason } if reason.contains("b-2.pcapng")), "{files:?}");
    assert!(files[0].incomplete.contains("cannot open") && files[1].incomplete.is_empty(), "{files:?}");
    let list = ring.list();
    assert_eq!((list.lost.files, list.discarded.files), (1, 1));
    let said = ring.messages().join("; ");
    for word in ["ignored a-1.pcapng in the ring's folder: not a file", "ignored x-9.pcapng", "ignored y-8.pcapng"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(ring.sequence().take() > 9, "no file comes to be called as what is there");
    drop(running);
}

/// A program that runs out of a file in the ring's folder until this is dropped: nobody can write there.
struct Running(std::process::Child);

impl Running {
    fn instead_of(path: &std::path::Path) -> Self {
        fs::remove_file(path).expect("removed");
        fs::copy("/bin/sleep", path).expect("copied");
        Self(std::process::Command::new(path).arg("60").spawn().expect("it runs"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn files_that_the_list_does_not_know_are_of_the_recorder_that_ran_and_a_half_saved_freeze_is_saved_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::standing(1_000_000, WALL);
    let ring = recorder(&folder, &clock);
    let freeze = ring.add_freeze(Duration::from_secs(5), Duration::ZERO).expect("few wait");
    close_down(ring);
    // It was killed before it could write the next list.
    let half = store::file_name(WALL, 0, freeze.id);
    let piece = store::file_name(WALL - 20_000, 0, freeze.id + 1);
    for name in [&half, &piece] {
        fs::write(folder.path().join(name), bytes(3, false)).expect("written");
    }
    let file = File::options().write(true).open(folder.path().join(&piece)).expect("open");
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_millis(WALL - 4000)).expect("set");
    let ring = Ring::open_by(Store::open(folder.path()).expect("a folder"), "n", clock.clone()).expect("a ring");
    assert_eq!(ring.files(), [], "nobody chose to keep it");
    assert!(!folder.path().join(&half).exists());
    let known = ring.pieces(&freeze);
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].file.name.as_str(), known[0].capture), (piece.as_str(), 7));
    assert_eq!(known[0].span, Some(BootSpan { from: 980_000, to: 996_000 }));
}
