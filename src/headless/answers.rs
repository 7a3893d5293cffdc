//! Answers without a terminal: as blocks of text, and as one JSON value each.
//!
//! Owns the words and fields of both. Must not know how answers are found.

use nodewatch_answers::{Answer, Certainty, ClockGap, Looked, Proof, words};
use serde_json::{Value, json};

use super::{ExitCode, merge, output, records};
use crate::{
    base::{
        clock,
        text::{counted, lasting, visible},
    },
    cli::{Format, OutputArgs},
};

/// With a verdict or a likely answer, that is the result.
pub fn exit_code(answers: &[Answer]) -> ExitCode {
    if answers.iter().any(|answer| answer.certainty.is_answer()) { ExitCode::Found } else { ExitCode::Done }
}

/// Prints them, and what could not be seen.
pub fn print(answers: &[Answer], looked: &Looked, not_seen: &[String], asked: OutputArgs) {
    match asked.format {
        format @ (Format::Json | Format::Yaml) => {
            output::print_values(&records::ANSWER, answers.iter().map(value), format);
            output::print_values(&records::LOOKED, std::iter::once(looked_at(looked, not_seen)), format);
        }
        Format::Name => {}
        Format::Table | Format::Wide => output::print(&text(answers, looked, not_seen)),
    }
}

fn value(answer: &Answer) -> Value {
    json!({
        "code": answer.code.map(nodewatch_answers::Code::text), "certainty": answer.certainty.word(),
        "text": answer.text, "place": answer.place, "since": answer.since, "until": answer.until,
        "failed": answer.failed, "of": answer.of, "in_all": answer.in_all,
        "proof": answer.proof.iter().map(proof).collect::<Vec<_>>(), "clocks": answer.clocks.iter().map(clocks).collect::<Vec<_>>(), "counters": answer.counters,
        "ruled_out": answer.ruled_out, "not_seen": answer.not_seen, "runner_up": answer.runner_up,
        "next": answer.next, "filter": answer.filter(),
    })
}

fn proof(proof: &Proof) -> Value {
    json!({
        "time": merge::exact(proof.at), "source": words::end(proof.source), "destination": words::end(proof.destination),
        "service": proof.service.name(), "what": proof.what, "seen": proof.seen, "missing": proof.missing,
    })
}

fn clocks(gap: &ClockGap) -> Value {
    let millis = |nanos: i64| nanos as f64 / 1e6;
    json!({"node": gap.node, "ahead": gap.ahead, "by_ms": millis(gap.by), "error_ms": millis(gap.error)})
}

fn looked_at(looked: &Looked, not_seen: &[String]) -> Value {
    let Looked { since, until, nodes, taps, unplaced, attempts, dns_unanswered, failed, delayed, .. } = *looked;
    let Looked { one_direction, unexplained, left_out, .. } = *looked;
    json!({
        "since": since, "until": until, "nodes": nodes, "taps": taps, "unplaced": unplaced, "attempts": attempts, "failed": failed,
        "delayed": delayed, "one_direction": one_direction, "dns_unanswered": dns_unanswered, "unexplained": unexplained, "left_out": left_out,
        "not_seen": not_seen,
    })
}

/// As people read them.
pub fn text(answers: &[Answer], looked: &Looked, not_seen: &[String]) -> String {
    let mut lines: Vec<String> = answers.iter().flat_map(block).collect();
    if !answers.iter().any(|answer| answer.certainty != Certainty::Note) {
        let over = lasting(looked.until.saturating_sub(looked.since));
        lines.push(words::nothing(looked, &over));
    } else if looked.unexplained > 0 {
        lines.push(format!(
            "{} of the last minute not explained",
            counted(looked.unexplained as usize, "other symptom")
        ));
    }
    lines.extend(not_seen.iter().map(|what| format!("not seen: {}", visible(what))));
    lines.push(String::new());
    lines.join("\n")
}

/// The certainty, the code and its name, where, how many, and when; then all that is known of it.
fn block(answer: &Answer) -> Vec<String> {
    let place = visible(&answer.place.text());
    let many = words::many(answer);
    let when = clock::span_in_both_zones(answer.since, answer.until.unwrap_or(answer.last));
    let head: Vec<String> = [answer.certainty.word().to_uppercase(), answer.title(), place, many, when]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let mut lines = vec![visible(&head.join("  "))];
    if answer.title() != answer.text {
        lines.push(format!("  {}", visible(&answer.text)));
    }
    for part in words::parts(answer, merge::exact) {
        let names = std::iter::once(part.name).chain(std::iter::repeat(""));
        lines.extend(part.lines.iter().zip(names).map(|(text, name)| format!("  {name:<10} {}", visible(text))));
    }
    lines.push(String::new());
    lines
}

#[cfg(test)]
mod tests {
    use nodewatch_answers::{Code, Place};

    use super::*;

    #[test]
    fn what_is_printed_has_the_fields_of_the_reference() {
        let answer = Answer {
            id: 0,
            code: Some(Code::AcceptQueue),
            certainty: Certainty::Verdict,
            text: "t".into(),
            place: Place::default(),
            since: 1_000,
            until: None,
            last: 2_000,
            failed: 5,
            of: 9,
            in_all: 5,
            proof: Vec::new(),
            hurt: Vec::new(),
            clocks: Vec::new(),
            counters: Vec::new(),
            ruled_out: Vec::new(),
            not_seen: Vec::new(),
            runner_up: None,
            next: Vec::new(),
        };
        let not_seen = ["node-3: no agent".to_owned(), "an \u{1b}[31m escape".to_owned()];
        for (record, value) in
            [(&records::ANSWER, value(&answer)), (&records::LOOKED, looked_at(&Looked::default(), &not_seen))]
        {
            assert_eq!(records::undocumented(record, &value), Vec::<String>::new());
            assert!(record.fields.iter().all(|(field, _)| value.get(field).is_some()), "{value}");
        }
        let said = text(std::slice::from_ref(&answer), &Looked::default(), &not_seen);
        assert!(said.starts_with("VERDICT  N-11") && said.contains("\nnot seen: node-3: no agent\n"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said}");
        assert_eq!(exit_code(std::slice::from_ref(&answer)), ExitCode::Found);
        assert_eq!(exit_code(&[Answer { certainty: Certainty::Located, ..answer }]), ExitCode::Done);
    }
}
