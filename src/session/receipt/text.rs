//! The receipt as text, a line a thing.

use std::{collections::BTreeSet, fmt::Write};

use nodewatch_protocol::Retention;

use super::{Detachment, FileNote, Receipt, Unwanted};
use crate::{
    base::text,
    model::{Group, NodeName, missing_of},
    session::{
        exit::Later,
        ledger::{Fate, Thing, What},
    },
};

/// So many of the objects that are gone are named.
const NAMED: usize = 3;
/// So many reasons why a file is incomplete are told.
const REASONS: usize = 2;

impl Receipt {
    /// The receipt as text, a line a thing.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let session = self.session.as_ref().map_or_else(String::new, |session| format!("session {session} "));
        let goes_on = self.detached.is_some() && !self.on_this_machine;
        let verb = match (self.abandoned, goes_on) {
            (true, _) => "was left without waiting for cleanup",
            (false, true) => "continues without this program",
            (false, false) => "has ended",
        };
        // Writing to a String does not fail.
        let _ = writeln!(out, "nodewatch-tui: {session}on {} {verb}", text::visible(&self.place));
        self.files_text(&mut out);
        self.holes_text(&mut out);
        for FileNote { node, file, size, reason } in &self.files.lost {
            let what = text::visible(&format!("{file} of {node}, {}: {reason}", text::bytes(*size)));
            let _ = writeln!(out, "  LOST     {what}");
        }
        for FileNote { node, file, size, .. } in &self.files.left_there {
            let what = text::visible(&format!("{file} of {node}, {}", text::bytes(*size)));
            let fate = match self.unwanted {
                Unwanted::Streamed => "streamed, not kept",
                Unwanted::Chosen => "not fetched, and gone with its agent, as requested",
            };
            let _ = writeln!(out, "  {fate}: {what}");
        }
        self.images_text(&mut out);
        self.reports_text(&mut out);
        match &self.detached {
            Some(_) if self.on_this_machine => self.held_text(&mut out),
            Some(detached) => self.detachment_text(detached, &mut out),
            None => self.objects_text(&mut out),
        }
        out
    }

    /// What agents ran from. Under one tag nodes may have had several.
    fn images_text(&self, out: &mut String) {
        for (image, nodes) in &self.images {
            let word = if self.images.len() > 1 { "DIFFERENT IMAGES" } else { "image   " };
            let on = text::counted(nodes.len(), "node");
            let _ = writeln!(out, "  {word} {}  on {on}", text::visible(image));
        }
    }

    /// Files that are where they should be, summed up: their names and checksums are in the manifest beside them.
    fn files_text(&self, out: &mut String) {
        let fetched = &self.files.fetched;
        let size = |sizes: &mut dyn Iterator<Item = u64>| text::bytes(sizes.sum());
        match fetched.as_slice() {
            [] => {}
            [(path, bytes, _)] => {
                let path = text::visible(&path.display().to_string());
                let _ = writeln!(out, "  fetched  {path}  {}, checked", text::bytes(*bytes));
            }
            files => {
                let paths: Vec<String> = files.iter().map(|(path, ..)| path.display().to_string()).collect();
                let folder = common(paths.iter().map(String::as_str));
                let all = size(&mut files.iter().map(|(_, bytes, _)| *bytes));
                let count = text::counted(files.len(), "file");
                let _ = writeln!(out, "  fetched  {count}, {all}, checked, in {}", text::visible(&folder));
            }
        }
        let merged = self.files.merged.iter().map(|file| ("merged", file));
        for (word, (path, bytes)) in merged.chain(self.files.saved.iter().map(|file| ("saved", file))) {
            let path = text::visible(&path.display().to_string());
            let _ = writeln!(out, "  {word:8} {path}  {}", text::bytes(*bytes));
        }
        let newest = self.files.merged.last().map(|(path, _)| path);
        if let Some(path) = newest.or(fetched.first().map(|(path, ..)| path).filter(|_| fetched.len() == 1)) {
            let path = text::shell(&path.display().to_string());
            let _ = writeln!(out, "  open it: wireshark {path}");
        }
        let not_compared = |uri: &String| self.files.not_compared.contains(uri);
        let compared: Vec<(&String, u64)> = self
            .files
            .delivered
            .iter()
            .filter(|(uri, ..)| !not_compared(uri))
            .map(|(uri, bytes, _)| (uri, *bytes))
            .collect();
        // A line a bucket: a session may have delivered to more than one.
        let bucket = |uri: &str| uri.split('/').take(3).collect::<Vec<_>>().join("/");
        let buckets: BTreeSet<String> = compared.iter().map(|(uri, _)| bucket(uri)).collect();
        for place in buckets {
            let objects: Vec<&(&String, u64)> = compared.iter().filter(|(uri, _)| bucket(uri) == place).collect();
            let all = size(&mut objects.iter().map(|(_, bytes)| *bytes));
            let what = match objects.as_slice() {
                [(uri, _)] => format!("{}  {all}, checked", text::visible(uri)),
                several => {
                    let place = common(several.iter().map(|(uri, _)| uri.as_str()));
                    format!("{}, {all}, checked, in {}", text::counted(several.len(), "file"), text::visible(&place))
                }
            };
            let _ = writeln!(out, "  in S3    {what}");
        }
        for (uri, bytes, _) in self.files.delivered.iter().filter(|(uri, ..)| not_compared(uri)) {
            let _ = writeln!(out, "  in S3    {}  {}  not compared", text::visible(uri), text::bytes(*bytes));
        }
        for (uri, bytes) in &self.files.in_bucket {
            let _ = writeln!(out, "  in S3    {}  {}", text::visible(uri), text::bytes(*bytes));
        }
    }

    /// What is missing from files that are there, or not where it should be.
    fn holes_text(&self, out: &mut String) {
        for FileNote { node, file, reason: why, .. } in &self.files.undelivered {
            let _ = writeln!(out, "  NOT IN S3 {}", text::visible(&format!("{file} of {node}: {why}")));
        }
        for FileNote { node, file, reason: why, .. } in &self.files.unproved {
            let _ = writeln!(out, "  NOT COMPARED {}", text::visible(&format!("{file} of {node}: {why}")));
        }
        for why in &self.no_manifest {
            let _ = writeln!(out, "  NO MANIFEST {}", text::visible(why));
        }
        for what in &self.noted {
            let _ = writeln!(out, "  NOTE     {}", text::visible(what));
        }
        for FileNote { node, file, reason: why, .. } in &self.files.incomplete {
            let _ = writeln!(out, "  INCOMPLETE {}", text::visible(&format!("{file} of {node}: {}", brief(why))));
        }
        for (node, why) in &self.without_agent {
            let _ = writeln!(out, "  NO AGENT {}", text::visible(&format!("{node}: {why}")));
        }
        for (node, what) in &self.troubles {
            let _ = writeln!(out, "  TROUBLE  {}", text::visible(&format!("{node}: {what}")));
        }
        for FileNote { node, file, size, reason } in &self.files.held {
            let place = self.ring_folder.as_ref().map(|folder| folder.join(file).display().to_string());
            let place = place.unwrap_or_else(|| format!("{file} in the ring of {node}"));
            let _ =
                writeln!(out, "  KEPT     {}", text::visible(&format!("{place}, {}: {reason}", text::bytes(*size))));
        }
    }

    fn reports_text(&self, out: &mut String) {
        let Some((place, state)) = &self.reports else { return };
        let sent = text::counted(state.sent as usize, "report");
        let _ = writeln!(out, "  reported {sent} to {}", text::visible(place));
        if let Retention::NotSet { reason } = &state.retention {
            let _ =
                writeln!(out, "  these reports never expire: setting the retention failed: {}", text::visible(reason));
        }
        if self.unreported() > 0 {
            let why = text::visible(&state.why_lost());
            let _ = writeln!(out, "  LOST     {}: {why}", text::counted(self.unreported() as usize, "report"));
        }
    }

    fn detachment_text(&self, detached: &Detachment, out: &mut String) {
        let list = |names: &[NodeName]| {
            let names: Vec<String> = names.iter().map(|name| text::visible(&name.0)).collect();
            names.join(", ")
        };
        let until = text::date_and_time(detached.until);
        let (agents, recorders) = (&detached.agents, &detached.recorders);
        let captures: Vec<NodeName> = detached.captures.iter().filter(|it| !recorders.contains(it)).cloned().collect();
        let _ = match agents.as_slice() {
            [] => writeln!(out, "  no agent is running any more"),
            some => writeln!(out, "  until {until}: {}: {}", text::counted(some.len(), "agent"), list(some)),
        };
        for (names, what) in [(&captures, "capture"), (recorders, "flight recorder")] {
            if !names.is_empty() {
                let _ = writeln!(out, "  until {until}: {}: {}", text::counted(names.len(), what), list(names));
            }
        }
        if let (false, Some(session)) = (recorders.is_empty(), &self.session) {
            let _ = writeln!(out, "  save what they hold: {}", text::command(["freeze", session.as_str()]));
        }
        if !detached.untold.is_empty() {
            let untold = list(&detached.untold);
            let _ = writeln!(out, "  NOT TOLD {untold}: no tunnel; they end when their lease expires");
        }
        let _ = match &detached.later {
            Later::Nothing => Ok(()),
            Later::Served(by) => {
                writeln!(out, "  until {until}: nodes that join get an agent from {}", text::visible(by))
            }
            Later::Failed(notice) => writeln!(out, "  NOT SERVED nodes that join: {}", text::visible(&notice.line())),
            Later::Asked { .. } => {
                writeln!(out, "  NOT SERVED nodes that join, possibly: the cluster has not answered")
            }
        };
        if self.things.iter().any(|thing| thing.group == Group::Alarms) {
            let _ = writeln!(out, "  alarms are kept, and will fire once no reports arrive");
        }
        if !self.files.delivered.is_empty() {
            self.storage_text(out);
        }
        if self.stranded {
            let _ = writeln!(out, "  LEFT     the session: the files marked KEPT exist only in its rings");
        }
        if let Some(session) = &self.session {
            if !detached.reaped {
                let _ = writeln!(out, "  after that, an empty namespace is left until cleanup (--reaper removes it)");
            }
            let _ = writeln!(out, "  come back: {}", text::command(["attach", session.as_str()]));
            let _ = writeln!(out, "  end it:    {}", text::command(["cleanup", session.as_str()]));
        }
    }

    /// A session on this machine that was left has no agent: what is there are its files.
    fn held_text(&self, out: &mut String) {
        self.storage_text(out);
        if let (false, Some(session)) = (self.files.held.is_empty(), &self.session) {
            let session = session.as_str();
            let _ = writeln!(out, "  copy the files marked KEPT, or");
            let _ = writeln!(out, "  fetch them:  {}", text::command(["attach", session, "--local"]));
            let _ = writeln!(out, "  remove them: {}", text::command(["cleanup", session, "--local"]));
        } else if let (true, Some(folder)) = (self.abandoned, &self.ring_folder) {
            let _ = writeln!(out, "  LEFT     {}", text::visible(&folder.display().to_string()));
        } else {
            let _ = writeln!(out, "  {}", self.outside());
        }
    }

    /// What there is to say of other machines when no object in a cluster is named.
    fn outside(&self) -> &'static str {
        let stored =
            !self.files.delivered.is_empty() || !self.files.in_bucket.is_empty() || self.files.unlisted.is_some();
        let removed = self.things.iter().any(|thing| {
            thing.fate == Fate::Gone && matches!(&thing.what, What::Captures { found, .. } if !found.is_empty())
        });
        let cloud = self.things.iter().any(|thing| matches!(thing.what, What::Cloud(_)));
        let reported = self.reports.as_ref().is_some_and(|(_, state)| state.sent > 0) || cloud;
        if stored || removed || reported {
            "nothing else was created outside this machine"
        } else {
            "nothing was created outside this machine; nothing is left"
        }
    }

    fn objects_text(&self, out: &mut String) {
        let objects = || self.things.iter().filter(|thing| thing.as_object().is_some());
        // What is gone is one line; each object by name is in the report and in the JSON.
        let gone: Vec<String> =
            objects().filter(|thing| thing.fate == Fate::Gone).map(|thing| text::visible(&thing.name())).collect();
        if !gone.is_empty() {
            let named = gone.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = gone.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let _ = writeln!(out, "  removed  {named}{more}");
        }
        for thing in objects().filter(|thing| thing.fate != Fate::Gone) {
            thing_text(thing, out);
        }
        self.storage_text(out);
        for thing in self.things.iter().filter(|thing| matches!(thing.what, What::Cloud(_))) {
            thing_text(thing, out);
        }
        if let Some(notice) = &self.trouble {
            let _ = writeln!(out, "  {}", text::visible(&notice.line()));
        }
        let count = |so: fn(&Fate) -> bool| objects().filter(|thing| so(&thing.fate)).count();
        let (gone, kept) = (count(|fate| *fate == Fate::Gone), count(|fate| *fate == Fate::Kept));
        let left = objects().count() - gone - kept;
        let objects_of = |count: usize| text::counted(count, "object");
        let again =
            self.session.as_ref().map(|session| text::command(["cleanup", session.as_str()])).unwrap_or_default();
        let _ = match (left, kept, gone) {
            (0, ..) if self.trouble.is_some() => writeln!(out, "  not everything was removed; try again: {again}"),
            (0, ..) if self.abandoned => writeln!(out, "  left without waiting; to remove what remains: {again}"),
            (0, 0, 0) => writeln!(out, "  {}", self.outside()),
            (0, 0, _) => writeln!(out, "  {} created, {gone} confirmed removed; nothing is left", objects_of(gone)),
            (0, ..) => {
                writeln!(out, "  {} confirmed removed, {kept} kept; to remove the rest: {again}", objects_of(gone))
            }
            (left, ..) => writeln!(out, "  {} may still exist; try again: {again}", objects_of(left)),
        };
    }

    fn storage_text(&self, out: &mut String) {
        let captures = |thing: &&Thing| matches!(thing.what, What::Captures { .. });
        for (number, thing) in self.things.iter().filter(captures).enumerate() {
            self.place_text(thing, number == 0, out);
        }
    }

    /// What has become of the captures in a place; `current` is where they went last.
    fn place_text(&self, thing: &Thing, current: bool, out: &mut String) {
        let What::Captures { place, found } = &thing.what else { return };
        let place = text::visible(&place.to_string());
        let files = &self.files;
        let nothing = files.delivered.is_empty() && files.in_bucket.is_empty() && files.unlisted.is_none();
        match &thing.fate {
            Fate::Gone => {
                let found = text::counted(found.objects as usize, "object");
                let _ = writeln!(out, "  removed  {found} in {place}");
            }
            Fate::Failed(_) | Fate::Removing => thing_text(thing, out),
            Fate::Kept if nothing && current => {}
            Fate::Asked | Fate::There(_) | Fate::Unknown(_) | Fate::Kept => {
                let again = self.session.as_ref().map(|session| {
                    let words = ["cleanup", session.as_str(), "--captures"].into_iter();
                    format!("; remove: {}", text::command(words.chain(self.storage_words.iter().map(String::as_str))))
                });
                let unlisted = files.unlisted.as_ref().filter(|_| current);
                let unlisted = unlisted.map(|why| format!(" (cannot list them: {})", text::visible(why)));
                let (unlisted, again) = (unlisted.unwrap_or_default(), again.unwrap_or_default());
                let _ = writeln!(out, "  kept     captures in {place}{unlisted}{again}");
            }
        }
    }
}

/// What is missing from a file, on a line: the file and the manifest beside it have it word by word.
fn brief(why: &str) -> String {
    let why = missing_of(why);
    let parts: Vec<String> = why.split("; ").map(timeless).collect();
    match parts.len().checked_sub(REASONS) {
        Some(more @ 1..) => format!("{}; and {more} more", parts[..REASONS].join("; ")),
        _ => parts.join("; "),
    }
}

/// How long something was in place of its moments, which are the file's to tell.
fn timeless(part: &str) -> String {
    let Some((head, moments)) = part.split_once(" from 20") else { return part.to_owned() };
    let span = || {
        let (from, rest) = moments.split_once(" to ")?;
        let (to, tail) = rest.split_at(rest.find([',', ' ']).unwrap_or(rest.len()));
        let moment = |text: &str| text.parse::<jiff::Timestamp>().ok();
        let lasted = moment(to)?.duration_since(moment(&format!("20{from}"))?);
        let lasted = text::lasting(lasted.as_millis().try_into().ok()?);
        Some(if head.contains(" for ") { format!("{head}{tail}") } else { format!("{head} for {lasted}{tail}") })
    };
    span().unwrap_or_else(|| head.to_owned())
}

/// The folder that all of these names are in, with its `/`.
fn common<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut shared: Option<Vec<&str>> = None;
    for name in names {
        let mut parts: Vec<&str> = name.split('/').collect();
        parts.pop();
        shared = Some(match shared {
            None => parts,
            Some(before) => before.into_iter().zip(parts).take_while(|(a, b)| a == b).map(|(part, _)| part).collect(),
        });
    }
    shared.unwrap_or_default().into_iter().fold(String::new(), |folder, part| format!("{folder}{part}/"))
}

/// A line of what has become of a thing.
fn thing_text(thing: &Thing, out: &mut String) {
    let name = text::visible(&thing.name());
    // Writing to a String does not fail.
    let _ = match &thing.fate {
        Fate::Gone => writeln!(out, "  removed  {name}"),
        Fate::Kept => writeln!(out, "  kept     {name}"),
        Fate::Asked | Fate::Unknown(_) | Fate::There(_) => writeln!(out, "  LEFT     {name}: not touched"),
        Fate::Removing => writeln!(out, "  LEFT     {name}: removal not confirmed"),
        Fate::Failed(reason) => writeln!(out, "  LEFT     {name}: {}", text::visible(reason)),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_one_folder_is_named_by_it() {
        assert_eq!(common(["out/7f/a/1", "out/7f/b/2"].into_iter()), "out/7f/");
        assert_eq!(common(["s3://b/p/7f/a/1", "s3://b/p/7f/a/2"].into_iter()), "s3://b/p/7f/a/");
        assert_eq!(common(["/tmp/x/1", "/var/1"].into_iter()), "/");
        assert_eq!(common(["1", "2"].into_iter()), "");
    }

    #[test]
    fn a_gap_says_how_long_it_was_and_why() {
        let span = "from 2026-11-26T19:27:40.123Z to 2026-11-26T19:28:05.623Z";
        for (told, brief) in [
            (
                format!("gap: nothing was captured {span}, while the agent restarted"),
                "gap: nothing was captured for 25s, while the agent restarted",
            ),
            (
                format!("nothing was captured from eth0 {span} (it went away)"),
                "nothing was captured from eth0 for 25s (it went away)",
            ),
            ("nothing was captured from 2026-99 to hostile".to_owned(), "nothing was captured"),
        ] {
            assert_eq!(timeless(&told), brief);
        }
    }
}
