//! Bundles: a node's network state beside its captures, and by key.

use nodewatch_tui::model::{BundleFiles, BundleOf};

use super::*;

const BEGIN: BundleOf = BundleOf::Begin { since: NOW };
const END: BundleOf = BundleOf::End { since: NOW, at: NOW };

fn bundle(name: &str, of: impl Into<Option<BundleOf>>) -> Effect {
    Effect::TakeBundle(name.into(), of.into())
}

fn failed() -> Event {
    Event::Bundled("a".into(), Err(Notice::warning("no bundle of a", "it was cut", "")))
}

/// What the receipt says of it once the session is left.
fn troubles(app: &App) -> Vec<String> {
    app.session.receipt().troubles.into_iter().map(|(_, what)| what).collect()
}

fn files() -> BundleFiles {
    BundleFiles { json: "x.bundle.json".into(), text: "x.bundle.txt".into(), taken: 1 }
}

fn with_bundle() -> Update {
    let spec = CaptureSpec { bundle: true, ..CaptureSpec::default() };
    Update::Capture(CaptureState::Running { since: NOW, interfaces: vec!["eth0".into()], spec })
}

fn bundles(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|effect| matches!(effect, Effect::TakeBundle(..))).collect()
}

fn told(app: &mut App, event: Event) -> Vec<Effect> {
    bundles(update(app, event, NOW))
}

#[test]
fn a_capture_that_asks_for_one_has_its_begin_and_its_end() {
    let mut app = live();
    assert_eq!(told(&mut app, tunnel("b", running())), [], "nobody has asked");
    assert_eq!(told(&mut app, tunnel("a", with_bundle())), [bundle("a", BEGIN)]);
    assert_eq!(told(&mut app, tunnel("a", with_bundle())), [], "one is under way");
    // It ends before the first one is here: one at a time.
    assert_eq!(told(&mut app, tunnel("a", stopped())), []);
    assert_eq!(told(&mut app, Event::Bundled("a".into(), Ok(files()))), [bundle("a", END)]);
    assert_eq!(told(&mut app, Event::Bundled("a".into(), Ok(BundleFiles { taken: 2, ..files() }))), []);
    assert_eq!(told(&mut app, tunnel("a", stopped())), [], "each once");
    let here = &app.session.transfers.bundles.files;
    assert_eq!(here.iter().map(|(_, files)| files.taken).collect::<Vec<_>>(), [2]);
}

#[test]
fn leaving_waits_for_the_end_of_a_bundle_and_not_for_ever() {
    let mut app = live();
    feed(&mut app, [tunnel("a", with_bundle()), Event::Bundled("a".into(), Ok(files()))]);
    key(&mut app, Action::Quit);
    key(&mut app, Action::Open);
    assert_eq!(told(&mut app, tunnel("a", stopped())), [bundle("a", END)]);
    assert!(matches!(phase(&app), Some(Phase::Stopping { .. })));
    // It is tried once more, and as long as they come they are waited for.
    let later = NOW + STOP_WITHIN - 1;
    assert_eq!(bundles(update(&mut app, failed(), later)), [bundle("a", END)]);
    update(&mut app, Event::Tick, later + STOP_WITHIN - 1);
    assert!(matches!(phase(&app), Some(Phase::Stopping { .. })));
    update(&mut app, failed(), later + STOP_WITHIN - 1);
    assert_eq!(phase(&app), Some(Phase::Removing));
    let mut app = live();
    feed(&mut app, [tunnel("a", with_bundle())]);
    key(&mut app, Action::Quit);
    key(&mut app, Action::Open);
    feed(&mut app, [tunnel("a", stopped())]);
    assert!(matches!(phase(&app), Some(Phase::Stopping { .. })));
    update(&mut app, Event::Tick, NOW + STOP_WITHIN);
    assert_eq!(phase(&app), Some(Phase::Removing));
}

#[test]
fn a_key_takes_one_without_a_capture_and_deploys_where_there_is_no_agent() {
    let mut live = live();
    assert_eq!(bundles(key(&mut live, Action::Bundle)), [bundle("a", None)]);
    assert_eq!(bundles(key(&mut live, Action::Bundle)), [], "one is under way");
    assert_eq!(told(&mut live, Event::Bundled("a".into(), Ok(files()))), [bundle("a", None)]);
    let mut app = app();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![node("a", "1a", Readiness::Ready)]))]);
    assert_eq!(key(&mut app, Action::Bundle), [Effect::Deploy(vec!["a".into()])]);
    let up = TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"));
    feed(&mut app, [Event::Deploy("a".into(), DeployProgress::Running), Event::Tunnel("a".into(), up)]);
    assert_eq!(told(&mut app, tunnel("a", Update::Capture(CaptureState::Idle))), [bundle("a", None)]);
}

#[test]
fn the_form_asks_for_one() {
    let mut app = live();
    key(&mut app, Action::CaptureOptions);
    key(&mut app, Action::PreviousView);
    key(&mut app, Action::Edit(Edit::Right));
    let effects = key(&mut app, Action::Open);
    let asks = |effect: &Effect| matches!(effect, Effect::Ask(_, Request::StartCapture(spec)) if spec.bundle);
    assert!(effects.iter().any(asks), "{effects:?}");
}

/// Whoever freezes another program's recorders takes nothing of its captures.
#[test]
fn who_only_looks_takes_none() {
    let mut app = app();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![node("a", "1a", Readiness::Ready)]))]);
    let up = TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"));
    feed(&mut app, [Event::Deploy("a".into(), DeployProgress::Running), Event::Tunnel("a".into(), up)]);
    assert_eq!(told(&mut app, tunnel("a", with_bundle())), []);
}

/// A begin that could not be read is tried again, and an end is an end all the same.
#[test]
fn an_end_is_no_begin() {
    let mut app = live();
    assert_eq!(told(&mut app, tunnel("a", with_bundle())), [bundle("a", BEGIN)]);
    assert_eq!(told(&mut app, failed()), [bundle("a", BEGIN)]);
    assert!(app.session.notices.iter().all(|(_, notice)| notice.headline != "no bundle of a"), "it is tried again");
    assert_eq!(told(&mut app, failed()), []);
    assert!(app.session.notices.iter().any(|(_, notice)| notice.headline == "no bundle of a"));
    assert_eq!(told(&mut app, tunnel("a", stopped())), [bundle("a", END)]);
    assert_eq!(told(&mut app, Event::Bundled("a".into(), Ok(files()))), []);
    let told = troubles(&app);
    assert!(told.len() == 1 && told[0].ends_with("has no begin: it was cut"), "{told:?}");
    assert!(!app.session.receipt().is_whole());
}

fn begun_at(since: u64) -> Update {
    let Update::Capture(CaptureState::Running { interfaces, spec, .. }) = with_bundle() else { unreachable!() };
    Update::Capture(CaptureState::Running { since, interfaces, spec })
}

/// The next capture begins before the end of the last one was read.
#[test]
fn an_end_that_a_restart_has_overtaken_is_told() {
    let mut app = live();
    feed(&mut app, [tunnel("a", with_bundle()), tunnel("a", stopped()), tunnel("a", begun_at(NOW + 1))]);
    let told_now = app.session.notices.iter().any(|(_, notice)| notice.headline.contains("the end of the bundle of a"));
    assert!(told_now, "{:?}", app.session.notices);
    let next = BundleOf::Begin { since: NOW + 1 };
    assert_eq!(told(&mut app, Event::Bundled("a".into(), Ok(files()))), [bundle("a", next)]);
    let told = troubles(&app);
    assert!(told.len() == 1 && told[0].contains("has no end: the next capture had begun"), "{told:?}");
    // One that is on its way is waited for.
    let mut app = live();
    feed(&mut app, [tunnel("a", with_bundle()), Event::Bundled("a".into(), Ok(files()))]);
    feed(&mut app, [tunnel("a", stopped()), tunnel("a", begun_at(NOW + 1)), Event::Bundled("a".into(), Ok(files()))]);
    assert_eq!(troubles(&app), [""; 0]);
}

#[test]
fn a_bundle_whose_agent_ends_or_that_is_left_alone_has_no_end_and_says_so() {
    let mut app = live();
    feed(&mut app, [tunnel("a", with_bundle()), Event::Bundled("a".into(), Ok(files()))]);
    feed(&mut app, [Event::Deploy("a".into(), DeployProgress::Ended("evicted".into()))]);
    let told = troubles(&app);
    assert!(told.len() == 1 && told[0].ends_with("has no end: its agent has ended"), "{told:?}");
    let mut app = live();
    feed(&mut app, [tunnel("a", with_bundle()), Event::Bundled("a".into(), Ok(files()))]);
    key(&mut app, Action::Quit);
    key(&mut app, Action::Interrupt);
    update(&mut app, Event::Tick, NOW + 60_000);
    let receipt = app.session.receipt();
    assert!(receipt.detached.is_some() && receipt.troubles.is_empty(), "{receipt:?}");
    assert_eq!(receipt.noted, ["the bundle of a has no end: its capture was left alone"]);
}

#[test]
fn a_key_on_a_node_that_is_away_says_so_and_an_agent_that_ends_takes_the_wish_along() {
    let mut app = live();
    feed(&mut app, [Event::Tunnel("a".into(), TunnelChange::Lost { reason: "cut".into() })]);
    assert_eq!(bundles(key(&mut app, Action::Bundle)), []);
    let (_, notice) = app.session.notices.back().expect("a notice");
    assert_eq!(notice.headline, "no bundle of a yet");
    let up = || TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"));
    let mut back = app.clone();
    feed(&mut back, [Event::Tunnel("a".into(), up())]);
    assert_eq!(told(&mut back, tunnel("a", Update::Capture(CaptureState::Idle))), [bundle("a", None)]);
    feed(&mut app, [Event::Deploy("a".into(), DeployProgress::Ended("evicted".into()))]);
    assert!(app.session.notices.iter().any(|(_, notice)| notice.headline.starts_with("no bundle of a: ")));
    feed(&mut app, [Event::Deploy("a".into(), DeployProgress::Running), Event::Tunnel("a".into(), up())]);
    assert_eq!(told(&mut app, tunnel("a", Update::Capture(CaptureState::Idle))), [], "nobody waits for it any more");
}
