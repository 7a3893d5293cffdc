//! The program with 1,000 nodes, each with an update a second, watched or not: frame time, key to screen, CPU and memory.
//!
//! The whole program but its terminal device: engine, protocol and screens are real, the agents are written lines over
//! in-memory streams in this same process, whose CPU time counts too. Run by `make bench`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

mod crowd;
#[path = "../../tests/support/sample.rs"]
mod sample;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use futures::stream;
use nodewatch_protocol::{PortsKind, PortsUpdate, SignalsUpdate, Update};
use nodewatch_tui::{
    model::{Node, NodesChange, Place, Readiness, SessionId, TunnelChange},
    runtime::{Engine, terminal},
    screens::{Action, App, Edit, Input, update},
    session::{Event, Happened, Terms},
    ui::{self, Theme},
};
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};

use crowd::{Crowd, every_signal, name};

/// How many there are.
pub const NODES: usize = 1000;
const KEYS: usize = 60;
const ROWS: usize = 50_000;
const BETWEEN_KEYS: Duration = Duration::from_millis(250);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for crowd in [Crowd { watched: false }, Crowd { watched: true }] {
        runtime.block_on(measure(crowd));
    }
    ports();
    signals();
}

/// The whole program in front of such a crowd.
async fn measure(crowd: Crowd) {
    let place = Place::Cluster { context: "bench".into(), flavour: None };
    let terms = Terms::new(place, SessionId::new(1), Duration::from_secs(3600));
    let mut engine = Engine::<App>::start(terms, Arc::new(crowd), std::env::temp_dir());
    while engine.state.session.nodes.is_empty() {
        let event = engine.next().await;
        engine.handle(event);
    }
    engine.handle(Event::DeployTo((0..NODES).map(name).collect()));
    while engine.state.session.agents().is_some_and(|(live, _)| live < NODES) {
        let event = engine.next().await;
        engine.handle(event);
    }

    let viewport = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, 160, 50)) };
    let mut screen = Terminal::with_options(CrosstermBackend::new(io::sink()), viewport).unwrap();
    let theme = Theme::standard();
    let (pressed, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let keys = stream::unfold(0, move |index| {
        let pressed = pressed.clone();
        async move {
            tokio::time::sleep(BETWEEN_KEYS).await;
            if index == KEYS {
                return None;
            }
            pressed.send(Instant::now()).unwrap();
            let key = KeyEvent::new(KeyCode::Char('j'), KeyModifiers::NONE);
            Some((Ok(TerminalEvent::Key(key)), index + 1))
        }
    });
    let mut latencies = Vec::new();
    let begin = Instant::now();
    let cpu_before = cpu_time();
    let mut signals = terminal::Signals::listen().unwrap();
    let driving = terminal::drive(&mut engine, &mut screen, &theme, (Box::pin(keys), &mut signals), false, |_| {
        while let Ok(at) = answered.try_recv() {
            latencies.push(at.elapsed());
        }
    });
    // With its keys at an end the program leaves; the time until then is what is measured.
    let _ = tokio::time::timeout(BETWEEN_KEYS * (KEYS as u32), driving).await;
    let share = cpu_time().saturating_sub(cpu_before).as_secs_f64() / begin.elapsed().as_secs_f64();

    let mut drawn = |app: &App| {
        let begin = Instant::now();
        screen.draw(|frame| drop(ui::draw(frame, app, &theme))).unwrap();
        begin.elapsed()
    };
    let mut frames: Vec<Duration> = (0..500)
        .map(|index| {
            engine.state.list.cursor = Some(name(index * 2));
            drawn(&engine.state)
        })
        .collect();
    let mut others: Vec<Duration> = Vec::new();
    for screen in [Action::Connections, Action::Signals, Action::Answers] {
        update(&mut engine.state, Input::Key(screen), crowd::now());
        others.extend((0..200).map(|_| drawn(&engine.state)));
        update(&mut engine.state, Input::Key(Action::Back), crowd::now());
    }
    frames.sort();
    others.sort();
    latencies.sort();
    let at = |sorted: &[Duration], percent: usize| sorted[(sorted.len() - 1) * percent / 100];
    let told = if crowd.watched { ", signals and symptoms" } else { "" };
    println!("screens   {NODES} nodes with an update a second{told}, 160x50");
    println!("          frame p50 {:.2?}, p99 {:.2?} (goal 8 ms)", at(&frames, 50), at(&frames, 99));
    if crowd.watched {
        let (pairs, answers) = (engine.state.connections.rows.len(), engine.state.session.answers.count());
        println!("          of {pairs} pairs, all signals, answers: {answers}; frame p99 {:.2?}", at(&others, 99));
    }
    println!("          key to screen p50 {:.2?}, worst {:.2?} (goal 33 ms)", at(&latencies, 50), at(&latencies, 100));
    println!(
        "          {:.1} % of a core, the 1,000 agents' share included (goal {})",
        share * 100.0,
        if crowd.watched { 30 } else { 25 }
    );
    let goal = if crowd.watched { "" } else { " (goal 120000 kB)" };
    println!("          {} at most{goal}", peak_memory());
}

/// The Ports screen with 50,000 rows: a key and the frame that follows it, while scrolling and while a filter is typed.
fn ports() {
    let place = Place::Cluster { context: "bench".into(), flavour: None };
    let mut app = App::new(Terms::new(place, SessionId::new(1), Duration::from_secs(3600)));
    let node = |index: usize| Node { readiness: Readiness::Ready, ..Node::named(name(index)) };
    update(&mut app, Event::Nodes(NodesChange::Replaced((0..NODES).map(node).collect())), 1);
    for index in 0..NODES {
        let opened = (1000..1000 + ROWS / NODES).map(|port| format!("tcp 0.0.0.0:{port}").parse().unwrap()).collect();
        let ports =
            Update::Ports(PortsUpdate { at: 0, kind: PortsKind::Snapshot, opened, closed: vec![], more: false });
        update(&mut app, Event::Tunnel(name(index), TunnelChange::Update(ports)), 1);
    }
    let viewport = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, 160, 50)) };
    let mut screen = Terminal::with_options(CrosstermBackend::new(io::sink()), viewport).unwrap();
    let theme = Theme::standard();
    update(&mut app, Input::Key(Action::Ports), 1);
    assert_eq!(app.ports.rows.len(), ROWS);
    let mut draw = |app: &App| {
        screen.draw(|frame| drop(ui::draw(frame, app, &theme))).unwrap();
    };
    let mut timed = |app: &mut App, event: Happened<Input>| {
        let begin = Instant::now();
        update(app, event, 1);
        draw(app);
        begin.elapsed()
    };
    let mut scrolls: Vec<Duration> = (0..500).map(|_| timed(&mut app, Input::Key(Action::PageDown).into())).collect();
    timed(&mut app, Input::Key(Action::Filter).into());
    let mut filters = Vec::new();
    for text in ["10-0-3-1", "class:une", "1049", "!^ip-10-0-1", "port:1007"].repeat(8) {
        filters.extend(
            text.chars().map(|character| timed(&mut app, Input::Key(Action::Edit(Edit::Insert(character))).into())),
        );
        filters.push(timed(&mut app, Input::Key(Action::Edit(Edit::Clear)).into()));
    }
    timed(&mut app, Input::Key(Action::Edit(Edit::Clear)).into());
    timed(&mut app, Input::Key(Action::Open).into());
    // A port opens on every node in the same second.
    let mut seconds: Vec<Duration> = Vec::new();
    for second in 0..50 {
        for index in 0..NODES {
            let opened = vec![format!("tcp 0.0.0.0:{}", 2000 + second).parse().unwrap()];
            let ports =
                Update::Ports(PortsUpdate { at: 0, kind: PortsKind::Changes, opened, closed: vec![], more: false });
            update(&mut app, Event::Tunnel(name(index), TunnelChange::Update(ports)), 1);
        }
        seconds.push(timed(&mut app, Event::Tick.into()));
    }
    scrolls.sort();
    filters.sort();
    seconds.sort();
    let at = |sorted: &[Duration], percent: usize| sorted[(sorted.len() - 1) * percent / 100];
    println!("ports     {NODES} nodes, {ROWS} ports, 160x50: a key and the frame after it");
    println!("          scrolling p50 {:.2?}, p99 {:.2?} (goal 8 ms)", at(&scrolls, 50), at(&scrolls, 99));
    println!("          filtering p50 {:.2?}, p99 {:.2?} (goal 8 ms)", at(&filters, 50), at(&filters, 99));
    println!("          a second in which every node has changed p50 {:.2?}", at(&seconds, 50));
}

/// The Signals screen of nodes that have every signal, of which thirty move in each second: a key and the frame that
/// follows it, and a second's updates of all nodes with the frame after them.
fn signals() {
    let place = Place::Cluster { context: "bench".into(), flavour: None };
    let mut app = App::new(Terms::new(place, SessionId::new(1), Duration::from_secs(3600)));
    let node = |index: usize| Node { readiness: Readiness::Ready, ..Node::named(name(index)) };
    update(&mut app, Event::Nodes(NodesChange::Replaced((0..NODES).map(node).collect())), 1);
    let told = every_signal();
    let tell = |app: &mut App, index: usize, update: SignalsUpdate, now: u64| {
        let event = Event::Tunnel(name(index), TunnelChange::Update(Update::Signals(update)));
        nodewatch_tui::screens::update(app, event, now);
    };
    for index in 0..NODES {
        tell(&mut app, index, SignalsUpdate { since: Some(1), told: told.clone(), ..SignalsUpdate::default() }, 1);
    }
    let viewport = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, 160, 50)) };
    let mut screen = Terminal::with_options(CrosstermBackend::new(io::sink()), viewport).unwrap();
    let theme = Theme::standard();
    let mut now = 1_000_000;
    update(&mut app, Input::Key(Action::Signals), now);
    assert_eq!(app.signals.rows.len(), told.len());
    let (mut seconds, mut ticks, mut frames) = (Vec::new(), Vec::new(), Vec::new());
    for second in 0..150 {
        now += 1000;
        let begin = Instant::now();
        for index in 0..NODES {
            let moved = (0..30).map(|id| (id * 4, 1 + u64::from(id) * second % 7)).collect();
            tell(&mut app, index, SignalsUpdate { at: now, moved, ..SignalsUpdate::default() }, now);
        }
        seconds.push(begin.elapsed());
        let begin = Instant::now();
        update(&mut app, Event::Tick, now);
        ticks.push(begin.elapsed());
        for action in [Action::Down, Action::Right, Action::PageDown, Action::Up] {
            let begin = Instant::now();
            update(&mut app, Input::Key(action), now);
            screen.draw(|frame| drop(ui::draw(frame, &app, &theme))).unwrap();
            frames.push(begin.elapsed());
        }
    }
    frames.sort();
    ticks.sort();
    seconds.sort();
    let at = |sorted: &[Duration], percent: usize| sorted[(sorted.len() - 1) * percent / 100];
    println!("signals   {NODES} nodes, {} signals each, 30 of them moving, 160x50", told.len());
    println!("          key and frame p50 {:.2?}, p99 {:.2?} (goal 8 ms)", at(&frames, 50), at(&frames, 99));
    println!("          rows made anew once a second p50 {:.2?}, p99 {:.2?}", at(&ticks, 50), at(&ticks, 99));
    println!("          a second's updates of all nodes p50 {:.2?}", at(&seconds, 50));
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap().replace("VmHWM:", "").trim().to_owned()
}
