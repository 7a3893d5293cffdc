//! What holds for any bytes and any message.

use std::net::{IpAddr, SocketAddr};

use nodewatch_protocol::{
    CaptureFile, CaptureSpec, CaptureState, DecodeError, Delivery, Device, Dropped, Endpoint, FileState, Flow,
    FreezeOn, FromAgent, Hello, Lines, MAX_LINE, Mix, Port, PortProtocol, PortsKind, PortsUpdate, Recorder, Refusal,
    RefusalKind, Request, Response, Share, SignalSeries, SignalsUpdate, Statistics, StopReason, Terms, ToAgent,
    Transport, Update, Window, decode, encode,
};
use proptest::{collection::vec, option, prelude::*};

fn port() -> impl Strategy<Value = Port> {
    let address = prop_oneof![any::<IpAddr>(), Just(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED))];
    let device = option::of("[a-z0-9%.\\[\\]\"é]{1,7}");
    let protocol = prop::sample::select(PortProtocol::ALL.to_vec());
    (protocol, address, any::<u16>(), device, any::<bool>()).prop_map(|(protocol, address, port, device, v6only)| {
        let local = SocketAddr::new(address, port);
        let v6only = v6only && address.is_ipv6() && address.is_unspecified();
        Port { protocol, local, device: device.as_deref().and_then(Device::named), v6only }
    })
}

fn signals() -> impl Strategy<Value = SignalsUpdate> {
    let series = (any::<u32>(), any::<String>(), any::<String>(), any::<u64>(), any::<u64>())
        .prop_map(|(id, name, item, value, total)| SignalSeries { id, name, item, value, total });
    let moved = vec((any::<u32>(), any::<u64>()), 0..5);
    (any::<u64>(), option::of(any::<u64>()), vec(series, 0..5), moved, vec(any::<u32>(), 0..5)).prop_map(
        |(at, since, told, moved, gone)| SignalsUpdate {
            at,
            since,
            told,
            moved,
            gone,
            missing: since.map(|_| Vec::new()),
            left_out: at % 3,
        },
    )
}

fn spec() -> impl Strategy<Value = CaptureSpec> {
    let numbers = (any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>());
    let limits = (option::of(any::<u64>()), option::of(any::<u64>()), option::of(any::<u64>()));
    (vec(any::<String>(), 0..3), option::of(any::<String>()), numbers, limits).prop_map(
        |(interfaces, filter, (snaplen, rotate_bytes, rotate_seconds, ring_bytes), limits)| CaptureSpec {
            interfaces,
            filter,
            toward: std::iter::repeat_n(std::net::Ipv4Addr::LOCALHOST.into(), (snaplen % 3) as usize).collect(),
            snaplen,
            rotate_bytes,
            rotate_seconds: rotate_seconds.into(),
            ring_bytes,
            limit_bytes: limits.0,
            limit_packets: limits.1,
            limit_seconds: limits.2.map(Into::into),
            recorder: limits.0.map(|bytes| Recorder { seconds: 1.into(), bytes }),
            freeze_on: limits.1.map(|bits| FreezeOn::Codes((bits as u16).max(1))),
            ..CaptureSpec::default()
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Heartbeat),
        spec().prop_map(Request::StartCapture),
        Just(Request::StopCapture),
        any::<String>().prop_map(|file| Request::Checksum { file }),
        (any::<u64>(), option::of(any::<u64>())).prop_map(|(left, lease)| Request::Terms(Terms {
            left_seconds: left.into(),
            lease_seconds: lease.map(Into::into)
        })),
        Just(Request::Goodbye),
    ]
}

fn hello() -> impl Strategy<Value = Hello> {
    (any::<u32>(), any::<String>(), any::<String>()).prop_map(|(protocol, program, version)| Hello {
        protocol,
        program,
        version,
    })
}

fn to_agent() -> impl Strategy<Value = ToAgent> {
    prop_oneof![
        hello().prop_map(ToAgent::Hello),
        (any::<u64>(), request()).prop_map(|(id, request)| ToAgent::Request { id, request }),
    ]
}

fn share() -> impl Strategy<Value = Share> {
    any::<(u64, u64)>().prop_map(|(packets, bytes)| Share { packets, bytes })
}

fn flow() -> impl Strategy<Value = Flow> {
    let end = || any::<(IpAddr, u16)>().prop_map(|(address, port)| Endpoint { address, port });
    let transport = prop_oneof![Just(Transport::Tcp), Just(Transport::Udp), any::<u8>().prop_map(Transport::Ip)];
    (transport, end(), end(), share()).prop_map(|(transport, from, to, share)| Flow {
        transport,
        from,
        to,
        share,
        tunnel: None,
    })
}

fn statistics() -> impl Strategy<Value = Statistics> {
    let mix = (any::<String>(), share()).prop_map(|(protocol, share)| Mix { protocol, share });
    (any::<[u64; 7]>(), any::<[u64; 6]>(), vec(mix, 0..4), vec(flow(), 0..4), share()).prop_map(
        |(sizes, n, mix, flows, flows_overflow)| Statistics {
            left_out: flows_overflow,
            at: n[0],
            elapsed: n[1],
            packets: n[2],
            bytes: n[3],
            window: Window { millis: n[4], packets: n[5], bytes: n[0] },
            dropped: Dropped { kernel: n[1], interface: n[2], queue: n[3] },
            interfaces: vec![],
            mix,
            sizes,
            flows,
            flows_tracked: n[4],
            flows_overflow,
        },
    )
}

fn update() -> impl Strategy<Value = Update> {
    let ports = (any::<u64>(), vec(port(), 0..20), vec(port(), 0..20)).prop_map(|(at, opened, closed)| {
        Update::Ports(PortsUpdate { at, kind: PortsKind::Changes, opened, closed, more: at % 2 == 0 })
    });
    let file = (any::<String>(), any::<u64>(), any::<bool>()).prop_map(|(name, size, open)| CaptureFile {
        name,
        sequence: size,
        size,
        packets: size,
        started: size,
        ended: size,
        state: if open { FileState::Open } else { FileState::Closed },
        dropped: Dropped { kernel: size, ..Dropped::default() },
        incomplete: if open { "torn".into() } else { String::new() },
        sha256: None,
        fetched: open,
        since: size,
        delivery: if open { Delivery::Held } else { Delivery::Sending { sent: size } },
    });
    let stopped = any::<String>().prop_map(|message| {
        Update::Capture(CaptureState::Stopped { since: 1, at: 2, reason: StopReason::Failed { message } })
    });
    let running = (vec(any::<String>(), 0..3), spec())
        .prop_map(|(interfaces, spec)| Update::Capture(CaptureState::Running { since: 1, interfaces, spec }));
    prop_oneof![
        ports,
        vec(file.clone(), 0..5).prop_map(Update::Files),
        vec(file.clone(), 0..5).prop_map(Update::FilesPart),
        (vec(file, 0..5), vec(any::<u64>(), 0..5)).prop_map(|(files, gone)| Update::FilesChanged { files, gone }),
        stopped,
        running,
        statistics().prop_map(|statistics| Update::Statistics(Box::new(statistics))),
        signals().prop_map(Update::Signals),
        any::<u64>().prop_map(|updates| Update::Dropped { updates }),
        any::<String>().prop_map(|message| Update::Trouble { message }),
    ]
}

fn from_agent() -> impl Strategy<Value = FromAgent> {
    let refusal = (any::<String>(), any::<String>())
        .prop_map(|(message, next_step)| Response::Refused(Refusal { kind: RefusalKind::Invalid, message, next_step }));
    let checksum =
        any::<(String, u64, String)>().prop_map(|(file, size, sha256)| Response::Checksum { file, size, sha256 });
    let response = prop_oneof![Just(Response::Done), refusal, checksum];
    prop_oneof![
        hello().prop_map(FromAgent::Hello),
        (any::<u64>(), response).prop_map(|(id, response)| FromAgent::Response { id, response }),
        update().prop_map(FromAgent::Update),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_without_a_panic(bytes in vec(any::<u8>(), 0..500)) {
        let _ = decode::<ToAgent>(&bytes);
        let _ = decode::<FromAgent>(&bytes);
    }

    /// Random bytes rarely get past the first brace; these do.
    #[test]
    fn a_damaged_line_is_decoded_without_a_panic(message in from_agent(), at: prop::sample::Index, byte: u8) {
        let mut line = encode(&message).expect("a line");
        let at = at.index(line.len());
        line[at] = byte;
        let _ = decode::<FromAgent>(&line);
    }

    #[test]
    fn every_message_to_an_agent_survives_the_round_trip(message in to_agent()) {
        let line = encode(&message).expect("a line");
        prop_assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1), "one line");
        prop_assert_eq!(decode::<ToAgent>(&line).expect("a message"), message);
    }

    #[test]
    fn every_message_from_an_agent_survives_the_round_trip(message in from_agent()) {
        let line = encode(&message).expect("a line");
        prop_assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1), "one line");
        prop_assert_eq!(decode::<FromAgent>(&line).expect("a message"), message);
    }

    /// However a stream is cut into reads, the same lines come out.
    #[test]
    fn lines_do_not_depend_on_the_reads(lines in vec(vec(0u8..=255, 0..40), 0..8), cuts in vec(1usize..30, 1..40)) {
        let lines: Vec<Vec<u8>> =
            lines.into_iter().map(|line| line.into_iter().filter(|&byte| byte != b'\n').collect()).collect();
        let stream: Vec<u8> = lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect();
        let mut splitter = Lines::default();
        let mut found = Vec::new();
        let mut rest = stream.as_slice();
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() { break }
            let (read, later) = rest.split_at(cut.min(rest.len()));
            splitter.push(read);
            rest = later;
            while let Some(line) = splitter.next_line().expect("short lines") {
                found.push(line);
            }
        }
        prop_assert_eq!(found, lines);
    }
}

#[test]
fn a_line_without_end_is_refused_before_memory_is() {
    let mut lines = Lines::default();
    let part = vec![b'x'; MAX_LINE / 8];
    let refused = (0..20).any(|_| {
        lines.push(&part);
        matches!(lines.next_line(), Err(DecodeError::TooLong))
    });
    assert!(refused);
    assert!(matches!(decode::<ToAgent>(&vec![b' '; MAX_LINE + 1]), Err(DecodeError::TooLong)));
    assert!(encode(&"x".repeat(MAX_LINE)).is_err());
}
