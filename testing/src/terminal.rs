//! A terminal with a program in it, driven by keys: tmux.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::wait::eventually;

/// What a screen is to show comes within that time.
const WITHIN: Duration = Duration::from_secs(90);

/// Keys are taken in within that time.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// Terminals of this test so far.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// A terminal of its own, gone when dropped.
pub struct Tmux {
    name: String,
    folder: tempfile::TempDir,
    /// The program's end of the terminal.
    tty: PathBuf,
}

impl Tmux {
    /// One of that size in which a command runs, and what tmux and the command find in their environment.
    pub fn running(size: (u16, u16), command: &str, environment: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("nodewatch-test-{}-{number}", std::process::id());
        let (width, height) = (size.0.to_string(), size.1.to_string());
        // A server of its own: one that runs already would give its own environment.
        let started = Command::new("tmux")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .args(["-L", &name, "-u", "new-session", "-d", "-P", "-F", "#{pane_tty}"])
            .args(["-s", &name, "-x", &width, "-y", &height, "-c"])
            .arg(folder.path())
            .arg(command)
            .output()
            .expect("tmux");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let tty = PathBuf::from(String::from_utf8_lossy(&started.stdout).trim());
        Self { name, folder, tty }
    }

    /// A program of ours with these arguments. When it has ended the screen shows `EXIT` and its exit code.
    pub fn program(size: (u16, u16), program: &str, arguments: &str, environment: &[(&str, String)]) -> Self {
        let command = format!("LANG=C.UTF-8 {program} {arguments}; echo EXIT $?; sleep 600");
        Self::running(size, &command, environment)
    }

    /// One key after another, each once the one before was taken in and the screen is quiet.
    pub fn keys(&mut self, keys: &[&str]) {
        for key in keys {
            self.send(&[key]);
        }
    }

    /// Types a text.
    pub fn text(&mut self, text: &str) {
        self.send(&["-l", text]);
    }

    fn send(&self, keys: &[&str]) {
        self.tmux(&["send-keys", "-t", &self.name], keys);
        // By the time that tmux answers it has handed on what it was told before.
        eventually(&format!("{keys:?} to be taken in"), TAKEN_WITHIN, || {
            let screen = self.screen();
            if self.is_typed_ahead() { Err(screen) } else { Ok(()) }
        });
        self.until_quiet();
    }

    /// Whether keys wait that the program has not read.
    fn is_typed_ahead(&self) -> bool {
        let no_terminal_of_ours = rustix::fs::OFlags::NOCTTY.bits() as i32;
        // A terminal whose program has ended has nobody who would read.
        let Ok(tty) = fs::File::options().read(true).custom_flags(no_terminal_of_ours).open(&self.tty) else {
            return false;
        };
        let mut asked = [PollFd::new(&tty, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&now)).expect("poll");
        asked[0].revents().contains(PollFlags::IN)
    }

    /// Waits until the screen is the same at two looks. One that never is does not hold the test up: what a test looks
    /// for on the screen it waits for with [`Self::until`].
    fn until_quiet(&self) {
        let mut before = self.screen();
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(30));
            let screen = self.screen();
            if screen == before {
                return;
            }
            before = screen;
        }
    }

    /// Gives the terminal another size.
    pub fn resize(&mut self, width: u16, height: u16) {
        self.tmux(&["resize-window", "-t", &self.name, "-x", &width.to_string(), "-y", &height.to_string()], &[]);
        self.until_quiet();
    }

    /// This terminal takes what programs copy (OSC 52), as those with a clipboard do.
    pub fn take_what_is_copied(&self) {
        self.tmux(&["set", "-s", "set-clipboard", "on"], &[]);
    }

    fn tmux(&self, command: &[&str], more: &[&str]) {
        let done = Command::new("tmux").args(["-L", &self.name]).args(command).args(more).status();
        assert!(done.expect("tmux").success(), "{command:?} {more:?}");
    }

    /// Waits until something was copied, and returns it.
    pub fn copied(&self) -> String {
        eventually("something copied", WITHIN, || {
            let shown = Command::new("tmux").args(["-L", &self.name, "show-buffer"]).output().expect("tmux");
            shown.status.success().then(|| String::from_utf8_lossy(&shown.stdout).into_owned())
        })
    }

    /// What the screen shows now.
    pub fn screen(&self) -> String {
        // -J joins lines that the terminal has wrapped.
        let shown = Command::new("tmux")
            .args(["-L", &self.name, "capture-pane", "-p", "-J", "-t", &self.name])
            .output()
            .expect("tmux");
        String::from_utf8_lossy(&shown.stdout).into_owned()
    }

    /// Waits until the screen shows that text, and returns the screen.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        self.until_so(&format!("{text:?} on the screen"), |screen| screen.contains(text))
    }

    /// Waits until the screen shows that text no more.
    #[track_caller]
    pub fn until_gone(&mut self, text: &str) -> String {
        self.until_so(&format!("{text:?} gone from the screen"), |screen| !screen.contains(text))
    }

    /// Waits until the screen is so, and returns it.
    #[track_caller]
    pub fn until_so(&mut self, what: &str, so: impl Fn(&str) -> bool) -> String {
        eventually(what, WITHIN, || {
            let screen = self.screen();
            if so(&screen) { Ok(screen) } else { Err(screen) }
        })
    }

    /// Waits until that many capture files are here.
    #[track_caller]
    pub fn until_files(&self, count: usize) {
        eventually(&format!("{count} files"), WITHIN, || {
            if self.files().len() < count { Err(self.screen()) } else { Ok(()) }
        });
    }

    /// The capture files that the program has brought home.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = self.all_files();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "pcapng"));
        files
    }

    /// Every file that the program has written.
    pub fn all_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path);
                }
            }
        }
        found
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // The session may have ended by itself.
        let _ = Command::new("tmux").args(["-L", &self.name, "kill-server"]).status();
    }
}
