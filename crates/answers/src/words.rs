//! Answers in words: the parts of one with their names, and what was looked at, the same on the screen, as text and in
//! reports.
//!
//! Owns the names of the parts and their order. Times are written by whoever shows them, in the zone that they have; what is
//! foreign is made visible there too.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{Answer, ClockGap, Looked, Proof, Segment};

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is called.
    pub name: &'static str,
    /// What it says.
    pub lines: Vec<String>,
}

/// What proves it, what it is not, what could not be seen and what to do: those that there are. `time` writes nanoseconds
/// since the Unix epoch.
pub fn parts(answer: &Answer, time: impl Fn(i64) -> String) -> Vec<Part> {
    let counters = answer.counters.iter();
    let counters = counters.map(|step| format!("{}: {} {} -> {}", step.node, step.signal, step.before, step.after));
    let other = answer.runner_up.iter();
    let other = other.map(|other| format!("{} {}: {}", other.code.text(), other.code.name(), other.check));
    let (first, rest) = answer.next.split_at(answer.next.len().min(1));
    let parts = [
        Part { name: "proof", lines: answer.proof.iter().map(|proof| sample(proof, &time)).collect() },
        Part { name: "clocks", lines: answer.clocks.iter().map(ClockGap::text).collect() },
        Part { name: "counters", lines: counters.collect() },
        Part { name: "ruled out", lines: answer.ruled_out.clone() },
        Part { name: "not seen", lines: answer.not_seen.clone() },
        Part { name: "or", lines: other.collect() },
        Part { name: DO, lines: first.to_vec() },
        Part { name: THEN, lines: rest.to_vec() },
    ];
    parts.into_iter().filter(|part| !part.lines.is_empty()).collect()
}

/// The part that has what to do first.
pub const DO: &str = "do";
/// The part that has what to do then.
pub const THEN: &str = "then";

/// One connection in one line.
fn sample(proof: &Proof, time: impl Fn(i64) -> String) -> String {
    let mut text = format!("{} {} -> {} {}", time(proof.at), end(proof.source), end(proof.destination), proof.what);
    if !proof.seen.is_empty() {
        text = format!("{text}; seen at {}", proof.seen.join(", "));
    }
    if !proof.missing.is_empty() {
        text = format!("{text}, not at {}", proof.missing.join(", "));
    }
    text
}

/// An address with its port, where it has one.
pub fn end((address, port): (IpAddr, u16)) -> String {
    if port == 0 { address.to_string() } else { std::net::SocketAddr::new(address, port).to_string() }
}

/// `96 of 131`; empty where nobody is hurt.
pub fn many(answer: &Answer) -> String {
    if answer.of > 0 { format!("{} of {}", answer.failed, answer.of) } else { String::new() }
}

/// How attempts were counted, where that is not once: what two nodes have seen each of them counts.
pub fn by_each(looked: &Looked) -> &'static str {
    if looked.several { " (each node counts what it sees)" } else { "" }
}

/// What was looked at, where no cause was found in it; `over` is how long that was.
pub fn nothing(looked: &Looked, over: &str) -> String {
    let counted = |count: u64, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let attempts = format!("{}{}", counted(looked.attempts, "attempt"), by_each(looked));
    // When nothing is watched any more, none is left.
    let seen_at =
        if looked.taps > 0 { format!(" of {}", counted(looked.taps as u64, "interface")) } else { String::new() };
    let unjudged = looked.one_direction;
    if unjudged > 0 && unjudged >= looked.attempts && looked.failed + looked.delayed == 0 {
        return format!("not judged: {attempts}{seen_at} in {over}, of which only one direction was seen");
    }
    let unjudged = match unjudged {
        0 => String::new(),
        count => format!("; {count} not judged: only one direction was seen"),
    };
    if looked.failed + looked.delayed == 0 {
        let open = match looked.unexplained {
            0 => String::new(),
            1 => "; 1 connection does not go on, and no cause is known".to_owned(),
            many => format!("; {many} connections do not go on, and no cause is known"),
        };
        let what = if open.is_empty() { "nothing failed" } else { "no attempt failed" };
        return format!("{what} among {attempts}{seen_at} in {over}{open}{unjudged}");
    }
    format!(
        "no cause found: {} failed and {} were delayed of {attempts}{seen_at} in {over}{unjudged}",
        looked.failed, looked.delayed
    )
}

/// The nodes, or files, that it names: where it is, and where its proof was seen or missed.
pub fn nodes(answer: &Answer) -> BTreeSet<&str> {
    let mut found: BTreeSet<&str> = answer.place.node.as_deref().into_iter().collect();
    match &answer.place.segment {
        Some(Segment::Node { node, .. } | Segment::Pod { node, .. }) => found.extend([node.as_str()]),
        Some(Segment::Between { from, to }) => found.extend([from.as_str(), to.as_str()]),
        Some(Segment::Beyond { tap }) => found.extend(node_of(tap)),
        None => {}
    }
    let taps = answer.proof.iter().flat_map(|proof| proof.seen.iter().chain(&proof.missing));
    found.extend(taps.filter_map(|tap| node_of(tap)));
    found
}

/// The node of a place as answers name it.
fn node_of(tap: &str) -> Option<&str> {
    tap.rsplit_once(" of ").map(|(_, node)| node)
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::Service;

    use super::*;
    use crate::{Certainty, Place};

    #[test]
    fn what_was_not_judged_has_not_gone_well() {
        let looked = Looked { attempts: 9, taps: 1, one_direction: 4, ..Looked::default() };
        let some = nothing(&looked, "1m");
        assert_eq!(
            some,
            "nothing failed among 9 attempts of 1 interface in 1m; 4 not judged: only one direction was seen"
        );
        let none = nothing(&Looked { one_direction: 9, ..looked }, "1m");
        assert_eq!(none, "not judged: 9 attempts of 1 interface in 1m, of which only one direction was seen");
    }

    #[test]
    fn parts_that_there_are_come_in_their_order() {
        let proof = Proof {
            at: 5,
            source: ("10.0.0.1".parse().expect("an address"), 40_000),
            destination: ("fd00::1".parse().expect("an address"), 443),
            service: Service::Tcp,
            what: "not answered".into(),
            seen: vec!["eth0 of a".into()],
            missing: vec!["veth1 of b".into()],
        };
        let answer = Answer {
            certainty: Certainty::Located,
            place: Place { segment: Some(Segment::Beyond { tap: "eth1 of c".into() }), ..Place::default() },
            failed: 3,
            of: 4,
            proof: vec![proof],
            clocks: vec![ClockGap { node: "a".into(), ahead: "b".into(), by: 5_000_000, error: 20_000 }],
            ruled_out: vec!["x".into()],
            next: vec!["ss".into(), "wait".into(), "ask".into()],
            ..Answer::nothing()
        };
        let told: Vec<(&str, String)> =
            parts(&answer, |at| format!("<{at}>")).into_iter().map(|part| (part.name, part.lines.join("|"))).collect();
        let sample = "<5> 10.0.0.1:40000 -> [fd00::1]:443 not answered; seen at eth0 of a, not at veth1 of b";
        let clocks = "times of b are 5.00 ms \u{b1} 0.02 ms ahead of those of a";
        let expected = [("proof", sample), ("clocks", clocks), ("ruled out", "x"), ("do", "ss"), ("then", "wait|ask")]
            .map(|(a, b)| (a, b.to_owned()));
        assert_eq!(told, expected);
        assert_eq!((many(&answer).as_str(), nodes(&answer)), ("3 of 4", ["a", "b", "c"].into()));
    }

    #[test]
    fn nothing_found_says_in_what() {
        let looked = Looked { taps: 1, attempts: 12, ..Looked::default() };
        assert_eq!(nothing(&looked, "2m"), "nothing failed among 12 attempts of 1 interface in 2m");
        let some = Looked { failed: 2, delayed: 1, ..looked };
        assert_eq!(
            nothing(&some, "2m"),
            "no cause found: 2 failed and 1 were delayed of 12 attempts of 1 interface in 2m"
        );
    }
}
