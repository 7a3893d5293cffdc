//! Journals that are torn, locked, old, or not journals at all.

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;
use crate::model::{
    ClusterIdentity, Kind, LogsSettings, Made, MadeObject, Moment, ObjectFate, ObjectSummary, StorageSettings,
};

fn header(id: u32) -> Header {
    Header {
        session: SessionId::new(id),
        owner: "me@here".into(),
        began: 1,
        ends: 100,
        cluster: ClusterIdentity {
            kubeconfig: vec!["/k".into()],
            context: "c".into(),
            server: "https://s".into(),
            ca_sha256: None,
            kube_system_uid: "u".into(),
        },
        namespace: "n".into(),
        own_namespace: true,
        agents: None,
    }
}

#[test]
fn a_journal_of_an_earlier_version_is_read_and_a_later_ones_agents_are_passed_over_field_by_field() {
    let line = |header: &str| format!("{{\"at\":1,\"began\":{header}}}\n");
    let mut json = serde_json::to_value(header(1)).expect("JSON");
    assert!(json.get("agents").is_none(), "as an earlier program wrote it: {json}");
    assert_eq!(replay(line(&json.to_string()).as_bytes()).expect("read").header, header(1));
    json["agents"] = serde_json::json!({"image": "a:1", "lease_seconds": 7200, "what_comes": {"later": true}});
    let agents = replay(line(&json.to_string()).as_bytes()).expect("read").header.agents.expect("agents");
    assert_eq!((agents.image.as_str(), agents.lease_seconds, agents.reaper), ("a:1", 7200, false));
}

fn job(name: &str, uid: Option<&str>) -> MadeObject {
    MadeObject {
        kind: Kind::Job,
        namespace: Some("n".into()),
        name: name.into(),
        uid: uid.map(str::to_owned),
        purpose: "node".to_owned().into(),
    }
}

fn names(record: &Record) -> Vec<(&str, Option<&str>)> {
    record.objects.iter().map(|(_, object)| (object.name.as_str(), object.uid.as_deref())).collect()
}

#[test]
fn a_session_can_be_told_after_it_has_ended_and_goes_with_its_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let journal = journals.create(&header(1)).expect("created");
    journal.record(Entry::Making(job("a", None).into())).expect("recorded");
    journal.record(Entry::Made(job("a", Some("1")).into())).expect("recorded");
    journal.record(Entry::Gone(job("a", Some("1")).into())).expect("recorded");
    drop(journal);
    let session = header(1).session;
    let record = journals.all().remove(0).expect("readable");
    let told: Vec<String> = journals.told(&record).timeline.into_iter().map(|moment| moment.text).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("started by") && told[2].starts_with("seen gone: Job a"), "{told:?}");
    assert_eq!(journals.summary(&session), None);
    let summary = Summary { written: 1, ..Summary::new(session.clone(), String::new()) };
    journals.save_summary(&summary).expect("saved");
    assert_eq!(journals.summary(&session), Some(summary.clone()));
    assert_eq!(journals.all().len(), 1, "a summary is no journal");
    // One of a program that is newer is not guessed at.
    journals.save_summary(&Summary { version: SUMMARY_VERSION + 1, ..summary }).expect("saved");
    assert_eq!(journals.summary(&session), None);
    journals.forget(&session).expect("forgotten");
    assert_eq!(fs::read_dir(folder.path().join("sessions")).expect("there").count(), 0);
}

/// What a session's journal tells for its report.
fn told(journals: &Journals) -> Summary {
    journals.told(&journals.all().remove(0).expect("readable"))
}

fn act(at: u64, text: &str) -> Moment {
    Moment { at, node: Some("node-1".into()), text: text.into() }
}

#[test]
fn what_a_program_did_that_was_killed_is_told_with_its_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let journal = journals.create(&header(1)).expect("created");
    journal.record(Entry::Made(job("a", Some("1")).into())).expect("recorded");
    journal
        .record(Entry::Did(vec![act(5, "capture started on eth0"), act(9, "capture ended: stopped")]))
        .expect("recorded");
    drop(journal);
    let summary = told(&journals);
    assert!(summary.timeline.contains(&act(5, "capture started on eth0")), "{:?}", summary.timeline);
    assert!(summary.timeline.is_sorted_by_key(|moment| moment.at));
    assert_eq!((summary.by.as_str(), summary.watched.len()), (header(1).owner.as_str(), 1));
    assert_eq!(summary.objects[0].fate, ObjectFate::Left);
    assert_eq!(summary.receipt.len(), 1);
}

#[test]
fn what_was_left_running_and_removed_from_elsewhere_is_told_as_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let journal = journals.create(&header(1)).expect("created");
    journal.record(Entry::Made(job("a", Some("1")).into())).expect("recorded");
    let left = ObjectSummary {
        name: format!("{} a", Kind::Job.word()),
        in_cluster: true,
        fate: ObjectFate::Left,
        why: "its pod is there".into(),
    };
    let seen = Summary {
        written: unix_millis(),
        detached: true,
        timeline: vec![act(7, "capture started on eth0")],
        objects: vec![left],
        ..Summary::new(header(1).session, "cluster test".into())
    };
    journals.save_summary(&seen).expect("saved");
    journal.record(Entry::Detached).expect("recorded");
    let before = told(&journals);
    assert_eq!((before.detached, before.objects[0].fate), (true, ObjectFate::Left));
    journal.record(Entry::Attached).expect("recorded");
    journal.record(Entry::Did(vec![act(8, "probe from node-2")])).expect("recorded");
    journal.record(Entry::Gone(job("a", Some("1")).into())).expect("recorded");
    drop(journal);
    let after = told(&journals);
    assert_eq!((after.detached, after.objects[0].fate), (false, ObjectFate::Gone));
    assert!(after.gone_at.is_some());
    let texts: Vec<&str> = after.timeline.iter().map(|moment| moment.text.as_str()).collect();
    assert_eq!(texts[..2], ["capture started on eth0", "probe from node-2"]);
    assert!(texts.contains(&"left running on purpose") && texts.contains(&"attached again"), "{texts:?}");
    assert_eq!(after.watched.len(), 1, "by the program that was there last: {:?}", after.watched);
}

#[test]
fn what_was_made_and_removed_after_the_last_summary_is_told_whatever_the_clock_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let journal = journals.create(&header(1)).expect("created");
    journal.record(Entry::Made(job("a", Some("1")).into())).expect("recorded");
    let left = ObjectSummary {
        name: format!("{} a", Kind::Job.word()),
        in_cluster: true,
        fate: ObjectFate::Left,
        why: String::new(),
    };
    // The laptop's clock was an hour ahead then, and has been set since.
    let seen = Summary {
        written: unix_millis() + 3_600_000,
        detached: true,
        objects: vec![left],
        ..Summary::new(header(1).session, "cluster test".into())
    };
    journals.save_summary(&seen).expect("saved");
    for entry in [
        Entry::Attached,
        Entry::Made(job("b", Some("2")).into()),
        Entry::Made(job("c", Some("3")).into()),
        Entry::Gone(job("a", Some("1")).into()),
        Entry::Gone(job("b", Some("2")).into()),
        Entry::Gone(job("never", None).into()),
    ] {
        journal.record(entry).expect("recorded");
    }
    drop(journal);
    let summary = told(&journals);
    let fates: Vec<(&str, ObjectFate)> =
        summary.objects.iter().map(|object| (object.name.as_str(), object.fate)).collect();
    assert_eq!(fates, [("Job a", ObjectFate::Gone), ("Job b", ObjectFate::Gone), ("Job c", ObjectFate::Left)]);
}

#[test]
fn what_was_about_to_be_made_is_known_until_it_is_seen_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let journal = journals.create(&header(1)).expect("created");
    for entry in [
        Entry::Making(job("a", None).into()),
        Entry::Made(job("a", Some("1")).into()),
        Entry::Making(job("b", None).into()),
        Entry::Making(job("c", None).into()),
        Entry::Made(job("c", Some("3")).into()),
        Entry::Gone(job("c", Some("3")).into()),
        Entry::Ends(200),
        Entry::Detached,
    ] {
        journal.record(entry).expect("recorded");
    }
    drop(journal);
    let (journal, record) = journals.open(&SessionId::new(1)).expect("opened");
    assert_eq!(names(&record), [("a", Some("1")), ("b", None)]);
    assert_eq!((record.ends, record.detached, record.is_over()), (200, true, false));
    // Another object of the same name is not the one that was made.
    journal.record(Entry::Gone(job("a", Some("9")).into())).expect("recorded");
    journal.record(Entry::Gone(job("b", Some("2")).into())).expect("recorded");
    journal.record(Entry::Attached).expect("recorded");
    let record = journals.all().remove(0).expect("readable");
    assert_eq!((names(&record), record.detached), (vec![("a", Some("1"))], false));
}

#[test]
fn an_image_that_was_named_later_is_the_one_that_agents_are_deployed_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let agents = Deployed { image: "a:1".into(), ..Deployed::default() };
    let journal = journals.create(&Header { agents: Some(Box::new(agents)), ..header(1) }).expect("created");
    journal.record(Entry::Image("a:2".into())).expect("recorded");
    let record = journals.all().remove(0).expect("readable");
    assert_eq!(record.header.agents.expect("known").image, "a:2");
}

#[test]
fn only_its_owner_can_read_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let journal = journals.create(&header(1)).expect("created");
    let mode = |path: &Path| fs::metadata(path).expect("facts").permissions().mode() & 0o777;
    assert_eq!((mode(&journal.path), mode(&journals.folder)), (0o600, 0o700));
}

#[test]
fn a_line_torn_by_a_crash_costs_itself_and_not_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let journal = journals.create(&header(1)).expect("created");
    journal.record(Entry::Making(job("a", None).into())).expect("recorded");
    let path = journal.path.clone();
    drop(journal);
    let mut torn = fs::read(&path).expect("readable");
    torn.extend_from_slice(b"{\"at\":5,\"made\":{\"kind\":\"Jo");
    fs::write(&path, torn).expect("written");

    let (journal, record) = journals.open(&SessionId::new(1)).expect("opened");
    assert_eq!(names(&record), [("a", None)]);
    journal.record(Entry::Made(job("a", Some("1")).into())).expect("recorded");
    assert_eq!(names(&read(&path).expect("readable")), [("a", Some("1"))]);
}

#[test]
fn a_session_that_is_open_cannot_be_opened_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let journal = journals.create(&header(1)).expect("created");
    let other = journals.create(&header(2)).expect("another session is no matter");
    assert!(matches!(journals.open(&SessionId::new(1)), Err(JournalError::InUse(_))));
    let records: Vec<Record> = journals.all().into_iter().flatten().collect();
    assert_eq!(records.len(), 2);
    assert_eq!(journals.holder(&records[0]), Holder::Running);
    drop((journal, other));
    assert_eq!(journals.holder(&records[0]), Holder::Abandoned);
    assert!(matches!(journals.open(&SessionId::new(3)), Err(JournalError::Unknown(_))));
}

#[test]
fn a_file_that_is_no_journal_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    fs::create_dir_all(&journals.folder).expect("a folder");
    fs::write(journals.folder.join("00000001.json"), "what\n").expect("written");
    let error = journals.all().remove(0).expect_err("damaged").to_string();
    assert!(error.contains("00000001.json"), "{error}");
}

#[test]
fn captures_in_s3_are_remembered_wherever_they_went() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let journal = journals.create(&header(1)).expect("created");
    let place =
        |url: &str| -> StorageSettings { serde_json::from_value(serde_json::json!({"url": url})).expect("settings") };
    let captures = |url: &str| Made::Captures { captures: place(url) };
    for url in ["s3://aaa/x", "s3://bbb/x", "s3://bbb/x", "s3://aaa/x", "s3://ccc/x"] {
        journal.record(Entry::Making(captures(url))).expect("recorded");
    }
    let places = || -> Vec<String> {
        let record = journals.record(&SessionId::new(1)).expect("readable");
        record.places().map(|place| place.url.to_string()).collect()
    };
    assert_eq!(places(), ["s3://ccc/x/", "s3://bbb/x/", "s3://aaa/x/"]);
    journal.record(Entry::Gone(captures("s3://bbb/x"))).expect("recorded");
    assert_eq!(places(), ["s3://ccc/x/", "s3://aaa/x/"], "one that cannot be removed leaves the others as they are");
    journal.record(Entry::Gone(captures("s3://ccc/x"))).expect("recorded");
    journal.record(Entry::Gone(captures("s3://aaa/x"))).expect("recorded");
    assert!(places().is_empty());
}

#[test]
fn alarms_and_the_reports_that_they_look_at_go_one_by_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let journal = journals.create(&header(1)).expect("created");
    let settings: LogsSettings = serde_json::from_value(serde_json::json!({
        "group": "/nodes", "per_node": false, "retention_days": 7, "interval_seconds": 60, "cluster": "c"
    }))
    .expect("settings");
    let reports = Made::Reports { reports: settings.clone() };
    let alarms = Made::Alarms { alarms: settings };
    let left = || {
        let record = journals.record(&SessionId::new(1)).expect("readable");
        (record.logs.is_some(), record.has_alarms())
    };
    let steps = [
        (Entry::Making(reports.clone()), (true, false)),
        (Entry::Making(alarms.clone()), (true, true)),
        (Entry::Making(reports.clone()), (true, true)),
        (Entry::Gone(reports.clone()), (true, true)),
        (Entry::Gone(alarms), (true, false)),
        (Entry::Gone(reports), (false, false)),
    ];
    for (entry, then) in steps {
        journal.record(entry.clone()).expect("recorded");
        assert_eq!(left(), then, "{entry:?}");
    }
}

/// Only of what is there can be said that it is damaged, and what is to be done about it.
#[test]
fn a_damaged_journal_an_unreadable_one_and_none_have_ways_out_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    drop(journals.create(&header(1)).expect("created"));
    fs::write(journals.folder.join("00000002.json"), "what\n").expect("written");
    fs::create_dir(journals.folder.join("00000003.json")).expect("what cannot be read");
    assert_eq!(journals.record(&SessionId::new(1)).expect("readable").header.session, SessionId::new(1));
    let told = |id| journals.record(&SessionId::new(id)).expect_err("no record").notice("no report");
    let damaged = told(2);
    assert!(damaged.cause.contains("00000002.json") && damaged.cause.contains("damaged"), "{damaged:?}");
    assert!(damaged.next_step.contains("cleanup --forget 00000002"), "{damaged:?}");
    let unreadable = told(3);
    assert!(unreadable.cause.contains("cannot read") && !unreadable.next_step.contains("disk space"), "{unreadable:?}");
    let none = told(4);
    assert_eq!((none.next_step.as_str(), none.failure), ("see nodewatch-tui sessions", Failure::BadInput));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = replay(&bytes);
    }
}
