//! The agents' image: the default that is published nowhere, one that cannot be pulled, and another one by command.

use nodewatch_tui::{
    model::{AgentImage, Failure, Place, SessionId},
    screens::{Confirm, Layer, command::CommandLine},
    session::Terms,
};

use super::*;

fn with(image: AgentImage) -> App {
    let place = Place::Cluster { context: "prod".into(), flavour: None };
    let terms = Terms { image, ..Terms::new(place, SessionId::new(1), std::time::Duration::from_secs(3600)) };
    let mut app = App::new(terms);
    let nodes = ["a", "b"].map(|name| node(name, "1a", Readiness::Ready)).to_vec();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    app
}

fn default_image() -> AgentImage {
    AgentImage { reference: "nodewatch-agent:0.1.0".into(), is_default: true }
}

fn command(app: &mut App, text: &str) -> Vec<Effect> {
    key(app, Action::Command);
    typed(app, text);
    key(app, Action::Open)
}

fn screen(app: &App) -> String {
    screen_of(app, 100, 30)
}

fn screen_of(app: &App, width: u16, height: u16) -> String {
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(width, height)).expect("a terminal");
    let theme = nodewatch_tui::ui::Theme::standard();
    terminal.draw(|frame| drop(nodewatch_tui::ui::draw(frame, app, &theme))).expect("drawn");
    terminal.backend().to_string()
}

fn failed(cause: &str) -> Event {
    let notice = Notice::error("the image i cannot be pulled", cause, "{command}image NAME, then {deploy}");
    Event::Deploy("a".into(), DeployProgress::Failed(notice.naming_keys().of(Failure::Image)))
}

#[test]
fn a_default_image_that_nobody_has_named_is_asked_about_once_and_before_anything() {
    for action in [Action::Deploy, Action::Capture] {
        let mut app = with(default_image());
        assert_eq!(key(&mut app, action), []);
        assert!(matches!(app.top(), Some(Layer::Confirm(Confirm::DefaultImage(..)))));
        let shown = screen_of(&app, 80, 24);
        for part in [
            "published",
            "docker.io/library/nodewatch-agent:0.1.0",
            "NODEWATCH_IMAGE",
            ":image NAME",
            "--push-agent",
            "tries it",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(key(&mut app, Action::Back), []);
        assert!(app.layers.is_empty() && !app.session.nodes[&"a".into()].is_to_start());
        key(&mut app, action);
        assert_eq!(key(&mut app, Action::Open), [Effect::Deploy(vec!["a".into()])]);
        key(&mut app, Action::Down);
        assert_eq!(key(&mut app, action), [Effect::Deploy(vec!["b".into()])], "said once");
    }
}

#[test]
fn an_image_that_was_named_is_not_asked_about() {
    let mut app = with(AgentImage::from("nodewatch-agent:0.1.0"));
    assert_eq!(key(&mut app, Action::Deploy), [Effect::Deploy(vec!["a".into()])]);
    let mut app = with(default_image());
    assert_eq!(command(&mut app, "image reg.example/agent:2"), [Effect::SetImage("reg.example/agent:2".into())]);
    feed(&mut app, [Event::ImageSet("reg.example/agent:2".into(), Ok(String::new()))]);
    assert_eq!(key(&mut app, Action::Capture), [Effect::Deploy(vec!["a".into()])]);
}

#[test]
fn the_image_is_named_by_command_and_said_without_a_name() {
    let mut app = with(AgentImage::from("reg.example/agent:1"));
    assert_eq!(command(&mut app, "image"), []);
    let told = |app: &App| app.latest_notice().map(Notice::line).unwrap_or_default();
    assert!(told(&app).contains("reg.example/agent:1"), "{}", told(&app));
    feed(&mut app, [failed("not found")]);
    command(&mut app, "image reg.example/agent:2");
    let refused = Notice::error("the image was not changed", "it cannot be recorded", "");
    feed(&mut app, [Event::ImageSet("reg.example/agent:2".into(), Err(refused))]);
    assert_eq!(app.session.image.reference, "reg.example/agent:1");
    feed(&mut app, [Event::ImageSet("reg.example/agent:2".into(), Ok(String::new()))]);
    assert_eq!(app.session.image, AgentImage::from("reg.example/agent:2"));
    assert!(told(&app).contains("deploy tries again where the image failed (1 node)"), "{}", told(&app));
    assert_eq!(key(&mut app, Action::Deploy), [Effect::Deploy(vec!["a".into()])]);
}

#[test]
fn where_there_is_no_image_or_nothing_may_change_it_is_refused() {
    let error = |app: &App| match app.top() {
        Some(Layer::Command(CommandLine { error, .. })) => error.clone().unwrap_or_default(),
        _ => String::new(),
    };
    let mut local = App::new(Terms::new(Place::Local, SessionId::new(1), std::time::Duration::from_secs(60)));
    assert_eq!(command(&mut local, "image x:1"), []);
    assert!(error(&local).contains("has no image"), "{}", error(&local));
    let mut app = with(AgentImage::from("x:1"));
    app.session.permission = Permission::ReadOnly;
    assert_eq!(command(&mut app, "image x:2"), []);
    assert!(error(&app).contains("read-only"), "{}", error(&app));
}

#[test]
fn an_image_that_cannot_be_pulled_is_told_once_with_the_way_out_on_its_node() {
    let mut app = with(AgentImage::from("i"));
    key(&mut app, Action::Deploy);
    for step in ["the Job is created", "waiting: ContainerCreating", "pulling the image"] {
        feed(&mut app, [Event::Deploy("a".into(), DeployProgress::Step(step.into()))]);
        let shown = screen(&app);
        assert!(shown.contains(&format!("deploying: {step}")), "{shown}");
    }
    feed(&mut app, [failed("i/o timeout")]);
    let notices = app.session.notices.len();
    feed(&mut app, [failed("not found"), failed("not found")]);
    assert_eq!(app.session.notices.len(), notices, "the same failure in other words");
    let shown = screen(&app);
    assert!(shown.contains("not found") && shown.contains(":image NAME, then d"), "{shown}");
    let events = &app.session.nodes[&"a".into()].log.events;
    assert_eq!(events.back().map(|event| event.text.as_str()), Some("the image i cannot be pulled: not found"));
    feed(&mut app, [Event::Deploy("a".into(), DeployProgress::Running)]);
    assert!(screen(&app).contains("connecting to the agent"));
    feed(&mut app, [Event::Tunnel("a".into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0")))]);
    assert!(screen(&app).contains("waiting for the first scan"), "once there is a tunnel");
}

/// A tag may be another image on another node: what ran is told by digest.
#[test]
fn the_receipt_has_the_images_that_ran() {
    let mut app = with(AgentImage::from("registry.example/agent:1"));
    let ran = |node: &str, image: &str| Event::Deploy(node.into(), DeployProgress::Image(image.to_owned()));
    feed(&mut app, [ran("a", "registry.example/agent@sha256:12"), ran("b", "registry.example/agent@sha256:12")]);
    let text = app.session.receipt().text();
    assert!(text.contains("\n  image    registry.example/agent@sha256:12  on 2 nodes\n"), "{text}");
    feed(&mut app, [ran("b", "registry.example/agent@sha256:34")]);
    let receipt = app.session.receipt();
    assert!(
        receipt.text().contains("\n  DIFFERENT IMAGES registry.example/agent@sha256:34  on 1 node\n"),
        "{}",
        receipt.text()
    );
    assert_eq!(receipt.json()["images"]["registry.example/agent@sha256:34"], serde_json::json!(["b"]));
}
