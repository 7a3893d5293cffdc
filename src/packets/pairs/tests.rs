//! Pairing held against packets made for it.

use super::*;
use crate::packets::headers::tests::tcp_packet;

/// Every node captured all the time.
struct Always;

impl Coverage for Always {
    fn covers(&self, _node: &str, _time: i64) -> bool {
        true
    }
}

/// Node a captured up to that time only.
struct Until(i64);

impl Coverage for Until {
    fn covers(&self, node: &str, time: i64) -> bool {
        node != "a" || time <= self.0
    }
}

const MS: i64 = 1_000_000;
const SYN: u8 = 2;
const ACK: u8 = 0x10;

type Seen = (u32, i64, Vec<u8>);

/// Pairs copies that nodes a (interface 0) and b (interface 1) have; what goes on by its time, with its comment.
fn pair(seen: &[Seen], coverage: &impl Coverage) -> (Vec<(i64, Option<String>)>, Paired) {
    let mut pairs = Pairs::new(WITHIN, []);
    pairs.describe(0, "a/eth0", 1);
    pairs.describe(1, "b/eth0", 1);
    let mut out = Vec::new();
    let mut sorted = seen.to_vec();
    sorted.sort_by_key(|(_, time, _)| *time);
    for (interface, time, data) in &sorted {
        let sighting = Sighting {
            interface: *interface,
            time: *time,
            ticks: *time as u64,
            wire_length: data.len() as u32,
            data,
            options: &[],
        };
        pairs.take(&sighting, *time);
        pairs.release(*time, coverage, |packet| out.push((packet.time, packet.comment.clone())));
    }
    let paired = pairs.end(coverage, |packet| out.push((packet.time, packet.comment.clone())));
    (out, paired)
}

/// One of A's packets to B, and one of B's to A.
fn there(id: u16, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_packet((1, 2), (4431, 8080), id, sequence, flags, payload)
}

fn back(id: u16, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_packet((2, 1), (8080, 4431), id, sequence, flags, payload)
}

/// As a router passes it on: one hop less, other addresses of the link, another checksum.
fn passed_on(mut data: Vec<u8>) -> Vec<u8> {
    data[0..12].copy_from_slice(&[9; 12]);
    data[22] -= 1;
    data[24] ^= 0xFF;
    data[50] ^= 0xFF;
    data
}

#[test]
fn a_packet_of_two_nodes_is_one_with_both_times_and_the_clocks_are_estimated() {
    let ahead = 40 * MS;
    let mut seen = Vec::new();
    for number in 0..10u16 {
        let at = 1000 * MS + i64::from(number) * 10 * MS;
        let (request, answer) = (there(number, 100, ACK, b"x"), back(number, 7, ACK, b""));
        // B's clock is ahead; a packet takes 20 us.
        seen.push((0, at, request.clone()));
        seen.push((1, at + 20_000 + ahead, passed_on(request)));
        seen.push((1, at + 50_000 + ahead, answer.clone()));
        seen.push((0, at + 70_000, passed_on(answer)));
    }
    let (out, paired) = pair(&seen, &Always);
    assert_eq!((out.len(), paired.pairs, paired.one_sided), (20, 20, 0), "{paired:?}");
    assert!(out.iter().any(|(_, said)| said.as_deref() == Some("a 00:00:01.000000, b +40.020 ms")), "{out:?}");
    let [clock] = paired.clocks.as_slice() else { panic!("{paired:?}") };
    assert_eq!((clock.ahead, clock.delay, clock.matches), (ahead, Some(20_000), 20));
    let said = "the clock of b is 40.000 ms ahead of that of a, one way takes 20 us (from 20 packets)";
    assert!(paired.lines().iter().any(|line| line == said), "{:?}", paired.lines());
}

#[test]
fn what_one_side_alone_has_is_named_where_the_other_would_have_had_it() {
    let first = there(1, 100, SYN, b"");
    let lost = there(2, 100, SYN, b"");
    let seen = [(0, 0, first.clone()), (1, 20_000, first), (0, 10 * MS, lost.clone())];
    let (out, all) = pair(&seen, &Always);
    assert_eq!((out.len(), all.pairs, all.one_sided), (2, 1, 1));
    assert_eq!(out[1].1.as_deref(), Some("seen on a only"));
    let row = &all.rows[0];
    assert_eq!((row.node.as_str(), row.not_on.as_slice()), ("a", &["b".to_owned()][..]));
    assert!(row.packet.starts_with("IP 10.0.0.1.4431 > 10.0.0.2.8080: Flags [S], seq 100"), "{}", row.packet);
    // The other did not capture any more, so nothing is claimed.
    let seen = [seen[1].clone(), (0, 5_000, seen[0].2.clone()), (1, 10 * MS, lost)];
    let (out, all) = pair(&seen, &Until(9 * MS));
    assert_eq!((out[1].1.as_deref(), all.one_sided, all.outside), (None, 0, 1));
}

#[test]
fn what_goes_elsewhere_is_not_said_to_be_lost() {
    let mut seen = vec![(0, 0, there(1, 100, SYN, b"")), (1, 20_000, there(1, 100, SYN, b""))];
    seen.extend((0..5).map(|id| (0, 5 * MS, tcp_packet((1, 9), (5, 443), id, 1, ACK, b"z"))));
    let (out, paired) = pair(&seen, &Always);
    assert_eq!((out.len(), paired.one_sided, paired.one_node), (6, 0, 5));
    let [conversation] = paired.conversations.as_slice() else { panic!("{paired:?}") };
    assert_eq!((conversation.node.as_str(), conversation.packets), ("a", 5));
    // A node that does not capture then is not said to have nothing of it.
    let off: Vec<Seen> = (0..5).map(|id| (1, 5 * MS, tcp_packet((1, 9), (5, 443), id, 1, ACK, b"z"))).collect();
    let (_, paired) = pair(&off, &Until(MS));
    assert_eq!((paired.outside, paired.one_node), (5, 0), "{:?}", paired.lines());
    // Behind NAT it is another packet.
    let (out, paired) =
        pair(&[(0, 0, there(1, 100, SYN, b"")), (1, 9, tcp_packet((7, 2), (4431, 8080), 1, 100, SYN, b""))], &Always);
    assert_eq!((out.len(), paired.pairs, paired.one_sided, paired.one_node), (2, 0, 0, 2));
}

#[test]
fn a_retransmission_is_two_packets_also_without_a_number_of_its_own() {
    let same = there(0, 100, SYN, b"");
    let second = 1000 * MS;
    let seen = [(0, 0, same.clone()), (1, 20_000, same.clone()), (0, second, same.clone()), (1, second + 20_000, same)];
    let (out, paired) = pair(&seen, &Always);
    assert_eq!((out.len(), paired.pairs, paired.one_sided), (2, 2, 0));
    // The first of them was lost: the second is not taken for it.
    let seen = [seen[0].clone(), seen[2].clone(), seen[3].clone()];
    let (out, paired) = pair(&seen, &Always);
    assert_eq!((out.len(), paired.pairs, paired.one_sided), (2, 1, 1));
    assert_eq!(out[0].1.as_deref(), Some("seen on a only"));
}

#[test]
fn unequal_segments_are_no_loss_and_are_written_once() {
    let bytes = [7u8; 4000];
    let whole = |from: usize, to: usize, id| there(id, 100 + from as u32, ACK, &bytes[from..to]);
    let handshake = there(1, 99, SYN, b"");
    let mut seen = vec![(0, 0, handshake.clone()), (1, 1000, handshake)];
    // The sender's network card splits what the receiver sees in three.
    seen.push((0, MS, whole(0, 4000, 2)));
    for (number, (from, to)) in [(0, 1448), (1448, 2896), (2896, 4000)].into_iter().enumerate() {
        seen.push((1, MS + 20_000 + number as i64, whole(from, to, 2 + number as u16)));
    }
    let (out, paired) = pair(&seen, &Always);
    assert_eq!((out.len(), paired.segments, paired.left_out, paired.one_sided), (2, 1, 3, 0), "{out:?} {paired:?}");
    assert_eq!(out[1].1.as_deref(), Some("a 00:00:00.001000; on b in other segments"));
    // The other way around: the receiver's kernel joins them.
    let turned: Vec<Seen> =
        seen.iter().map(|(side, at, data)| (1 - side, if *side == 0 { at + MS } else { *at }, data.clone())).collect();
    let (out, paired) = pair(&turned, &Always);
    assert_eq!((out.len(), paired.segments, paired.left_out, paired.one_sided), (4, 3, 1, 0), "{out:?} {paired:?}");
    // The second of them is missing.
    seen.remove(4);
    let (out, paired) = pair(&seen, &Always);
    assert_eq!((paired.left_out, paired.one_sided), (2, 1), "{out:?} {paired:?}");
    assert_eq!(out[1].1.as_deref(), Some("seen on b only in part: 2552 of 4000 bytes"));
}

#[test]
fn a_node_that_keeps_less_of_packets_still_has_them() {
    let whole = there(1, 100, ACK, b"a payload");
    let mut pairs = Pairs::new(WITHIN, []);
    pairs.describe(0, "a/eth0", 1);
    pairs.describe(1, "b/eth0", 1);
    for (interface, data) in [(0, &whole[..]), (1, &whole[..54])] {
        let wire_length = whole.len() as u32;
        pairs.take(&Sighting { interface, time: 5, ticks: 5, wire_length, data, options: &[] }, 5);
    }
    assert_eq!(pairs.end(&Always, |_| {}).pairs, 1);
}

#[test]
fn what_waits_is_bounded_and_then_nothing_is_claimed() {
    let mut pairs = Pairs::new(WITHIN, []);
    pairs.describe(0, "a/eth0", 1);
    let (mut given, big) = (0, vec![0u8; 60_000]);
    let count = MOST_HELD / 60_000 + 100;
    for number in 0..count {
        let data = there(number as u16, number as u32, ACK, &big);
        let sighting = Sighting { interface: 0, time: 5, ticks: 5, wire_length: 60_040, data: &data, options: &[] };
        pairs.take(&sighting, 5);
        pairs.release(5, &Always, |_| given += 1);
        assert!(pairs.bytes <= MOST_HELD);
    }
    assert!(given >= 100, "{given}");
    let paired = pairs.end(&Always, |_| given += 1);
    assert_eq!(given, count);
    assert!(paired.let_go >= 100 && paired.one_sided == 0, "{paired:?}");
}

#[test]
fn differences_are_said_with_their_sign_and_unit() {
    assert_eq!([apart(20_999), apart(-1_234_567), apart(2_000_003_000)], ["+20 us", "-1.234 ms", "+2.000003 s"]);
}

/// A datagram of A to B without a number of its own, as one of a stream is, and perhaps its headers alone.
fn datagram(payload: &[u8], headers: bool) -> Vec<u8> {
    let mut data = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    data.extend((28 + payload.len() as u16).to_be_bytes());
    data.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x20, 0, 0x20, 1]);
    data.extend((8 + payload.len() as u16).to_be_bytes());
    data.extend([0, 0]);
    if !headers {
        data.extend(payload);
    }
    data
}

#[test]
fn of_a_stream_of_datagrams_that_look_alike_each_finds_its_copy_and_what_was_lost_is_named() {
    for headers in [false, true] {
        let mut seen = Vec::new();
        let mut lost = 0;
        for number in 0..2000u32 {
            let at = i64::from(number) * 2 * MS;
            let data = datagram(&number.to_be_bytes(), headers);
            seen.push((0, at, data.clone()));
            // A hundred in a row, more than are compared at one place.
            if !headers && (700..800).contains(&number) {
                lost += 1;
            } else {
                seen.push((1, at + 300_000, data));
            }
        }
        let (_, paired) = pair(&seen, &Always);
        assert_eq!((paired.pairs, paired.one_sided), (2000 - lost, lost), "{headers}");
    }
}

#[test]
fn nothing_is_claimed_of_a_copy_that_comes_when_the_others_have_gone_on() {
    let mut pairs = Pairs::new(WITHIN, []);
    pairs.describe(0, "a/eth0", 1);
    pairs.describe(1, "b/eth0", 1);
    let mut out = Vec::new();
    let mut take = |interface, time: i64, id, at| {
        let data = there(id, 100, ACK, b"");
        let wire_length = data.len() as u32;
        let sighting = Sighting { interface, time, ticks: 0, wire_length, data: &data, options: &[] };
        pairs.take(&sighting, at);
        pairs.release(at, &Until(15_000 * MS), |packet| out.push(packet.comment.clone()));
    };
    take(0, 0, 1, 0);
    take(1, 20_000, 1, MS);
    take(0, 10_000 * MS, 2, 10_000 * MS);
    take(0, 15_000 * MS, 3, 15_000 * MS);
    take(0, 16_000 * MS, 4, 16_000 * MS);
    // B's stream was held up, and comes only now; what A had of that time has gone on.
    take(1, 10_000 * MS, 2, 22_000 * MS);
    // What A has not, and would have: that is claimed.
    take(1, 20_000 * MS, 5, 22_000 * MS);
    let paired = pairs.end(&Always, |packet| out.push(packet.comment.clone()));
    assert_eq!((paired.pairs, paired.let_go), (1, 1), "{paired:?}");
    let of_b = out.iter().flatten().filter(|said| said.as_str() == "seen on b only").count();
    assert_eq!(of_b, 1, "{out:?}");
}

#[test]
fn a_node_whose_clock_is_ahead_silences_no_others() {
    let mut pairs = Pairs::new(WITHIN, []);
    for (number, name) in (0..).zip(["a/eth0", "b/eth0", "c/eth0"]) {
        pairs.describe(number, name, 1);
    }
    let mut out = Vec::new();
    let mut take = |interface, time: i64, data: &[u8], at| {
        let wire_length = data.len() as u32;
        pairs.take(&Sighting { interface, time, ticks: 0, wire_length, data, options: &[] }, at);
        pairs.release(at, &Always, |packet| out.push(packet.comment.clone()));
    };
    // C has other packets alone, and its clock is a minute ahead.
    take(2, 60_000 * MS, &datagram(b"other", false), 0);
    take(0, MS, &there(1, 100, ACK, b""), MS);
    take(1, MS, &there(1, 100, ACK, b""), MS);
    take(2, 67_000 * MS, &datagram(b"other", false), 7_000 * MS);
    take(0, 10_000 * MS, &there(2, 100, ACK, b""), 10_000 * MS);
    let paired = pairs.end(&Always, |packet| out.push(packet.comment.clone()));
    assert_eq!((paired.pairs, paired.let_go), (1, 0), "{paired:?}");
    assert!(out.iter().flatten().any(|said| said == "seen on a only"), "{out:?}");
}
