//! A laptop that sleeps in the middle of an incident: afterwards the screen says what is true, and keys are answered all
//! the time. Time is the runtime's own, which passes when nothing is left to do: a key that waits for anything is late.

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "support/script.rs"]
mod script;

use std::{
    cell::RefCell,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use futures::stream;
use nodewatch_tui::{
    model::{NodeName, Place, SessionId},
    runtime::{
        Engine,
        terminal::{Signals, drive},
    },
    screens::App,
    session::{Event, Terms, node::Agent},
    ui::Theme,
};
use ratatui::{Terminal, backend::TestBackend};
use script::{Fate, Script};
use tokio::time::{Instant, advance, sleep, timeout};

const NIGHT: Duration = Duration::from_secs(30 * 60);
/// After waking.
const WITHIN: Duration = Duration::from_secs(30);
const KEY_EVERY: Duration = Duration::from_millis(700);
const ANSWERED_WITHIN: Duration = Duration::from_millis(100);

/// How a laptop is away.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Away {
    /// Its program is stopped, as by Ctrl-Z: every timer is due when it goes on.
    Stopped,
    /// The machine sleeps: the clock that timers go by stood still.
    Asleep,
}

/// Twelve agents; one node's kubelet hangs afterwards, and another node's pod has gone.
async fn goes_away(how: Away) {
    let names: Vec<String> = (1..=12).map(|number| format!("node-{number:02}")).collect();
    let fates: Vec<(&str, Fate)> = names.iter().map(|name| (name.as_str(), Fate::Up(Duration::ZERO))).collect();
    let site = Arc::new(Script::new(&fates, Duration::from_secs(60)));
    let out = tempfile::tempdir().expect("a folder");
    let place = Place::Cluster { context: "test".into(), flavour: None };
    let terms = Terms::new(place, SessionId::new(0x7f3a_91c2), Duration::from_secs(4 * 3600));
    let mut engine = Engine::<App>::start(terms, Arc::clone(&site) as _, out.path().to_owned());
    let (clock, slept) = (site.clock(), Arc::new(AtomicU64::new(0)));
    let also = Arc::clone(&slept);
    engine.set_clock(move || clock() + also.load(Ordering::Relaxed));
    let live = |app: &App| app.session.nodes.values().filter(|state| state.agent == Agent::Live).count();
    let mut asked = false;
    while live(&engine.state) < 12 {
        let event = engine.next().await;
        engine.handle(event);
        if !asked && engine.state.session.nodes.len() == 12 {
            asked = true;
            engine.handle(Event::DeployTo(names.iter().map(|name| NodeName(name.clone())).collect()));
        }
    }

    site.sleep();
    match how {
        Away::Stopped => advance(NIGHT).await,
        Away::Asleep => slept.store(NIGHT.as_millis() as u64, Ordering::Relaxed),
    }
    site.hang("node-12");
    site.end("node-11");

    let (pressed, shown) = (RefCell::new(Vec::new()), RefCell::new((Vec::new(), String::new())));
    let keys = stream::unfold(KeyCode::Down, |code| {
        let pressed = &pressed;
        async move {
            sleep(KEY_EVERY).await;
            pressed.borrow_mut().push(Instant::now());
            let next = if code == KeyCode::Down { KeyCode::Up } else { KeyCode::Down };
            Some((io::Result::Ok(TerminalEvent::Key(KeyEvent::new(code, KeyModifiers::NONE))), next))
        }
    });
    let mut terminal = Terminal::new(TestBackend::new(120, 30)).expect("a terminal");
    let theme = Theme::standard();
    let mut signals = Signals::listen().expect("signals");
    let driven = drive(
        &mut engine,
        &mut terminal,
        &theme,
        (Box::pin(keys), &mut signals),
        false,
        |terminal: &Terminal<TestBackend>| {
            let mut shown = shown.borrow_mut();
            shown.0.push(Instant::now());
            shown.1 = terminal.backend().to_string();
        },
    );
    timeout(WITHIN, driven).await.expect_err("nobody has ended it");

    let (frames, screen) = shown.into_inner();
    let pressed = pressed.into_inner();
    assert!(pressed.len() > 30, "{}", pressed.len());
    for at in pressed {
        let answered = frames.iter().find(|frame| **frame >= at).map(|frame| *frame - at);
        assert!(answered.is_some_and(|after| after <= ANSWERED_WITHIN), "{how:?}: {answered:?}");
    }
    let row = |name: &str| screen.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    for name in &names[..10] {
        assert!(row(name).contains("live"), "{how:?}: {}", row(name));
    }
    assert!(row("node-11").contains("ended"), "{how:?}: {}", row("node-11"));
    assert!(row("node-12").contains("lost"), "{how:?}: {}", row("node-12"));
    let Agent::Lost { reason, .. } = &engine.state.session.nodes[&"node-12".into()].agent else { panic!("it hangs") };
    assert_eq!(reason, "exec has not answered for 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_was_stopped_soon_shows_what_is_true_and_is_never_deaf() {
    goes_away(Away::Stopped).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_soon_shows_what_is_true_and_is_never_deaf() {
    goes_away(Away::Asleep).await;
}
