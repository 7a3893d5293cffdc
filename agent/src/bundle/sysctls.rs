//! Settings of the kernel's network: what is below `/proc/sys/net`.
//!
//! Owns which are left out: secrets, and what an interface has as the default says.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use nodewatch_protocol::BundleSection;

use super::{Filling, late, load};
use crate::signals::SourceError;

/// Words in the name of a setting whose value is nobody's business. A stable secret makes addresses that cannot be guessed,
/// and the key of TCP Fast Open lets others forge its cookies.
const SECRET: [&str; 4] = ["secret", "key", "password", "token"];
/// Folders below folders.
const DEEPEST: usize = 8;

/// What can be read; what cannot is counted.
pub(super) fn read(folder: &Path, by: Instant) -> BundleSection {
    let mut filling = Filling::new("Settings", "/proc/sys/net");
    let mut walk = Walk { defaults: BTreeMap::new(), refused: 0, same: 0, by };
    let outcome = walk.folder(folder, "net", 0, &mut filling);
    let mut notes = Vec::new();
    if walk.same > 0 {
        notes.push(format!("# {} of interfaces are as their default and left out", walk.same));
    }
    if walk.refused > 0 {
        notes.push(format!("# {} cannot be read without a capability", walk.refused));
    }
    for note in notes {
        filling.line(note);
    }
    filling.done(outcome)
}

struct Walk {
    /// What `default` has, by the names of its folder and of the setting.
    defaults: BTreeMap<String, String>,
    refused: u64,
    same: u64,
    by: Instant,
}

impl Walk {
    fn folder(&mut self, folder: &Path, name: &str, depth: usize, filling: &mut Filling) -> Result<(), SourceError> {
        for (entry, path, is_folder) in sorted(folder)? {
            if let Some(why) = late(self.by) {
                filling.failed(why);
                return Ok(());
            }
            let name = format!("{name}.{entry}");
            if is_folder {
                if depth < DEEPEST {
                    // An interface that has gone meanwhile is no failure.
                    let _ = self.folder(&path, &name, depth + 1, filling);
                }
            } else if !is_secret(&entry) {
                self.setting(&path, &name, &entry, filling);
            }
        }
        Ok(())
    }

    fn setting(&mut self, path: &Path, name: &str, entry: &str, filling: &mut Filling) {
        let Ok(text) = load(path) else {
            self.refused += 1;
            return;
        };
        let value = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        // `net.ipv4.conf.eth0.rp_filter`: the interface's name may have dots in it.
        if let Some((family, interface)) = path.parent().and_then(family_and_interface) {
            let key = format!("{family} {entry}");
            match interface {
                "default" => drop(self.defaults.insert(key, value.clone())),
                "all" => {}
                _ if self.defaults.get(&key) == Some(&value) => {
                    self.same += 1;
                    return;
                }
                _ => {}
            }
        }
        filling.line(format!("{name} = {value}"));
    }
}

/// Of a folder of an interface, that of all interfaces and its own name.
fn family_and_interface(folder: &Path) -> Option<(String, &str)> {
    let above = folder.parent()?;
    let is_list = matches!(above.file_name()?.to_str()?, "conf" | "neigh");
    is_list.then_some((above.to_string_lossy().into_owned(), folder.file_name()?.to_str()?))
}

fn is_secret(entry: &str) -> bool {
    SECRET.iter().any(|word| entry.contains(word))
}

/// In order of names, but what is common to all interfaces first.
fn sorted(folder: &Path) -> io::Result<Vec<(String, PathBuf, bool)>> {
    let entries = fs::read_dir(folder)?.flatten().map(|entry| {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        (entry.file_name().to_string_lossy().into_owned(), entry.path(), is_folder)
    });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_cached_key(|(name, _, _)| (!matches!(name.as_str(), "all" | "default"), name.clone()));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        read(folder.path(), Instant::now() + Duration::from_secs(60)).lines
    }

    #[test]
    fn secrets_are_left_out() {
        let files = [
            ("ipv4/ip_forward", "1\n"),
            ("ipv4/tcp_fastopen_key", "1234-5678\n"),
            ("ipv6/conf/eth0/stable_secret", "2001:db8::1\n"),
            ("ipv6/conf/default/stable_secret", "2001:db8::2\n"),
        ];
        assert_eq!(told(&files), ["net.ipv4.ip_forward = 1"]);
    }

    #[test]
    fn an_interface_tells_what_is_not_as_the_default() {
        let files = [
            ("ipv4/conf/default/rp_filter", "1\n"),
            ("ipv4/conf/cali1/rp_filter", "1\n"),
            ("ipv4/conf/eth0.7/rp_filter", "2\n"),
            ("ipv4/ip_local_port_range", "32768\t60999\n"),
        ];
        assert_eq!(
            told(&files),
            [
                "net.ipv4.conf.default.rp_filter = 1",
                "net.ipv4.conf.eth0.7.rp_filter = 2",
                "net.ipv4.ip_local_port_range = 32768 60999",
                "# 1 of interfaces are as their default and left out",
            ]
        );
    }
}
