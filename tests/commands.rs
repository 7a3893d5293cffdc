//! Commands without a terminal to their end, over agents by script: hours pass in seconds.

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "support/script.rs"]
mod script;

use std::{path::Path, sync::Arc, time::Duration};

use clap::Parser;
use nodewatch_protocol::WatchSpec;
use nodewatch_tui::{
    cli::{Cli, Command},
    headless::{self, ExitCode, Settings},
    model::{Aimed, AimedPod, Failure, Missing, Notice, Place, SessionId, Target},
    runtime::Engine,
    session::Terms,
};
use script::{Fate, Script, contents};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs a command over these agents; how it ended and how long that took.
async fn run(site: &Arc<Script>, budget: Duration, out: &Path, arguments: &[&str]) -> (ExitCode, Duration) {
    let cli = Cli::try_parse_from(["nodewatch-tui"].iter().chain(arguments)).expect("a command line");
    let Some(Command::OnNodes(command)) = cli.command else { panic!("it is on nodes") };
    let place = Place::Cluster { context: "test".into(), flavour: None };
    let terms = headless::terms(&command, out, Terms::new(place, SessionId::new(0x7f3a_91c2), budget));
    let mut engine = Engine::start(terms, Arc::clone(site) as _, out.to_owned());
    engine.set_clock(site.clock());
    let settings = Settings { out, interval: MINUTE, cluster: "test" };
    let begin = Instant::now();
    let exit = Box::pin(headless::run(engine, command, settings)).await;
    (exit, begin.elapsed())
}

/// Files of a node on the laptop, whole.
fn here(out: &Path, node: &str) -> Vec<String> {
    let entries = std::fs::read_dir(out.join(node)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().expect("text")).collect();
    names.sort();
    for name in &names {
        assert_eq!(std::fs::read(out.join(node).join(name)).expect("a file"), contents(name), "{name}");
    }
    names
}

/// Everything that was closed is here, and the ring had to throw nothing away.
fn assert_all_here(site: &Script, out: &Path, node: &str) -> usize {
    let mut closed = site.closed(node);
    closed.sort();
    assert_eq!(here(out, node), closed, "{node}");
    assert_eq!(site.discarded(node), 0, "{node}");
    closed.len()
}

/// The ring holds three files, and the session ends an hour before the capture would.
#[tokio::test(start_paused = true)]
async fn five_hours_on_a_budget_of_four_lose_no_file() {
    let out = tempfile::tempdir().expect("a folder");
    let up = Fate::Up(Duration::from_secs(5));
    let site = Arc::new(Script::new(&[("n1", up), ("n2", up)], 5 * MINUTE));
    let capture = ["capture", "--all", "--duration", "5h", "--rotate-time", "5m"];
    let (exit, took) = run(&site, 4 * HOUR, out.path(), &capture).await;
    assert_eq!(exit, ExitCode::Partly);
    assert!(took > 3 * HOUR && took < 4 * HOUR + 2 * MINUTE, "{took:?}");
    for node in ["n1", "n2"] {
        assert!(assert_all_here(&site, out.path(), node) > 40);
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_goes_ends_its_part_and_what_it_had_closed_is_here() {
    let out = tempfile::tempdir().expect("a folder");
    let nodes = [("n1", Fate::Up(Duration::ZERO)), ("n2", Fate::Deleted(10 * MINUTE + Duration::from_secs(30)))];
    let site = Arc::new(Script::new(&nodes, MINUTE));
    let (exit, took) = run(&site, 4 * HOUR, out.path(), &["capture", "--all", "--duration", "20m"]).await;
    assert_eq!(exit, ExitCode::Partly);
    assert!(took < 21 * MINUTE, "{took:?}");
    assert_eq!(assert_all_here(&site, out.path(), "n1"), 20);
    assert_eq!(assert_all_here(&site, out.path(), "n2"), 10);
}

/// Without a limit it would go on for ever.
#[tokio::test(start_paused = true)]
async fn a_capture_whose_agents_are_all_gone_has_ended() {
    let out = tempfile::tempdir().expect("a folder");
    let site = Arc::new(Script::new(&[("n1", Fate::Deleted(2 * MINUTE))], 30 * MINUTE));
    let (exit, took) = run(&site, 4 * HOUR, out.path(), &["capture", "--all"]).await;
    assert_eq!(exit, ExitCode::Partly);
    assert!(took < 3 * MINUTE, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_node_that_does_not_come_up_fails_no_other() {
    let out = tempfile::tempdir().expect("a folder");
    let nodes = [("n1", Fate::Up(Duration::ZERO)), ("n2", Fate::Never), ("n3", Fate::Failed)];
    let site = Arc::new(Script::new(&nodes, MINUTE));
    let (exit, took) = run(&site, 4 * HOUR, out.path(), &["capture", "--all", "--duration", "5m"]).await;
    assert_eq!(exit, ExitCode::Partly);
    assert!(took < 7 * MINUTE, "{took:?}");
    assert_eq!(assert_all_here(&site, out.path(), "n1"), 5);
    let (exit, took) = run(&site, 4 * HOUR, out.path(), &["ports", "--all"]).await;
    assert_eq!(exit, ExitCode::Partly);
    assert!(took < 2 * MINUTE, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_late_takes_part_after_all() {
    let out = tempfile::tempdir().expect("a folder");
    let nodes = [("n1", Fate::Up(Duration::ZERO)), ("n2", Fate::Up(4 * MINUTE))];
    let site = Arc::new(Script::new(&nodes, MINUTE));
    let (exit, took) = run(&site, 4 * HOUR, out.path(), &["capture", "--all", "--duration", "10m"]).await;
    assert_eq!(exit, ExitCode::Done);
    assert!(took >= 14 * MINUTE && took < 15 * MINUTE, "{took:?}");
    for node in ["n1", "n2"] {
        assert_eq!(assert_all_here(&site, out.path(), node), 10, "{node}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_node_comes_up_nothing_is_done() {
    let out = tempfile::tempdir().expect("a folder");
    for nodes in [[("n1", Fate::Never), ("n2", Fate::Never)], [("n1", Fate::Failed), ("n2", Fate::Failed)]] {
        let site = Arc::new(Script::new(&nodes, MINUTE));
        for command in [&["capture", "--all"][..], &["ports", "--all"], &["ports", "--all", "--watch"]] {
            let (exit, took) = run(&site, 4 * HOUR, out.path(), command).await;
            assert_eq!(exit, ExitCode::Failed, "{nodes:?} {command:?}");
            assert!(took < 6 * MINUTE, "{took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_ports_ends_with_its_agents() {
    let out = tempfile::tempdir().expect("a folder");
    let nodes = [("n1", Fate::Deleted(3 * MINUTE)), ("n2", Fate::Up(Duration::ZERO))];
    let site = Arc::new(Script::new(&nodes, MINUTE));
    let (exit, took) = run(&site, HOUR, out.path(), &["ports", "--all", "--watch"]).await;
    assert_eq!(exit, ExitCode::Partly);
    assert!(took + MINUTE > HOUR && took < HOUR + 2 * MINUTE, "{took:?}");
}

/// What happened while no agent was there nobody has seen.
#[tokio::test(start_paused = true)]
async fn a_watch_of_ports_with_a_hole_in_it_is_not_whole() {
    for (fate, exit) in [(Fate::Up(Duration::ZERO), ExitCode::Done), (Fate::Replaced(3 * MINUTE), ExitCode::Partly)] {
        let out = tempfile::tempdir().expect("a folder");
        let site = Arc::new(Script::new(&[("n1", fate), ("n2", Fate::Up(Duration::ZERO))], MINUTE));
        let watch = ["ports", "--all", "--watch", "--duration", "20m"];
        let (ended, took) = run(&site, HOUR, out.path(), &watch).await;
        assert_eq!(ended, exit, "{fate:?}");
        assert!(took >= 20 * MINUTE && took < 22 * MINUTE, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_done_when_every_node_was_answered_every_time() {
    let up = Fate::Up(Duration::ZERO);
    for (second, targets, exit) in [
        (up, &["10.0.0.5:80", "[fd00::1]:80"][..], ExitCode::Done),
        (up, &["10.0.0.5:80", "10.0.0.5:81"], ExitCode::Partly),
        (Fate::Failed, &["10.0.0.5:80"], ExitCode::Partly),
    ] {
        let out = tempfile::tempdir().expect("a folder");
        let site = Arc::new(Script::new(&[("n1", up), ("n2", second), ("n3", Fate::Never)], MINUTE));
        let (ended, took) = run(&site, HOUR, out.path(), &[&["probe", "--from", "n1,n2"], targets].concat()).await;
        assert_eq!(ended, exit, "{second:?} {targets:?}");
        assert!(took < MINUTE, "{took:?}");
    }
    let out = tempfile::tempdir().expect("a folder");
    let site = Arc::new(Script::new(&[("n1", Fate::Failed)], MINUTE));
    let (ended, _) = run(&site, HOUR, out.path(), &["probe", "--from", "n1", "10.0.0.5:80"]).await;
    assert_eq!(ended, ExitCode::Failed, "nobody has tried");
}

/// Nothing is deployed for what cannot be tried: the node would never come up.
#[tokio::test(start_paused = true)]
async fn a_target_that_is_no_node_is_refused_before_anything_is_deployed() {
    let out = tempfile::tempdir().expect("a folder");
    let site = Arc::new(Script::new(&[("n1", Fate::Never)], MINUTE));
    for [from, target] in [["n1", "n2:80"], ["n1", "n1:80"], ["n2", "10.0.0.5:80"]] {
        let (ended, took) = run(&site, HOUR, out.path(), &["probe", target, "--from", from]).await;
        assert_eq!(ended, ExitCode::BadUsage, "{target} from {from}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

/// A server that cannot answer this time is asked again; one that refuses is not.
#[tokio::test(start_paused = true)]
async fn a_list_that_is_not_to_be_had_now_is_waited_for() {
    for (failure, exit) in [(Failure::Busy, ExitCode::Done), (Failure::NotPermitted, ExitCode::NotPermitted)] {
        let out = tempfile::tempdir().expect("a folder");
        let mut site = Script::new(&[("a", Fate::Never)], MINUTE);
        site.refuses_first(Notice::error("cannot list the nodes", "503", "try again").of(failure));
        let (ended, _) = run(&Arc::new(site), HOUR, out.path(), &["nodes"]).await;
        assert_eq!(ended, exit);
    }
}

/// Pods by name, node and address.
fn pods(pods: &[(&str, &str, &str)]) -> Aimed {
    let mut aimed = Aimed::default();
    for (name, node, address) in pods {
        let addresses = vec![address.parse().expect("an address")];
        aimed.add((*node).into(), AimedPod { name: (*name).to_owned(), addresses });
    }
    aimed
}

fn toward(site: &Script, node: &str) -> Vec<(String, Option<String>, Option<u64>)> {
    let shown = |spec: nodewatch_protocol::CaptureSpec| {
        let toward: Vec<String> = spec.toward.iter().map(ToString::to_string).collect();
        (toward.join(" "), spec.filter, spec.limit_seconds.map(nodewatch_protocol::Seconds::get))
    };
    site.captures(node).into_iter().map(shown).collect()
}

/// A pod gets another address, moves, is gone for a while and comes back: each time its files are whole, and the capture ends
/// when it would have.
#[tokio::test(start_paused = true)]
async fn a_capture_of_a_pod_goes_with_it_and_ends_in_its_time() {
    let out = tempfile::tempdir().expect("a folder");
    let up = Fate::Up(Duration::from_secs(5));
    let mut site = Script::new(&[("n1", up), ("n2", up), ("n3", up)], 5 * MINUTE);
    site.aims(Duration::ZERO, Ok(pods(&[("shop/web-0", "n1", "10.1.0.4")])));
    site.aims(5 * MINUTE, Ok(pods(&[("shop/web-0", "n1", "10.1.0.5")])));
    site.aims(10 * MINUTE, Ok(pods(&[("shop/web-0", "n2", "10.2.0.4")])));
    let gone = Missing { target: Target::pod("shop/web-0").expect("a pod"), near: vec![] };
    site.aims(15 * MINUTE, Ok(Aimed { missing: vec![gone], ..Aimed::default() }));
    site.aims(20 * MINUTE, Ok(pods(&[("shop/web-0", "n2", "10.2.0.9")])));
    let site = Arc::new(site);
    let capture = ["capture", "--pod", "shop/web-0", "--filter", "tcp", "--duration", "30m"];
    let (exit, took) = run(&site, 4 * HOUR, out.path(), &capture).await;
    assert_eq!(exit, ExitCode::Done);
    assert!(took >= 30 * MINUTE && took < 31 * MINUTE, "{took:?}");
    let host = |address: &str| Some(format!("(tcp) and (host {address})"));
    let [first, second] = &toward(&site, "n1")[..] else { panic!("{:?}", toward(&site, "n1")) };
    assert_eq!(*first, ("10.1.0.4".into(), host("10.1.0.4"), Some(1800)));
    assert_eq!((&*second.0, &second.1), ("10.1.0.5", &host("10.1.0.5")));
    assert!(second.2.is_some_and(|left| (1500..1520).contains(&left)), "{second:?}");
    let [third, fourth] = &toward(&site, "n2")[..] else { panic!("{:?}", toward(&site, "n2")) };
    assert_eq!((&*third.0, &*fourth.0), ("10.2.0.4", "10.2.0.9"));
    assert!(fourth.2.is_some_and(|left| (590..620).contains(&left)), "{fourth:?}");
    assert!(site.captures("n3").is_empty());
    assert!(assert_all_here(&site, out.path(), "n1") >= 2);
    assert!(assert_all_here(&site, out.path(), "n2") >= 2);
}

#[tokio::test(start_paused = true)]
async fn nodes_are_watched_for_as_long_as_was_asked_and_a_new_agent_is_asked_again() {
    let out = tempfile::tempdir().expect("a folder");
    let fates = [("n1", Fate::Up(Duration::ZERO)), ("n2", Fate::Replaced(3 * MINUTE)), ("n3", Fate::Failed)];
    let site = Arc::new(Script::new(&fates, 5 * MINUTE));
    let watch = ["watch", "--all", "--filter", "tcp", "--interface", "eth1", "--duration", "10m"];
    let (exit, took) = run(&site, HOUR, out.path(), &watch).await;
    assert_eq!(exit, ExitCode::Partly, "one node never came up");
    assert!(took >= 10 * MINUTE && took < 12 * MINUTE, "{took:?}");
    let spec = WatchSpec { interfaces: vec!["eth1".into()], filter: Some("tcp".into()) };
    // At the end all are told to stop, and tell what they have seen last.
    assert_eq!(site.watches("n1"), [Some(spec.clone()), None]);
    let asked = site.watches("n2");
    assert!(matches!(&asked[..], [first, .., None] if *first == Some(spec.clone())), "{asked:?}");
    assert!(asked[..asked.len() - 1].iter().all(|it| *it == Some(spec.clone())), "{asked:?}");
    assert!(site.captures("n1").is_empty(), "nothing is captured");
}

#[tokio::test(start_paused = true)]
async fn nodes_are_diagnosed_for_as_long_as_was_asked_and_one_that_was_not_reached_makes_it_partial() {
    let out = tempfile::tempdir().expect("a folder");
    let site = Arc::new(Script::new(&[("n1", Fate::Up(Duration::ZERO)), ("n2", Fate::Failed)], 5 * MINUTE));
    for (arguments, exit, least) in [
        (&["diagnose", "--all", "--filter", "tcp", "--duration", "10m"][..], ExitCode::Partly, 10 * MINUTE),
        (&["diagnose", "--nodes", "n1", "--filter", "tcp"], ExitCode::Done, MINUTE),
    ] {
        let (ended, took) = run(&site, HOUR, out.path(), arguments).await;
        assert_eq!(ended, exit, "{arguments:?}");
        assert!(took >= least && took < least + 2 * MINUTE, "{took:?}");
    }
    let spec = WatchSpec { interfaces: vec![], filter: Some("tcp".into()) };
    assert!(site.watches("n1").contains(&Some(spec)), "{:?}", site.watches("n1"));
    assert!(site.captures("n1").is_empty(), "nothing is captured");
}

#[tokio::test(start_paused = true)]
async fn the_changes_of_the_cluster_are_heard_only_while_something_is_watched() {
    let out = tempfile::tempdir().expect("a folder");
    let site = Arc::new(Script::new(&[("n1", Fate::Up(Duration::ZERO))], 5 * MINUTE));
    run(&site, HOUR, out.path(), &["ports", "--all"]).await;
    assert_eq!(site.heard(), (0, 0), "nobody watches");
    run(&site, HOUR, out.path(), &["watch", "--all", "--duration", "10m"]).await;
    assert_eq!(site.heard(), (1, 0), "once, and no more after the watch");
}

#[tokio::test(start_paused = true)]
async fn a_watch_with_a_hole_in_it_or_at_its_end_is_done_in_part() {
    let watch = ["watch", "--all", "--duration", "10m"];
    let diagnose = ["diagnose", "--all", "--duration", "10m"];
    let last = Duration::from_secs(595);
    for (fate, exit) in [
        (Fate::Up(Duration::ZERO), ExitCode::Done),
        (Fate::Replaced(3 * MINUTE), ExitCode::Partly),
        // Too late to be waited for.
        (Fate::Deleted(last), ExitCode::Partly),
    ] {
        let out = tempfile::tempdir().expect("a folder");
        let site = Arc::new(Script::new(&[("n1", Fate::Up(Duration::ZERO)), ("n2", fate)], 5 * MINUTE));
        assert_eq!(run(&site, HOUR, out.path(), &watch).await.0, exit, "{fate:?}");
        let out = tempfile::tempdir().expect("a folder");
        let site = Arc::new(Script::new(&[("n1", Fate::Up(Duration::ZERO)), ("n2", fate)], 5 * MINUTE));
        assert_eq!(run(&site, HOUR, out.path(), &diagnose).await.0, exit, "{fate:?}");
    }
    // The API server answers for that node no more, and its tunnel is dead.
    let out = tempfile::tempdir().expect("a folder");
    let site = Arc::new(Script::new(&[("n1", Fate::Up(Duration::ZERO)), ("n2", Fate::Up(Duration::ZERO))], 5 * MINUTE));
    let hangs = Arc::clone(&site);
    tokio::spawn(async move {
        tokio::time::sleep(9 * MINUTE + Duration::from_secs(20)).await;
        hangs.hang("n2");
        hangs.sleep();
    });
    assert_eq!(run(&site, HOUR, out.path(), &watch).await.0, ExitCode::Partly);
}

#[tokio::test(start_paused = true)]
async fn pods_are_watched_wherever_they_are() {
    let out = tempfile::tempdir().expect("a folder");
    let up = Fate::Up(Duration::ZERO);
    let mut site = Script::new(&[("n1", up), ("n2", up)], 5 * MINUTE);
    site.aims(Duration::ZERO, Ok(pods(&[("shop/web-0", "n1", "10.1.0.4")])));
    site.aims(5 * MINUTE, Ok(pods(&[("shop/web-0", "n1", "10.1.0.5")])));
    site.aims(10 * MINUTE, Ok(pods(&[("shop/web-0", "n2", "10.2.0.4")])));
    let site = Arc::new(site);
    let (exit, _) = run(&site, HOUR, out.path(), &["watch", "--pod", "shop/web-0", "--duration", "20m"]).await;
    assert_eq!(exit, ExitCode::Done);
    let host = |address: &str| Some(WatchSpec { interfaces: vec![], filter: Some(format!("host {address}")) });
    assert_eq!(site.watches("n1"), [host("10.1.0.4"), host("10.1.0.5"), None]);
    assert_eq!(site.watches("n2"), [host("10.2.0.4"), None]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_for_good_ends_nothing_before_the_limit() {
    let out = tempfile::tempdir().expect("a folder");
    let mut site = Script::new(&[("n1", Fate::Up(Duration::ZERO))], 5 * MINUTE);
    site.aims(Duration::ZERO, Ok(pods(&[("shop/web-0", "n1", "10.1.0.4")])));
    site.aims(3 * MINUTE, Ok(Aimed::default()));
    let site = Arc::new(site);
    let (exit, took) = run(&site, HOUR, out.path(), &["capture", "--pod", "shop/web-0", "--duration", "20m"]).await;
    assert_eq!(exit, ExitCode::Done);
    assert!(took >= 20 * MINUTE && took < 21 * MINUTE, "{took:?}");
    assert_eq!(assert_all_here(&site, out.path(), "n1"), 1);
}

/// Nothing is deployed for what is not there, and its name is refused as bad usage.
#[tokio::test(start_paused = true)]
async fn what_is_not_there_or_cannot_be_captured_is_refused_before_anything_is_deployed() {
    let missing = Missing { target: Target::pod("shop/wep").expect("a pod"), near: vec!["shop/web-0".into()] };
    let many: Vec<(String, String)> = (0..250).map(|one| (format!("s/p{one}"), format!("10.0.1.{one}"))).collect();
    let many: Vec<(&str, &str, &str)> = many.iter().map(|(name, ip)| (name.as_str(), "n1", ip.as_str())).collect();
    let pending = vec!["pod shop/web-0 is Pending: it is on no node yet".to_owned()];
    let denied = Notice::error("cannot find pod shop/web", "forbidden", "you need: list on pods");
    for (aimed, exit) in [
        (Ok(Aimed { missing: vec![missing], ..Aimed::default() }), ExitCode::BadUsage),
        (Ok(pods(&many)), ExitCode::BadUsage),
        (Ok(Aimed { gaps: pending, ..Aimed::default() }), ExitCode::Failed),
        (Err(denied.of(Failure::NotPermitted)), ExitCode::NotPermitted),
    ] {
        for command in [&["capture", "--pod", "shop/wep"][..], &["ports", "--service", "shop/wep"]] {
            let out = tempfile::tempdir().expect("a folder");
            let mut site = Script::new(&[("n1", Fate::Up(Duration::ZERO))], MINUTE);
            site.aims(Duration::ZERO, aimed.clone());
            let site = Arc::new(site);
            let (ended, _) = run(&site, HOUR, out.path(), command).await;
            assert_eq!((ended, site.captures("n1").len()), (exit, 0), "{command:?}");
        }
    }
}

/// These agents have no bundle to give: the captures are whole all the same, and what was asked for is not.
#[tokio::test(start_paused = true)]
async fn a_capture_without_its_bundles_goes_on_and_ends_partly() {
    for (bundle, expected) in [(true, ExitCode::Partly), (false, ExitCode::Done)] {
        let out = tempfile::tempdir().expect("a folder");
        let site = Arc::new(Script::new(&[("n1", Fate::Up(Duration::ZERO))], MINUTE));
        let mut capture = vec!["capture", "--all", "--duration", "5m"];
        capture.extend(bundle.then_some("--bundle"));
        let (exit, took) = run(&site, HOUR, out.path(), &capture).await;
        assert_eq!(exit, expected);
        assert!(took < 6 * MINUTE, "{took:?}");
        assert_eq!(assert_all_here(&site, out.path(), "n1"), 5);
    }
}
