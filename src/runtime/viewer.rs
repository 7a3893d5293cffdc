//! The viewer of captures: Wireshark, or what the config names in its place.
//!
//! Owns its start, the pipe that running captures are fed through, and what is said of its end.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    process::{Child, ChildStderr, Command},
    sync::{mpsc, oneshot},
};

use super::outlets::Outlet;
use crate::{
    agents::live::{self, Live},
    base::text,
    config::file::PLACE,
    model::{NodeName, Notice},
    session::{Event, Job},
};

/// A viewer has so long to open what it is to read.
const VIEWER_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long copies wait for each other while captures run.
const PAIR_WITHIN: i64 = 2_000_000_000;
/// A viewer's last words: so many bytes are looked through for a line that says something.
const LAST_BYTES: usize = 4096;
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(500);

const VIEWER_HELP: &str =
    "install Wireshark, or set `viewer` in the config, e.g. [\"tmux\", \"new-window\", \"termshark\", \"-i\", \"{}\"]";
const VIEWER_DIED: &str = "start it by hand to see why, or set `viewer` in the config, e.g. [\"tmux\", \"new-window\", \
                           \"termshark\", \"-i\", \"{}\"]";
/// A viewer that is none of those that are known.
const UNKNOWN: &str = "the viewer";
const IN_TMUX: [&str; 5] = ["tmux", "new-window", "termshark", "-i", PLACE];

/// What decides which viewer can be started here.
#[derive(Debug, Clone, Copy)]
struct Here {
    /// Windows can be opened.
    windows: bool,
    /// Inside tmux, with termshark installed.
    termshark: bool,
}

impl Here {
    fn look() -> Self {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let windows = !cfg!(target_os = "linux") || set("DISPLAY") || set("WAYLAND_DISPLAY");
        Self { windows, termshark: set("TMUX") && is_on_the_path("termshark") }
    }
}

fn is_on_the_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What is started: what the config names, and where that is Wireshark and there are no windows, termshark in tmux.
fn chosen(viewer: &[String], here: Here) -> Result<Vec<String>, Notice> {
    let named = viewer.first().map(|program| Path::new(program).file_name().unwrap_or_default().to_string_lossy());
    if here.windows || named.as_deref() != Some("wireshark") {
        return Ok(viewer.to_vec());
    }
    if here.termshark {
        return Ok(IN_TMUX.map(str::to_owned).to_vec());
    }
    let next_step =
        "over SSH: nodewatch-tui capture --out - | ...; in tmux, termshark is the viewer once it is installed";
    Err(Notice::error(
        "Wireshark needs a window and there is none here",
        "no DISPLAY and no WAYLAND_DISPLAY",
        next_step,
    ))
}

/// How a viewer of live captures opens a file: that in place of an interface. Those that are known take a display filter.
fn opening(command: Vec<String>, filter: Option<&str>) -> Vec<String> {
    let filters = shown_as(&command) != UNKNOWN;
    let parts = command.into_iter().filter(|part| part != "-k");
    let opens = parts.map(|part| if part == "-i" { "-r".to_owned() } else { part });
    let filter = filter.filter(|_| filters).map(|filter| ["-Y".to_owned(), filter.to_owned()]);
    opens.chain(filter.into_iter().flatten()).collect()
}

/// What a viewer is called, for people.
fn shown_as(viewer: &[String]) -> String {
    let known = ["wireshark", "termshark"].into_iter().find(|name| {
        viewer.iter().any(|part| Path::new(part).file_name().is_some_and(|file| file.to_string_lossy() == **name))
    });
    match known {
        Some("wireshark") => "Wireshark".to_owned(),
        Some(name) => name.to_owned(),
        None => UNKNOWN.to_owned(),
    }
}

impl Outlet {
    /// Starts the viewer on a pipe and feeds it until the captures end or it is closed; with `pair` each packet that
    /// several nodes have goes to it once.
    pub(super) async fn follow(self, nodes: Vec<NodeName>, pair: bool, events: mpsc::Sender<Event>) -> Event {
        let names: Vec<String> = nodes.iter().map(|node| node.0.clone()).collect();
        let names = names.join(", ");
        let headline = format!("following {names}");
        let failed = |notice: Notice| Event::Ended(Job::Follow, notice);
        let Some(pipe) = Pipe::new() else {
            return failed(Notice::error(headline, "cannot create a pipe", "set TMPDIR to a writable folder"));
        };
        let command = match chosen(&self.outlets.viewer, Here::look()) {
            Ok(command) => command,
            Err(notice) => return failed(notice),
        };
        let mut viewer = match Viewer::start(&command, &pipe.path) {
            Ok(viewer) => viewer,
            Err(notice) => return failed(notice),
        };
        let since = crate::base::clock::unix_millis();
        let site = Arc::clone(&self.site);
        let (first, described) = oneshot::channel();
        let live = Live { pair: pair.then_some(PAIR_WITHIN), first: Some(first) };
        let feed = async {
            let out = pipe.opened().await.map_err(live::LiveError::from)?;
            let (join, joining) = mpsc::unbounded_channel();
            let several = nodes.len() > 1;
            for node in nodes {
                // Its other end is here.
                let _ = join.send(node);
            }
            drop(join);
            let told = async {
                if let Ok(interface) = described.await {
                    let notice = Notice::info(follows(&shown_as(&command), &names, &interface, several, pair));
                    // The app being gone ends everything anyway.
                    let _ = events.send(Event::Told(notice)).await;
                }
            };
            tokio::join!(live::follow(site, joining, since, out, live), told).0
        };
        let ended = tokio::select! {
            fed = feed => match fed {
                Ok(followed) if followed.is_whole() => {
                    let shown = text::counted(followed.packets as usize, "packet");
                    Notice::info(format!("{headline}: {shown} shown, the captures have ended"))
                }
                Ok(followed) => {
                    Notice::warning(headline, followed.faults().join("; "), "press {follow} again").naming_keys()
                }
                // The user has closed it, or it has died.
                Err(live::LiveError::Reader(_)) => match viewer.failed_within(LAST_WORDS_WITHIN).await {
                    Some(why) => Notice::error(headline, why, VIEWER_DIED),
                    None => Notice::info(format!("{headline}: the viewer was closed")),
                },
            },
            // One that hands the pipe on to another program ends at once, and well.
            why = viewer.failed() => Notice::error(headline, why, VIEWER_DIED),
        };
        Event::Ended(Job::Follow, ended)
    }

    /// Opens a file in the viewer, which is told the names of addresses, and what of it to show where it can be.
    pub(super) async fn view(self, file: PathBuf, filter: Option<String>) -> Event {
        let command = match chosen(&self.outlets.viewer, Here::look()) {
            Ok(command) => command,
            Err(notice) => return Event::Told(notice),
        };
        let opens = opening(command, filter.as_deref());
        let named = self.named(&file).await;
        let mut viewer = match Viewer::start(&opens, named.as_deref().unwrap_or(&file)) {
            Ok(viewer) => viewer,
            Err(notice) => return Event::Told(notice),
        };
        let shown = filter.map_or_else(String::new, |filter| format!(": {filter}"));
        Event::Told(match viewer.failed_within(LAST_WORDS_WITHIN).await {
            Some(why) => Notice::error(format!("cannot open {}", file.display()), why, VIEWER_DIED),
            None => Notice::info(format!("{} opens {}{shown}", shown_as(&opens), file.display())),
        })
    }
}

/// What is said once packets come.
fn follows(viewer: &str, names: &str, interface: &str, several: bool, pair: bool) -> String {
    match (several, pair) {
        (false, _) => format!("{viewer} follows {names} live"),
        (true, true) => format!("{viewer} follows {names} live, each packet once: its comment has both times"),
        (true, false) => {
            format!("{viewer} follows {names} live: frame.interface_name == {interface:?} shows one side")
        }
    }
}

/// A viewer that was started, and what it says last.
struct Viewer {
    name: String,
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Viewer {
    fn start(command: &[String], place: &Path) -> Result<Self, Notice> {
        let parts: Vec<std::ffi::OsString> =
            command.iter().map(|part| if part == PLACE { place.as_os_str().to_owned() } else { part.into() }).collect();
        let program = parts.first().cloned().unwrap_or_default();
        let mut child = Command::new(&program)
            .args(parts.iter().skip(1))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal is for this program; the viewer outlives it when the user wants.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                let headline = format!("cannot start the viewer {}", program.display());
                Notice::error(headline, error.to_string(), VIEWER_HELP)
            })?;
        let said: Arc<Mutex<Vec<u8>>> = Arc::default();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(listen(stderr, Arc::clone(&said)));
        }
        Ok(Self { name: program.to_string_lossy().into_owned(), child, said })
    }

    /// Waits for it to end badly; one that ends well says nothing.
    async fn failed(&mut self) -> String {
        let how = match self.child.wait().await {
            Ok(status) if status.success() => return std::future::pending().await,
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        // What it said last comes with its end, or a little later.
        tokio::time::sleep(LOOK_EVERY).await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
        let last = last.map_or_else(String::new, |line| format!(": {}", text::visible(line)));
        format!("the viewer {:?} ended with {how}{last}", self.name)
    }

    /// Why it ended badly, when it does within that time.
    async fn failed_within(&mut self, within: Duration) -> Option<String> {
        tokio::time::timeout(within, self.failed()).await.ok()
    }
}

/// Keeps the end of what it says.
async fn listen(mut stderr: ChildStderr, said: Arc<Mutex<Vec<u8>>>) {
    let mut bytes = [0; LAST_BYTES];
    while let Ok(read @ 1..) = stderr.read(&mut bytes).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(&bytes[..read]);
        let over = said.len().saturating_sub(LAST_BYTES);
        said.drain(..over);
    }
}

/// A named pipe in a folder of its own, both gone when dropped.
struct Pipe {
    folder: PathBuf,
    path: PathBuf,
}

impl Pipe {
    fn new() -> Option<Self> {
        let folder = env::temp_dir().join(format!("nodewatch-{:08x}", rand::random::<u32>()));
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&folder).ok()?;
        let path = folder.join("capture.pcapng");
        // POSIX has the program wherever there is a pipe.
        let made = std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&path).status();
        let pipe = Self { folder, path };
        made.is_ok_and(|status| status.success()).then_some(pipe)
    }

    /// Its writing end, once the viewer has opened the other.
    async fn opened(&self) -> std::io::Result<pipe::Sender> {
        let mut waited = Duration::ZERO;
        loop {
            match pipe::OpenOptions::new().open_sender(&self.path) {
                Ok(sender) => return Ok(sender),
                Err(error) if waited >= VIEWER_WITHIN => return Err(error),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
            waited += LOOK_EVERY;
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // What is left is an empty name in the system's folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::VIEWER;

    #[test]
    fn where_there_is_no_window_termshark_is_taken_or_it_is_said_so() {
        let wireshark = VIEWER.map(str::to_owned);
        let own = ["less".to_owned(), PLACE.to_owned()];
        let here = |windows, termshark| Here { windows, termshark };
        assert_eq!(chosen(&wireshark, here(true, true)).expect("a viewer"), wireshark);
        assert_eq!(chosen(&wireshark, here(false, true)).expect("a viewer"), IN_TMUX);
        assert_eq!(chosen(&own, here(false, false)).expect("a viewer"), own);
        let notice = chosen(&wireshark, here(false, false)).expect_err("none");
        assert!(notice.line().starts_with("Wireshark needs a window and there is none here"), "{}", notice.line());
        assert_eq!(
            (shown_as(&wireshark), shown_as(&IN_TMUX.map(str::to_owned))),
            ("Wireshark".into(), "termshark".into())
        );
    }

    #[test]
    fn a_file_is_opened_at_what_is_asked_for_where_the_viewer_can() {
        let file = opening(VIEWER.map(str::to_owned).to_vec(), Some("tcp.port == 1"));
        assert_eq!(file[..3], ["wireshark", "-r", PLACE]);
        assert_eq!(file[file.len() - 2..], ["-Y", "tcp.port == 1"]);
        let own = ["less".to_owned(), PLACE.to_owned()];
        assert_eq!(opening(own.to_vec(), Some("tcp")), own);
        let in_tmux = ["tmux", "new-window", "termshark", "-r", PLACE];
        assert_eq!(opening(IN_TMUX.map(str::to_owned).to_vec(), None), in_tmux);
    }

    #[test]
    fn what_is_followed_is_said_with_how_to_see_one_side() {
        assert_eq!(follows("Wireshark", "a", "a/eth0", false, false), "Wireshark follows a live");
        let said = "Wireshark follows a, b live: frame.interface_name == \"a/eth0\" shows one side";
        assert_eq!(follows("Wireshark", "a, b", "a/eth0", true, false), said);
    }

    #[tokio::test]
    async fn a_viewer_that_dies_is_named_with_its_last_words() {
        let command =
            ["sh", "-c", "echo first >&2; echo no display: $0 >&2; echo >&2; exit 3", PLACE].map(str::to_owned);
        let mut viewer = Viewer::start(&command, Path::new("here")).expect("started");
        let why = viewer.failed().await;
        assert_eq!(why, "the viewer \"sh\" ended with exit status: 3: no display: here");
        let command = ["true", PLACE].map(str::to_owned);
        let mut viewer = Viewer::start(&command, Path::new("here")).expect("started");
        assert_eq!(viewer.failed_within(Duration::from_millis(300)).await, None);
    }
}
