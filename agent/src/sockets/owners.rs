//! Which process holds which listening socket, from `/proc`.
//!
//! Owns that walk. It needs the host's processes and the right to look at other users' files: only an agent that was deployed
//! for it has them. What may not be looked at has no owner.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use nodewatch_protocol::{Port, PortOwner};

/// The owners of these sockets, by port. Of several processes that hold one socket the oldest is named.
pub fn owners(proc: &Path, sockets: &[(u32, Port)]) -> Vec<PortOwner> {
    let wanted: HashMap<u32, Port> = sockets.iter().copied().collect();
    let mut found: BTreeMap<Port, PortOwner> = BTreeMap::new();
    let mut pids: Vec<u32> = entries(proc).filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        let folder = proc.join(pid.to_string());
        let descriptors = folder.join("fd");
        let held = entries(&descriptors).filter_map(|name| socket(&descriptors.join(name)));
        for port in held.filter_map(|inode| wanted.get(&inode)) {
            found.entry(*port).or_insert_with(|| PortOwner {
                port: *port,
                pid,
                process: fs::read_to_string(folder.join("comm")).unwrap_or_default().trim_end().to_owned(),
                pod_uid: fs::read_to_string(folder.join("cgroup")).ok().and_then(|text| pod_uid(&text)),
            });
        }
    }
    found.into_values().collect()
}

/// Names in a folder; none where it may not be read.
fn entries(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
}

/// The inode that a descriptor's link `socket:[INODE]` names.
fn socket(link: &Path) -> Option<u32> {
    let target = fs::read_link(link).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The pod in a process's control groups, as kubelets name them: `pod` and its UID, whose hyphens systemd's names have as
/// underscores.
fn pod_uid(cgroups: &str) -> Option<String> {
    let is_uid = |text: &str| text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    cgroups.match_indices("pod").find_map(|(at, _)| {
        let uid = cgroups.get(at + 3..at + 39)?.replace('_', "-");
        is_uid(&uid).then_some(uid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::Scanner;

    #[test]
    fn this_process_holds_its_own_listener() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let local = listener.local_addr().expect("an address");
        let mut scanner = Scanner::open().expect("netlink");
        scanner.scan().expect("a scan");
        let owners = owners(Path::new("/proc"), scanner.inodes());
        let ours = owners.iter().find(|owner| owner.port.local == local).expect("an owner");
        assert_eq!(ours.pid, std::process::id());
        assert!(!ours.process.is_empty());
    }

    #[test]
    fn pods_are_found_in_both_ways_of_naming_control_groups() {
        let uid = "0f6c1f2e-9b0a-4a58-8a6e-0123456789ab";
        let systemd = "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-\
                       pod0f6c1f2e_9b0a_4a58_8a6e_0123456789ab.slice/cri-containerd-1.scope";
        assert_eq!(pod_uid(systemd).as_deref(), Some(uid));
        assert_eq!(pod_uid(&format!("0::/kubepods/burstable/pod{uid}/abc")).as_deref(), Some(uid));
        assert_eq!(pod_uid("0::/system.slice/podman.service"), None);
        assert_eq!(
            pod_uid(
                "0::/pod\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"
            ),
            None
        );
    }

    #[test]
    fn a_folder_that_may_not_be_read_has_no_owners() {
        let port = "tcp 0.0.0.0:22".parse().expect("a port");
        assert_eq!(owners(Path::new("/nowhere"), &[(1, port)]), []);
    }
}
