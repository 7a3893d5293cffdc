//! The inputs that a corpus begins with: a few packets of each kind, made here.
//!
//! Owns their bytes. libFuzzer finds the rest.

use std::{fs, io::Write, path::Path};

const ETHERNET: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];

/// Puts a target's first inputs into its corpus.
pub fn plant(target: &str) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let _ = fs::create_dir_all(&corpus);
    let seeds = match target {
        "packets" => packets(),
        "dns" => dns(),
        _ => files(),
    };
    for (number, bytes) in seeds.iter().enumerate() {
        // Without them libFuzzer still begins with nothing.
        let _ = fs::write(corpus.join(format!("seed-{number}")), bytes);
    }
}

fn ip4(protocol: u8, (from, to): ([u8; 4], [u8; 4]), payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend((20 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend([from, to].concat());
    bytes.extend(payload);
    bytes
}

fn ip6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, 64]);
    bytes.extend([[0xFD; 16], [0xFE; 16]].concat());
    bytes.extend(payload);
    bytes
}

fn tcp(back: bool, flags: u8, (sequence, acknowledged): (u32, u32), payload: &[u8]) -> Vec<u8> {
    let ports = if back { [80u16, 40_000] } else { [40_000, 80] };
    let mut bytes: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
    bytes.extend([sequence.to_be_bytes(), acknowledged.to_be_bytes()].concat());
    bytes.extend([0x80, flags, 4, 0, 0, 0, 0, 0, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1]);
    bytes.extend(payload);
    let ends = if back { (SERVER, CLIENT) } else { (CLIENT, SERVER) };
    ip4(6, ends, &bytes)
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        [40_001, port, 8 + payload.len() as u16, 0].iter().flat_map(|half| half.to_be_bytes()).collect();
    bytes.extend(payload);
    ip4(17, (CLIENT, SERVER), &bytes)
}

fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&ETHERNET[..], &kind.to_be_bytes(), payload].concat()
}

fn message(id: u8, flags: [u8; 2], name: &str) -> Vec<u8> {
    let mut bytes = vec![0, id, flags[0], flags[1], 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// A connection with data that is sent again, and its end.
fn connection() -> Vec<Vec<u8>> {
    vec![
        tcp(false, 0x02, (100, 0), b""),
        tcp(true, 0x12, (500, 101), b""),
        tcp(false, 0x10, (101, 501), b"question"),
        tcp(false, 0x10, (101, 501), b"question"),
        tcp(true, 0x11, (501, 109), b"answer"),
        tcp(false, 0x14, (109, 508), b""),
    ]
}

/// A link type's place in the target's list, then packets: a step of time, a length, bytes.
fn packets() -> Vec<Vec<u8>> {
    let of = |link: u8, packets: &[Vec<u8>]| {
        packets.iter().fold(vec![link], |mut seed, packet| {
            seed.extend([4, packet.len() as u8]);
            seed.extend(packet);
            seed
        })
    };
    let syn = &connection()[0];
    let inside = |header: &[u8], packet: &[u8]| [header, packet].concat();
    let vxlan = inside(&[8, 0, 0, 0, 0, 0, 1, 0], &frame(0x0800, syn));
    let geneve = inside(&[0, 0, 0x65, 0x58, 0, 0, 1, 0], &frame(0x0800, syn));
    let refused = ip4(1, (SERVER, CLIENT), &inside(&[3, 1, 0, 0, 0, 0, 0, 0], syn));
    let asks = inside(&[135, 0, 0, 0, 0, 0, 0, 0], &[7; 16]);
    let fragment = inside(&[6, 0, 0, 1, 0, 0, 0, 9], &syn[20..]);
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1][..], &CLIENT, &[0; 6], &SERVER].concat();
    let cooked = inside(&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0], syn);
    let cooked2 = inside(&[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0], syn);
    let radio =
        inside(&[0, 0, 8, 0, 0, 0, 0, 0, 8, 1, 0, 0], &[&[2; 20][..], &[0xAA, 0xAA, 3, 0, 0, 0, 8, 0], syn].concat());
    let frames: Vec<Vec<u8>> = connection().iter().map(|packet| frame(0x0800, packet)).collect();
    vec![
        of(0, &frames),
        of(1, &connection()),
        of(1, &[refused, udp(4789, &vxlan), udp(6081, &geneve), udp(53, &message(1, [1, 0], "a.b"))]),
        of(1, &[ip6(58, &asks), ip6(44, &fragment), ip6(0, &inside(&[6, 0, 1, 4, 0, 0, 0, 0], &syn[20..]))]),
        of(1, &[ip4(47, (CLIENT, SERVER), &inside(&[0, 0, 8, 0], syn)), ip4(4, (CLIENT, SERVER), syn)]),
        of(
            0,
            &[
                frame(0x0806, &arp),
                frame(0x8100, &inside(&[0, 1, 8, 0], syn)),
                frame(0x8847, &inside(&[0, 1, 0x11, 64], syn)),
            ],
        ),
        of(0, &[frame(0x8864, &inside(&[0x11, 0, 0, 1, 0, 54, 0, 0x21], syn))]),
        of(2, &[cooked]),
        of(3, &[cooked2]),
        of(7, &[radio]),
    ]
}

/// Messages: how each comes, a length, bytes.
fn dns() -> Vec<Vec<u8>> {
    let of = |how: &[u8], messages: &[Vec<u8>]| {
        how.iter().zip(messages).fold(Vec::new(), |mut seed, (how, message)| {
            seed.extend([*how, message.len() as u8]);
            seed.extend(message);
            seed
        })
    };
    let (question, answer) = (message(7, [1, 0], "www.example.org"), message(7, [0x81, 0x83], "www.example.org"));
    let stream = |message: &[u8]| [&[0, message.len() as u8], message].concat();
    let mut pointer = message(8, [1, 0], "x");
    pointer.splice(12.., [0xC0, 12, 0, 1, 0, 1]);
    let pieces = stream(&question);
    let two = [stream(&answer), stream(&question)].concat();
    vec![
        of(&[0x04, 0x14], &[question.clone(), answer.clone()]),
        of(&[0x20, 0x34], &[stream(&question), stream(&answer)]),
        of(&[0x20, 0x20, 0x20], &[pieces[..1].to_vec(), pieces[1..9].to_vec(), pieces[9..].to_vec()]),
        of(&[0x20, 0x60, 0xB0], &[two, stream(&pointer), stream(&answer)]),
        of(&[0x49, 0x04], &[pointer, question]),
    ]
}

/// Whole files of each form.
fn files() -> Vec<Vec<u8>> {
    let frames: Vec<Vec<u8>> = connection().iter().map(|packet| frame(0x0800, packet)).collect();
    let pcap = |magic: u32, big: bool, extra: usize| {
        let four = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let two = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let mut file = [&four(magic)[..], &two(2), &two(4), &[0; 8], &four(65_535), &four(1)].concat();
        for (number, packet) in frames.iter().enumerate() {
            for field in [1_700_000_000, number as u32, packet.len() as u32, packet.len() as u32] {
                file.extend(four(field));
            }
            file.extend(vec![0; extra]);
            file.extend(packet);
        }
        file
    };
    let ours = pcapng(&frames);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let gz = packed.write_all(&ours).and_then(|()| packed.finish()).unwrap_or_default();
    let zst = zstd::encode_all(&ours[..], 1).unwrap_or_default();
    let others = blocks(&[
        (0x0A0D_0D0A, [&0x1A2B_3C4D_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xFF; 8]].concat()),
        (1, vec![1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]),
        (3, [&(frames[0].len() as u32).to_le_bytes()[..], &frames[0], &[0, 0]].concat()),
        (2, [&[0; 12][..], &68u32.to_le_bytes(), &68u32.to_le_bytes(), &[1; 68]].concat()),
        (5, vec![0; 12]),
        (4, vec![1, 0, 7, 0, 10, 0, 0, 1, b'a', b'b', 0, 0, 0, 0, 0, 0]),
    ]);
    vec![
        pcap(0xA1B2_C3D4, false, 0),
        pcap(0xA1B2_3C4D, true, 0),
        pcap(0xA1B2_CD34, false, 8),
        pcap(0x1C00_01AC, false, 0),
        ours,
        others,
        gz,
        zst,
    ]
}

fn pcapng(frames: &[Vec<u8>]) -> Vec<u8> {
    use nodewatch_pcapng::{InterfaceBlock, SectionBlock, enhanced_packet, interface_description, section_header};

    let mut file = Vec::new();
    section_header(&mut file, &SectionBlock { hardware: "node-1", application: "nodewatch-agent", comments: &[] });
    let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 65_535, filter: None, description: "" };
    interface_description(&mut file, &interface);
    for (number, frame) in frames.iter().enumerate() {
        let at = 1_700_000_000_000_000_000 + number as u64;
        enhanced_packet(&mut file, 0, at, frame.len() as u32, [&frame[..]], &[]);
    }
    file
}

fn blocks(blocks: &[(u32, Vec<u8>)]) -> Vec<u8> {
    blocks.iter().fold(Vec::new(), |mut file, (kind, body)| {
        let length = (12 + body.len() as u32).to_le_bytes();
        file.extend([&kind.to_le_bytes()[..], &length, body, &length].concat());
        file
    })
}
