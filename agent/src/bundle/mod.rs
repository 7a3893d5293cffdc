//! A bundle: what the kernel tells of the node's network without a capability, at one moment.
//!
//! Owns what is in it, its bounds and what is left out. It is read by a process of its own, as files of the ring are, so no
//! agent waits for it. Must not know tunnels.

mod drivers;
mod format;
mod numbers;
mod sysctls;
mod tables;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};

use nodewatch_protocol::{Bundle, BundleSection};

use crate::{error::chain, signals::SourceError, unix_millis};

/// What has not begun by then is left out, and says so.
const WITHIN: Duration = Duration::from_secs(5);
/// Of a longer file the rest is not read.
const LONGEST: u64 = 1024 * 1024;

/// Reads everything of this machine, files below that folder.
pub fn take(proc: &Path) -> Bundle {
    let by = Instant::now() + WITHIN;
    let at = unix_millis();
    let mut sections = vec![system(proc)];
    sections.extend(tables::read(by));
    sections.extend(numbers::read(proc));
    sections.push(sysctls::read(&proc.join("sys/net"), by));
    sections.extend(drivers::read(proc, by));
    Bundle { at, sections }
}

/// A section that is being filled, within its bound.
struct Filling {
    section: BundleSection,
    room: usize,
}

impl Filling {
    fn new(name: &str, source: &str) -> Self {
        let section = BundleSection { name: name.to_owned(), source: source.to_owned(), ..BundleSection::default() };
        Self { section, room: BundleSection::MOST }
    }

    fn line(&mut self, line: String) {
        match self.room.checked_sub(line.len() + 1) {
            Some(room) => {
                self.room = room;
                self.section.lines.push(line);
            }
            None => self.section.left_out += 1,
        }
    }

    /// Numbers of one name are added up.
    fn number(&mut self, name: String, value: u64) {
        if let Some(known) = self.section.numbers.get_mut(&name) {
            *known = known.saturating_add(value);
            return;
        }
        match self.room.checked_sub(name.len() + 20) {
            Some(room) => {
                self.room = room;
                self.section.numbers.insert(name, value);
            }
            None => self.section.left_out += 1,
        }
    }

    fn failed(&mut self, why: impl Into<String>) {
        self.section.error = Some(why.into());
    }

    fn done(self, outcome: Result<(), SourceError>) -> BundleSection {
        let mut section = self.section;
        if let Err(error) = outcome {
            section.error = Some(chain(&error));
        }
        section
    }
}

/// Why a section was not begun.
fn late(by: Instant) -> Option<String> {
    (Instant::now() >= by).then(|| format!("not read: the rest had taken {} s", WITHIN.as_secs()))
}

/// A file's beginning, as text whatever its bytes.
fn load(path: &Path) -> Result<String, SourceError> {
    let read = || -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(read()?)
}

fn system(proc: &Path) -> BundleSection {
    let mut filling = Filling::new("System", "/proc");
    for (title, path) in [("kernel", "version"), ("uptime in seconds", "uptime"), ("load", "loadavg")] {
        match load(&proc.join(path)) {
            Ok(text) => filling.line(format!("{title}: {}", text.trim_end())),
            Err(error) => filling.failed(format!("{path}: {}", chain(&error))),
        }
    }
    filling.section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut filling = Filling::new("Routes", "rtnetlink");
        let line = "x".repeat(BundleSection::MOST / 4);
        for _ in 0..5 {
            filling.line(line.clone());
        }
        assert_eq!((filling.section.lines.len(), filling.section.left_out), (3, 2));
    }

    #[test]
    fn this_machine_is_read_without_a_capability() {
        let bundle = take(Path::new("/proc"));
        let section = |name: &str| {
            let found = bundle.sections.iter().find(|section| section.name == name);
            found.unwrap_or_else(|| panic!("no section {name}"))
        };
        assert!(section("Links").lines.iter().any(|line| line.contains("lo: ")), "{:?}", section("Links"));
        assert!(section("IPv4 rules").lines.iter().any(|line| line.ends_with("lookup main")));
        assert!(section("IPv4 routes").lines.iter().any(|line| line.contains("table local")));
        assert!(section("Addresses").lines.iter().any(|line| line.contains("lo inet 127.0.0.1/8")));
        assert!(section("TCP, UDP, IP and ICMP").numbers.contains_key("TcpActiveOpens"));
        let sysctls = &section("Settings").lines;
        assert!(sysctls.iter().any(|line| line.starts_with("net.ipv4.ip_forward = ")));
        assert!(!sysctls.iter().any(|line| line.contains("secret") || line.contains("fastopen_key")));
        let written = serde_json::to_vec(&bundle).expect("JSON").len() as u64;
        assert!(written < BundleSection::MOST_WRITTEN);
    }

    #[test]
    fn what_is_not_there_says_so_and_the_rest_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("net")).expect("made");
        std::fs::write(folder.path().join("net/snmp"), "Tcp: ActiveOpens MaxConn\nTcp: 7 -1\n").expect("written");
        let sections = numbers::read(folder.path());
        assert_eq!(sections[0].numbers, [("TcpActiveOpens".to_owned(), 7)].into());
        assert!(sections[1].error.as_ref().is_some_and(|why| why.contains("does not have it")), "{:?}", sections[1]);
    }
}
