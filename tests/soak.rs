//! Eight hours of a session in fast-forward: memory does not grow.

#[path = "support/sample.rs"]
mod sample;

use nodewatch_protocol::{FileState, PortsKind, Update};
use nodewatch_tui::{
    model::{FetchProgress, Notice, TunnelChange},
    screens::{Action, App, Input, update},
    session::Event,
    ui::{self, Theme},
};
use ratatui::{Terminal, backend::TestBackend};
use sample::{NOW, busy, file, ports, statistics, tunnel};

const HOURS: u64 = 8;

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: u64 = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

/// One second of everything that happens: statistics, ports that come and go, files, a tunnel that flaps, keys.
fn second(app: &mut App, at: u64) {
    let now = NOW + at * 1000;
    let names: Vec<String> = app.session.nodes.keys().map(|name| name.0.clone()).collect();
    let live = &names[0];
    let mut happen = vec![Event::Tick, tunnel(live, statistics(at))];
    let port = format!("tcp 0.0.0.0:{}", 20_000 + at % 1000);
    let (opened, closed): (&[&str], &[&str]) = if at.is_multiple_of(2) { (&[&port], &[]) } else { (&[], &[&port]) };
    happen.push(tunnel(live, ports(PortsKind::Changes, opened, closed)));
    happen.push(Event::Told(Notice::warning(format!("at {at}"), "a reason of some length", "what to do")));
    happen.push(tunnel(live, Update::Trouble { message: format!("trouble {at}") }));
    if at.is_multiple_of(60) {
        let files = (0..20).map(|number| file(&format!("{at}-{number}.pcapng"), 1000, FileState::Closed)).collect();
        happen.push(tunnel(live, Update::Files(files)));
        happen.push(Event::Fetch(live.as_str().into(), format!("{at}-1.pcapng"), FetchProgress::Bytes(at)));
        let cut = TunnelChange::Lost { reason: "cut".into() };
        happen.push(Event::Tunnel(names[1].as_str().into(), cut));
    }
    for event in happen {
        update(app, event, now);
    }
    for key in [Action::Ports, Action::Events, Action::GoBack, Action::Files, Action::Back] {
        update(app, Input::Key(key), now);
    }
}

/// How much the app holds: every value of it, written out. Unlike resident memory it says nothing of the allocator.
/// But for files that were asked for: each is remembered, as the receipt tells what became of it.
fn held(app: &App) -> usize {
    let mut app = app.clone();
    for state in app.session.nodes.values_mut() {
        state.fetches.clear();
        state.gone.let_go.clear();
    }
    format!("{app:?}").len()
}

/// Files that were asked for.
fn asked_for(app: &App) -> usize {
    app.session.nodes.values().map(|state| state.fetches.len()).sum()
}

#[test]
fn eight_hours_do_not_make_it_grow() {
    let mut app = busy();
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).expect("a terminal");
    let theme = Theme::standard();
    let mut after_an_hour = (0, 0);
    let asked_for_before = asked_for(&app);
    // With its time spent it would be leaving, and take nothing in.
    app.session.life.ends = Some(NOW + (HOURS + 1) * 3_600_000);
    for at in 1..=HOURS * 3600 {
        second(&mut app, at);
        if at.is_multiple_of(30) {
            terminal.draw(|frame| drop(ui::draw(frame, &app, &theme))).expect("drawn");
        }
        if at == 3600 {
            after_an_hour = (held(&app), resident());
        }
    }
    let (held_then, resident_then) = after_an_hour;
    let held_now = held(&app);
    assert!(held_now < held_then + held_then / 50, "{held_now} held after {HOURS} h, {held_then} after one");
    let grown = resident().saturating_sub(resident_then);
    assert!(grown < 4 << 20, "{grown} bytes more after {HOURS} h than after one");

    assert_eq!(asked_for(&app) - asked_for_before, HOURS as usize * 60, "one a minute");

    // It has not stopped taking things in: the last second is on the screen.
    update(&mut app, Input::Key(Action::Events), NOW + HOURS * 3_600_000);
    terminal.draw(|frame| drop(ui::draw(frame, &app, &theme))).expect("drawn");
    let screen = terminal.backend().to_string();
    assert!(screen.contains(&format!("trouble {}", HOURS * 3600)), "{screen}");
}
