//! A program on the terminal that fails on purpose, for the test of what is left then.

use std::time::Duration;

use nodewatch_tui::{
    config::keymap::Keymap,
    model::{Place, SessionId},
    runtime::terminal::Screen,
    screens::App,
    session::Terms,
    ui::{Palette, Theme},
};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut screen = Screen::open(Theme::from_environment(Palette::Auto, false, Keymap::default()), true)?;
    let app = App::new(Terms::new(Place::Local, SessionId::new(1), Duration::from_secs(60)));
    let work = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        panic!("on purpose \u{1b}[31m");
    };
    screen.wait(&app, work).await.map(drop)
}
