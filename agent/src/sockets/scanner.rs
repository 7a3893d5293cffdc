//! One look at every table of listening sockets, over netlink or from files.
//!
//! Owns which way each table is read, when a look is repeated, and what is said of a table that cannot be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use nodewatch_protocol::{AcceptQueue, MOST_QUEUES, Port, PortProtocol};

use super::{
    ScanError, Socket, TABLES, Table, files,
    netlink::{self, Netlink},
};
use crate::error::chain;

/// How often a look is repeated while a port is missing that was there before.
const AGAIN: usize = 2;

/// What one scan has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Every port; of a table that could not be read, those of before.
    pub ports: BTreeSet<Port>,
    /// What cannot be told, and why, for people.
    pub gaps: Vec<String>,
    /// At least one table could be read.
    pub known: bool,
    /// TCP listeners with connections that wait, the fullest first, bounded.
    pub queues: Vec<AcceptQueue>,
}

/// Lists listening sockets again and again.
#[derive(Debug)]
pub struct Scanner {
    netlink: Netlink,
    /// Tables that the kernel does not list over netlink, and why.
    refused: BTreeMap<&'static str, String>,
    folder: PathBuf,
    sockets: Vec<Socket>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            netlink: Netlink::default(),
            refused: BTreeMap::new(),
            folder: PathBuf::from("/proc/net"),
            sockets: Vec::new(),
        }
    }
}

impl Scanner {
    /// Every listening socket of this network namespace, and every bound, unconnected one of UDP; `before` is what the
    /// scan before this one found.
    pub fn scan(&mut self, before: Option<&BTreeSet<Port>>) -> Scan {
        let mut scan = Scan::default();
        let mut from_files: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        let mut sockets = Vec::new();
        for table in TABLES {
            match twice(table, before, || self.list(table)) {
                Ok(Listed::Netlink(found)) => {
                    scan.known = true;
                    sockets.extend(found);
                }
                Ok(Listed::Files(found)) => {
                    scan.known = true;
                    sockets.extend(found);
                    let why = self.refused.get(table.name()).cloned().unwrap_or_default();
                    from_files.entry(why).or_default().push(table.name());
                }
                Ok(Listed::Absent) => {}
                Err(error) => {
                    scan.gaps.push(format!("cannot list {} sockets: {}", table.name(), chain(&error)));
                    sockets.extend(self.sockets.iter().filter(|socket| table.has(&socket.port)));
                }
            }
        }
        scan.gaps.extend(from_files.into_iter().map(|(why, names)| {
            let names = names.join(", ");
            format!(
                "{names} sockets are read from /proc/net, which shows neither interfaces nor whether [::] accepts \
                 IPv4: {why}"
            )
        }));
        sockets.sort_unstable();
        sockets.dedup();
        scan.ports = sockets.iter().map(|socket| socket.port).collect();
        scan.queues = queues(&sockets);
        self.sockets = sockets;
        scan
    }

    /// The sockets of the last scan, by whose inodes processes are found that hold them.
    pub fn sockets(&self) -> &[Socket] {
        &self.sockets
    }

    fn list(&mut self, table: Table) -> Result<Listed, ScanError> {
        if !self.refused.contains_key(table.name()) {
            match self.netlink.list(table) {
                Ok(found) => return Ok(Listed::Netlink(found)),
                Err(error) if netlink::is_final(&error) => {
                    let inner = matches!(table.protocol, PortProtocol::Sctp | PortProtocol::Dccp);
                    if !inner {
                        self.refused.insert(table.name(), reason(&error));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(found) = files::list(&self.folder, table)? {
            return Ok(Listed::Files(found));
        }
        let ipv4 = Table { v6: false, ..table };
        match table.protocol {
            // A kernel without IPv6 has no such file, and no such sockets.
            PortProtocol::Tcp | PortProtocol::Udp if table.v6 && files::list(&self.folder, ipv4)?.is_some() => {
                Ok(Listed::Absent)
            }
            PortProtocol::Tcp | PortProtocol::Udp => Err(ScanError::File(
                table.name(),
                std::io::Error::new(std::io::ErrorKind::NotFound, "it is not there, and netlink does not list them"),
            )),
            // These are seldom loaded at all; asking costs nothing while they are not.
            PortProtocol::UdpLite | PortProtocol::Sctp | PortProtocol::Dccp => {
                match files::count(&self.folder, table.kernel_name()) {
                    0 => Ok(Listed::Absent),
                    _ => Err(ScanError::Refused(table.name(), rustix::io::Errno::NOENT.raw_os_error())),
                }
            }
        }
    }
}

/// Listeners with connections that wait. Several sockets of one port each have a queue of their own: the fullest counts.
fn queues(sockets: &[Socket]) -> Vec<AcceptQueue> {
    let mut fullest: BTreeMap<Port, (u32, u32)> = BTreeMap::new();
    for Socket { port, queue, .. } in sockets.iter().filter(|socket| socket.queue.0 > 0) {
        // One that is full counts before one with more room in which more wait.
        let fullness = |(waiting, limit): (u32, u32)| (waiting > limit, waiting, limit);
        let known = fullest.entry(*port).or_insert(*queue);
        if fullness(*queue) > fullness(*known) {
            *known = *queue;
        }
    }
    let mut queues: Vec<AcceptQueue> =
        fullest.into_iter().map(|(port, (waiting, limit))| AcceptQueue { port, waiting, limit }).collect();
    queues.sort_by_key(|queue| (std::cmp::Reverse(queue.is_full()), std::cmp::Reverse(queue.waiting), queue.port));
    queues.truncate(MOST_QUEUES);
    queues
}

/// In words that tell a missing module from a missing right.
fn reason(error: &ScanError) -> String {
    match error {
        ScanError::Refused(_, number) => {
            format!("the kernel does not list them over netlink ({})", std::io::Error::from_raw_os_error(*number))
        }
        other => chain(other),
    }
}

/// How a table was read.
#[derive(Debug, PartialEq, Eq)]
enum Listed {
    Netlink(Vec<Socket>),
    Files(Vec<Socket>),
    /// The kernel has no such protocol here.
    Absent,
}

impl Listed {
    fn sockets(&self) -> &[Socket] {
        match self {
            Self::Netlink(sockets) | Self::Files(sockets) => sockets,
            Self::Absent => &[],
        }
    }

    fn and(&mut self, other: &Self) {
        if let Self::Netlink(sockets) | Self::Files(sockets) = self {
            sockets.extend(other.sockets());
        }
    }
}

/// A list that comes in several pieces is no snapshot: sockets that open and close meanwhile push others across the
/// seams. A port is gone when another look at once does not show it either, and the first picture takes two looks.
fn twice(
    table: Table,
    before: Option<&BTreeSet<Port>>,
    mut list: impl FnMut() -> Result<Listed, ScanError>,
) -> Result<Listed, ScanError> {
    let mut listed = list()?;
    let mut seen: BTreeSet<Port> = listed.sockets().iter().map(|socket| socket.port).collect();
    for look in 0..AGAIN {
        let complete = match before {
            Some(before) => before.iter().all(|port| !table.has(port) || seen.contains(port)),
            None => look > 0 || seen.is_empty(),
        };
        if complete {
            break;
        }
        let again = list()?;
        seen.extend(again.sockets().iter().map(|socket| socket.port));
        listed.and(&again);
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(text: &str) -> Port {
        text.parse().expect("a port")
    }

    fn socket(inode: u32, text: &str) -> Socket {
        Socket { inode, port: port(text), queue: (0, 0) }
    }

    fn looks(before: Option<&[&str]>, looks: &[&[&str]]) -> (Vec<String>, usize) {
        let before: Option<BTreeSet<Port>> = before.map(|texts| texts.iter().map(|text| port(text)).collect());
        let mut asked = 0;
        let listed = twice(TABLES[0], before.as_ref(), || {
            let texts = looks[asked];
            asked += 1;
            Ok(Listed::Netlink(texts.iter().map(|text| socket(1, text)).collect()))
        });
        let ports: BTreeSet<Port> = listed.expect("no error").sockets().iter().map(|socket| socket.port).collect();
        (ports.iter().map(|port| port.local.port().to_string()).collect(), asked)
    }

    #[test]
    fn of_several_sockets_of_a_port_one_that_is_full_counts_whatever_waits_in_others() {
        let with = |inode, queue| Socket { queue, ..socket(inode, "tcp 0.0.0.0:80") };
        let port = port("tcp 0.0.0.0:80");
        let of = |sockets: &[Socket]| queues(sockets);
        assert_eq!(of(&[with(1, (9, 128)), with(2, (2, 1))]), [AcceptQueue { port, waiting: 2, limit: 1 }]);
        assert_eq!(of(&[with(1, (3, 128)), with(2, (9, 128))]), [AcceptQueue { port, waiting: 9, limit: 128 }]);
    }

    #[test]
    fn a_port_is_gone_only_when_another_look_at_once_misses_it_too() {
        let (a, b, new) = ("tcp 0.0.0.0:1", "tcp 0.0.0.0:2", "tcp 0.0.0.0:3");
        assert_eq!(looks(Some(&[a, b]), &[&[a, b]]), (vec!["1".into(), "2".into()], 1), "nothing is missing");
        assert_eq!(looks(Some(&[a, b]), &[&[a], &[a, b]]), (vec!["1".into(), "2".into()], 2), "skipped once");
        assert_eq!(looks(Some(&[a, b]), &[&[a], &[b, new]]).0, ["1", "2", "3"], "both looks count");
        assert_eq!(looks(Some(&[a, b]), &[&[a], &[a], &[a]]), (vec!["1".into()], 3), "gone");
        assert_eq!(looks(Some(&["udp 0.0.0.0:9"]), &[&[]]), (vec![], 1), "another table's");
    }

    #[test]
    fn the_first_picture_takes_two_looks() {
        assert_eq!(looks(None, &[&["tcp 0.0.0.0:1"], &["tcp 0.0.0.0:2"]]), (vec!["1".into(), "2".into()], 2));
        assert_eq!(looks(None, &[&[]]), (vec![], 1));
    }

    #[test]
    fn a_scan_sees_a_socket_open_and_close() {
        let mut scanner = Scanner::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let bound = std::net::UdpSocket::bind("[::1]:0").expect("bind");
        let tcp = port(&format!("tcp {}", listener.local_addr().expect("address")));
        let udp = port(&format!("udp6 {}", bound.local_addr().expect("address")));
        let connected = std::net::TcpStream::connect(tcp.local).expect("connect");
        let client = port(&format!("tcp {}", connected.local_addr().expect("address")));

        let before = scanner.scan(None);
        assert!(before.known && before.gaps.is_empty(), "{before:?}");
        assert!(before.ports.contains(&tcp) && before.ports.contains(&udp), "{before:?}");
        assert!(!before.ports.contains(&client), "an established connection is no open port");

        drop((listener, bound));
        let after = scanner.scan(Some(&before.ports)).ports;
        assert!(!after.contains(&tcp) && !after.contains(&udp), "{after:?}");
    }

    /// A scanner that takes the kernel for one that lists these tables in files only.
    fn without(tables: &[&'static str], folder: &std::path::Path) -> Scanner {
        let refused = tables.iter().map(|name| (*name, reason(&ScanError::Refused(name, 2)))).collect();
        Scanner { refused, folder: folder.to_owned(), ..Scanner::default() }
    }

    #[test]
    fn what_the_kernel_does_not_list_over_netlink_is_read_from_its_files_and_that_is_said_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let bound = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
        let tcp = port(&format!("tcp {}", listener.local_addr().expect("address")));
        let udp = port(&format!("udp {}", bound.local_addr().expect("address")));
        let mut scanner = without(&["udp", "udp6"], "/proc/net".as_ref());
        let scan = scanner.scan(None);
        assert!(scan.ports.contains(&tcp) && scan.ports.contains(&udp), "{scan:?}");
        let [gap] = &scan.gaps[..] else { panic!("one gap: {:?}", scan.gaps) };
        assert!(gap.starts_with("udp, udp6 sockets are read from /proc/net") && gap.contains("No such file"), "{gap}");
        assert_eq!(scanner.scan(Some(&scan.ports)).gaps, scan.gaps);
    }

    #[test]
    fn one_table_that_cannot_be_read_costs_the_others_nothing_and_closes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let tcp = port(&format!("tcp {}", listener.local_addr().expect("address")));
        let mut scanner = without(&["udp"], folder.path());
        let udp = socket(9, "udp 0.0.0.0:68");
        scanner.sockets = vec![udp];
        let scan = scanner.scan(Some(&[udp.port].into()));
        assert!(scan.known && scan.ports.contains(&tcp) && scan.ports.contains(&udp.port), "{scan:?}");
        assert!(scan.gaps.len() == 1 && scan.gaps[0].starts_with("cannot list udp sockets"), "{:?}", scan.gaps);
    }

    #[test]
    fn a_protocol_that_the_kernel_lacks_is_no_gap_and_one_that_it_cannot_list_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let absent = Scanner { folder: folder.path().to_owned(), ..Scanner::default() }.scan(None);
        assert!(!absent.gaps.iter().any(|gap| gap.contains("sctp")), "{:?}", absent.gaps);
        let protocols = "protocol  size sockets  memory press maxhdr\nSCTP      1344      2       0   no       0\n";
        std::fs::write(folder.path().join("protocols"), protocols).expect("written");
        // A module that is loaded lists them.
        if Netlink::default().list(TABLES[6]).is_err() {
            let scan = Scanner { folder: folder.path().to_owned(), ..Scanner::default() }.scan(None);
            assert_eq!(scan.gaps, ["cannot list sctp sockets: the kernel refused to list sctp sockets (error 2)"]);
        }
    }
}
