//! The records of what packets say.

use super::Record;

/// What is known of a pair of ends.
pub const PAIR: Record = Record {
    kind: "pair",
    commands: "diagnose",
    one: "pair of ends, service and interface",
    name: "SOURCE DESTINATION:PORT/SERVICE",
    fields: &[
        ("source", "who connects or asks"),
        ("destination", ""),
        ("port", ""),
        ("service", "`tcp`, `udp`, `dns`, `neighbour` (ARP and Neighbour Discovery) or `other`"),
        ("interface", "where it was captured; of others' files what is known"),
        ("tunnel", "the one that its packets came in"),
        ("packets", "`there` and `back`"),
        ("bytes", "`there` and `back`, on the wire"),
        ("attempts", "connections begun, or questions"),
        ("answered", ""),
        ("failed", "the sum of those symptoms that are failures"),
        (
            "fates",
            "of `diagnose`: connections by how far they came, as `tcp.completeness` of Wireshark has it: see diagnosis.md",
        ),
        ("lookups", "names looked up, each perhaps with several questions"),
        ("symptoms", "by name, each with `there` and `back`: those that were seen"),
        ("answer", "`count`, `p50_ms` and `p99_ms` from SYN to SYN-ACK, or from question to answer"),
        ("round_trip", "`count`, `p50_ms` and `p99_ms` from data to its acknowledgment, by TCP timestamps"),
        ("stalled_ms", "`there` and `back`: how long windows were closed"),
        ("idle_ms", "the longest silence before a failure"),
        ("path_mtu", "the least that a router has said"),
        ("told_by", "who sent the last ICMP error"),
        ("reset_ttl", "of the last RST"),
        ("samples", "up to three packets a symptom: `symptom`, `time`, and `packet` as tcpdump prints it"),
    ],
};

/// What was seen on a node in a second.
pub const WATCH: Record = Record {
    kind: "watch",
    commands: "watch",
    one: "node and second; two, where it is captured too",
    name: "NODE SOURCE DESTINATION:PORT/SERVICE, of those on which something failed",
    fields: &[
        ("node", ""),
        ("at", "when the second ended, by the node's clock"),
        ("millis", "how long it was"),
        ("captured", "of the packets that a capture takes, not of those that are only watched"),
        (
            "interfaces",
            "`name`, `role` (`node`, `pod` or `other`), the second's `packets`, `dropped`, `skipped`, and whether it is \
             `gone` (not there, or down)",
        ),
        ("connections", "that are followed now"),
        (
            "sums",
            "of all pairs, each thing once however many interfaces show it, but for `packets` and `bytes`: `attempts`, \
             `answered`, `lookups`, `failed`, `delayed`, `segments`, `retransmitted`, `dns_unanswered`",
        ),
        ("pairs", "a list of what `pair` has, of this second"),
        (
            "unlisted",
            "what is not among the pairs: `pairs`, their `packets`, `failed` and `felt`; `no_room`, `evicted` as in \
             `summary`",
        ),
        ("not_judged", "as in `summary`"),
        (
            "unseen_millis",
            "since it began, the time of which not all was seen: `dropped` (the kernel had no room), `behind` (the analysis \
             was), `gone` (an interface was), `untold` (no tunnel)",
        ),
    ],
};

/// What all packets amount to.
pub const SUMMARY: Record = Record {
    kind: "summary",
    commands: "diagnose",
    one: "run, at the end",
    name: "",
    fields: &[
        ("files", ""),
        ("packets", ""),
        ("connections", ""),
        ("fates", "the same of all connections"),
        ("from", "the first packet"),
        ("until", "the last packet"),
        (
            "tcp",
            "as Wireshark counts them: `retransmissions` (all kinds), `spurious_retransmissions`, `fast_retransmissions`, `out_of_order`, `duplicate_acks`, `zero_windows`, `keep_alives`, `resets`",
        ),
        ("dns", "`questions`, `unanswered`, `servfail`, `nxdomain`"),
        ("pairs", "how many"),
        ("failed", "of all pairs, each failure once however many places show it"),
        ("symptoms", "all of them by name, with their counts"),
        ("not_judged", "what was left undecided, by reason: `first_seconds`, `one_direction`, `dropped`, `undecided`"),
        ("dropped_packets", "while capturing, as the files say"),
        ("not_read", "packets that are neither IP nor ARP"),
        ("no_room", "packets of pairs beyond those that are counted one by one"),
        ("evicted", "connections forgotten before they were over"),
        ("forgotten", "attempts and questions forgotten before they were decided"),
        ("identical", "packets of overlapping files, counted once"),
        ("warnings", ""),
    ],
};
