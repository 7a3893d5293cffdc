//! Faults that are made for real, against the answers that are given: what is printed is the table of docs/answers.md.
//!
//! `make faults` runs it. NODEWATCH_FAULTS names one fault by a part of its name, NODEWATCH_VARIANTS how many variants of
//! each are made (1), NODEWATCH_QUIET for how many seconds those that are well are watched (60).

#![allow(clippy::print_stdout, reason = "a table for people")]

mod causes;
mod lab;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nodewatch_answers::{Answer, Code};

use causes::{FAULTS, Fault, HEALTHY};
use lab::{Family, Lab};

/// A fault is known within this time.
const WITHIN: Duration = Duration::from_secs(60);
/// Labs at a time: each has programs of its own.
const AT_ONCE: usize = 6;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn wanted(fault: &Fault) -> bool {
    std::env::var("NODEWATCH_FAULTS").map_or(true, |part| fault.name.contains(&part))
}

/// Those that count: a verdict or a likely answer.
fn first(answers: &[Answer]) -> Option<&Answer> {
    answers.iter().find(|answer| answer.certainty.is_answer())
}

/// What was said of one variant of a fault.
struct Said {
    right: bool,
    text: String,
    took: Option<Duration>,
}

fn made(number: usize, fault: &Fault, variant: usize) -> Said {
    let family = if variant % 3 == 1 && !fault.only_v4 { Family::V6 } else { Family::V4 };
    let mut lab = Lab::new(number, family);
    lab.watch();
    // What was under way before is not judged.
    lab.hear(Duration::from_secs(3));
    (fault.make)(&mut lab, variant);
    let took = match fault.code {
        Some(code) => lab.until(WITHIN, |answers| first(answers).is_some_and(|answer| answer.code == Some(code))),
        None => lab.until(Duration::from_secs(setting("NODEWATCH_QUIET", 60)), |answers| first(answers).is_some()),
    };
    let answers = lab.answers();
    let found = first(&answers);
    let right = found.and_then(|answer| answer.code) == fault.code;
    let said: Vec<String> = answers
        .iter()
        .map(|answer| format!("{} {}: {}", answer.certainty.word(), answer.title(), answer.text))
        .collect();
    let looked = lab.session().answers.looked();
    let text = if said.is_empty() { format!("nothing: {looked:?}") } else { said.join("\n      ") };
    Said { right, text, took: took.filter(|_| fault.code.is_some()) }
}

/// Makes faults, several labs at a time, and returns what was said of each.
fn all(faults: &[&'static Fault], at_once: usize) -> BTreeMap<(usize, usize), Said> {
    let variants = setting("NODEWATCH_VARIANTS", 1) as usize;
    let runs: Vec<(usize, usize)> =
        (0..faults.len()).flat_map(|fault| (0..variants).map(move |variant| (fault, variant))).collect();
    let (next, said) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(&(fault, variant)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let number = fault * 8 + variant + if at_once == 1 { 500 } else { 0 };
                    let result = made(number, faults[fault], variant);
                    println!(
                        "{}{} v{variant}: {:?} {}",
                        if result.right { "" } else { "WRONG " },
                        faults[fault].name,
                        result.took,
                        result.text
                    );
                    said.lock().expect("whole").insert((fault, variant), result);
                }
            });
        }
    });
    said.into_inner().expect("whole")
}

/// A line a fault: how often the answer was right, and how long it took at most.
fn table(faults: &[&'static Fault], said: &BTreeMap<(usize, usize), Said>) -> usize {
    let mut wrong = 0;
    for (at, fault) in faults.iter().enumerate() {
        let runs: Vec<&Said> = said.range((at, 0)..(at + 1, 0)).map(|(_, said)| said).collect();
        let right = runs.iter().filter(|said| said.right).count();
        wrong += runs.len() - right;
        let longest = runs.iter().filter_map(|said| said.took).max();
        let longest = longest.map_or_else(|| "-".to_owned(), |took| format!("{} s", took.as_secs()));
        println!(
            "| {} | {} | {right} of {} | {longest} |",
            fault.name,
            fault.code.map_or("nothing", Code::text),
            runs.len()
        );
    }
    wrong
}

#[test]
#[ignore = "needs root and namespaces: make faults"]
fn each_fault_has_its_answer_and_what_is_well_has_none() {
    let mut wrong = 0;
    let of = |alone: bool| FAULTS.iter().chain(HEALTHY).filter(move |fault| fault.alone == alone && wanted(fault));
    let (together, alone): (Vec<&Fault>, Vec<&Fault>) = (of(false).collect(), of(true).collect());
    let said = (all(&together, AT_ONCE), all(&alone, 1));
    println!("| fault | answer | right | known within |\n|---|---|---|---|");
    wrong += table(&together, &said.0);
    wrong += table(&alone, &said.1);
    assert_eq!(wrong, 0, "see the lines that begin with WRONG");
}
