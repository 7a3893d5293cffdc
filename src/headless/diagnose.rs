//! `diagnose`: what went wrong among the packets of files.
//!
//! Owns what it prints and the exit code. Neither a cluster nor a terminal is needed.

use std::net::{IpAddr, Ipv6Addr};

use nodewatch_analysis::{Counts, FATES, PairKey, Sample, Service, Symptom, Times, Totals, Way};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::{ExitCode, answers, merge, output, records, signals::Signals};
use crate::{
    base::{
        clock,
        text::{bytes, counted},
    },
    captures::{
        diagnose::{Diagnosing, Diagnosis, Early},
        merge as files,
    },
    cli::{DiagnoseArgs, Format, OutputArgs},
    model::Notice,
    packets,
    runtime::{merge_notice, spool},
};

/// Pairs in the table; the rest is in the other forms.
const ROWS: usize = 40;
const MILLION: u64 = 1_000_000;

/// Says what went wrong in files.
pub async fn diagnose(arguments: DiagnoseArgs) -> ExitCode {
    // What cannot be listened to never comes.
    let mut signals = Signals::listen().ok();
    let (done, mut result) = oneshot::channel();
    let (diagnosing, asked) = (Diagnosing::default(), arguments.output);
    let reads = diagnosing.clone();
    // Not one of the runtime's threads: an input may keep it waiting, and the program ends without it.
    std::thread::spawn(move || done.send(read(&reads, &arguments)));
    let outcome = tokio::select! {
        result = &mut result => result.unwrap_or_else(|_| Err(ended())),
        () = told_to_end(&mut signals) => match diagnosing.end() {
            Early::Part(diagnosis) => {
                spool::hurry();
                output::say("interrupted: this is what was read until then");
                tell(&diagnosis, asked);
                Ok(ExitCode::Interrupted)
            }
            Early::Nothing => Err(Notice::error(NOTHING, "interrupted", "")),
            // It is whole, and being told.
            Early::Over => tokio::select! {
                result = &mut result => result.unwrap_or_else(|_| Err(ended())),
                () = told_to_end(&mut signals) => {
                    output::say("interrupted: not all that was found is printed");
                    Ok(ExitCode::Interrupted)
                }
            },
        },
    };
    outcome.unwrap_or_else(|notice| {
        output::say(&format!("error: {}", notice.line()));
        ExitCode::of(&notice)
    })
}

async fn told_to_end(signals: &mut Option<Signals>) {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

fn ended() -> Notice {
    Notice::error(NOTHING, "the reading thread ended", "try again")
}

/// What no file holds.
const NOT_IN_FILES: &str = "counters of the kernel, and what the API server knows: captures hold neither";
const NOTHING: &str = "nothing was diagnosed";

fn read(diagnosing: &Diagnosing, arguments: &DiagnoseArgs) -> Result<ExitCode, Notice> {
    let failed = |error: &files::MergeError| Notice { headline: NOTHING.to_owned(), ..merge_notice(error) };
    let found = files::find(&arguments.files).map_err(|error| failed(&error))?;
    for what in [merge::passed_over(&found.passed_over), merge::named_again(&found.again)].into_iter().flatten() {
        output::say(&what);
    }
    // Whoever has ended it early tells the rest.
    let Some(diagnosis) = diagnosing.read(found.captures).map_err(|error| failed(&error))? else {
        return Ok(ExitCode::Interrupted);
    };
    tell(&diagnosis, arguments.output);
    // Of what could be read the answers are true.
    Ok(match answers::exit_code(&diagnosis.answers) {
        ExitCode::Done if !diagnosis.read.notes.damaged.is_empty() => ExitCode::Partly,
        code => code,
    })
}

fn tell(diagnosis: &Diagnosis, asked: OutputArgs) {
    for line in warnings(diagnosis) {
        output::say(&format!("warning: {line}"));
    }
    print(diagnosis, asked);
}

/// What answers do not know of.
fn not_seen(diagnosis: &Diagnosis) -> Vec<String> {
    let one_way = Some(diagnosis.looked.one_direction).filter(|count| *count > 0);
    let one_way = one_way.map(|count| format!("{count} not judged, as only one direction is captured"));
    one_way.into_iter().chain([NOT_IN_FILES.to_owned()]).collect()
}

fn warnings(diagnosis: &Diagnosis) -> Vec<String> {
    let notes = &diagnosis.read.notes;
    let mut lines: Vec<String> = notes.damaged.iter().map(|(path, why)| format!("{}: {why}", path.display())).collect();
    if diagnosis.lost > 0 {
        let lost = counted(diagnosis.lost as usize, "packet");
        lines.push(format!("{lost} dropped while capturing: nothing is judged in the seconds around"));
    }
    if diagnosis.earlier > 0 {
        let packets = counted(diagnosis.earlier as usize, "packet");
        lines.push(format!(
            "{packets} earlier than the one before by a second and more: a clock was set back, or the file is not in order, \
             and what follows may be wrong (reordercap puts it in order)"
        ));
    }
    if diagnosis.no_room > 0 {
        lines.push(format!("no room for {} of more pairs", counted(diagnosis.no_room as usize, "packet")));
    }
    let Totals { evicted, forgotten, .. } = diagnosis.totals;
    if evicted + forgotten > 0 {
        lines.push(format!("too many connections at once: {evicted} forgotten early, {forgotten} undecided"));
    }
    lines
}

fn print(diagnosis: &Diagnosis, asked: OutputArgs) {
    match asked.format {
        format @ (Format::Json | Format::Yaml) => {
            let pairs = diagnosis.pairs.iter().map(|(pair, counts)| pair_value(diagnosis, pair, counts));
            output::print_values(&records::PAIR, pairs, format);
            answers::print(&diagnosis.answers, &diagnosis.looked, &not_seen(diagnosis), asked);
            output::print_values(&records::SUMMARY, std::iter::once(summary(diagnosis)), format);
        }
        Format::Name => output::print_names(diagnosis.pairs.iter().map(|(pair, _)| name(pair))),
        format @ (Format::Table | Format::Wide) => {
            answers::print(&diagnosis.answers, &diagnosis.looked, &not_seen(diagnosis), asked);
            tables(diagnosis, format == Format::Wide);
        }
    }
}

fn address(number: u128) -> IpAddr {
    Ipv6Addr::from_bits(number).to_canonical()
}

/// `SOURCE DESTINATION:PORT/SERVICE`.
fn name(pair: &PairKey) -> String {
    format!("{} {}", address(pair.source), target(pair))
}

fn target(pair: &PairKey) -> String {
    let (destination, service) = (address(pair.destination), pair.service.name());
    match pair.service {
        Service::Neighbour | Service::Other => format!("{destination}/{service}"),
        _ => format!("{}/{service}", std::net::SocketAddr::new(destination, pair.port)),
    }
}

fn interface<'a>(diagnosis: &'a Diagnosis, pair: &PairKey) -> &'a str {
    diagnosis.interfaces.get(usize::from(pair.interface)).map_or("", String::as_str)
}

fn millis(nanos: u64) -> f64 {
    (nanos as f64 / 1000.0).round() / 1000.0
}

fn times(times: Option<&Times>) -> Value {
    let Some(times) = times.filter(|times| !times.is_empty()) else { return Value::Null };
    let within = |thousandths| times.within(thousandths).map(millis);
    json!({"count": times.len(), "p50_ms": within(500), "p99_ms": within(990)})
}

fn pair_value(diagnosis: &Diagnosis, pair: &PairKey, counts: &Counts) -> Value {
    let symptoms: Map<String, Value> = Symptom::ALL
        .into_iter()
        .filter(|symptom| counts.both(*symptom) > 0)
        .map(|symptom| {
            let ways = json!({"there": counts.of(symptom, Way::There), "back": counts.of(symptom, Way::Back)});
            (symptom.name().to_owned(), ways)
        })
        .collect();
    let ways = |[there, back]: [u64; 2]| json!({"there": there, "back": back});
    json!({
        "source": address(pair.source).to_string(), "destination": address(pair.destination).to_string(),
        "port": pair.port, "service": pair.service.name(), "interface": interface(diagnosis, pair),
        "tunnel": pair.tunnel.map(nodewatch_protocol::Tunnel::name),
        "packets": ways(counts.packets), "bytes": ways(counts.bytes),
        "attempts": counts.attempts, "answered": counts.answered, "failed": counts.failures(),
        "fates": fates(counts.fates.map(u64::from)), "lookups": counts.lookups, "symptoms": symptoms,
        "answer": times(counts.answers.as_ref()), "round_trip": times(counts.round_trips.as_ref()),
        "stalled_ms": ways(counts.stalled.map(|nanos| nanos / MILLION)), "idle_ms": counts.idle / MILLION,
        "path_mtu": (counts.longest > 0).then_some(counts.longest),
        "told_by": (counts.told_by > 0).then(|| address(counts.told_by).to_string()),
        "reset_ttl": counts.hops_left,
        "samples": counts.samples.iter().map(sample).collect::<Vec<_>>(),
    })
}

/// How far connections have come: those names that there are.
fn fates(counts: [u64; FATES.len()]) -> Value {
    let some = FATES.into_iter().zip(counts).filter(|(_, count)| *count > 0);
    Value::Object(some.map(|(name, count)| (name.to_owned(), count.into())).collect())
}

fn sample(sample: &Sample) -> Value {
    let packet = packets::line(sample.link_type, &sample.bytes, sample.wire_length);
    json!({"symptom": sample.symptom.name(), "time": merge::exact(sample.at), "packet": packet})
}

/// All of it in numbers, under names that stay.
fn summary(diagnosis: &Diagnosis) -> Value {
    let totals = &diagnosis.totals;
    let of = |symptom: Symptom| totals.of(symptom);
    let symptoms: Map<String, Value> =
        Symptom::ALL.into_iter().map(|symptom| (symptom.name().to_owned(), json!(of(symptom)))).collect();
    let unjudged = &totals.unjudged;
    let milli = |nanos: i64| u64::try_from(nanos).unwrap_or(0) / MILLION;
    // As often as several places have seen it, it has failed once.
    let failed: u64 = diagnosis.pairs.iter().map(|(pair, counts)| counts.sums(pair.service).failed).sum();
    json!({
        "files": diagnosis.read.files, "packets": totals.packets, "connections": totals.connections,
        "fates": fates(totals.fates),
        "from": diagnosis.span.map(|(first, _)| milli(first)), "until": diagnosis.span.map(|(_, last)| milli(last)),
        "tcp": {
            "retransmissions": of(Symptom::Retransmission),
            "spurious_retransmissions": of(Symptom::SpuriousRetransmission),
            "fast_retransmissions": of(Symptom::FastRetransmission),
            "out_of_order": of(Symptom::OutOfOrder),
            "duplicate_acks": of(Symptom::DuplicateAck),
            "zero_windows": of(Symptom::ZeroWindow),
            "keep_alives": of(Symptom::KeepAlive),
            "resets": of(Symptom::ResetFlag),
        },
        "dns": {
            "questions": totals.dns.questions, "unanswered": totals.dns.unanswered(),
            "servfail": totals.dns.servfail, "nxdomain": totals.dns.nxdomain,
        },
        "pairs": diagnosis.pairs.len(), "failed": failed,
        "symptoms": symptoms,
        "not_judged": {
            "first_seconds": unjudged.at_the_beginning, "one_direction": unjudged.one_way,
            "dropped": unjudged.lost_packets, "undecided": unjudged.undecided,
        },
        "dropped_packets": diagnosis.lost, "not_read": totals.unread, "no_room": diagnosis.no_room,
        "evicted": totals.evicted, "forgotten": totals.forgotten,
        "identical": diagnosis.read.again, "warnings": warnings(diagnosis),
    })
}

/// What the answer of a pair took, and its worst.
fn took(times: Option<&Times>) -> String {
    let text =
        |thousandths| times.and_then(|times| times.within(thousandths)).map(|nanos| format!("{:.1}", millis(nanos)));
    text(500).zip(text(990)).map_or_else(|| "-".to_owned(), |(half, most)| format!("{half}/{most}"))
}

/// Symptoms of a pair, failures first.
fn said(counts: &Counts) -> String {
    let said = Symptom::ALL.into_iter().filter(|symptom| counts.both(*symptom) > 0 && *symptom != Symptom::ResetFlag);
    let words: Vec<String> = said.map(|symptom| format!("{} {}", symptom.name(), counts.both(symptom))).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn tables(diagnosis: &Diagnosis, wide: bool) {
    output::print_table(&["WHAT", "COUNT", "OF"], &summary_rows(diagnosis));
    if diagnosis.pairs.is_empty() {
        return;
    }
    output::print("\n");
    let rows = if wide { diagnosis.pairs.len() } else { ROWS };
    let shown = diagnosis.pairs.iter().take(rows).map(|(pair, counts)| {
        vec![
            address(pair.source).to_string(),
            target(pair),
            interface(diagnosis, pair).to_owned(),
            counts.failures().to_string(),
            counts.attempts.to_string(),
            took(counts.answers.as_ref()),
            took(counts.round_trips.as_ref()),
            said(counts),
            counts.packets.iter().sum::<u64>().to_string(),
            bytes(counts.bytes.iter().sum()),
        ]
    });
    let heads = [
        "SOURCE",
        "DESTINATION",
        "INTERFACE",
        "FAILED",
        "ATTEMPTS",
        "ANSWER ms",
        "RTT ms",
        "SYMPTOMS",
        "PACKETS",
        "SIZE",
    ];
    let narrow = if wide { heads.len() } else { heads.len() - 2 };
    output::print_table(&heads[..narrow], &output::cut(shown.collect(), wide, narrow));
    if diagnosis.pairs.len() > rows {
        let more = counted(diagnosis.pairs.len() - rows, "more pair");
        output::print(&format!("# and {more}: -o wide has all\n"));
    }
}

fn summary_rows(diagnosis: &Diagnosis) -> Vec<Vec<String>> {
    let totals = &diagnosis.totals;
    let row = |what: &str, count: u64, of: String| vec![what.to_owned(), count.to_string(), of];
    let milli = |nanos: i64| u64::try_from(nanos).unwrap_or(0) / MILLION;
    let span = diagnosis.span.map(|(first, last)| clock::span_in_both_zones(milli(first), milli(last)));
    let mut rows = vec![
        row("packets", totals.packets, span.unwrap_or_default()),
        row("connections", totals.connections, format!("{} segments of TCP", totals.segments)),
        row("questions to DNS", totals.dns.questions, format!("{} not answered", totals.dns.unanswered())),
    ];
    let known = Symptom::ALL.into_iter().filter(|symptom| totals.of(*symptom) > 0);
    rows.extend(known.map(|symptom| row(symptom.name(), totals.of(symptom), symptom.meaning().to_owned())));
    let unjudged = totals.unjudged;
    if unjudged.total() > 0 {
        let of = format!(
            "{} in the first 2 s, {} where only one direction is captured, {} where packets were dropped, {} at the end",
            unjudged.at_the_beginning, unjudged.one_way, unjudged.lost_packets, unjudged.undecided
        );
        rows.push(row("not judged", unjudged.total(), of));
    }
    rows
}
