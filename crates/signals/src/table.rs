//! The table: every signal that there is.
//!
//! Owns names, fields, meanings and what is normal. The order is that of docs, and of screens where nothing else
//! orders them. What is normal follows kernels, AWS and reports of false alarms; where they name no number it is a
//! first guess.

use super::{
    Kind,
    Normal::{self, AboveShareOfMost, AtMost, Below, BelowPercentOf, Informative, NeverRises, ShareOf},
    Origin, Scope, Signal,
};

/// Time that is stalled for so many per cent of a minute, in microseconds.
const fn share_of_minute(percent: u64) -> Normal {
    AtMost(percent * 600_000)
}

const fn less_than(percent: u64, of: &'static str) -> Normal {
    BelowPercentOf { of, percent }
}

macro_rules! table {
    ($($kind:ident $name:literal $unit:literal, $origin:ident $field:literal, $scope:ident, $normal:expr;
       $($meaning:literal)+ $(, note $note:literal)?;)+) => {
        &[$(Signal {
            name: $name,
            unit: $unit,
            origin: Origin::$origin,
            field: $field,
            kind: Kind::$kind,
            scope: Scope::$scope,
            normal: $normal,
            meaning: concat!($($meaning),+),
            note: concat!("" $(, $note)?),
        }),+]
    };
}

/// Every signal.
pub const SIGNALS: &[Signal] = table! {
    Counter "tcp.listen_overflows" "connections", Netstat "TcpExt ListenOverflows", Node, NeverRises;
        "A new connection found the accept queue of its listener full: the program accepts too slowly or its backlog "
        "is small.";
    Counter "tcp.listen_drops" "connections", Netstat "TcpExt ListenDrops", Node, AtMost(5);
        "A listener dropped a new connection, for a full queue or any other reason."
        , note "A few a day are normal.";
    Gauge "tcp.accept_queue" "%", SockDiag "accept queue", Listener, Below(100);
        "How full the accept queue of a listener is, of those with connections that wait."
        , note "Read every 10 s; the fullest five.";
    Counter "tcp.req_queue_full_drops" "connections", Netstat "TcpExt TCPReqQFullDrop", Node, NeverRises;
        "A SYN was dropped as too many handshakes of its listener were unfinished.";
    Counter "tcp.req_queue_full_cookies" "connections", Netstat "TcpExt TCPReqQFullDoCookies", Node, NeverRises;
        "A SYN was answered with a cookie as too many handshakes were unfinished.";
    Counter "tcp.syncookies_sent" "connections", Netstat "TcpExt SyncookiesSent", Node, NeverRises;
        "SYN cookies were sent: a flood of SYNs, or a backlog that is too small.";
    Counter "tcp.syn_retrans" "segments", Netstat "TcpExt TCPSynRetrans", Node, AtMost(60);
        "A SYN or SYN-ACK of this node was sent again: the other end did not answer in time.";
    Counter "tcp.attempt_fails" "connections", Snmp "Tcp AttemptFails", Node, Informative;
        "A handshake came to nothing."
        , note "Refused health checks count here too.";
    Counter "tcp.abort_on_timeout" "connections", Netstat "TcpExt TCPAbortOnTimeout", Node, AtMost(10);
        "A connection was given up as its data was never acknowledged.";
    Counter "tcp.timeouts" "events", Netstat "TcpExt TCPTimeouts", Node, Informative;
        "A retransmission timer ran out.";
    Counter "tcp.retrans_segs" "segments", Snmp "Tcp RetransSegs", Node,
        ShareOf { of: "tcp.out_segs", percent: 1, few: 50 };
        "Segments that were sent again.";
    Counter "tcp.lost_retransmits" "segments", Netstat "TcpExt TCPLostRetransmit", Node, Informative;
        "A segment that was sent again was lost again.";
    Counter "tcp.retrans_fails" "segments", Netstat "TcpExt TCPRetransFail", Node, AtMost(10);
        "A segment could not be sent again, as when the queue of the interface is full.";
    Counter "tcp.spurious_timeouts" "events", Netstat "TcpExt TCPSpuriousRTOs", Node, Informative;
        "A retransmission timer ran out although nothing was lost.";
    Counter "tcp.out_segs" "segments", Snmp "Tcp OutSegs", Node, Informative;
        "Segments sent, without those that were sent again.";
    Counter "tcp.in_segs" "segments", Snmp "Tcp InSegs", Node, Informative;
        "Segments received.";
    Counter "tcp.in_errors" "segments", Snmp "Tcp InErrs", Node, NeverRises;
        "Segments received with a bad checksum or header.";
    Counter "tcp.active_opens" "connections", Snmp "Tcp ActiveOpens", Node, Informative;
        "Connections begun by this node.";
    Counter "tcp.passive_opens" "connections", Snmp "Tcp PassiveOpens", Node, Informative;
        "Connections accepted by this node.";
    Gauge "tcp.established" "connections", Snmp "Tcp CurrEstab", Node, Informative;
        "Connections that are established now.";
    Counter "tcp.estab_resets" "connections", Snmp "Tcp EstabResets", Node, Informative;
        "Established connections that ended with a reset.";
    Counter "tcp.out_resets" "segments", Snmp "Tcp OutRsts", Node, Informative;
        "Resets sent.";
    Counter "tcp.abort_on_memory" "connections", Netstat "TcpExt TCPAbortOnMemory", Node, NeverRises;
        "A connection was ended as TCP had no memory, or too many orphans.";
    Counter "tcp.memory_pressures" "events", Netstat "TcpExt TCPMemoryPressures", Node, NeverRises;
        "TCP came under memory pressure and made windows smaller.";
    Counter "tcp.receive_pruned" "segments", Netstat "TcpExt RcvPruned", Node, NeverRises;
        "Received data was thrown away as the socket had no memory for it.";
    Counter "tcp.backlog_drops" "segments", Netstat "TcpExt TCPBacklogDrop", Node, NeverRises;
        "A segment was dropped as the backlog of a busy socket was full.";
    Counter "tcp.receive_queue_drops" "segments", Netstat "TcpExt TCPRcvQDrop", Node, NeverRises;
        "A segment was dropped as the receive queue of a socket was full.";
    Counter "tcp.zero_windows" "events", Netstat "TcpExt TCPToZeroWindowAdv", Node, Informative;
        "A socket told the other end to stop: its program reads too slowly.";
    Counter "tcp.mtu_probe_fails" "events", Netstat "TcpExt TCPMTUPFail", Node, Informative;
        "A probe for a larger packet size was lost.";
    Counter "tcp.time_wait_overflow" "connections", Netstat "TcpExt TCPTimeWaitOverflow", Node, NeverRises;
        "There was no room for a connection in TIME_WAIT.";
    Gauge "tcp.time_wait" "connections", Sockstat "TCP tw", Node, less_than(80, "tcp.time_wait_max");
        "Connections in TIME_WAIT now.";
    Gauge "tcp.time_wait_max" "connections", Sysctl "ipv4/tcp_max_tw_buckets", Node, Informative;
        "The most connections in TIME_WAIT.";
    Gauge "tcp.orphans" "connections", Sockstat "TCP orphan", Node, less_than(50, "tcp.orphans_max");
        "Connections that no program holds any more."
        , note "They count up to four times when memory is short.";
    Gauge "tcp.orphans_max" "connections", Sysctl "ipv4/tcp_max_orphans", Node, Informative;
        "The most orphans.";
    Gauge "tcp.memory" "pages", Sockstat "TCP mem", Node, less_than(80, "tcp.memory_max");
        "Memory of all TCP sockets now.";
    Gauge "tcp.memory_max" "pages", Sysctl "ipv4/tcp_mem, third", Node, Informative;
        "The most memory of all TCP sockets.";
    Gauge "tcp.ephemeral_ports" "ports", SockDiag "ephemeral ports", Path, less_than(70, "tcp.ephemeral_range");
        "Local ports in use toward one address and port: when none is free, connections fail with EADDRNOTAVAIL."
        , note "Read every 10 s; the five paths with the most, of those with 1 % or more.";
    Gauge "tcp.ephemeral_range" "ports", Sysctl "ipv4/ip_local_port_range", Node, Informative;
        "How many local ports there are for connections to one address and port.";
    Gauge "sockets.used" "sockets", Sockstat "sockets used", Node, Informative;
        "Sockets of all kinds.";
    Counter "udp.no_ports" "datagrams", Snmp "Udp NoPorts", Node, AtMost(10);
        "A datagram came for a port that nobody has open, as of a resolver that is dead.";
    Counter "udp.receive_buffer_errors" "datagrams", Snmp "Udp RcvbufErrors", Node, NeverRises;
        "A datagram was dropped as the receive buffer of its socket was full: the program reads too slowly.";
    Counter "udp.send_buffer_errors" "datagrams", Snmp "Udp SndbufErrors", Node, NeverRises;
        "A datagram could not be sent as the send buffer was full.";
    Counter "udp.checksum_errors" "datagrams", Snmp "Udp InCsumErrors", Node, NeverRises;
        "A datagram came with a bad checksum.";
    Counter "udp.memory_errors" "datagrams", Snmp "Udp MemErrors", Node, NeverRises;
        "A datagram was dropped as UDP had no memory.";
    Counter "udp.in_datagrams" "datagrams", Snmp "Udp InDatagrams", Node, Informative;
        "Datagrams received.";
    Counter "udp.out_datagrams" "datagrams", Snmp "Udp OutDatagrams", Node, Informative;
        "Datagrams sent.";
    Gauge "udp.memory" "pages", Sockstat "UDP mem", Node, less_than(80, "udp.memory_max");
        "Memory of all UDP sockets now.";
    Gauge "udp.memory_max" "pages", Sysctl "ipv4/udp_mem, third", Node, Informative;
        "The most memory of all UDP sockets.";
    Counter "udp6.no_ports" "datagrams", Snmp6 "Udp6NoPorts", Node, AtMost(10);
        "The same as udp.no_ports over IPv6.";
    Counter "udp6.receive_buffer_errors" "datagrams", Snmp6 "Udp6RcvbufErrors", Node, NeverRises;
        "The same as udp.receive_buffer_errors over IPv6.";
    Counter "udp6.send_buffer_errors" "datagrams", Snmp6 "Udp6SndbufErrors", Node, NeverRises;
        "The same as udp.send_buffer_errors over IPv6.";
    Counter "udp6.checksum_errors" "datagrams", Snmp6 "Udp6InCsumErrors", Node, NeverRises;
        "A datagram over IPv6 came with a bad checksum.";
    Counter "udp6.in_datagrams" "datagrams", Snmp6 "Udp6InDatagrams", Node, Informative;
        "Datagrams received over IPv6.";
    Counter "udp6.out_datagrams" "datagrams", Snmp6 "Udp6OutDatagrams", Node, Informative;
        "Datagrams sent over IPv6.";
    Counter "ip.reverse_path_drops" "packets", Netstat "TcpExt IPReversePathFilter", Node, NeverRises;
        "rp_filter dropped a packet whose sender is reached by another way: an asymmetric path, as over several "
        "network interfaces.";
    Counter "ip.out_no_routes" "packets", Snmp "Ip OutNoRoutes", Node, AtMost(10);
        "A packet could not be sent as there was no route.";
    Counter "ip.in_no_routes" "packets", Netstat "IpExt InNoRoutes", Node, Informative;
        "A packet came in for which there was no route.";
    Counter "ip.in_header_errors" "packets", Snmp "Ip InHdrErrors", Node, NeverRises;
        "A packet came with a bad header, or its time to live ran out here.";
    Counter "ip.in_address_errors" "packets", Snmp "Ip InAddrErrors", Node, AtMost(60);
        "A packet came for an address that is not valid here.";
    Counter "ip.in_discards" "packets", Snmp "Ip InDiscards", Node, NeverRises;
        "A good packet was thrown away, as for lack of memory.";
    Counter "ip.out_discards" "packets", Snmp "Ip OutDiscards", Node, AtMost(10);
        "A good packet was not sent, as a packet filter refused it or memory was short.";
    Counter "ip.reassembly_fails" "packets", Snmp "Ip ReasmFails", Node, NeverRises;
        "Fragments could not be put together: one was lost, or there was no memory.";
    Counter "ip.fragmentation_fails" "packets", Snmp "Ip FragFails", Node, AtMost(5);
        "A packet was too large for the next link and may not be cut up."
        , note "Path MTU discovery makes a few.";
    Counter "ip.forwarded" "packets", Snmp "Ip ForwDatagrams", Node, Informative;
        "Packets passed on, as to and from pods.";
    Gauge "ip.fragment_memory" "bytes", Sockstat "FRAG memory", Node, Informative;
        "Memory of fragments that wait for others.";
    Counter "ip6.out_no_routes" "packets", Snmp6 "Ip6OutNoRoutes", Node, AtMost(10);
        "A packet could not be sent over IPv6 as there was no route.";
    Counter "ip6.in_header_errors" "packets", Snmp6 "Ip6InHdrErrors", Node, NeverRises;
        "A packet over IPv6 came with a bad header, or its hop limit ran out here.";
    Counter "ip6.in_discards" "packets", Snmp6 "Ip6InDiscards", Node, AtMost(10);
        "A good packet over IPv6 was thrown away.";
    Counter "ip6.out_discards" "packets", Snmp6 "Ip6OutDiscards", Node, AtMost(10);
        "A good packet over IPv6 was not sent.";
    Counter "ip6.too_big" "packets", Snmp6 "Ip6InTooBigErrors", Node, AtMost(5);
        "A packet over IPv6 was too large for the next link.";
    Counter "ip6.reassembly_fails" "packets", Snmp6 "Ip6ReasmFails", Node, NeverRises;
        "Fragments over IPv6 could not be put together.";
    Counter "ip6.forwarded" "packets", Snmp6 "Ip6OutForwDatagrams", Node, Informative;
        "Packets passed on over IPv6.";
    Gauge "ip6.fragment_memory" "bytes", Sockstat6 "FRAG6 memory", Node, Informative;
        "Memory of fragments over IPv6 that wait for others.";
    Counter "icmp.in_unreachable" "messages", Snmp "Icmp InDestUnreachs", Node, Informative;
        "Others told this node that something cannot be reached.";
    Counter "icmp.out_unreachable" "messages", Snmp "Icmp OutDestUnreachs", Node, Informative;
        "This node told others that something cannot be reached.";
    Counter "icmp.in_time_exceeded" "messages", Snmp "Icmp InTimeExcds", Node, Informative;
        "The time to live of a packet of this node ran out on its way, as in a routing loop.";
    Counter "icmp6.in_too_big" "messages", Snmp6 "Icmp6InPktTooBigs", Node, Informative;
        "Others told this node that a packet over IPv6 is too large.";
    Counter "icmp6.in_unreachable" "messages", Snmp6 "Icmp6InDestUnreachs", Node, Informative;
        "Others told this node that something cannot be reached over IPv6.";
    Gauge "conntrack.count" "connections", Sysctl "netfilter/nf_conntrack_count", Node, less_than(80, "conntrack.max");
        "Connections that the kernel tracks now; when the table is full, new ones are dropped.";
    Gauge "conntrack.max" "connections", Sysctl "netfilter/nf_conntrack_max", Node, Informative;
        "The most connections that are tracked.";
    Counter "conntrack.insert_failed" "packets", Conntrack "insert_failed", Cpus, NeverRises;
        "A new connection got no entry: with the table far from full, no port was free for its source NAT.";
    Counter "conntrack.drop" "packets", Conntrack "drop", Cpus, NeverRises;
        "A packet was dropped as its connection could not be tracked; with insert_failed at rest the table is full.";
    Counter "conntrack.early_drop" "connections", Conntrack "early_drop", Cpus, NeverRises;
        "An entry was thrown out to make room: the table is full.";
    Counter "conntrack.invalid" "packets", Conntrack "invalid", Cpus, Informative;
        "A packet fitted no connection."
        , note "Thousands are normal on a node that works.";
    Counter "conntrack.clash_resolve" "packets", Conntrack "clashres", Cpus, Informative;
        "Two packets raced to make the same entry and both went on."
        , note "Healthy: it replaced the loss of DNS questions in older kernels.";
    Counter "conntrack.search_restart" "lookups", Conntrack "search_restart", Cpus, Informative;
        "A lookup had to begin again as the table changed under it.";
    Gauge "arp.entries" "entries", ArpCache "entries", Node, less_than(80, "arp.entries_max");
        "Neighbours in the ARP table, of all namespaces together.";
    Gauge "arp.entries_max" "entries", Sysctl "ipv4/neigh/default/gc_thresh3", Node, Informative;
        "The most neighbours in the ARP table.";
    Counter "arp.table_fulls" "events", ArpCache "table_fulls", Cpus, NeverRises;
        "The ARP table was full and a packet was dropped.";
    Counter "arp.unresolved_discards" "packets", ArpCache "unresolved_discards", Cpus, AtMost(60);
        "A packet was dropped while its neighbour did not answer."
        , note "A pod address that is gone makes some.";
    Counter "arp.resolution_failed" "events", ArpCache "res_failed", Cpus, Informative;
        "A neighbour did not answer.";
    Gauge "ndisc.entries" "entries", NdiscCache "entries", Node, less_than(80, "ndisc.entries_max");
        "Neighbours over IPv6, of all namespaces together.";
    Gauge "ndisc.entries_max" "entries", Sysctl "ipv6/neigh/default/gc_thresh3", Node, Informative;
        "The most neighbours over IPv6.";
    Counter "ndisc.table_fulls" "events", NdiscCache "table_fulls", Cpus, NeverRises;
        "The table of neighbours over IPv6 was full and a packet was dropped.";
    Counter "ndisc.unresolved_discards" "packets", NdiscCache "unresolved_discards", Cpus, AtMost(60);
        "A packet over IPv6 was dropped while its neighbour did not answer.";
    Counter "softnet.dropped" "packets", Softnet "dropped", Cpus, NeverRises;
        "A packet was dropped as the backlog of its CPU was full.";
    Counter "softnet.time_squeeze" "rounds", Softnet "time_squeeze", Cpus, AtMost(600);
        "A CPU had more packets than fit one round."
        , note "Normal under load; no loss by itself.";
    Counter "softnet.flow_limit" "packets", Softnet "flow_limit_count", Cpus, AtMost(60);
        "A packet of a very large flow was dropped to keep room for others.";
    Counter "softnet.processed" "packets", Softnet "processed", Cpus, Informative;
        "Packets that the CPUs have taken from interfaces.";
    Counter "ena.bw_in_allowance_exceeded" "packets", Ethtool "bw_in_allowance_exceeded", Interface, NeverRises;
        "Packets were queued or dropped as more bandwidth came in than the instance may have."
        , note "Short bursts do it that averages do not show.";
    Counter "ena.bw_out_allowance_exceeded" "packets", Ethtool "bw_out_allowance_exceeded", Interface, NeverRises;
        "Packets were queued or dropped as more bandwidth went out than the instance may have."
        , note "Short bursts do it that averages do not show.";
    Counter "ena.pps_allowance_exceeded" "packets", Ethtool "pps_allowance_exceeded", Interface, NeverRises;
        "Packets were queued or dropped as more packets a second went both ways than the instance may have."
        , note "Short bursts do it that averages do not show.";
    Counter "ena.conntrack_allowance_exceeded" "packets", Ethtool "conntrack_allowance_exceeded", Interface, NeverRises;
        "Packets were dropped as security groups track too many connections: new ones fail.";
    Counter "ena.linklocal_allowance_exceeded" "packets", Ethtool "linklocal_allowance_exceeded", Interface, NeverRises;
        "Packets to link-local services were dropped: DNS, instance metadata and time have 1024 a second an "
        "interface.";
    Gauge "ena.conntrack_allowance_available" "connections", Ethtool "conntrack_allowance_available", Interface,
        AboveShareOfMost(10);
        "Connections that security groups can track still."
        , note "From ENA driver 2.8.1 on.";
    Counter "driver.drops" "packets", Ethtool "all with drop in their name", Interface, NeverRises;
        "The driver of the interface dropped packets, as when its ring was full.";
    Counter "driver.queue_stops" "events", Ethtool "all with queue_stop in their name", Interface, Informative;
        "A send queue of the interface was full for a moment."
        , note "Normal under load; nothing is lost.";
    Counter "driver.resets" "events", Ethtool "all with tx_timeout or reset in their name", Interface, NeverRises;
        "The interface stood still or was reset by its driver.";
    Counter "link.rx_dropped" "packets", Link "rx_dropped", Interface, AtMost(60);
        "Received packets that were dropped behind the driver."
        , note "Packets of protocols that nobody takes count here.";
    Counter "link.tx_dropped" "packets", Link "tx_dropped", Interface, NeverRises;
        "Packets that were dropped on the way out, as by a veth whose other end has no room.";
    Counter "link.rx_errors" "packets", Link "rx_errors", Interface, NeverRises;
        "Packets that came in broken.";
    Counter "link.tx_errors" "packets", Link "tx_errors", Interface, NeverRises;
        "Packets that could not be sent.";
    Counter "link.rx_missed" "packets", Link "rx_missed_errors", Interface, NeverRises;
        "Packets that the interface had no room for.";
    Counter "link.rx_fifo_errors" "packets", Link "rx_fifo_errors", Interface, NeverRises;
        "Packets that were lost as the ring of the interface was full.";
    Counter "link.carrier_changes" "events", Link "carrier_changes", Interface, NeverRises;
        "The link went down or came up.";
    Counter "qdisc.drops" "packets", Qdisc "drops", Interface, AtMost(60);
        "The queue in front of the interface dropped packets."
        , note "Queues drop a few to slow senders down.";
    Counter "qdisc.overlimits" "packets", Qdisc "overlimits", Interface, Informative;
        "The queue in front of the interface held packets back, as its limit says.";
    Counter "qdisc.requeues" "packets", Qdisc "requeues", Interface, Informative;
        "The interface did not take a packet at once.";
    Gauge "qdisc.backlog" "packets", Qdisc "qlen", Interface, Informative;
        "Packets that wait in front of the interface now.";
    Counter "psi.cpu_some" "µs", Pressure "cpu some", Node, Informative;
        "Time in which a task waited for a CPU.";
    Counter "psi.memory_some" "µs", Pressure "memory some", Node, share_of_minute(20);
        "Time in which a task waited for memory.";
    Counter "psi.memory_full" "µs", Pressure "memory full", Node, share_of_minute(5);
        "Time in which all tasks waited for memory.";
    Counter "psi.io_some" "µs", Pressure "io some", Node, Informative;
        "Time in which a task waited for a disk.";
    Counter "psi.io_full" "µs", Pressure "io full", Node, share_of_minute(40);
        "Time in which all tasks waited for a disk.";
};
