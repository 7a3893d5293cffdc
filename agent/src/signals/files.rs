//! Signals that the kernel writes into files below `/proc`.
//!
//! Owns their forms. The folder can be another one, so that tests bring files of their own.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use nodewatch_signals::{Origin, SignalId, of};
use rustc_hash::FxHashMap;

use super::{Source, SourceError, Values};

/// No file here is longer; of one that is, the rest is not read.
const LONGEST: u64 = 1024 * 1024;
/// The column of `softnet_stat` that has the CPU's number, in kernels that tell it.
const SOFTNET_CPU: usize = 12;

/// Every source that is a file, below that folder.
pub(super) fn all(proc: &Path) -> Vec<Box<dyn Source>> {
    let forms: [(Origin, &str, Form); 9] = [
        (Origin::Netstat, "net/netstat", pairs),
        (Origin::Snmp, "net/snmp", pairs),
        (Origin::Snmp6, "net/snmp6", words),
        (Origin::Softnet, "net/softnet_stat", softnet),
        (Origin::Sockstat, "net/sockstat", sockstat),
        (Origin::Sockstat6, "net/sockstat6", sockstat),
        (Origin::Conntrack, "net/stat/nf_conntrack", cpus),
        (Origin::ArpCache, "net/stat/arp_cache", cpus),
        (Origin::NdiscCache, "net/stat/ndisc_cache", cpus),
    ];
    let file = |(origin, path, form): (Origin, &str, Form)| -> Box<dyn Source> {
        let fields = of(origin).map(|(at, signal)| (signal.field, at)).collect();
        Box::new(OneFile { origin, path: proc.join(path), form, fields, text: String::new() })
    };
    let mut sources: Vec<Box<dyn Source>> = forms.into_iter().map(file).collect();
    sources.push(Box::new(Sysctls { folder: proc.join("sys/net"), text: String::new() }));
    sources.push(Box::new(Pressures { folder: proc.join("pressure"), text: String::new() }));
    sources
}

type Fields = FxHashMap<&'static str, SignalId>;
/// `None` where the text has another form.
type Form = fn(&str, &Fields, &mut Values) -> Option<()>;

/// A file with several signals in it.
struct OneFile {
    origin: Origin,
    path: PathBuf,
    form: Form,
    fields: Fields,
    text: String,
}

impl Source for OneFile {
    fn origin(&self) -> Origin {
        self.origin
    }

    fn read(&mut self, values: &mut Values) -> Result<(), SourceError> {
        load(&self.path, &mut self.text)?;
        (self.form)(&self.text, &self.fields, values).ok_or(SourceError::Malformed)
    }
}

pub(super) fn load(path: &Path, text: &mut String) -> io::Result<()> {
    text.clear();
    File::open(path)?.take(LONGEST).read_to_string(text).map(drop)
}

/// `Tcp: A B` and below it `Tcp: 1 2`.
fn pairs(text: &str, fields: &Fields, values: &mut Values) -> Option<()> {
    let mut lines = text.lines();
    let mut name = String::new();
    while let Some(head) = lines.next() {
        let (group, names) = head.split_once(": ")?;
        let (again, numbers) = lines.next()?.split_once(": ")?;
        if group != again {
            return None;
        }
        for (field, number) in names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace()) {
            name.clear();
            name.push_str(group);
            name.push(' ');
            name.push_str(field);
            if let Some(&signal) = fields.get(name.as_str()) {
                values.add(signal, number.parse().ok()?);
            }
        }
    }
    Some(())
}

/// `Udp6NoPorts   34`.
fn words(text: &str, fields: &Fields, values: &mut Values) -> Option<()> {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (name, number) = (words.next()?, words.next()?);
        if let Some(&signal) = fields.get(name) {
            values.add(signal, number.parse().ok()?);
        }
    }
    Some(())
}

/// `TCP: inuse 1 orphan 0`.
fn sockstat(text: &str, fields: &Fields, values: &mut Values) -> Option<()> {
    for line in text.lines() {
        let (group, rest) = line.split_once(": ")?;
        let mut words = rest.split_ascii_whitespace();
        while let (Some(field), Some(number)) = (words.next(), words.next()) {
            if let Some(&signal) = fields.get(format!("{group} {field}").as_str()) {
                values.add(signal, number.parse().ok()?);
            }
        }
    }
    Some(())
}

/// A line a CPU, hexadecimal, without names. A CPU that is offline has none.
fn softnet(text: &str, fields: &Fields, values: &mut Values) -> Option<()> {
    let columns = [("processed", 0), ("dropped", 1), ("time_squeeze", 2), ("flow_limit_count", 10)];
    let rows = text.lines().count() as u64;
    for (row, line) in text.lines().enumerate() {
        let mut numbers = [0; 16];
        let mut count = 0;
        for (word, number) in line.split_ascii_whitespace().zip(&mut numbers) {
            *number = u64::from_str_radix(word, 16).ok()?;
            count += 1;
        }
        // Where CPUs are not named, another number of them may have moved every row.
        let cpu = if count > SOFTNET_CPU { numbers[SOFTNET_CPU] } else { rows << 32 | row as u64 };
        for (field, column) in columns.into_iter().filter(|(_, column)| *column < count) {
            if let Some(&signal) = fields.get(field) {
                values.add_part(signal, cpu, numbers[column]);
            }
        }
    }
    Some(())
}

/// Names, and below them a line a possible CPU, hexadecimal. `entries` is the same in each.
fn cpus(text: &str, fields: &Fields, values: &mut Values) -> Option<()> {
    let mut lines = text.lines();
    let signals: Vec<Option<(SignalId, bool)>> = lines
        .next()?
        .split_ascii_whitespace()
        .map(|name| fields.get(name).map(|&signal| (signal, name == "entries")))
        .collect();
    for (row, line) in lines.enumerate() {
        for (signal, word) in signals.iter().zip(line.split_ascii_whitespace()) {
            match signal {
                Some((_, true)) if row > 0 => {}
                Some((signal, _)) => values.add_part(*signal, row as u64, u64::from_str_radix(word, 16).ok()?),
                None => {}
            }
        }
    }
    Some(())
}

/// Limits and counts, a file each.
struct Sysctls {
    folder: PathBuf,
    text: String,
}

impl Source for Sysctls {
    fn origin(&self) -> Origin {
        Origin::Sysctl
    }

    fn read(&mut self, values: &mut Values) -> Result<(), SourceError> {
        for (signal, known) in of(Origin::Sysctl) {
            let (path, third) =
                known.field.split_once(", third").map_or((known.field, false), |(path, _)| (path, true));
            if load(&self.folder.join(path), &mut self.text).is_err() {
                continue;
            }
            let number = |at: usize| self.text.split_ascii_whitespace().nth(at)?.parse::<u64>().ok();
            let value = match (path.ends_with("port_range"), third) {
                (true, _) => number(0).zip(number(1)).map(|(low, high)| (high + 1).saturating_sub(low)),
                (false, true) => number(2),
                (false, false) => number(0),
            };
            if let Some(value) = value {
                values.add(signal, value);
            }
        }
        Ok(())
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
struct Pressures {
    folder: PathBuf,
    text: String,
}

impl Source for Pressures {
    fn origin(&self) -> Origin {
        Origin::Pressure
    }

    fn read(&mut self, values: &mut Values) -> Result<(), SourceError> {
        for resource in ["cpu", "memory", "io"] {
            load(&self.folder.join(resource), &mut self.text)?;
            for (signal, known) in of(Origin::Pressure) {
                let Some((of, kind)) = known.field.split_once(' ') else { continue };
                let line = self.text.lines().find(|line| line.split(' ').next() == Some(kind) && of == resource);
                let total = line.and_then(|line| line.rsplit_once("total=")?.1.trim().parse().ok());
                if let Some(total) = total {
                    values.add(signal, total);
                }
            }
        }
        Ok(())
    }
}
