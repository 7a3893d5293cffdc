//! The terminal is lent to who must ask for what the guided exit needs, and to nobody else. Time is the runtime's own.

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "support/script.rs"]
mod script;

use std::{cell::Cell, io, sync::Arc, time::Duration};

use crossterm::event::Event as TerminalEvent;
use futures::stream;
use nodewatch_tui::{
    base::loan,
    model::{Place, SessionId},
    runtime::{
        Engine,
        terminal::{Signals, drive},
    },
    screens::{Action, App, Input},
    session::{Event, Terms, node::Agent},
    ui::Theme,
};
use ratatui::{Terminal, backend::TestBackend};
use script::{Fate, Script};
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn the_terminal_is_lent_while_the_session_is_left_and_at_no_other_time() {
    let site = Arc::new(Script::new(&[("a", Fate::Up(Duration::ZERO))], Duration::from_secs(60)));
    let out = tempfile::tempdir().expect("a folder");
    let place = Place::Cluster { context: "test".into(), flavour: None };
    let terms = Terms::new(place, SessionId::new(1), Duration::from_secs(4 * 3600));
    let mut engine = Engine::<App>::start(terms, Arc::clone(&site) as _, out.path().to_owned());
    engine.set_clock(site.clock());
    let mut asked = false;
    while engine.state.session.nodes.get(&"a".into()).is_none_or(|state| state.agent != Agent::Live) {
        let event = engine.next().await;
        engine.handle(event);
        if !asked && !engine.state.session.nodes.is_empty() {
            asked = true;
            engine.handle(Event::DeployTo(vec!["a".into()]));
        }
    }
    loan::screen_opens();
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal");
    let (theme, mut signals) = (Theme::standard(), Signals::listen().expect("signals"));
    let frames = Cell::new(0);
    let drawn = |_: &Terminal<TestBackend>| frames.set(frames.get() + 1);
    let no_keys = || Box::pin(stream::pending::<io::Result<TerminalEvent>>());

    // Somebody works on the screen: it stays theirs.
    let driven = drive(&mut engine, &mut terminal, &theme, (no_keys(), &mut signals), false, drawn);
    let lent = tokio::select! {
        ended = driven => panic!("nobody has ended it: {ended:?}"),
        lent = loan::borrow() => lent,
    };
    assert!(lent.is_none() && loan::is_taken());

    engine.handle(Input::Key(Action::Quit));
    let driven = drive(&mut engine, &mut terminal, &theme, (no_keys(), &mut signals), false, drawn);
    let asks = async {
        let lent = timeout(SOON, loan::borrow()).await.expect("it is answered").expect("it is lent");
        let before = frames.get();
        sleep(SOON).await;
        assert_eq!(frames.get(), before, "nothing is drawn over it");
        drop(lent);
        sleep(SOON).await;
        assert!(frames.get() > before && loan::is_taken(), "the screen is back");
    };
    tokio::select! {
        ended = driven => panic!("nobody has ended it: {ended:?}"),
        () = asks => {}
    }
}
