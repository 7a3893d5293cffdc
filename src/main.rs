//! `nodewatch-tui`: parse, choose the site, run, exit with the right code.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::Parser;
use nodewatch_tui::{
    app::App,
    cli::{Cli, PlaceArgs},
    cluster::{AgentSettings, Cluster, Connection, Target},
    headless::{self, Exit},
    local::Local,
    model::{Failure, Notice, Place, SessionId},
    runtime::{Engine, terminal},
    site::Site,
    text::visible,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(cli)));
    match outcome {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::from(Exit::Failed.code())
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<Exit> {
    match begin(&cli).await {
        Err(notice) => {
            say(&format!("error: {}", notice.line()));
            Ok(Exit::of(&notice))
        }
        Ok(engine) => match cli.command {
            Some(command) => Ok(headless::run(engine, command).await),
            None => interactive(engine).await,
        },
    }
}

/// Everything that can be refused before anything runs.
async fn begin(cli: &Cli) -> Result<Engine, Notice> {
    let session = SessionId::new(rand::random());
    let out = cli.place.out.clone().unwrap_or_else(|| default_out(&session));
    match &cli.command {
        Some(command) => headless::check(command, &out)?,
        None if !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) => {
            let next_step = "run it in one, or use the commands nodes, ports and capture (see --help)";
            return Err(Notice::error("there is no terminal to draw on", "", next_step).of(Failure::BadInput));
        }
        None => {}
    }
    let (site, place) = site(&cli.place, &session).await?;
    let app = App::new(place, session, cli.place.session_budget);
    Ok(Engine::start(app, site, out))
}

fn default_out(session: &SessionId) -> PathBuf {
    Path::new("nodewatch-captures").join(session.to_string())
}

async fn site(arguments: &PlaceArgs, session: &SessionId) -> Result<(Arc<dyn Site>, Place), Notice> {
    if arguments.local {
        return Ok((Arc::new(Local::new()?), Place::Local));
    }
    let target = Target { kubeconfig: arguments.kubeconfig.clone(), context: arguments.context.clone() };
    let connection = Connection::open(&target).await?;
    let place = connection.place.clone();
    let settings = AgentSettings {
        image: arguments.image.clone(),
        pull_policy: arguments.image_pull_policy,
        budget: arguments.session_budget,
    };
    Ok((Arc::new(Cluster::new(connection, session.clone(), settings)), place))
}

async fn interactive(mut engine: Engine) -> anyhow::Result<Exit> {
    let drawn = terminal::run(&mut engine).await;
    let app = engine.shut_down().await;
    let receipt = app.receipt();
    if app.ended.is_some() {
        // A terminal that is gone reads no receipt.
        let _ = std::io::stdout().write_all(receipt.text().as_bytes());
    }
    drawn.context("the terminal failed")?;
    Ok(match (receipt.left_behind(), receipt.lost.is_empty()) {
        (true, _) => Exit::LeftBehind,
        (false, false) => Exit::Partly,
        (false, true) => Exit::Done,
    })
}

fn say(text: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{}", visible(text));
}
