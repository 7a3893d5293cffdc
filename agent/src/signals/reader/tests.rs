//! Counters by script and files as kernels write them, through the whole of a reading.

use std::{cell::Cell, io, path::Path};

use nodewatch_signals::find;

use super::*;
use crate::signals::files;

/// Name, item, part and value of each.
type Reading = Result<Vec<(&'static str, &'static str, u64, u64)>, SourceError>;
type Readings = Vec<Reading>;

/// A source that says what it was given, one reading after the other.
struct Script {
    origin: Origin,
    readings: std::vec::IntoIter<Reading>,
    every: Duration,
    reads: Rc<Cell<usize>>,
}

impl Source for Script {
    fn origin(&self) -> Origin {
        self.origin
    }

    fn every(&self) -> Duration {
        self.every
    }

    fn read(&mut self, values: &mut Values) -> Result<(), SourceError> {
        self.reads.set(self.reads.get() + 1);
        for (name, item, part, value) in self.readings.next().expect("another reading")? {
            let (signal, _) = find(name).expect("a signal");
            values.add_item(signal, &Rc::from(item), part, value);
        }
        Ok(())
    }
}

fn script(origin: Origin, readings: Readings) -> Script {
    Script { origin, readings: readings.into_iter(), every: EVERY, reads: Rc::default() }
}

/// Every update, a minute apart: in a slow test a source may want to rest for longer than a second.
fn updates(origin: Origin, readings: Readings) -> Vec<SignalsUpdate> {
    let (count, begin) = (readings.len() as u32, Instant::now());
    let mut reader = Reader::new(vec![Box::new(script(origin, readings))], 1000);
    (0..count).map(|second| reader.read(begin + second * 60 * EVERY, 1000 + u64::from(second) * 1000)).collect()
}

/// Of one signal: its value and how far it has come, after each reading.
fn course(name: &'static str, readings: Vec<Vec<(u64, u64)>>) -> Vec<(u64, u64)> {
    let reading = |parts: Vec<(u64, u64)>| Ok(parts.into_iter().map(|(part, value)| (name, "", part, value)).collect());
    let origin = find(name).expect("a signal").1.origin;
    let mut picture = crate::signals::picture::Picture::default();
    let told = updates(origin, readings.into_iter().map(reading).collect()).into_iter().map(|update| {
        picture.take(&update);
        let Some(nodewatch_protocol::Update::Signals(whole)) = picture.whole() else { panic!("no picture") };
        (whole.told[0].value, whole.told[0].total)
    });
    told.collect()
}

#[test]
fn the_first_is_the_whole_picture_and_then_only_what_moves_is_told() {
    let reading = |overflows, established| {
        Ok(vec![("tcp.listen_overflows", "", 0, overflows), ("tcp.established", "", 0, established)])
    };
    let [first, second, third, fourth] =
        &updates(Origin::Pressure, vec![reading(7, 20), reading(7, 20), reading(10, 18), reading(10, 18)])[..]
    else {
        panic!("four")
    };
    assert_eq!((first.since, first.at), (Some(1000), 1000));
    let told: Vec<_> = first.told.iter().map(|it| (it.id, &*it.name, it.value, it.total)).collect();
    assert_eq!(told, [(0, "tcp.listen_overflows", 7, 0), (1, "tcp.established", 20, 0)]);
    assert!(first.says_something() && !second.says_something() && !fourth.says_something(), "{second:?}");
    assert_eq!((&third.told[..], &third.moved[..], third.since), (&[][..], &[(0, 3), (1, 18)][..], None));
}

#[test]
fn counters_go_on_over_every_end_and_reset() {
    let full = u64::from(u32::MAX);
    let one = |values: &[u64]| values.iter().map(|value| vec![(0, *value)]).collect();
    assert_eq!(course("tcp.out_segs", one(&[full - 1, full, 2])), [(full - 1, 0), (full, 1), (full + 3, 4)]);
    assert_eq!(course("tcp.out_segs", one(&[u64::MAX, 1])).last().map(|it| it.1), Some(2));
    assert_eq!(course("tcp.out_segs", one(&[500_000, 500_010, 4, 5])).last(), Some(&(5, 15)), "set back");
}

#[test]
fn cpus_count_each_for_itself_and_may_come_and_go() {
    let full = u64::from(u32::MAX);
    let course = course(
        "softnet.dropped",
        vec![
            vec![(0, 10), (1, full)],
            vec![(0, 11), (1, 1)],
            vec![(0, 11), (1, 1), (2, 900)],
            vec![(0, 12), (2, 903)],
            vec![(0, 12), (1, 5), (2, 903)],
            vec![(2, 904), (1, 5), (0, 13)],
        ],
    );
    assert_eq!(course.iter().map(|it| it.1).collect::<Vec<_>>(), [0, 3, 3, 7, 7, 9]);
    assert_eq!(course[2].0, 912, "what is told is the kernel's sum");
    assert_eq!(course[5].0, 922);
}

#[test]
fn an_interface_that_goes_is_told_and_another_of_its_name_counts_anew() {
    let drops = |index, value| ("link.tx_dropped", "veth7", index, value);
    let all = updates(
        Origin::Link,
        vec![Ok(vec![drops(5, 0)]), Ok(vec![drops(5, 4)]), Ok(vec![]), Ok(vec![drops(9, 2)]), Ok(vec![drops(9, 3)])],
    );
    assert!(all[0].told.is_empty(), "one that has counted nothing says nothing");
    assert_eq!((all[1].told[0].value, all[1].told[0].total, &*all[1].told[0].item), (4, 4, "veth7"));
    assert_eq!(all[2].gone, [all[1].told[0].id]);
    assert_eq!((all[3].told[0].value, all[3].told[0].total), (2, 0));
    assert_ne!(all[3].told[0].id, all[1].told[0].id);
    assert_eq!(all[4].moved, [(all[3].told[0].id, 1)]);
    // In one second.
    let swapped = updates(Origin::Link, vec![Ok(vec![drops(5, 4)]), Ok(vec![drops(9, 1)]), Ok(vec![drops(9, 3)])]);
    assert_eq!((swapped[1].told[0].value, swapped[1].told[0].total), (1, 0));
    assert_eq!(swapped[2].moved, [(swapped[0].told[0].id, 2)]);
}

#[test]
fn a_source_that_comes_and_goes_is_said_once_each_time() {
    let there = || Ok(vec![("conntrack.drop", "", 0, 5)]);
    let all = updates(
        Origin::Conntrack,
        vec![
            Err(SourceError::Absent),
            Err(SourceError::Absent),
            there(),
            there(),
            Err(SourceError::Absent),
            Err(SourceError::Absent),
        ],
    );
    let missing = |at: usize| {
        all[at]
            .missing
            .as_ref()
            .map(|all| all.iter().map(|it| format!("{}: {}", it.source, it.reason)).collect::<Vec<_>>())
    };
    let none = "/proc/net/stat/nf_conntrack: this kernel does not have it".to_owned();
    assert_eq!((missing(0), missing(1), missing(3), missing(5)), (Some(vec![none.clone()]), None, None, None));
    let partly = missing(2).expect("news");
    assert!(partly.len() == 1 && partly[0].starts_with("/proc/net/stat/nf_conntrack: insert_failed, "), "{partly:?}");
    assert_eq!((all[2].told[0].total, &all[4].gone[..]), (0, &[all[2].told[0].id][..]));
    assert_eq!(missing(4), Some(vec![none]));
}

#[test]
fn one_that_fails_for_a_moment_loses_nothing() {
    let broken = Err(SourceError::File(io::Error::other("for a moment")));
    let value = |value| Ok(vec![("conntrack.drop", "", 0, value)]);
    let all = updates(Origin::Conntrack, vec![value(5), broken, value(9)]);
    assert!(all[1].gone.is_empty() && all[1].missing.is_some());
    assert_eq!(all[2].moved, [(all[0].told[0].id, 4)]);
}

#[test]
fn a_source_is_read_when_it_is_due() {
    let every = Duration::from_secs(10);
    let readings: Readings = (0..3).map(|_| Ok(vec![])).collect();
    let slow = Script { every, ..script(Origin::SockDiag, readings) };
    let (reads, begin) = (Rc::clone(&slow.reads), Instant::now());
    let mut reader = Reader::new(vec![Box::new(slow)], 0);
    for second in 0..25 {
        reader.read(begin + second * EVERY, 0);
    }
    assert_eq!(reads.get(), 3);
}

#[test]
fn what_has_no_room_is_counted() {
    let names: Vec<&'static str> = (0..MOST_SIGNALS + 3).map(|at| &*format!("veth{at}").leak()).collect();
    let reading = || Ok(names.iter().map(|name| ("link.tx_dropped", *name, 0, 1)).collect());
    let long = "x".repeat(LONGEST_ITEM + 1).leak();
    let all = updates(Origin::Link, vec![reading(), reading(), Ok(vec![("link.tx_dropped", long, 0, 1)])]);
    assert_eq!((all[0].told.len(), all[0].left_out, all[1].left_out, all[2].left_out), (MOST_SIGNALS, 3, 3, 1));
    assert_eq!(all[2].gone.len(), MOST_SIGNALS);
}

/// As the kernel writes them, with a few fields left out.
const FILES: &[(&str, &str)] = &[
    (
        "net/netstat",
        "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPSynRetrans\nTcpExt: 1 2 3 4\n\
         IpExt: InNoRoutes InOctets\nIpExt: 5 18446744073709551615\n",
    ),
    (
        "net/snmp",
        "Ip: Forwarding InHdrErrors OutNoRoutes\nIp: 1 6 7\nTcp: RtoAlgorithm MaxConn CurrEstab RetransSegs\n\
         Tcp: 1 -1 8 9\nUdp: NoPorts RcvbufErrors\nUdp: 10 11\n",
    ),
    ("net/snmp6", "Ip6InHdrErrors                  \t12\nUdp6NoPorts                     \t13\n"),
    (
        "net/softnet_stat",
        "0000001c 00000002 00000003 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 \
         00000000 00000000 00000000\n\
         000000ff 00000010 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000000 \
         00000003 00000000 00000000\n",
    ),
    ("net/sockstat", "sockets: used 14\nTCP: inuse 1 orphan 15 tw 16 alloc 2 mem 17\nFRAG: inuse 0 memory 18\n"),
    (
        "net/stat/nf_conntrack",
        "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  \
         expect_new expect_create expect_delete search_restart\n\
         00000013  00000000 00000000 00000000 000000a0 00000000 00000000 00000000 00000000 00000002 00000003 00000000 \
         00000000  00000000 00000000 00000000 00000000\n\
         00000013  00000001 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000005 00000003 00000000 \
         00000000  00000000 00000000 00000000 00000007\n",
    ),
    (
        "net/stat/arp_cache",
        "entries  allocs   destroys hash_grows lookups  hits     res_failed rcv_probes_mcast rcv_probes_ucast \
         periodic_gc_runs forced_gc_runs unresolved_discards table_fulls\n\
         00000014 00000010 00000000 00000000 00000000 00000000 00000002 00000000 00000000 00000000 00000000 00000003 \
         00000004\n\
         00000014 00000010 00000000 00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000000 \
         00000000\n",
    ),
    ("sys/net/netfilter/nf_conntrack_count", "21\n"),
    ("sys/net/netfilter/nf_conntrack_max", "262144\n"),
    ("sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("sys/net/ipv4/tcp_mem", "1000\t2000\t3000\n"),
    (
        "pressure/memory",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=22\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=23\n",
    ),
    ("pressure/cpu", "some avg10=1.20 avg60=0.00 avg300=0.00 total=24\n"),
    ("pressure/io", "some avg10=0.00 avg60=0.00 avg300=0.00 total=25\n"),
];

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
}

#[test]
fn every_form_of_file_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), FILES);
    let begin = Instant::now();
    let mut reader = Reader::new(files::all(folder.path()), 1);
    let first = reader.read(begin, 1);
    let value = |name: &str| first.told.iter().find(|it| it.name == name).map(|it| it.value);
    let expected = [
        ("tcp.syncookies_sent", 1),
        ("tcp.listen_overflows", 2),
        ("tcp.listen_drops", 3),
        ("tcp.syn_retrans", 4),
        ("ip.in_no_routes", 5),
        ("ip.in_header_errors", 6),
        ("ip.out_no_routes", 7),
        ("tcp.established", 8),
        ("tcp.retrans_segs", 9),
        ("udp.no_ports", 10),
        ("udp.receive_buffer_errors", 11),
        ("ip6.in_header_errors", 12),
        ("udp6.no_ports", 13),
        ("softnet.processed", 0x1C + 0xFF),
        ("softnet.dropped", 0x12),
        ("softnet.time_squeeze", 3),
        ("softnet.flow_limit", 1),
        ("sockets.used", 14),
        ("tcp.orphans", 15),
        ("tcp.time_wait", 16),
        ("tcp.memory", 17),
        ("ip.fragment_memory", 18),
        ("conntrack.insert_failed", 7),
        ("conntrack.drop", 6),
        ("conntrack.invalid", 0xA1),
        ("conntrack.clash_resolve", 1),
        ("conntrack.search_restart", 7),
        ("conntrack.count", 21),
        ("conntrack.max", 262_144),
        ("arp.entries", 20),
        ("arp.resolution_failed", 3),
        ("arp.unresolved_discards", 3),
        ("arp.table_fulls", 4),
        ("tcp.ephemeral_range", 28_232),
        ("tcp.memory_max", 3000),
        ("psi.memory_some", 22),
        ("psi.memory_full", 23),
        ("psi.cpu_some", 24),
        ("psi.io_some", 25),
    ];
    for (name, number) in expected {
        assert_eq!(value(name), Some(number), "{name}");
    }
    let missing: Vec<String> = first.missing.expect("told").into_iter().map(|it| it.source).collect();
    assert!(missing.contains(&"/proc/net/sockstat6".to_owned()), "{missing:?}");
    assert!(missing.contains(&"/proc/pressure: io full".to_owned()), "{missing:?}");
    // The same again says nothing, and what the kernel lacks is not said again.
    assert!(!reader.read(begin + 60 * EVERY, 2).says_something());
    write(folder.path(), &[("sys/net/netfilter/nf_conntrack_count", "22\n")]);
    assert_eq!(reader.read(begin + 120 * EVERY, 3).moved.iter().map(|it| it.1).collect::<Vec<_>>(), [22]);
}

#[test]
fn files_of_another_form_are_said_and_no_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = [
        ("net/netstat", "TcpExt: A B\nIpExt: 1 2\n"),
        ("net/snmp", "Udp: NoPorts\nUdp: many\n"),
        ("net/snmp6", "one\n"),
        ("net/softnet_stat", "xyz\n"),
        ("net/sockstat", "nothing\n"),
        ("net/stat/nf_conntrack", ""),
    ];
    write(folder.path(), &odd);
    let first = Reader::new(files::all(folder.path()), 1).read(Instant::now(), 1);
    let missing = first.missing.expect("told");
    let unknown = missing.iter().filter(|it| it.reason == "its form is not known").count();
    assert_eq!(unknown, odd.len(), "{missing:?}");
    assert!(first.told.is_empty());
}

/// No right is needed: nothing but the two netlink sockets and the files of this machine's own kernel.
#[test]
fn this_machine_has_signals() {
    let mut reader = Reader::new(crate::signals::all(Path::new("/proc")), 1);
    let first = reader.read(Instant::now(), 1);
    for name in ["tcp.out_segs", "udp.no_ports", "softnet.processed", "tcp.ephemeral_range"] {
        assert!(first.told.iter().any(|it| it.name == name), "{name}: {first:?}");
    }
    let missing = first.missing.unwrap_or_default();
    assert!(!missing.iter().any(|it| it.source == Origin::Link.text()), "{missing:?}");
}
