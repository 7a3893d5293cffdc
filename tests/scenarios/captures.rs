//! Captures on their way: payloads asked about, grants, deliveries, freezes, the screen of all files.

use std::path::Path;

use nodewatch_protocol::{
    Amount, CaptureFile, CaptureSpec, CaptureState, Content, Delivery, FileState, Freeze, Hello, Recorder, Request,
    Response, RingState, SinkState, StopReason, Update,
};
use nodewatch_tui::{
    model::{
        DeployProgress, FetchProgress, Group, Keep, Notice, Removal, S3Url, StoredFile, StoredSummary, TailLine,
        TailNews, TunnelChange, Way,
    },
    screens::{Action, App, Edit, Input, Layer, Pointed, Scope, cursor::RowKey, update},
    session::{
        Effect, Event, Job,
        delivery::{STALLED, StorageInfo},
        exit::Phase,
        files::{FileRow, MadeFile},
        ledger::Found,
    },
};

use crate::{
    cleanup, key, live, phase, removal, running,
    sample::{NOW, delivering, feed, file, tunnel},
    typed,
};

fn full() -> CaptureSpec {
    CaptureSpec { content: Content::Full, ..CaptureSpec::default() }
}

#[test]
fn payloads_are_asked_about_once_a_session() {
    let mut app = live();
    let start = |app: &mut App| {
        key(app, Action::CaptureOptions);
        key(app, Action::NextView);
        key(app, Action::Edit(Edit::Clear));
        typed(app, "full");
        key(app, Action::Open)
    };
    assert_eq!(start(&mut app), [], "nothing before the answer");
    assert!(matches!(app.top(), Some(Layer::Confirm(_))));
    assert_eq!(key(&mut app, Action::Back), []);
    key(&mut app, Action::CaptureOptions);
    assert_eq!(key(&mut app, Action::Open), [], "the form remembers, and the question comes again");
    let asked = [Effect::Ask("a".into(), Request::StartCapture(full()))];
    assert_eq!(key(&mut app, Action::Open), asked);
    feed(&mut app, [tunnel("a", running()), Event::Answer("a".into(), Request::StopCapture, Some(Response::Done))]);
    let stopped = CaptureState::Stopped { since: 1, at: 2, reason: StopReason::Asked };
    feed(&mut app, [tunnel("a", Update::Capture(stopped))]);
    key(&mut app, Action::CaptureOptions);
    assert_eq!(key(&mut app, Action::Open), asked, "asked once, and the form remembers");
}

fn to_s3(app: &mut App) {
    let url = "s3://captures/inc".parse().expect("a place");
    app.session.terms.storage = Some(StorageInfo { url, way: Way::Grant });
}

fn grants(effects: &[Effect]) -> Vec<&str> {
    let granted = effects.iter().filter_map(|effect| match effect {
        Effect::Grant(name) => Some(name.0.as_str()),
        _ => None,
    });
    granted.collect()
}

#[test]
fn grants_are_asked_for_renewed_in_time_and_given_again_to_a_new_process() {
    let mut app = live();
    assert_eq!(grants(&update(&mut app, Event::Tick, NOW)), Vec::<&str>::new(), "not without S3");
    to_s3(&mut app);
    assert_eq!(grants(&update(&mut app, Event::Tick, NOW)), ["a", "b", "c"]);
    assert_eq!(grants(&update(&mut app, Event::Tick, NOW + 1000)), Vec::<&str>::new(), "once");
    let hour = Some(std::time::Duration::from_secs(3600));
    for name in ["a", "b"] {
        feed(&mut app, [Event::Granted(name.into(), Ok(hour))]);
    }
    let failed = Notice::error("no", "signed out", "sign in");
    feed(&mut app, [Event::Granted("c".into(), Err(failed.clone()))]);
    assert_eq!(app.session.notices.back().map(|(_, notice)| notice), Some(&failed));
    assert_eq!(grants(&update(&mut app, Event::Tick, NOW + 31_000)), ["c"], "tried again");
    let told = app.session.notices.len();
    update(&mut app, Event::Granted("c".into(), Err(failed)), NOW + 32_000);
    assert_eq!(app.session.notices.len(), told + 1, "said when it begins to fail, and not each time");
    // A third of its time has passed: there is time for many failures.
    assert_eq!(grants(&update(&mut app, Event::Tick, NOW + 1_250_000)), ["a", "b", "c"]);
    let up = Event::Tunnel("a".into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0")));
    feed(&mut app, [Event::Granted("a".into(), Ok(hour))]);
    assert_eq!(grants(&update(&mut app, up, NOW + 1_251_000)), ["a"], "its memory is empty");
}

fn ring(queued: u64, delivered: u64) -> Update {
    let amount = |files| Amount { files, bytes: files * 100, packets: files };
    Update::Ring(RingState {
        queued: amount(queued),
        delivered: amount(delivered),
        sink: SinkState::Grant { left_seconds: 60 },
        ..RingState::default()
    })
}

fn delivered(name: &str) -> CaptureFile {
    let key = format!("inc/7f3a91c2/a/{name}");
    CaptureFile {
        delivery: Delivery::Delivered { key, size: 90, unproved: false },
        ..file(name, 100, FileState::Closed)
    }
}

#[test]
fn the_exit_waits_for_deliveries_that_move_and_fetches_what_does_not_get_there() {
    let mut app = live();
    to_s3(&mut app);
    let files = ["1.pcapng", "2.pcapng"].map(|name| file(name, 100, FileState::Closed)).to_vec();
    feed(&mut app, [tunnel("a", ring(2, 0)), tunnel("a", Update::Files(files))]);
    assert_eq!(key(&mut app, Action::Quit), [Effect::TakeStock, Effect::Stock(Group::Storage)]);
    assert_eq!(key(&mut app, Action::Open), []);
    assert!(matches!(phase(&app), Some(Phase::Delivering { .. })));
    let half = vec![delivered("1.pcapng"), file("2.pcapng", 100, FileState::Closed)];
    update(&mut app, tunnel("a", Update::Files(half)), NOW + STALLED - 1000);
    update(&mut app, tunnel("a", ring(1, 1)), NOW + STALLED - 1000);
    update(&mut app, Event::Tick, NOW + STALLED + 1000);
    assert!(matches!(phase(&app), Some(Phase::Delivering { .. })), "it moves");
    let effects = update(&mut app, Event::Tick, NOW + 2 * STALLED + 1000);
    let fetched: Vec<&Effect> = effects.iter().filter(|effect| matches!(effect, Effect::Fetch(..))).collect();
    assert!(matches!(&fetched[..], [Effect::Fetch(_, file)] if file.name == "2.pcapng"), "{effects:?}");
    let done = FetchProgress::Done { path: "2.pcapng".into(), sha256: "00".into() };
    let effects = update(&mut app, Event::Fetch("a".into(), "2.pcapng".into(), done), NOW);
    assert_eq!(removal(effects), [cleanup(Keep::from([Group::Storage]))], "captures in S3 stay");
    assert_eq!(update(&mut app, Event::Removal(Removal::Finished), NOW), [Effect::Quit]);
    let receipt = app.session.receipt();
    assert_eq!(receipt.files.delivered, [("s3://captures/inc/7f3a91c2/a/1.pcapng".to_owned(), 90, None)]);
    assert!(receipt.files.lost.is_empty() && receipt.files.fetched.len() == 1 && !receipt.left_behind());
    assert!(receipt.text().contains("cleanup 7f3a91c2 --captures"), "{}", receipt.text());
}

#[test]
fn captures_in_s3_are_removed_when_that_is_chosen_and_a_failure_is_no_success() {
    let mut app = live();
    to_s3(&mut app);
    feed(&mut app, [tunnel("a", ring(0, 1)), tunnel("a", Update::Files(vec![delivered("1.pcapng")]))]);
    key(&mut app, Action::Quit);
    for action in [Action::Down, Action::Down, Action::Down, Action::Mark] {
        key(&mut app, action);
    }
    assert_eq!(removal(key(&mut app, Action::Open)), [cleanup(Keep::new()), Effect::Remove(Group::Storage)]);
    feed(&mut app, [Event::Removal(Removal::Finished)]);
    assert_eq!(phase(&app), Some(Phase::Removing), "both have to end");
    let failed = Notice::error("they may still be there", "403", "sign in");
    feed(&mut app, [Event::Removed(Group::Storage, Err(failed))]);
    assert_eq!(phase(&app), Some(Phase::RemoveFailed));
    assert_eq!(removal(key(&mut app, Action::Open)), [cleanup(Keep::new()), Effect::Remove(Group::Storage)], "again");
    feed(
        &mut app,
        [Event::Removed(Group::Storage, Ok(Found::Stored(StoredSummary { objects: 2, ..StoredSummary::default() })))],
    );
    assert_eq!(update(&mut app, Event::Removal(Removal::Finished), NOW), [Effect::Quit]);
    assert!(app.session.receipt().text().contains("removed  2 objects in s3://captures/inc/7f3a91c2/"));
}

pub fn armed() -> Update {
    let spec = CaptureSpec { recorder: Some(Recorder::default()), ..CaptureSpec::default() };
    Update::Capture(CaptureState::Running { since: NOW, interfaces: vec![], spec })
}

#[test]
fn a_freeze_is_for_the_marked_recorders_or_for_all_and_brings_its_file_home() {
    let mut app = live();
    assert_eq!(key(&mut app, Action::Freeze), []);
    assert!(app.session.notices.back().is_some_and(|(_, notice)| notice.cause.contains("no flight recorder is armed")));
    feed(&mut app, [tunnel("b", armed()), tunnel("c", armed())]);
    let freeze = |name: &str| Effect::Ask(name.into(), Request::Freeze(Freeze::default()));
    assert_eq!(key(&mut app, Action::Freeze), [freeze("b"), freeze("c")], "the cursor's node has none");
    key(&mut app, Action::Down);
    assert_eq!(key(&mut app, Action::Freeze).len(), 2, "the cursor chooses none: the moment does not come back");
    key(&mut app, Action::Mark);
    assert_eq!(key(&mut app, Action::Freeze), [freeze("b")]);

    feed(&mut app, [tunnel("b", Update::Ring(RingState::default()))]);
    let saved = CaptureFile { ended: NOW + 5, ..file("1.pcapng", 100, FileState::Closed) };
    let effects = update(&mut app, tunnel("b", Update::Files(vec![saved.clone()])), NOW);
    assert_eq!(effects, [Effect::Fetch("b".into(), saved.clone())]);
    assert_eq!(update(&mut app, tunnel("b", Update::Files(vec![saved.clone()])), NOW), [], "once");
    feed(&mut app, [tunnel("c", ring(0, 0))]);
    assert_eq!(update(&mut app, tunnel("c", Update::Files(vec![saved])), NOW), [], "S3 is where c delivers");
}

/// `freeze` in another terminal, or before this program took the session up.
#[test]
fn what_another_program_has_fetched_is_looked_for_here_and_then_is_on_no_node_alone() {
    let mut app = live();
    let saved = CaptureFile { fetched: true, sha256: Some("aa".into()), ..file("1.pcapng", 100, FileState::Closed) };
    let unfetched = file("2.pcapng", 100, FileState::Closed);
    let list = || tunnel("b", Update::Files(vec![saved.clone(), unfetched.clone()]));
    assert_eq!(update(&mut app, list(), NOW), [Effect::LookFor("b".into(), saved.clone())]);
    assert_eq!(update(&mut app, list(), NOW), [], "once");
    let names = |app: &App| {
        let state = &app.session.nodes[&"b".into()];
        state.unfetched().map(|file| file.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&app), ["1.pcapng", "2.pcapng"]);
    let here = Event::Here { node: "b".into(), file: saved.name, path: "out/b/1.pcapng".into(), sha256: "aa".into() };
    feed(&mut app, [here]);
    assert_eq!(names(&app), ["2.pcapng"]);
    let summary = app.session.summary();
    let file = summary.nodes.iter().flat_map(|node| &node.files).find(|file| file.name == "1.pcapng").expect("listed");
    assert!(file.kept && file.checked && file.place == "out/b/1.pcapng", "{file:?}");
}

/// An agent's word that a recorder is armed brings nothing here, and its list no more than a ring can have.
#[test]
fn only_what_this_program_froze_is_brought_home_and_no_more_than_a_ring_holds() {
    let sized = |sequence, size| CaptureFile {
        sequence,
        ended: NOW + 5,
        ..file(&format!("{sequence}.pcapng"), size, FileState::Closed)
    };
    let changed = |files: Vec<CaptureFile>| tunnel("b", Update::FilesChanged { files, gone: vec![] });
    let mut app = live();
    app.session.terms.ring_bytes = Some(1000);
    feed(&mut app, [tunnel("b", armed()), tunnel("b", Update::Ring(RingState::default()))]);
    feed(&mut app, [tunnel("b", Update::Files(vec![]))]);
    assert_eq!(update(&mut app, changed(vec![sized(1, 100)]), NOW), [], "nobody has asked for it");
    feed(&mut app, [Event::Asked("b".into(), Request::Freeze(Freeze::default()))]);
    assert_eq!(update(&mut app, changed(vec![sized(1, 100)]), NOW), [], "it was there before");
    let all = vec![sized(2, u64::MAX), sized(3, 600), sized(4, 600), sized(5, 400)];
    let fetched = update(&mut app, changed(all), NOW);
    assert_eq!(fetched, [Effect::Fetch("b".into(), sized(3, 600)), Effect::Fetch("b".into(), sized(5, 400))]);
}

/// What is a recorder's is told by the ring's order, whatever the node's clock does.
#[test]
fn what_is_frozen_after_the_clock_was_set_back_comes_home_and_what_was_there_before_does_not() {
    let at = |sequence, ended| CaptureFile {
        sequence,
        ended,
        ..file(&format!("{sequence}.pcapng"), 100, FileState::Closed)
    };
    let mut app = live();
    // Of an earlier capture, while the clock was an hour ahead.
    feed(&mut app, [tunnel("b", Update::Ring(RingState::default()))]);
    feed(&mut app, [tunnel("b", Update::Files(vec![at(3, NOW + 3_600_000)])), tunnel("b", armed())]);
    let frozen = |name: &str| Event::Asked(name.into(), Request::Freeze(Freeze::default()));
    feed(&mut app, [frozen("b")]);
    let saved = at(4, NOW - 60_000);
    let effects = update(&mut app, tunnel("b", Update::FilesChanged { files: vec![saved.clone()], gone: vec![] }), NOW);
    assert_eq!(effects, [Effect::Fetch("b".into(), saved)]);
    // The tunnel was cut, and the same capture runs.
    let saved = at(5, NOW - 50_000);
    feed(&mut app, [tunnel("b", crate::facts()), tunnel("b", armed())]);
    let all = vec![at(3, NOW + 3_600_000), at(4, NOW - 60_000), saved.clone()];
    assert_eq!(update(&mut app, tunnel("b", Update::Files(all)), NOW), [Effect::Fetch("b".into(), saved)]);
    // A recorder that runs already when its node is first heard of.
    feed(&mut app, [tunnel("c", Update::Ring(RingState::default())), tunnel("c", armed()), frozen("c")]);
    let (old, saved) = (at(1, NOW - 1), at(2, NOW + 1));
    let effects = update(&mut app, tunnel("c", Update::Files(vec![old, saved.clone()])), NOW);
    assert_eq!(effects, [Effect::Fetch("c".into(), saved)]);
}

#[test]
fn a_long_list_of_files_comes_in_parts_and_then_by_what_changed() {
    let mut app = live();
    let numbered = |sequence| CaptureFile { sequence, ..file(&format!("{sequence}.pcapng"), 100, FileState::Closed) };
    let known = |app: &App| -> Vec<u64> {
        let files = app.session.nodes.get(&"a".into()).expect("a node").files.iter();
        files.map(|file| file.sequence).collect()
    };
    feed(&mut app, [tunnel("a", Update::Files(vec![numbered(1)]))]);
    feed(&mut app, [tunnel("a", Update::FilesPart(vec![numbered(2), numbered(4)]))]);
    assert_eq!(known(&app), [1], "half a list is none");
    feed(&mut app, [tunnel("a", Update::Files(vec![numbered(5)]))]);
    assert_eq!(known(&app), [2, 4, 5]);
    let changed = CaptureFile { size: 7, ..numbered(4) };
    let files = vec![changed.clone(), numbered(6), numbered(3)];
    feed(&mut app, [tunnel("a", Update::FilesChanged { files, gone: vec![2, 5] })]);
    assert_eq!(known(&app), [3, 4, 6]);
    assert_eq!(app.session.nodes.get(&"a".into()).expect("a node").files[1], changed);
    // A part whose end was left out belongs to no list.
    feed(&mut app, [tunnel("a", Update::FilesPart(vec![numbered(8)])), tunnel("a", Update::Dropped { updates: 1 })]);
    feed(&mut app, [tunnel("a", Update::Files(vec![numbered(9)]))]);
    assert_eq!(known(&app), [9]);
}

#[test]
fn the_files_screen_fetches_merges_copies_and_removes() {
    let mut app = delivering();
    assert_eq!(key(&mut app, Action::Files), [Effect::ListStored]);
    assert_eq!(app.scope(), Scope::Files);
    let rows = app.file_rows().len();
    assert_eq!(rows, 6, "five on the node, one of which is in S3 too, and one of an older session");
    // The first is fetched from its node, whose agent is live.
    let effects = key(&mut app, Action::Open);
    assert!(matches!(&effects[..], [Effect::Fetch(_, file)] if file.name.ends_with("0001.pcapng")), "{effects:?}");
    let copied = key(&mut app, Action::Copy);
    let node = "ip-10-0-1-12.eu-west-1.compute.internal";
    let uri = format!("s3://captures/inc/7f3a91c2/{node}/20231114T221000.000000Z-0001.pcapng");
    assert_eq!(copied, [Effect::Copy(uri)]);
    // The last is in S3 alone.
    key(&mut app, Action::Bottom);
    let effects = key(&mut app, Action::Open);
    let [Effect::Download { key: object, session, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert!(object.contains("0badcafe") && session.as_deref() == Some("0badcafe"));
    assert_eq!(key(&mut app, Action::Remove), [], "another session's is not removed here");
    assert!(app.layers.is_empty());
    assert_eq!(key(&mut app, Action::Merge), [], "it is not here yet");
    let done = FetchProgress::Done { path: "old.pcapng".into(), sha256: "00".into() };
    let object = object.clone();
    feed(&mut app, [Event::Download(object, done)]);
    assert_eq!(key(&mut app, Action::Merge), [Effect::Merge(vec!["old.pcapng".into()])]);
    assert_eq!(key(&mut app, Action::Follow), [Effect::View("old.pcapng".into())]);
    // What was made of it is a row too, under the cursor, and opens.
    feed(&mut app, [Event::Made(MadeFile::merged("merged-1.pcapng".into(), 2, 2330, 4096))]);
    let row = app.file_rows().into_iter().find(|row| row.made.is_some()).map(|row| (row.size(), row.packets()));
    assert_eq!(row, Some((4096, 2330)));
    assert_eq!(key(&mut app, Action::Follow), [Effect::View("merged-1.pcapng".into())]);
    assert_eq!(key(&mut app, Action::Remove), [], "it is not on a node");
    assert!(app.session.receipt().text().contains("merged   merged-1.pcapng  4.00 KiB"));
    // So is a table that was saved, but it is nothing for Wireshark, and the cursor stays.
    feed(&mut app, [Event::Made(MadeFile::table("out/ports-1.csv".into(), Path::new("out"), 7, 512))]);
    assert_eq!(key(&mut app, Action::Follow), [Effect::View("merged-1.pcapng".into())]);
    let at = app.file_rows().iter().position(FileRow::is_table).expect("a row");
    let row = app.file_rows()[at].clone();
    assert_eq!((row.key.text().as_str(), row.size(), row.packets()), ("saved/ports-1.csv", 512, 0));
    let row = RowKey::File(row.key);
    feed(&mut app, [Input::Pointed(Pointed::Row(row))]);
    assert_eq!(key(&mut app, Action::Copy), [Effect::Copy("out/ports-1.csv".into())]);
    for (action, told) in [(Action::Follow, "not for Wireshark"), (Action::Merge, "ports-1.csv is a table")] {
        assert_eq!(key(&mut app, action), []);
        assert!(app.latest_notice().is_some_and(|notice| notice.line().contains(told)), "{action:?}");
    }
    let receipt = app.session.receipt();
    assert!(receipt.text().contains("saved    out/ports-1.csv  512 B"), "{}", receipt.text());
    assert!(receipt.text().contains("open it: wireshark merged-1.pcapng"), "{}", receipt.text());
    assert_eq!(receipt.json()["saved"][0]["path"], "out/ports-1.csv");
    // Removing is asked about, for every place that a file is in.
    key(&mut app, Action::Top);
    key(&mut app, Action::Remove);
    let effects = key(&mut app, Action::Open);
    assert!(matches!(&effects[0], Effect::Ask(_, Request::RemoveFile { .. })), "{effects:?}");
    assert!(matches!(&effects[1], Effect::RemoveStored(key) if key.contains("7f3a91c2")), "{effects:?}");
}

#[test]
fn a_merge_that_ends_late_takes_no_marks_and_no_cursor_from_who_has_gone_on() {
    let mut app = live();
    feed(&mut app, [Event::Made(MadeFile::merged("one.pcapng".into(), 2, 1, 1))]);
    feed(&mut app, [Event::Made(MadeFile::merged("two.pcapng".into(), 2, 1, 1))]);
    key(&mut app, Action::Files);
    key(&mut app, Action::Mark);
    assert_eq!(key(&mut app, Action::Merge), [Effect::Merge(vec!["one.pcapng".into()])]);
    // It takes minutes, and other files are chosen meanwhile.
    key(&mut app, Action::ClearMarks);
    key(&mut app, Action::Mark);
    let marks = app.files.marks.clone();
    assert_eq!(marks.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["two.pcapng"]);
    feed(&mut app, [Event::Made(MadeFile::merged("three.pcapng".into(), 1, 1, 1))]);
    assert_eq!(app.files.marks, marks);
    assert_eq!(key(&mut app, Action::Follow), [Effect::View("two.pcapng".into())]);
}

/// The lines `words` as an agent's packets.
fn packets(words: &[&str], left_out: u64) -> Event {
    let lines = words.iter().map(|word| TailLine { nanos: 1, interface: "eth0".into(), text: (*word).to_owned() });
    Event::Tail("a".into(), TailNews::Lines { lines: lines.collect(), left_out })
}

#[test]
fn the_last_packets_are_shown_filtered_and_bounded_and_end_when_nobody_looks() {
    let mut app = live();
    feed(&mut app, [tunnel("a", running())]);
    assert_eq!(key(&mut app, Action::Tail), [Effect::Tail("a".into())]);
    feed(&mut app, [packets(&["IP 1 > 2: Flags [S]", "IP 2 > 1: Flags [R.]"], 0), packets(&["IP 1 > 2: UDP"], 40)]);
    let shown = |app: &App| app.tail_lines().iter().map(|line| line.text.clone()).collect::<Vec<_>>();
    assert_eq!((shown(&app).len(), app.tail.left_out), (3, 40));
    key(&mut app, Action::Filter);
    for letter in "Flags".chars() {
        key(&mut app, Action::Edit(Edit::Insert(letter)));
    }
    key(&mut app, Action::Open);
    assert_eq!(shown(&app), ["IP 1 > 2: Flags [S]", "IP 2 > 1: Flags [R.]"]);
    // What is read stays where it is while more comes; the end follows again.
    key(&mut app, Action::Up);
    feed(&mut app, [packets(&["IP 3 > 4: UDP", "IP 5 > 6: Flags [.]"], 0)]);
    assert_eq!(app.tail.up, 2);
    key(&mut app, Action::Bottom);
    assert_eq!(app.tail.up, 0);
    let many: Vec<&str> = std::iter::repeat_n("IP 7 > 8: Flags [.]", 900).collect();
    feed(&mut app, (0..5).map(|_| packets(&many, 0)));
    assert_eq!(shown(&app).len(), 2000);
    key(&mut app, Action::Back);
    assert_eq!(key(&mut app, Action::Back), [Effect::EndTail], "the first Esc takes the filter away");
    feed(&mut app, [packets(&["late"], 0)]);
    assert_eq!(app.tail.lines.len(), 2000, "what is still on its way is not wanted");
}

/// With S3 named, a file that is only on the laptop is not where it should be; every object there is named.
#[test]
fn the_receipt_names_what_s3_lacks_with_the_last_reason_and_all_that_it_has() {
    let mut app = live();
    to_s3(&mut app);
    let waiting = Delivery::Waiting { reason: "connection refused".into() };
    let tried = CaptureFile { delivery: waiting, ..file("1.pcapng", 100, FileState::Closed) };
    feed(&mut app, [tunnel("a", ring(1, 0)), tunnel("a", Update::Files(vec![tried]))]);
    // It is on its way again when the session ends.
    let sending = CaptureFile { delivery: Delivery::Sending { sent: 1 }, ..file("1.pcapng", 100, FileState::Closed) };
    feed(&mut app, [tunnel("a", Update::Files(vec![sending]))]);
    update(&mut app, Event::Finish, NOW);
    let effects = update(&mut app, Event::Tick, NOW + STALLED + 1000);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Fetch(..))), "{effects:?}");
    let done = FetchProgress::Done { path: "1.pcapng".into(), sha256: "00".into() };
    update(&mut app, Event::Fetch("a".into(), "1.pcapng".into(), done), NOW);
    let manifest = StoredFile { key: "inc/7f3a91c2/manifest.json".into(), size: 9, modified: NOW };
    feed(&mut app, [Event::InBucket(Ok(vec![manifest]))]);
    assert_eq!(update(&mut app, Event::Removal(Removal::Finished), NOW), [Effect::Quit]);
    let receipt = app.session.receipt();
    assert!(!receipt.is_whole() && !receipt.left_behind() && receipt.files.lost.is_empty());
    let text = receipt.text();
    for part in [
        "NOT IN S3 1.pcapng of a: connection refused",
        "in S3    s3://captures/inc/7f3a91c2/manifest.json  9 B",
        "kept     captures in s3://captures/inc/7f3a91c2/",
        "nothing else was created outside this machine",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(receipt.json()["undelivered"][0]["reason"], "connection refused");
}

/// A server that compares nothing has a copy, of which nobody knows whether it is one.
#[test]
fn what_s3_has_not_compared_is_fetched_and_said_to_be_no_more_than_that() {
    let outcome = |fetched: bool| {
        let mut app = live();
        to_s3(&mut app);
        let delivery = Delivery::Delivered { key: "inc/7f3a91c2/a/1.pcapng".into(), size: 90, unproved: true };
        let there = CaptureFile { delivery, sha256: Some("00".into()), ..file("1.pcapng", 100, FileState::Closed) };
        feed(&mut app, [tunnel("a", ring(0, 1)), tunnel("a", Update::Files(vec![there]))]);
        key(&mut app, Action::Files);
        assert_eq!(app.file_rows()[0].place().word(), "in S3, not compared");
        let effects = update(&mut app, Event::Finish, NOW);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Fetch(..))), "{effects:?}");
        let progress = if fetched {
            FetchProgress::Done { path: "1.pcapng".into(), sha256: "00".into() }
        } else {
            FetchProgress::Failed(Notice::error("no", "the tunnel is cut", ""))
        };
        update(&mut app, Event::Fetch("a".into(), "1.pcapng".into(), progress), NOW);
        app.session.receipt()
    };
    let receipt = outcome(true);
    let text = receipt.text();
    assert!(text.contains("in S3    s3://captures/inc/7f3a91c2/a/1.pcapng  90 B  not compared"), "{text}");
    assert!(text.contains("fetched  1.pcapng") && receipt.is_whole(), "{text}");
    assert_eq!(receipt.json()["delivered"][0]["compared"], false);
    assert!(receipt.json()["delivered"][0]["sha256"].is_null(), "nobody has seen that it has this one");
    let receipt = outcome(false);
    let text = receipt.text();
    assert!(text.contains("NOT COMPARED 1.pcapng of a: in S3 but not compared: the tunnel is cut"), "{text}");
    assert!(!receipt.is_whole());
}

/// What somebody else removed from S3 is not there because it was once.
#[test]
fn what_was_removed_from_s3_is_fetched_from_its_node_or_said_to_be_lost() {
    let there = || vec![delivered("1.pcapng")];
    let with = |files| {
        let mut app = live();
        to_s3(&mut app);
        feed(&mut app, [tunnel("a", ring(0, 1)), tunnel("a", Update::Files(files))]);
        app
    };
    // A list that was asked for before the file got there lacks it rightly.
    let mut app = with(vec![file("1.pcapng", 100, FileState::Closed)]);
    assert_eq!(key(&mut app, Action::Files), [Effect::ListStored]);
    feed(&mut app, [tunnel("a", Update::Files(there())), Event::Stored(Ok(vec![]))]);
    assert_eq!(app.file_rows()[0].place().word(), "in S3");
    // A newer one does not.
    assert_eq!(key(&mut app, Action::Files), [Effect::ListStored]);
    feed(&mut app, [Event::Stored(Ok(vec![]))]);
    let told = app.session.notices.back().map(|(_, notice)| notice.headline.clone());
    assert_eq!(told.as_deref(), Some("1 file not in S3 any more"));
    let row = &app.file_rows()[0];
    assert!(row.removed && row.is_fault() && row.place().word() == "on the node", "{row:?}");
    assert_eq!(key(&mut app, Action::Copy), [], "its address leads nowhere");
    let effects = update(&mut app, Event::Finish, NOW);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Fetch(..))), "{effects:?}");
    let done = FetchProgress::Done { path: "1.pcapng".into(), sha256: "00".into() };
    update(&mut app, Event::Fetch("a".into(), "1.pcapng".into(), done), NOW);
    feed(&mut app, [Event::InBucket(Ok(vec![])), Event::Removal(Removal::Finished)]);
    let receipt = app.session.receipt();
    let text = receipt.text();
    assert!(text.contains("NOT IN S3 1.pcapng of a: not in S3 any more") && text.contains("fetched"), "{text}");
    assert!(receipt.files.delivered.is_empty() && receipt.files.lost.is_empty() && !receipt.is_whole(), "{text}");
    // It is noticed when everything is gone.
    let mut app = with(there());
    update(&mut app, Event::Finish, NOW);
    feed(&mut app, [Event::InBucket(Ok(vec![])), Event::Removal(Removal::Finished)]);
    let receipt = app.session.receipt();
    let text = receipt.text();
    assert!(text.contains("NOT IN S3 1.pcapng of a: not in S3 any more"), "{text}");
    assert!(receipt.files.delivered.is_empty() && receipt.files.lost.len() == 1, "{text}");
    let files = app.session.summary().nodes.into_iter().find(|node| node.name.0 == "a").expect("a").files;
    assert!(files[0].place.ends_with("not in S3 any more"), "{}", files[0].place);
    // The exit asks before it begins.
    let mut app = with(there());
    assert_eq!(key(&mut app, Action::Quit).last(), Some(&Effect::ListStored));
    // Put back, it is there again.
    feed(&mut app, [Event::Stored(Ok(vec![]))]);
    update(&mut app, Event::Tick, NOW);
    let key = "inc/7f3a91c2/a/1.pcapng".to_owned();
    feed(&mut app, [Event::Stored(Ok(vec![StoredFile { key, size: 90, modified: NOW }]))]);
    assert!(!app.file_rows()[0].removed);
}

#[test]
fn what_was_removed_from_s3_by_key_is_neither_missed_nor_shown() {
    let mut app = live();
    to_s3(&mut app);
    feed(&mut app, [tunnel("a", ring(0, 1)), tunnel("a", Update::Files(vec![delivered("1.pcapng")]))]);
    let object = StoredFile { key: "inc/7f3a91c2/a/1.pcapng".into(), size: 90, modified: NOW };
    key(&mut app, Action::Files);
    feed(&mut app, [Event::Stored(Ok(vec![object]))]);
    key(&mut app, Action::Remove);
    let effects = key(&mut app, Action::Open);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::RemoveStored(_))), "{effects:?}");
    let removed = Event::Ended(Job::RemoveStored, Notice::info("removed"));
    assert_eq!(update(&mut app, removed, NOW), [Effect::ListStored], "what is known is out of date");
    feed(&mut app, [Event::Stored(Ok(vec![]))]);
    assert!(app.session.notices.iter().all(|(_, notice)| !notice.headline.contains("any more")));
    update(&mut app, Event::Finish, NOW);
    feed(&mut app, [Event::InBucket(Ok(vec![])), Event::Removal(Removal::Finished)]);
    assert!(app.session.receipt().is_whole(), "{}", app.session.receipt().text());
}

/// Its namespace was removed underneath: what was fetched before still gets its manifest.
#[test]
fn what_is_known_of_fetched_files_outlives_their_agents() {
    let mut app = live();
    feed(&mut app, [tunnel("a", Update::Files(vec![file("1.pcapng", 100, FileState::Closed)]))]);
    let done = FetchProgress::Done { path: "1.pcapng".into(), sha256: "ab".into() };
    update(&mut app, Event::Fetch("a".into(), "1.pcapng".into(), done), NOW);
    for name in ["a", "b", "c"] {
        feed(&mut app, [Event::Deploy(name.into(), DeployProgress::Ended("its namespace was removed".into()))]);
    }
    let effects = update(&mut app, Event::Finish, NOW);
    let known = effects.iter().find_map(|effect| match effect {
        Effect::CleanUp { captured, known, .. } if captured.is_empty() => Some(known),
        _ => None,
    });
    let [(node, ring)] = &known.expect("a removal")[..] else { panic!("{effects:?}") };
    let record = &ring.files[0];
    assert_eq!((node.name.0.as_str(), record.file.name.as_str()), ("a", "1.pcapng"));
    assert!(record.file.fetched && record.file.sha256.as_deref() == Some("ab"), "{record:?}");
}

/// Files stay where they went when a session is taken up with another place.
#[test]
fn captures_that_went_to_two_places_are_named_in_both() {
    for before in ["s3://before/old", "s3://before/inc"] {
        let mut app = live();
        to_s3(&mut app);
        app.session.terms.s3.earlier_places = vec![before.parse().expect("a place")];
        let prefix = &app.session.terms.s3.earlier_places[0].prefix;
        let delivery = Delivery::Delivered { key: format!("{prefix}7f3a91c2/a/1.pcapng"), size: 90, unproved: false };
        let there = CaptureFile { delivery, ..file("1.pcapng", 100, FileState::Closed) };
        feed(&mut app, [tunnel("a", ring(0, 2)), tunnel("a", Update::Files(vec![there, delivered("2.pcapng")]))]);
        key(&mut app, Action::Quit);
        let now: S3Url = "s3://captures/inc/7f3a91c2".parse().expect("a place");
        let then: S3Url = format!("{before}/7f3a91c2").parse().expect("a place");
        let some = |objects| StoredSummary { objects, bytes: 9, ..StoredSummary::default() };
        let found = Found::StoredIn(vec![(now, some(2)), (then, some(5))]);
        feed(&mut app, [Event::Stocked(Group::Storage, Ok(found))]);
        let fates: Vec<String> = app
            .session
            .exit()
            .expect("leaving")
            .ledger
            .of(Group::Storage)
            .map(|thing| format!("{} {:?}", thing.name(), thing.fate))
            .collect();
        assert!(fates[0].contains("captures/inc") && fates[0].contains("2 objects"), "{fates:?}");
        assert!(fates[1].contains(before) && fates[1].contains("5 objects"), "{fates:?}");
        key(&mut app, Action::Open);
        let second = StoredFile { key: "inc/7f3a91c2/a/2.pcapng".into(), size: 90, modified: NOW };
        feed(&mut app, [Event::InBucket(Ok(vec![second])), Event::Removal(Removal::Finished)]);
        let receipt = app.session.receipt();
        let text = receipt.text();
        for part in [
            format!("in S3    {before}/7f3a91c2/a/1.pcapng"),
            "in S3    s3://captures/inc/7f3a91c2/a/2.pcapng".to_owned(),
            "kept     captures in s3://captures/inc/7f3a91c2/".to_owned(),
            format!("kept     captures in {before}/7f3a91c2/"),
        ] {
            assert!(text.contains(&part), "{part}: {text}");
        }
        let json = receipt.json();
        assert_eq!(json["storage"]["place"], "s3://captures/inc/7f3a91c2/");
        assert_eq!(json["storage_earlier"][0]["place"], format!("{before}/7f3a91c2/"));
        assert!(receipt.is_whole(), "{text}");
    }
}

/// On this machine no agent goes on alone: what a session holds that was left is left behind.
#[test]
fn files_that_stay_on_this_machine_are_left_behind() {
    let mut app = live();
    app.session.terms.place = nodewatch_tui::model::Place::Local;
    feed(&mut app, [tunnel("a", Update::Files(vec![file("1.pcapng", 100, FileState::Closed)]))]);
    key(&mut app, Action::Quit);
    key(&mut app, Action::Open);
    assert_eq!(phase(&app), Some(Phase::Fetching));
    key(&mut app, Action::Interrupt);
    let receipt = app.session.receipt();
    assert!(receipt.left_behind() && receipt.text().contains("KEPT "), "{}", receipt.text());
    assert_eq!(receipt.json()["left_behind"], true);
}

/// A command that is printed can be copied into a shell, and names what was named.
#[test]
fn places_with_braces_blanks_and_signs_are_printed_as_they_are() {
    for (place, quoted) in [
        ("s3://caps/{prod}/x", "--s3 's3://caps/{prod}/x' --s3-endpoint http://127.0.0.1:3900"),
        ("s3://caps/a b/c$d;e&f", "--s3 's3://caps/a b/c$d;e&f' --s3-endpoint http://127.0.0.1:3900"),
    ] {
        let mut app = live();
        app.session.terms.place = nodewatch_tui::model::Place::Local;
        app.session.terms.storage = Some(StorageInfo { url: place.parse().expect("a place"), way: Way::Grant });
        app.session.terms.s3.storage_options = vec!["--s3-endpoint".into(), "http://127.0.0.1:3900".into()];
        let key = format!("{}7f3a91c2/a/1.pcapng", app.session.terms.storage.as_ref().expect("named").url.prefix);
        let delivery = Delivery::Delivered { key, size: 90, unproved: false };
        let there = CaptureFile { delivery, ..file("1.pcapng", 100, FileState::Closed) };
        feed(&mut app, [tunnel("a", Update::Files(vec![there]))]);
        update(&mut app, Event::Finish, NOW);
        feed(&mut app, [Event::Removal(Removal::Finished)]);
        let text = app.session.receipt().text();
        assert!(text.contains(&format!("in S3    {place}/7f3a91c2/a/1.pcapng")), "{text}");
        assert!(text.contains(&format!("nodewatch-tui cleanup 7f3a91c2 --captures {quoted}")), "{text}");
    }
}

/// The list of a long capture comes in parts.
#[test]
fn five_thousand_files_are_walked_through_and_drawn() {
    let mut app = live();
    let files: Vec<CaptureFile> = (1..=5000)
        .map(|sequence| CaptureFile { sequence, ..file(&format!("{sequence:06}.pcapng"), 100, FileState::Closed) })
        .collect();
    let (first, last) = files.split_at(4000);
    feed(&mut app, [tunnel("a", Update::FilesPart(first.to_vec())), tunnel("a", Update::Files(last.to_vec()))]);
    key(&mut app, Action::Files);
    assert_eq!(app.file_rows().len(), 5000);
    key(&mut app, Action::Bottom);
    let effects = key(&mut app, Action::Open);
    assert!(matches!(&effects[..], [Effect::Fetch(_, file)] if file.name == "005000.pcapng"), "{effects:?}");
    let gone: Vec<u64> = (1..=4999).collect();
    feed(&mut app, [tunnel("a", Update::FilesChanged { files: vec![], gone })]);
    assert_eq!(app.file_rows().len(), 1);
    let effects = key(&mut app, Action::Copy);
    assert_eq!(effects, [], "the cursor is on a row that there is");
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(80, 24)).expect("a terminal");
    let theme = nodewatch_tui::ui::Theme::standard();
    terminal.draw(|frame| drop(nodewatch_tui::ui::draw(frame, &app, &theme))).expect("drawn");
    assert!(terminal.backend().to_string().contains("FILES (1)"), "{}", terminal.backend());
}

/// No node looks a name up: it is done here, and what came of it is shown.
#[test]
fn hosts_of_a_filter_are_addresses_before_an_agent_hears_of_it() {
    let mut app = live();
    key(&mut app, Action::CaptureOptions);
    typed(&mut app, "host db.example.com");
    let named = CaptureSpec { filter: Some("host db.example.com".into()), ..CaptureSpec::default() };
    assert_eq!(key(&mut app, Action::Open), [Effect::Resolve(vec!["a".into()], named.clone())]);
    let spec = CaptureSpec { filter: Some("host 10.0.0.1".into()), ..CaptureSpec::default() };
    let found = || Event::Resolved(vec!["a".into()], named.clone(), Ok(spec.clone()));
    assert_eq!(update(&mut app, found(), NOW), [Effect::Ask("a".into(), Request::StartCapture(spec.clone()))]);
    assert!(app.latest_notice().is_some_and(|notice| notice.line().contains("host 10.0.0.1")));
    assert_eq!(update(&mut app, found(), NOW), [], "an answer that comes twice starts nothing twice");
    key(&mut app, Action::Down);
    key(&mut app, Action::Capture);
    let failed = Notice::error("no such capture", "db.example.com was not found within 5 s", "");
    assert_eq!(update(&mut app, Event::Resolved(vec!["b".into()], named.clone(), Err(failed.clone())), NOW), []);
    assert_eq!((app.latest_notice(), app.session.nodes[&"b".into()].refusal.as_ref()), (Some(&failed), Some(&failed)));
    // Taken back while the names are looked up.
    key(&mut app, Action::Capture);
    key(&mut app, Action::Capture);
    assert_eq!(update(&mut app, Event::Resolved(vec!["b".into()], named, Ok(spec)), NOW), []);
}

/// What an effect brings home.
fn fetched(effects: &[Effect]) -> Vec<&str> {
    let fetched = effects.iter().filter_map(|effect| match effect {
        Effect::Fetch(_, file) => Some(file.name.as_str()),
        _ => None,
    });
    fetched.collect()
}

/// Its end would take what only rings have.
#[test]
fn near_its_end_a_session_brings_home_what_only_nodes_have() {
    let mut app = live();
    let ends = app.session.life.ends.expect("an end");
    let files = |last: FileState| {
        Update::Files(vec![file("x-1.pcapng", 9000, FileState::Closed), file("x-2.pcapng", 9000, last)])
    };
    let told = |app: &mut App, update_: Update, at| update(app, tunnel("a", update_), at);
    told(&mut app, running(), NOW);
    assert_eq!(told(&mut app, files(FileState::Open), NOW), [], "there is time");
    let mut effects = update(&mut app, Event::Tick, ends - 599_000);
    effects.extend(told(&mut app, files(FileState::Open), ends - 598_000));
    assert_eq!(fetched(&effects), ["x-1.pcapng"]);
    let notice = app.latest_notice().expect("a reminder");
    assert!(notice.line().contains("ends in 9 min") && notice.line().contains("are fetched"), "{}", notice.line());
    assert_eq!(fetched(&told(&mut app, files(FileState::Closed), ends - 500_000)), ["x-2.pcapng"], "as it closes");
    // What is open at the end is lost with its ring, so it is closed before.
    assert!(!update(&mut app, Event::Tick, ends - 61_000).contains(&Effect::Ask("a".into(), Request::StopCapture)));
    assert!(update(&mut app, Event::Tick, ends - 59_000).contains(&Effect::Ask("a".into(), Request::StopCapture)));
    assert!(app.latest_notice().is_some_and(|notice| notice.headline == "captures were stopped"));
    assert!(!update(&mut app, Event::Tick, ends - 58_000).contains(&Effect::Ask("a".into(), Request::StopCapture)));
}

/// A sink takes them, up to the end.
#[test]
fn near_its_end_a_session_with_a_sink_leaves_files_to_it() {
    let mut app = live();
    to_s3(&mut app);
    let ends = app.session.life.ends.expect("an end");
    let lost = Delivery::Lost { reason: "refused".into() };
    let files = vec![
        file("x-1.pcapng", 9000, FileState::Closed),
        CaptureFile { delivery: lost, ..file("x-2.pcapng", 9000, FileState::Closed) },
    ];
    feed(&mut app, [tunnel("a", running())]);
    update(&mut app, Event::Tick, ends - 599_000);
    let effects = update(&mut app, tunnel("a", Update::Files(files)), ends - 598_000);
    assert_eq!(fetched(&effects), ["x-2.pcapng"], "which it will never get");
    assert!(!update(&mut app, Event::Tick, ends - 59_000).contains(&Effect::Ask("a".into(), Request::StopCapture)));
}

/// A ring lets go what it knows to be here.
#[test]
fn a_file_that_is_here_stays_in_the_receipt_when_its_ring_lets_it_go() {
    let mut app = live();
    let done = FetchProgress::Done { path: "out/a/x-1.pcapng".into(), sha256: "00".into() };
    feed(
        &mut app,
        [
            tunnel("a", Update::Files(vec![file("x-1.pcapng", 9000, FileState::Closed)])),
            Event::Fetch("a".into(), "x-1.pcapng".into(), done),
            tunnel("a", Update::Files(vec![file("x-2.pcapng", 9000, FileState::Closed)])),
            tunnel("a", Update::FilesChanged { files: vec![], gone: vec![2] }),
        ],
    );
    let receipt = app.session.receipt();
    assert_eq!(receipt.files.fetched.len(), 1, "{receipt:?}");
    assert_eq!(receipt.files.lost, [], "what nobody has is counted by its ring");
}

/// Nobody has said what there is yet, and the user does not wait for it to be removed.
#[test]
fn ctrl_c_while_removing_names_what_was_made() {
    use nodewatch_tui::model::Kind;

    let mut app = live();
    key(&mut app, Action::Quit);
    key(&mut app, Action::Open);
    assert_eq!(phase(&app), Some(Phase::Removing));
    assert_eq!(key(&mut app, Action::Interrupt), [Effect::Abandon]);
    let job = crate::sample::object(Kind::Job, "agent-7f3a91c2-1", "a");
    assert_eq!(update(&mut app, Event::Abandon(vec![job]), NOW), [Effect::Quit]);
    let receipt = app.session.receipt();
    let text = receipt.text();
    assert!(receipt.left_behind() && text.contains("LEFT     Job agent-7f3a91c2-1"), "{text}");
}

/// The program ends now: what may still be there is named.
#[test]
fn who_does_not_wait_is_told_what_may_be_there() {
    use nodewatch_tui::model::Kind;

    let mut app = live();
    feed(&mut app, [tunnel("a", Update::Files(vec![file("x-1.pcapng", 9000, FileState::Closed)]))]);
    update(&mut app, Event::Finish, NOW);
    let job = crate::sample::object(Kind::Job, "agent-7f3a91c2-1", "a");
    assert_eq!(update(&mut app, Event::Abandon(vec![job]), NOW), [Effect::Quit]);
    let receipt = app.session.receipt();
    assert!(receipt.left_behind());
    let text = receipt.text();
    for line in
        ["KEPT     x-1.pcapng in the ring of a", "LEFT     Job agent-7f3a91c2-1: not touched", "cleanup 7f3a91c2"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("LOST") && !text.contains("nothing is left"), "{text}");
}
