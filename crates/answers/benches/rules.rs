//! All rules over 200 nodes and 50,000 pairs of ends, of which some fail: milliseconds of CPU a second. Run by `make bench`.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use nodewatch_answers::{Engine, Face, Pair, Told};
use nodewatch_protocol::{Case, Finding, Role, Service, Sums, Symptom};

const NODES: u32 = 200;
const PAIRS: u32 = 50_000;
/// Connections a second of all nodes that show something.
const CASES: u32 = 200;
const SECONDS: u64 = 90;
const BEGIN: u64 = 1_700_000_000_000;

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + number))
}

fn case(number: u32, at: u64, what: Finding) -> Case {
    let nanos = (at * 1_000_000) as i64;
    let source = (address(number % 997), 30_000 + (number % 20_000) as u16);
    let case = Case::of(what, Service::Tcp, source, (address(100_000 + number % 37), 8080), nanos);
    let id = Some((number.wrapping_mul(0x9E37_79B1) ^ at as u32, 7));
    Case { interface: (number % 2) as u16, id, hops: Some(64 - (number % 3) as u8), ..case }
}

fn told(node: u32, at: u64) -> Told {
    let sums = Sums { packets: 40, attempts: 4, answered: 4, ..Sums::default() };
    let each = PAIRS / NODES;
    let pairs = (node * each..(node + 1) * each).map(|pair| Pair {
        source: address(pair),
        destination: address(200_000 + pair / 3),
        port: 8080,
        service: Service::Tcp,
        interface: (pair % 2) as u16,
        sums,
        mtu: None,
    });
    let failed = Finding::Symptom(Symptom::Unanswered);
    let cases = (0..CASES / NODES).map(|number| case(node * 31 + number + (at / 1000 % 60) as u32 * 6007, at, failed));
    let answered =
        (0..4).map(|number| case(node * 57 + number + (at / 1000 % 60) as u32 * 6007, at, Finding::Answered));
    let face = |name: &str, role| Face { name: name.into(), role, lost: false };
    Told {
        one_direction: 0,
        node: format!("node-{node}"),
        at,
        millis: 1000,
        faces: vec![face("eth0", Role::Node), face("eni1", Role::Pod)],
        pairs: pairs.collect(),
        cases: cases.chain(answered).collect(),
        left_out: 0,
        crowded: false,
        answered_to: u32::MAX,
        sums,
    }
}

fn main() {
    let mut engine = Engine::default();
    let (mut heard, mut judged, mut longest) = (0.0, 0.0, 0.0_f64);
    for second in 0..SECONDS {
        let at = BEGIN + second * 1000;
        let lines: Vec<Told> = (0..NODES).map(|node| told(node, at)).collect();
        let begun = Instant::now();
        for told in &lines {
            engine.hear(told);
        }
        let between = Instant::now();
        engine.judge(at, false);
        // The window is full then.
        if second >= 60 {
            heard += (between - begun).as_secs_f64() * 1000.0;
            judged += between.elapsed().as_secs_f64() * 1000.0;
            longest = longest.max(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    let seconds = (SECONDS - 60) as f64;
    println!(
        "all rules over {NODES} nodes, {PAIRS} pairs, {CASES} failures a second: {:.1} ms a second ({:.1} to hear, {:.1} to judge), \
         at most {longest:.1} (goal 50); {} answers",
        (heard + judged) / seconds,
        heard / seconds,
        judged / seconds,
        engine.answers().len()
    );
    println!("{:?}", engine.looked());
}
