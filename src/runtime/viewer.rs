//! The viewer of captures: Wireshark, or what the config names in its place.
//!
//! Owns its start, the pipe that running captures are fed through, and what is said of its end.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::unix::pipe,
    process::{Child, Command},
    sync::mpsc,
};

use super::outlets::Outlet;
use crate::{
    agents::live,
    base::text,
    config::file::PLACE,
    model::{NodeName, Notice},
    session::{Event, Job},
};

/// A viewer has so long to open what it is to read.
const VIEWER_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);

const VIEWER_HELP: &str =
    "install Wireshark, or set `viewer` in the config, e.g. [\"tmux\", \"new-window\", \"termshark\", \"-i\", \"{}\"]";

impl Outlet {
    /// Starts the viewer on a pipe and feeds it until the captures end or it is closed.
    pub(super) async fn follow(self, nodes: Vec<NodeName>) -> Event {
        let names: Vec<String> = nodes.iter().map(|node| node.0.clone()).collect();
        let headline = format!("following {}", names.join(", "));
        let Some(pipe) = Pipe::new() else {
            let notice = Notice::error(headline, "cannot create a pipe", "set TMPDIR to a writable folder");
            return Event::Ended(Job::Follow, notice);
        };
        let mut viewer = match self.viewer(&pipe.path) {
            Ok(viewer) => viewer,
            Err(notice) => return Event::Ended(Job::Follow, notice),
        };
        let since = crate::base::clock::unix_millis();
        let site = Arc::clone(&self.site);
        let feed = async {
            let out = pipe.opened().await.map_err(live::LiveError::from)?;
            let (join, joining) = mpsc::unbounded_channel();
            for node in nodes {
                // Its other end is here.
                let _ = join.send(node);
            }
            drop(join);
            live::follow(site, joining, since, out).await
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
                // The user has closed it.
                Err(live::LiveError::Reader(_)) => Notice::info(format!("{headline}: the viewer was closed")),
            },
            // One that hands the pipe on to another program ends at once, and well.
            Some(code) = failed_viewer(&mut viewer) => {
                Notice::error(headline, format!("the viewer {:?} ended with {code}", self.outlets.viewer[0]), VIEWER_HELP)
            }
        };
        Event::Ended(Job::Follow, ended)
    }

    pub(super) fn view(&self, file: &Path) -> Event {
        // A viewer of live captures reads a file in place of an interface.
        let opens: Vec<String> = self
            .outlets
            .viewer
            .iter()
            .filter(|part| *part != "-k")
            .map(|part| if part == "-i" { "-r".into() } else { part.clone() })
            .collect();
        let mut outlet = self.clone();
        outlet.outlets.viewer = opens;
        Event::Told(match outlet.viewer(file) {
            Ok(_) => Notice::info(format!("opened {}", file.display())),
            Err(notice) => notice,
        })
    }

    fn viewer(&self, place: &Path) -> Result<Child, Notice> {
        let parts: Vec<std::ffi::OsString> = self
            .outlets
            .viewer
            .iter()
            .map(|part| if part == PLACE { place.as_os_str().to_owned() } else { part.into() })
            .collect();
        let program = parts.first().cloned().unwrap_or_default();
        Command::new(&program)
            .args(parts.iter().skip(1))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal is for this program; the viewer outlives it when the user wants.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                let headline = format!("cannot start the viewer {}", program.display());
                Notice::error(headline, error.to_string(), VIEWER_HELP)
            })
    }
}

/// Waits for a viewer that ends badly; one that ends well says nothing.
async fn failed_viewer(viewer: &mut Child) -> Option<String> {
    match viewer.wait().await {
        Ok(status) if status.success() => std::future::pending().await,
        Ok(status) => Some(status.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

/// A named pipe in a folder of its own, both gone when dropped.
struct Pipe {
    folder: PathBuf,
    path: PathBuf,
}

impl Pipe {
    fn new() -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("nodewatch-{:08x}", rand::random::<u32>()));
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
