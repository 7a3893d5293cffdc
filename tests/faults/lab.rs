//! A client, two nodes with a router between them, and two servers, out of network namespaces; on both nodes a real agent
//! watches, and a session hears them.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nodewatch_answers::{Answer, News, Source};
use nodewatch_protocol::{FromAgent, Hello, Request, SignalSeries, SignalsUpdate, ToAgent, Update, WatchSpec};
use nodewatch_testing::{
    agent::Agent,
    namespaces::ip,
    program::{run, said},
};
use nodewatch_tui::{
    base::clock::unix_millis,
    model::{Node, NodesChange, Place, SessionId, TunnelChange},
    session::{Event, Session, update},
};

const NAMES: [&str; 6] = ["cli", "a", "wire", "b", "srv", "srv2"];
/// The nodes.
pub const NODES: [&str; 2] = ["node-a", "node-b"];

/// Which addresses are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// Everything of one fault; gone when dropped.
pub struct Lab {
    prefix: String,
    pub family: Family,
    jobs: Vec<Child>,
    agents: Vec<Agent>,
    session: Session,
    /// Counters that no interface here has, by their numbers.
    made_up: BTreeMap<u32, u64>,
    /// Settings of the whole machine, as they were.
    restored: Vec<(&'static str, String)>,
    rings: tempfile::TempDir,
}

/// An address of a link: the network's number, and the end's.
fn address(family: Family, network: u8, end: u8) -> String {
    match family {
        Family::V4 => format!("10.{network}.0.{end}"),
        Family::V6 => format!("fd09:{network}::{end}"),
    }
}

impl Lab {
    pub fn new(number: usize, family: Family) -> Self {
        let prefix = format!("nwf{}x{number}", std::process::id());
        let rings = tempfile::tempdir().expect("a folder");
        let place = Place::Cluster { context: "lab".into(), flavour: None };
        let session = Session::plain(place, SessionId::new(7), Duration::from_secs(3600));
        let lab = Self {
            prefix,
            family,
            jobs: Vec::new(),
            agents: Vec::new(),
            session,
            made_up: BTreeMap::new(),
            restored: Vec::new(),
            rings,
        };
        for name in NAMES {
            ip(&["netns", "add", &lab.namespace(name)]);
            lab.inside(name, &["ip", "link", "set", "lo", "up"]);
            lab.inside(name, &["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
            lab.inside(
                name,
                &["sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"],
            );
        }
        for (pod, network, node, host) in [("cli", 1, "a", "eni0"), ("srv", 2, "b", "eni0"), ("srv2", 3, "b", "eni1")] {
            lab.pod(pod, network, node, host);
        }
        lab.between("a", "toa", 100);
        lab.between("b", "tob", 101);
        for (family, length) in [(Family::V4, 32), (Family::V6, 128)] {
            for (network, node) in [(1, 100), (2, 101), (3, 101)] {
                let (to, via) = (format!("{}/{length}", address(family, network, 2)), address(family, node, 2));
                lab.inside("wire", &["ip", "route", "add", &to, "via", &via]);
            }
        }
        lab
    }

    pub fn namespace(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A program in one of the namespaces, which must do it.
    #[track_caller]
    pub fn inside(&self, name: &str, command: &[&str]) -> String {
        let namespace = self.namespace(name);
        let output = run("ip", &[&["netns", "exec", &namespace], command].concat());
        assert!(output.status.success(), "{name}: {command:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A pod has a route to its host's end, and the host one to the pod: no address between, as the VPC CNI has it.
    fn pod(&self, pod: &str, network: u8, node: &str, host: &str) {
        let names = (self.namespace(pod), self.namespace(node));
        ip(&["-n", &names.0, "link", "add", "eth0", "type", "veth", "peer", "name", host, "netns", &names.1]);
        self.inside(node, &["ip", "link", "set", host, "up"]);
        self.inside(pod, &["ip", "link", "set", "eth0", "up"]);
        let mac = self.inside(node, &["cat", &format!("/sys/class/net/{host}/address")]);
        for (family, length, gateway) in [(Family::V4, 32, "169.254.1.1"), (Family::V6, 128, "fe80::1")] {
            let own = format!("{}/{length}", address(family, network, 2));
            self.inside(pod, &["ip", "addr", "add", &own, "dev", "eth0"]);
            self.inside(pod, &["ip", "neigh", "add", gateway, "lladdr", mac.trim(), "dev", "eth0", "nud", "permanent"]);
            if family == Family::V4 {
                self.inside(pod, &["ip", "route", "add", gateway, "dev", "eth0"]);
            }
            let which = if family == Family::V4 { "-4" } else { "-6" };
            self.inside(pod, &["ip", which, "route", "add", "default", "via", gateway, "dev", "eth0"]);
            self.inside(node, &["ip", which, "route", "add", &own, "dev", host]);
        }
    }

    fn between(&self, node: &str, wire: &str, network: u8) {
        let names = (self.namespace(node), self.namespace("wire"));
        ip(&["-n", &names.0, "link", "add", "eth0", "type", "veth", "peer", "name", wire, "netns", &names.1]);
        for (family, length) in [(Family::V4, 24), (Family::V6, 64)] {
            let ends = [1, 2].map(|end| format!("{}/{length}", address(family, network, end)));
            self.inside("wire", &["ip", "addr", "add", &ends[0], "dev", wire]);
            self.inside(node, &["ip", "addr", "add", &ends[1], "dev", "eth0"]);
        }
        self.inside("wire", &["ip", "link", "set", wire, "up"]);
        self.inside(node, &["ip", "link", "set", "eth0", "up"]);
        for (which, family) in [("-4", Family::V4), ("-6", Family::V6)] {
            self.inside(node, &["ip", which, "route", "add", "default", "via", &address(family, network, 1)]);
        }
    }

    /// A second interface of the servers' node, as one that has several; the address of the router behind it.
    pub fn second_way(&self) -> String {
        let names = (self.namespace("b"), self.namespace("wire"));
        ip(&["-n", &names.0, "link", "add", "eth1", "type", "veth", "peer", "name", "tob2", "netns", &names.1]);
        let [wire, node] = [1, 2].map(|end| address(Family::V4, 102, end));
        self.inside("wire", &["ip", "addr", "add", &format!("{wire}/24"), "dev", "tob2"]);
        self.inside("b", &["ip", "addr", "add", &format!("{node}/24"), "dev", "eth1"]);
        self.inside("wire", &["ip", "link", "set", "tob2", "up"]);
        self.inside("b", &["ip", "link", "set", "eth1", "up"]);
        wire
    }

    /// The address of the first server, or of the second.
    pub fn server(&self, number: u8) -> String {
        address(self.family, 1 + number, 2)
    }

    /// The address that both servers have together on the client's node.
    pub fn service(&mut self, port: u16, backend: u16) -> String {
        let (table, at) = if self.family == Family::V4 { ("ip", "10.96.0.10") } else { ("ip6", "fd09:96::10") };
        let of = |number| format!("{} . {backend}", self.server(number));
        let rules = format!(
            "add table {table} nat; add chain {table} nat pre {{ type nat hook prerouting priority -100; }}; \
             add rule {table} nat pre {table} daddr {at} tcp dport {port} dnat to numgen random mod 2 map {{ 0 : {}, 1 : {} }}",
            of(1),
            of(2)
        );
        self.nft("a", &rules);
        at.to_owned()
    }

    pub fn nft(&self, name: &str, rules: &str) {
        self.inside(name, &["nft", rules]);
    }

    /// `tcp`-rules need the family's table.
    pub fn table(&self) -> &'static str {
        if self.family == Family::V4 { "ip" } else { "ip6" }
    }

    /// A script in one of the namespaces, which runs until all ends; its number ends it before.
    pub fn job(&mut self, name: &str, script: &str, arguments: &[&str]) -> usize {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults").join(script);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(name), "python3"]).arg(path).args(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("ip netns");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        assert_eq!(line, "up\n", "{script} {arguments:?}");
        self.jobs.push(child);
        self.jobs.len() - 1
    }

    pub fn end_job(&mut self, number: usize) {
        self.jobs[number].kill().expect("running");
        self.jobs[number].wait().expect("ended");
    }

    /// A setting of the kernel that all namespaces share, until this lab is dropped.
    pub fn for_all_of_the_machine(&mut self, name: &'static str, value: &str) {
        let before = run("sysctl", &["-n", name]);
        assert!(before.status.success(), "{}", said(&before));
        self.restored.push((name, String::from_utf8_lossy(&before.stdout).trim().to_owned()));
        assert!(run("sysctl", &["-qw", &format!("{name}={value}")]).status.success(), "{name}");
    }

    /// Agents watch both nodes.
    pub fn watch(&mut self) {
        let nodes = NODES.map(|name| Node::named(name.into()));
        self.feed(Event::Nodes(NodesChange::Replaced(nodes.to_vec())));
        self.feed(Event::DeployTo(NODES.map(Into::into).to_vec()));
        for (name, namespace) in NODES.into_iter().zip(["a", "b"]) {
            let ring = self.rings.path().join(name);
            let mut agent = Agent::in_net(&agent_program(), &self.namespace(namespace), &ring);
            agent.say(&ToAgent::Request { id: 99, request: Request::Watch(Some(WatchSpec::default())) });
            self.agents.push(agent);
            self.feed(Event::Tunnel(name.into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"))));
        }
    }

    fn feed(&mut self, event: Event) {
        update(&mut self.session, event, unix_millis());
    }

    /// Hears the agents for so long, or until the answers are as wanted; how long that took.
    pub fn until(&mut self, most: Duration, so: impl Fn(&[Answer]) -> bool) -> Option<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < most {
            let mut told = Vec::new();
            for (node, agent) in NODES.into_iter().zip(&mut self.agents) {
                told.extend(std::iter::from_fn(|| agent.heard()).map(|message| (node, message)));
            }
            for (node, message) in told {
                let FromAgent::Update(told @ (Update::Symptoms(_) | Update::Signals(_))) = message else { continue };
                self.feed(Event::Tunnel(node.into(), TunnelChange::Update(told)));
            }
            self.feed(Event::Tick);
            let answers: Vec<Answer> = self.session.answers.current().cloned().collect();
            if so(&answers) {
                return Some(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        None
    }

    /// As long as that.
    pub fn hear(&mut self, long: Duration) {
        self.until(long, |_| false);
    }

    /// The API server has said which servers take a service's traffic on that port.
    pub fn endpoints(&mut self, port: u16, servers: &[u8]) {
        let backends = servers.iter().map(|number| (self.server(*number).parse().expect("an address"), port, true));
        let (name, service) = ("shop/api-x1".to_owned(), "shop/api".to_owned());
        let slice = News::Slice { name, service, backends: backends.collect() };
        self.feed(Event::Changes(vec![News::Lists(Source::Endpoints), slice, News::Listed(Source::Endpoints)]));
    }

    /// A counter of a kind of interface that is not here has risen.
    pub fn count(&mut self, node: usize, signal: &str, by: u64) {
        let id = 1_000_000 + node as u32;
        let value = self.made_up.entry(id).or_insert(0);
        let first = *value == 0;
        *value += by;
        let told = SignalSeries { id, name: signal.into(), item: "eth0".into(), value: 0, total: 0 };
        let told = if first { vec![told] } else { Vec::new() };
        let moved = vec![(id, by)];
        for update in [
            SignalsUpdate { at: unix_millis(), told, ..SignalsUpdate::default() },
            SignalsUpdate { at: unix_millis(), moved, ..SignalsUpdate::default() },
        ] {
            self.feed(Event::Tunnel(NODES[node].into(), TunnelChange::Update(Update::Signals(update))));
        }
    }

    /// What stands now, and what was looked at.
    pub fn answers(&self) -> Vec<Answer> {
        self.session.answers.current().cloned().collect()
    }

    pub fn session(&self) -> &Session {
        &self.session
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for (name, value) in &self.restored {
            run("sysctl", &["-qw", &format!("{name}={value}")]);
        }
        for job in &mut self.jobs {
            let _ = job.kill();
            let _ = job.wait();
        }
        self.agents.clear();
        for name in NAMES {
            run("ip", &["netns", "del", &self.namespace(name)]);
        }
    }
}

/// The agent of this build.
fn agent_program() -> String {
    let own: PathBuf = env!("CARGO_BIN_EXE_nodewatch-tui").into();
    own.with_file_name("nodewatch-agent").to_string_lossy().into_owned()
}
