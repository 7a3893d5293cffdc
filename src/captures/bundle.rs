//! A node's bundle: its network state, read when a capture begins and again when it ends, as JSON and as text.
//!
//! Owns the forms of both files and how they are got from an agent. Must not know the app.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nodewatch_protocol::{BUNDLE, Bundle, BundleSection, UnixMillis};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, time::timeout};

use crate::{
    agents::site::{FilePart, Site},
    base::{
        clock,
        disk::{self, DiskError},
        text,
    },
    model::{BundleFiles, BundleOf, NetworkProgram, NodeName, SessionId},
};

/// An agent has so long to read all of it: it stops by itself before that.
const WITHIN: Duration = Duration::from_secs(10);
/// What the name of each ends with.
const JSON: &str = ".bundle.json";
const TEXT: &str = ".bundle.txt";
/// What is read within so many milliseconds of the moment that is meant is of that moment.
const PROMPT: u64 = 5_000;
/// No bundle of two times is larger.
const LARGEST: u64 = 3 * BundleSection::MOST_WRITTEN;

/// A bundle could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// There is no way to the agent.
    #[error("its agent is not reached")]
    Open(#[from] crate::agents::site::OpenError),
    /// The stream was cut.
    #[error("it was cut")]
    Cut(#[from] std::io::Error),
    /// The agent takes too long.
    #[error("no answer within {} s", WITHIN.as_secs())]
    Late,
    /// An agent of before bundles knows no such file, and sends nothing.
    #[error("its agent has none to give; it may be older than this program")]
    None,
    /// What came is none.
    #[error("what its agent sent is no bundle")]
    Malformed(#[source] serde_json::Error),
    /// This laptop's disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What is in the JSON file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBundle {
    /// Always `bundle`.
    pub kind: String,
    /// Of the form of this file.
    pub schema: u32,
    /// The session that it was taken in.
    pub session: SessionId,
    /// The kubeconfig's context; none on this machine.
    pub context: Option<String>,
    /// The node.
    pub node: NodeName,
    /// When this was written, RFC 3339.
    pub written: String,
    /// What makes the node's network, by the images of its pods.
    pub programs: Vec<NetworkProgram>,
    /// Why that is not known.
    pub programs_unknown: Option<String>,
    /// One, or with a capture one from its beginning and one from its end. Either may be missing.
    pub taken: Vec<TakenState>,
}

/// The state as it was once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenState {
    /// `begin` or `end` of the capture, or `now` where somebody has asked.
    pub when: String,
    /// When the capture began or ended, by the node's clock; it was read after that.
    pub due: Option<UnixMillis>,
    /// What was read, and when.
    #[serde(flatten)]
    pub state: Bundle,
}

/// Whose bundle it is, and where it goes.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The session.
    pub session: SessionId,
    /// The kubeconfig's context; none on this machine.
    pub context: Option<String>,
    /// The node.
    pub node: NodeName,
    /// The moment of the capture that it goes along with; `None` where it is of no capture.
    pub of: Option<BundleOf>,
}

/// Has it read now, and writes both files into the folder. What is `held` is let go when nothing is written any more, also
/// where nobody waits for that.
pub async fn take(
    site: &dyn Site,
    wanted: Wanted,
    folder: &Path,
    held: impl Send + 'static,
) -> Result<BundleFiles, BundleError> {
    let programs = async {
        match site.network_programs(&wanted.node) {
            Some(asked) => asked.await,
            None => Err("there is no API server to ask".to_owned()),
        }
    };
    let read = async { timeout(WITHIN, read(site, &wanted.node)).await.map_err(|_| BundleError::Late)? };
    let (read, programs) = tokio::join!(read, programs);
    let (bundle, folder, below) = (read?, folder.to_owned(), folder.to_owned());
    let work = move || {
        let written = write(&folder, wanted, bundle, programs);
        drop(held);
        written
    };
    disk::aside(below, work).await.map_err(BundleError::Disk)
}

async fn read(site: &dyn Site, node: &NodeName) -> Result<Bundle, BundleError> {
    let part = FilePart { file: BUNDLE.to_owned(), offset: 0, length: BundleSection::MOST_WRITTEN };
    let bulk = site.fetch(node, part).await?;
    let mut bytes = Vec::new();
    bulk.reader.take(BundleSection::MOST_WRITTEN).read_to_end(&mut bytes).await?;
    if bytes.is_empty() {
        return Err(BundleError::None);
    }
    serde_json::from_slice(&bytes).map_err(BundleError::Malformed)
}

fn write(
    folder: &Path,
    wanted: Wanted,
    bundle: Bundle,
    programs: Result<Vec<NetworkProgram>, String>,
) -> Result<BundleFiles, DiskError> {
    let at = wanted.of.map_or(bundle.at, BundleOf::since);
    // `2026-01-31T16:03:22.125Z` without what a file's name should not have.
    let stamp: String = text::rfc3339(at).chars().filter(char::is_ascii_alphanumeric).collect();
    let stem = format!("{}-{stamp}", text::safe_component(&wanted.node.0));
    let (json, plain) = (folder.join(format!("{stem}{JSON}")), folder.join(format!("{stem}{TEXT}")));
    let (programs, programs_unknown) = match programs {
        Ok(programs) => (programs, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let before = wanted.of.and_then(|_| load(&json)).filter(|before| before.session == wanted.session);
    let taken = joined(before.map(|before| before.taken).unwrap_or_default(), wanted.of, bundle);
    let whole = NodeBundle {
        kind: "bundle".to_owned(),
        schema: 1,
        session: wanted.session,
        context: wanted.context,
        node: wanted.node,
        written: clock::rfc3339(clock::unix_millis()),
        programs,
        programs_unknown,
        taken,
    };
    let failed = |error: serde_json::Error| DiskError::Write { path: json.clone(), source: error.into() };
    let written = text::json_pretty(&whole).map_err(failed)?;
    let json = disk::write_over(&json, written.as_bytes())?;
    let text = disk::write_over(&plain, whole.text().as_bytes())?;
    Ok(BundleFiles { json, text, taken: whole.taken.len() })
}

/// With what is there of the same capture. Its beginning stays what it was; of several ends the last counts.
fn joined(before: Vec<TakenState>, of: Option<BundleOf>, state: Bundle) -> Vec<TakenState> {
    let when = of.map_or("now", BundleOf::word).to_owned();
    let new = TakenState { when, due: of.map(BundleOf::due), state };
    let (begins, ends): (Vec<_>, Vec<_>) = before.into_iter().partition(|taken| taken.when == "begin");
    let (begin, end) = match of {
        Some(BundleOf::End { .. }) => (begins.into_iter().next(), Some(new)),
        _ => (begins.into_iter().next().or(Some(new)), ends.into_iter().next()),
    };
    [begin, end].into_iter().flatten().collect()
}

fn load(path: &Path) -> Option<NodeBundle> {
    serde_json::from_slice(&disk::read_regular(path, LARGEST).ok()?).ok()
}

/// A file of a bundle, as a session's manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedBundle {
    /// Its node.
    pub node: NodeName,
    /// Its name below the session's folder.
    pub file: String,
    /// Its bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// The files of a session's bundles, in the folders of nodes below this one.
pub fn listed(folder: &Path, session: &SessionId) -> Vec<ListedBundle> {
    let below = |folder: &Path| -> Vec<_> {
        fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
    };
    let is_bundle = |path: &Path| path.to_str().is_some_and(|path| path.ends_with(JSON));
    let files = below(folder).into_iter().flat_map(|node| below(&node)).filter(|path| is_bundle(path));
    let mut found: Vec<ListedBundle> = files
        .filter_map(|json| Some((load(&json).filter(|bundle| bundle.session == *session)?.node, json)))
        .flat_map(|(node, json)| {
            let plain = json.to_string_lossy().strip_suffix(JSON).map(|stem| PathBuf::from(format!("{stem}{TEXT}")));
            [Some(json), plain].into_iter().flatten().filter_map(move |path| entry(folder, node.clone(), &path))
        })
        .collect();
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found
}

fn entry(folder: &Path, node: NodeName, path: &Path) -> Option<ListedBundle> {
    let (size, sha256) = disk::size_and_sum(path).ok()?;
    let file = path.strip_prefix(folder).ok()?.to_str()?.to_owned();
    Some(ListedBundle { node, file, size, sha256 })
}

impl NodeBundle {
    /// For people. Nothing in it steers a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let context = self.context.as_deref().unwrap_or("this machine");
        heading(&mut out, &format!("Network state of {}", self.node), &format!("session {}, {context}", self.session));
        let of_end = |taken: &TakenState| taken.when == "end";
        if self.taken.first().is_some_and(of_end) {
            say(&mut out, "begin  not read");
        }
        for taken in &self.taken {
            let late = taken.due.map_or(0, |due| taken.state.at.saturating_sub(due));
            let did = if of_end(taken) { "ended" } else { "begun" };
            let late = match late {
                PROMPT.. => format!(", {} after the capture had {did}", text::lasting(late)),
                _ => String::new(),
            };
            say(&mut out, &format!("{:<6} {}{late}", taken.when, clock::rfc3339(taken.state.at)));
        }
        heading(&mut out, "Programs", "images of the node's pods");
        if let Some(why) = &self.programs_unknown {
            say(&mut out, &format!("not known: {why}"));
        }
        for program in &self.programs {
            say(&mut out, &format!("{}  {}", program.pod, program.image));
        }
        let [first, rest @ ..] = self.taken.as_slice() else { return out };
        for section in &first.state.sections {
            let later =
                rest.last().and_then(|last| last.state.sections.iter().find(|later| later.name == section.name));
            section_text(&mut out, section, later);
        }
        out
    }
}

fn heading(out: &mut String, title: &str, source: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    say(out, &format!("== {title} ({source})"));
}

/// Only this program breaks lines.
fn say(out: &mut String, line: &str) {
    out.push_str(&text::line(line));
    out.push('\n');
}

fn section_text(out: &mut String, section: &BundleSection, later: Option<&BundleSection>) {
    heading(out, &section.name, &section.source);
    for (when, told) in [("", Some(section)), ("at the end: ", later)] {
        let Some(told) = told else { continue };
        if let Some(why) = &told.error {
            say(out, &format!("{when}not read: {why}"));
        }
        if told.left_out > 0 {
            say(out, &format!("{when}{} more, for which there was no room", told.left_out));
        }
    }
    for line in &section.lines {
        say(out, line);
    }
    // What has no end has not changed.
    let Some(later) = later else {
        numbers_text(out, &section.numbers, None);
        return;
    };
    if later.error.is_none() && section.error.is_none() {
        for (sign, lines, others) in [('-', &section.lines, &later.lines), ('+', &later.lines, &section.lines)] {
            let others: HashSet<&String> = others.iter().collect();
            for line in lines.iter().filter(|line| !others.contains(line)) {
                say(out, &format!("{sign} {line}"));
            }
        }
    }
    numbers_text(out, &section.numbers, Some(&later.numbers));
}

/// As nstat has them, with what was added until the end. What is nought at both times is left out.
fn numbers_text(out: &mut String, first: &BTreeMap<String, u64>, last: Option<&BTreeMap<String, u64>>) {
    let names: BTreeSet<&String> = first.keys().chain(last.into_iter().flat_map(BTreeMap::keys)).collect();
    for name in names {
        let before = first.get(name).copied().unwrap_or(0);
        let mut line = format!("{name:<40} {before:>16}");
        if let Some(last) = last {
            let after = last.get(name).copied().unwrap_or(0);
            if before == 0 && after == 0 {
                continue;
            }
            let change = i128::from(after) - i128::from(before);
            if change != 0 {
                let _ = write!(line, " {change:>+14}");
            }
        } else if before == 0 {
            continue;
        }
        say(out, &line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(lines: &[&str], number: u64) -> BundleSection {
        BundleSection {
            name: "Routes".into(),
            source: "rtnetlink".into(),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            numbers: [("TcpRetransSegs".to_owned(), number), ("Nought".to_owned(), 0)].into(),
            ..BundleSection::default()
        }
    }

    fn wanted(of: Option<BundleOf>) -> Wanted {
        Wanted { session: SessionId::new(1), context: Some("prod".into()), node: "a".into(), of }
    }

    fn bundle(at: UnixMillis, section: BundleSection) -> Bundle {
        Bundle { at, sections: vec![section] }
    }

    const BEGIN: BundleOf = BundleOf::Begin { since: 1000 };
    const END: BundleOf = BundleOf::End { since: 1000, at: 9000 };

    #[test]
    fn the_end_goes_into_the_files_of_the_beginning() {
        let folder = tempfile::tempdir().expect("a folder");
        let node = folder.path().join("a");
        let programs = vec![NetworkProgram { pod: "kube-system/p".into(), image: "kube-proxy:1".into() }];
        let begin = bundle(1000, section(&["default via 10.0.0.1", "10.1.0.0/16 dev eth0"], 5));
        let first = write(&node, wanted(Some(BEGIN)), begin, Ok(programs)).expect("written");
        let end = bundle(9000, section(&["default via 10.0.0.2", "10.1.0.0/16 dev eth0"], 12));
        let second = write(&node, wanted(Some(END)), end, Err("no right".into())).expect("written");
        assert_eq!((first.taken, second.taken, &first.json), (1, 2, &second.json));
        let text = fs::read_to_string(&second.text).expect("text");
        assert!(text.contains("- default via 10.0.0.1\n+ default via 10.0.0.2\n"), "{text}");
        let counter = text.lines().find(|line| line.starts_with("TcpRetransSegs")).expect("the counter");
        assert_eq!(counter.split_whitespace().collect::<Vec<_>>(), ["TcpRetransSegs", "5", "+7"]);
        assert!(!text.contains("Nought") && text.contains("not known: no right"), "{text}");
        let listed = listed(folder.path(), &SessionId::new(1));
        let names: Vec<&str> = listed.iter().map(|one| one.file.as_str()).collect();
        assert_eq!(names, ["a/a-19700101T000001000Z.bundle.json", "a/a-19700101T000001000Z.bundle.txt"]);
        assert_eq!(super::listed(folder.path(), &SessionId::new(2)), []);
    }

    /// Whatever comes, in whatever order, each says what it is.
    #[test]
    fn an_end_without_a_begin_is_no_begin() {
        let folder = tempfile::tempdir().expect("a folder");
        let take = |of: Option<BundleOf>, at: u64| {
            let files = write(folder.path(), wanted(of), bundle(at, section(&["x"], at)), Ok(Vec::new()));
            let files = files.expect("written");
            let read = load(&files.json).expect("a bundle");
            let whens: Vec<(String, u64)> = read.taken.into_iter().map(|taken| (taken.when, taken.state.at)).collect();
            (whens, fs::read_to_string(files.text).expect("text"))
        };
        let told = |told: &[(&str, u64)]| told.iter().map(|(when, at)| ((*when).to_owned(), *at)).collect::<Vec<_>>();
        let (whens, text) = take(Some(END), 29_000);
        assert_eq!(whens, told(&[("end", 29_000)]));
        let lines = "begin  not read\nend    1970-01-01T00:00:29Z, 20s after the capture had ended\n";
        assert!(text.contains(lines), "{text}");
        // The first begin stays, as where a session was attached to; the last end counts.
        assert_eq!(take(Some(BEGIN), 30_000).0, told(&[("begin", 30_000), ("end", 29_000)]));
        assert_eq!(take(Some(BEGIN), 31_000).0, told(&[("begin", 30_000), ("end", 29_000)]));
        assert_eq!(take(Some(END), 32_000).0, told(&[("begin", 30_000), ("end", 32_000)]));
        let (whens, text) = take(None, 50_000);
        assert_eq!(whens, told(&[("now", 50_000)]));
        assert!(text.contains("\nnow    1970-01-01T00:00:50Z\n") && !text.contains("begin"), "{text}");
    }

    #[test]
    fn what_a_node_says_reaches_no_terminal_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let evil = bundle(1, section(&["x\u{1b}[2Jy\nz"], 1));
        let files = write(folder.path(), wanted(None), evil, Ok(Vec::new())).expect("written");
        for path in [files.json, files.text] {
            let text = fs::read_to_string(path).expect("text");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
    }
}
