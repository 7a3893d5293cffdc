//! Bundles: a node's network state beside its captures, and by key.

use nodewatch_tui::model::BundleFiles;

use super::*;

fn bundle(name: &str, since: Option<u64>) -> Effect {
    Effect::TakeBundle(name.into(), since)
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
    assert_eq!(told(&mut app, tunnel("a", with_bundle())), [bundle("a", Some(NOW))]);
    assert_eq!(told(&mut app, tunnel("a", with_bundle())), [], "one is under way");
    // It ends before the first one is here: one at a time.
    assert_eq!(told(&mut app, tunnel("a", stopped())), []);
    assert_eq!(told(&mut app, Event::Bundled("a".into(), Ok(files()))), [bundle("a", Some(NOW))]);
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
    assert_eq!(told(&mut app, tunnel("a", stopped())), [bundle("a", Some(NOW))]);
    assert!(matches!(phase(&app), Some(Phase::Stopping { .. })));
    update(&mut app, Event::Bundled("a".into(), Err(Notice::warning("no bundle of a", "it was cut", ""))), NOW);
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
