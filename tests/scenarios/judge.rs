//! Whatever a node has open and whatever is expected of it: the laptop's report, its screen, and the report of an agent that
//! was told over the wire to report by itself say the same.

use std::{collections::BTreeSet, net::SocketAddr};

use nodewatch_ports::{PortClass, PortSet};
use nodewatch_protocol::{
    Device, Port, PortProtocol, PortsUpdate, ReportPlan, Request, ToAgent, UnixMillis, Update, decode, encode,
};
use nodewatch_report::{Occasion, Report};
use nodewatch_tui::{
    model::{Expectation, Expectations, NodeName, Origin, PortKey, Way},
    screens::App,
    session::{Effect, Event, port_reports::Reports},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::Value;

use crate::{
    live,
    ports::{settings, tick},
    sample::{feed, tunnel},
};

/// Few, so that what is open and what is expected often meet.
fn number() -> impl Strategy<Value = u16> {
    select(vec![22, 80, 8080, 30080])
}

fn protocol() -> impl Strategy<Value = PortProtocol> {
    select(vec![PortProtocol::Tcp, PortProtocol::Udp, PortProtocol::Sctp])
}

fn address() -> impl Strategy<Value = std::net::IpAddr> {
    let all = [
        "0.0.0.0",
        "10.0.0.8",
        "10.0.0.9",
        "127.0.0.1",
        "127.9.9.9",
        "::",
        "::1",
        "fe80::1",
        "2001:db8::9",
        "::ffff:0.0.0.0",
        "::ffff:10.0.0.9",
        "::ffff:127.0.0.1",
    ];
    prop_oneof![9 => select(all.map(|text| text.parse().expect("an address")).to_vec()), 1 => any::<std::net::IpAddr>()]
}

fn port() -> impl Strategy<Value = Port> {
    let device = option::weighted(0.3, select(vec!["eth0", "lo"]));
    (protocol(), address(), number(), device, any::<bool>()).prop_map(|(protocol, address, number, device, v6only)| {
        Port {
            protocol,
            local: SocketAddr::new(address, number),
            device: device.and_then(Device::named),
            v6only: v6only && address.is_ipv6() && address.is_unspecified(),
        }
    })
}

fn expectation() -> impl Strategy<Value = Expectation> {
    let origin = select(vec![
        Origin::NodePort("a/web".into()),
        Origin::HealthCheck("a/web".into()),
        Origin::HostPort("a/pod".into()),
        Origin::HostNetwork("a/exporter".into()),
        Origin::Kubelet,
    ]);
    let node = option::of(select(vec!["a".to_owned(), "b".to_owned()]));
    let key = (number(), protocol()).prop_map(|(port, protocol)| PortKey { port, protocol });
    (node, key, option::of(address()), origin, any::<bool>())
        .prop_map(|(node, key, address, origin, ready)| Expectation { node, key, address, origin, ready })
}

fn list() -> impl Strategy<Value = PortSet> {
    let items = ["22", "80/udp", "8000-9000", "10.0.0.0/8", "127.0.0.0/8", "fe80::/10", "sctp/30080"];
    vec(select(items.to_vec()), 0..3).prop_map(|items| items.join(",").parse().expect("a list"))
}

/// What there is on a node, and what is said of it.
#[derive(Debug, Clone)]
struct Case {
    open: BTreeSet<Port>,
    expected: Option<Vec<Expectation>>,
    named: PortSet,
    exclude: PortSet,
}

fn case() -> impl Strategy<Value = Case> {
    let open = vec(port(), 0..12).prop_map(|ports| ports.into_iter().collect());
    (open, option::weighted(0.8, vec(expectation(), 0..8)), list(), list())
        .prop_map(|(open, expected, named, exclude)| Case { open, expected, named, exclude })
}

impl Case {
    /// A session of that case, and what comes of it when reports are due.
    fn due(&self, way: Way) -> (App, Vec<Effect>) {
        let mut app = live();
        app.session.reports = Some(Reports::new(settings(way)));
        app.session.terms.expect = self.named.clone();
        app.session.terms.exclude = self.exclude.clone();
        let picture = PortsUpdate::picture(1, &self.open);
        feed(&mut app, picture.into_iter().map(|update| tunnel("a", Update::Ports(update))));
        if let Some(list) = self.expected.clone() {
            let expected = Expectations { list, ..Expectations::default() };
            feed(&mut app, [Event::Expected(vec!["a".into()], expected)]);
        }
        let effects = tick(&mut app, 20);
        (app, effects)
    }

    /// The plan that the agent has, as it read it.
    fn plan(&self) -> ReportPlan {
        let (_, effects) = self.due(Way::PodIdentity);
        let plan = effects.into_iter().find_map(|effect| match effect {
            Effect::Ask(node, request @ Request::Report(Some(_))) if node.0 == "a" => Some(request),
            _ => None,
        });
        let request = plan.expect("the agent is told");
        let line = encode(&ToAgent::Request { id: 1, request }).expect("a line");
        match decode(&line) {
            Ok(ToAgent::Request { request: Request::Report(Some(plan)), .. }) => *plan,
            other => panic!("{other:?}"),
        }
    }
}

/// The laptop's app and report, and the agent's report of what is open by the agent's clock at that time.
fn both(case: &Case) -> (App, Vec<String>, Vec<String>) {
    let (app, effects) = case.due(Way::Grant);
    let laptop = effects.into_iter().find_map(|effect| match effect {
        Effect::Report(node, event) if node.0 == "a" => Some(event),
        _ => None,
    });
    let laptop = laptop.expect("it is due");
    let state = &app.session.nodes[&NodeName::from("a")];
    let open: Vec<(Port, UnixMillis)> = state.open_ports().map(|row| (row.port, app.session.wall(row.since))).collect();
    let occasion = Occasion { at: laptop.at, sequence: 0, agent_errors: 0 };
    let agent = Report::of(&case.plan(), open, occasion).event();
    (app, laptop.parts, agent.parts)
}

#[test]
fn a_port_beside_the_address_of_a_host_port_is_unexpected_whoever_reports_it() {
    let key = PortKey { port: 80, protocol: PortProtocol::Tcp };
    let address = Some("10.0.0.9".parse().expect("an address"));
    let case = Case {
        open: ["tcp 10.0.0.8:80", "tcp 10.0.0.9:80"].map(|text| text.parse().expect("a port")).into(),
        expected: Some(vec![Expectation {
            node: Some("a".into()),
            key,
            address,
            origin: Origin::HostPort("a/pod".into()),
            ready: true,
        }]),
        named: PortSet::default(),
        exclude: PortSet::default(),
    };
    let (_, laptop, agent) = both(&case);
    assert_eq!(laptop, agent);
    let event: Value = serde_json::from_str(&agent[0]).expect("JSON");
    assert_eq!(event["UnexpectedPorts"], 1);
    assert_eq!((&event["ports"][0]["class"], &event["ports"][1]["class"]), (&"unexpected".into(), &"expected".into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_laptop_and_an_agent_by_itself_say_the_same(case in case()) {
        let (app, laptop, agent) = both(&case);
        prop_assert_eq!(&laptop, &agent);

        let event: Value = serde_json::from_str(&laptop[0]).expect("JSON");
        let listed = app.session.list_ports(&app.session.nodes[&NodeName::from("a")]);
        let sockets: Vec<_> = listed.iter().filter(|one| one.socket && !case.exclude.contains(&one.port)).collect();
        let on_screen: Vec<&str> = sockets.iter().map(|one| one.class.word()).collect();
        let reported = event["ports"].as_array().expect("ports").iter();
        let reported: Vec<&str> = reported.map(|port| port["class"].as_str().unwrap_or_default()).collect();
        prop_assert_eq!(on_screen, reported);
        let alarming = sockets.iter().filter(|one| one.class.is_alarming(one.port.scope())).count();
        let known = case.expected.is_some() || !case.named.is_empty();
        prop_assert_eq!(event["UnexpectedPorts"].as_u64(), known.then_some(alarming as u64));
        prop_assert_eq!(sockets.iter().all(|one| one.class.is_known()), known || sockets.is_empty());
        prop_assert!(sockets.iter().all(|one| !matches!(one.class, PortClass::Dead | PortClass::ByRules)));
    }
}
