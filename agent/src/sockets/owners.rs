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

use super::Socket;

/// The owners of these sockets, by port. Of several processes that hold one socket the oldest is named.
pub fn owners(proc: &Path, sockets: &[Socket]) -> Vec<PortOwner> {
    let wanted: HashMap<u32, Port> = sockets.iter().map(|socket| (socket.inode, socket.port)).collect();
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
/// underscores. A static pod's is the hash of its file, without any. Of pods inside each other the outermost is this node's.
fn pod_uid(cgroups: &str) -> Option<String> {
    // Runtimes without systemd write `SLICE:PREFIX:CONTAINER` as one name.
    let mut parts = cgroups.split(['/', ':', '\n']);
    parts.find_map(|part| {
        // `pod<UID>` by cgroupfs, `kubepods-burstable-pod<UID>.slice` by systemd.
        let name = part.strip_suffix(".slice").unwrap_or(part);
        let uid = match name.strip_prefix("pod") {
            Some(uid) => uid,
            None => name.rsplit_once("-pod")?.1,
        };
        let uid = uid.replace('_', "-");
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_hash = uid.len() == 32 && is_hex(&uid);
        let lengths = || uid.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        let is_uuid = lengths() && uid.split('-').all(is_hex);
        (is_hash || is_uuid).then_some(uid)
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
        let mut scanner = Scanner::default();
        scanner.scan(None);
        let owners = owners(Path::new("/proc"), scanner.sockets());
        let ours = owners.iter().find(|owner| owner.port.local == local).expect("an owner");
        assert_eq!(ours.pid, std::process::id());
        assert!(!ours.process.is_empty());
    }

    #[test]
    fn pods_are_found_in_every_way_of_naming_control_groups() {
        let uid = "0f6c1f2e-9b0a-4a58-8a6e-0123456789ab";
        let under = uid.replace('-', "_");
        let hash = "0123456789abcdef0123456789abcdef";
        let container = "8f".repeat(32);
        for (cgroups, expected) in [
            // Version 2: systemd with containerd and CRI-O, cgroupfs, kind's nesting, seen from a namespace of its own.
            (
                format!(
                    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/cri-containerd-{container}.scope"
                ),
                uid,
            ),
            (format!("0::/kubepods.slice/kubepods-pod{under}.slice/crio-{container}.scope/container"), uid),
            (format!("0::/kubepods/burstable/pod{uid}/{container}"), uid),
            (
                format!(
                    "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{under}.slice/cri-containerd-{container}.scope"
                ),
                uid,
            ),
            (format!("0::/../../kubepods-besteffort-pod{under}.slice/cri-containerd-{container}.scope"), uid),
            (format!("0::/kubepods/pod{uid}"), uid),
            // Version 1: a line a controller.
            (
                format!(
                    "12:pids:/kubepods/besteffort/pod{uid}/{container}\n1:name=systemd:/kubepods/besteffort/pod{uid}/{container}\n"
                ),
                uid,
            ),
            (
                format!(
                    "11:cpu,cpuacct:/kubepods.slice/kubepods-pod{under}.slice/crio-{container}.scope\n0::/system.slice/crio.service\n"
                ),
                uid,
            ),
            // containerd's own name for what systemd does not know of.
            (
                format!(
                    "0::/system.slice/containerd.service/kubepods-burstable-pod{under}.slice:cri-containerd:{container}"
                ),
                uid,
            ),
            // Static pods.
            (
                format!(
                    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice/cri-containerd-{container}.scope"
                ),
                hash,
            ),
            (format!("0::/kubepods/burstable/pod{hash}/{container}"), hash),
            // A pod inside a pod.
            (format!("0::/kubepods/burstable/pod{uid}/{container}/kubepods/burstable/pod{hash}/{container}"), uid),
        ] {
            assert_eq!(pod_uid(&cgroups).as_deref(), Some(expected), "{cgroups}");
        }
        for none in [
            "0::/system.slice/podman.service".to_owned(),
            format!("0::/machine.slice/libpod-{container}.scope"),
            format!("0::/machine.slice/machine-libpod_pod_{container}.slice/libpod-{container}.scope"),
            format!("0::/user.slice/pod{container}"),
            format!("0::/kubepods/pod{uid}0"),
            format!("0::/kubepods/tripod{hash}"),
            "0::/kubepods.slice/kubepods-burstable.slice".to_owned(),
            format!("0::/pod{}", "\u{e9}".repeat(18)),
        ] {
            assert_eq!(pod_uid(&none), None, "{none}");
        }
    }

    #[test]
    fn a_folder_that_may_not_be_read_has_no_owners() {
        let port = "tcp 0.0.0.0:22".parse().expect("a port");
        assert_eq!(owners(Path::new("/nowhere"), &[Socket { inode: 1, port, queue: (0, 0) }]), []);
    }
}
