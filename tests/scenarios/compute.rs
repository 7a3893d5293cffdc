//! Nodes that no agent can ever run on.

use super::*;

fn fargate(name: &str) -> nodewatch_tui::model::Node {
    let mut fargate = node(name, "1a", Readiness::Ready);
    fargate.labels.insert("eks.amazonaws.com/compute-type".into(), "fargate".into());
    fargate
}

#[test]
fn a_key_is_refused_with_the_reason_and_the_others_go_on() {
    let mut app = app();
    let nodes = vec![fargate("a"), node("b", "1a", Readiness::Ready)];
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    key(&mut app, Action::Top);
    assert_eq!(key(&mut app, Action::Deploy), []);
    let notice = app.latest_notice().expect("a reason").line();
    assert!(notice.contains("no agent can run on a") && notice.contains("Fargate"), "{notice}");

    key(&mut app, Action::MarkAll);
    assert_eq!(key(&mut app, Action::Deploy), [Effect::Deploy(vec!["b".into()])]);
    assert!(app.latest_notice().expect("a reason").line().contains("no agent can run on a"));
}

#[test]
fn the_filter_finds_them_by_what_the_list_shows() {
    let mut app = app();
    let closed = nodewatch_tui::model::Node { cordoned: true, ..node("c", "1a", Readiness::NotReady) };
    feed(
        &mut app,
        [Event::Nodes(NodesChange::Replaced(vec![fargate("a"), node("b", "1a", Readiness::Ready), closed]))],
    );
    for (filter, name) in [("agent:fargate", "a"), ("status:cordoned", "c"), ("status:NotReady", "c")] {
        key(&mut app, Action::Filter);
        typed(&mut app, filter);
        key(&mut app, Action::Open);
        let shown: Vec<&str> = app.shown().map(|state| state.node.name.0.as_str()).collect();
        assert_eq!(shown, [name], "{filter}");
        key(&mut app, Action::Back);
    }
}

#[test]
fn the_same_cluster_by_another_way_is_a_question() {
    let session = |moved| SessionSummary {
        id: SessionId::new(7),
        context: "prod-eu".into(),
        owner: Some("me@here".into()),
        began: Some(NOW),
        ends: Some(NOW + 1000),
        holder: Holder::Abandoned,
        objects: vec![nodewatch_tui::model::SeenObject {
            object: sample::object(nodewatch_tui::model::Kind::Namespace, "nodewatch-00000007", ""),
            state: "active".into(),
        }],
        trouble: String::new(),
        moved,
    };
    for act in [Action::Remove, Action::Open] {
        let mut app = app();
        feed(&mut app, [Event::Sessions { found: Ok(vec![session(true)]), asked: true }]);
        assert_eq!(key(&mut app, act), [], "nothing before somebody has said so");
        typed(&mut app, "00000008");
        assert_eq!(key(&mut app, Action::Open), []);
        key(&mut app, Action::Edit(Edit::DeleteBack));
        typed(&mut app, "7");
        assert_eq!(key(&mut app, Action::Open), [Effect::Trust(SessionId::new(7))]);
        let found = update(&mut app, Event::Trusted(SessionId::new(7), Ok(())), NOW);
        assert_eq!(found, [Effect::FindSessions]);
    }
}

#[test]
fn what_others_have_in_the_namespace_goes_only_after_it_was_named_and_asked_about() {
    let mut app = live();
    key(&mut app, Action::Quit);
    key(&mut app, Action::Open);
    feed(&mut app, [Event::Tick]);
    let namespace = sample::object(nodewatch_tui::model::Kind::Namespace, "nodewatch-7f3a91c2", "the session");
    let removed = [
        Removal::Holds(vec!["ConfigMap precious".into()]),
        Removal::Failed(namespace, "not removed, as it holds ConfigMap precious".into()),
        Removal::Finished,
    ];
    feed(&mut app, removed.map(Event::Removal));
    assert_eq!(phase(&app), Some(Phase::RemoveFailed));
    assert_eq!(key(&mut app, Action::Remove), [], "asked first");
    key(&mut app, Action::Back);
    assert_eq!(key(&mut app, Action::Remove), [], "asked anew");
    let effects = key(&mut app, Action::Remove);
    assert_eq!(effects[0], Effect::AllowContents(vec!["ConfigMap precious".into()]));
    assert_eq!(removal(effects)[1], cleanup(Keep::new()));
    assert_eq!(phase(&app), Some(Phase::Removing));
}
