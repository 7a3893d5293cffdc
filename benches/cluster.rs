//! Deploying to and removing from 100 nodes of a real API server: requests and time, beside `kubectl` with the same
//! manifests. The nodes are Node objects without kubelets, as only the API part is measured. Run by `make bench`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::{
    collections::HashSet,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{StreamExt, future::BoxFuture};
use http::Request;
use kube::{
    Config,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig},
};
use nodewatch_tui::{
    agents::site::Site,
    cluster::{AgentSettings, Cluster, Connection},
    journal::Journals,
    model::{DeployProgress, Keep, NodeName, Place, Removal, SessionId},
};
use serde_json::json;
use tower::Service;

const NODES: usize = 100;

/// Requests, and how many wait for an answer.
#[derive(Clone, Default)]
struct Count {
    all: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Counted<S> {
    inner: S,
    count: Count,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Counted<S>
where
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let count = self.count.clone();
        count.all.fetch_add(1, Ordering::Relaxed);
        count.most.fetch_max(count.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            count.now.fetch_sub(1, Ordering::Relaxed);
            answer
        })
    }
}

struct Kubectl(PathBuf);

impl Kubectl {
    fn run(&self, arguments: &[&str], input: &str) -> Duration {
        let begin = Instant::now();
        let mut child = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(&self.0)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("kubectl");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "kubectl {arguments:?}");
        begin.elapsed()
    }
}

fn main() {
    let given = std::env::var_os("KUBECONFIG").map(PathBuf::from);
    let own = std::env::var_os("CLUSTER_DIR").map(|folder| PathBuf::from(folder).join("kubeconfig"));
    let Some(kubeconfig) = given.or(own).filter(|file| file.exists()) else {
        println!("100 nodes none is up (make cluster-up): deployment and removal were not timed");
        return;
    };
    let kubectl = Kubectl(kubeconfig.clone());
    let nodes: Vec<NodeName> = (0..NODES).map(|number| NodeName(format!("bench-{number:03}"))).collect();
    // Without capacity no pod is bound to them, so none waits for a kubelet to let it go.
    let object = |name: &NodeName| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"bench": "nodewatch"}}});
    let objects: Vec<_> = nodes.iter().map(object).collect();
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    kubectl.run(&["apply", "-f", "-"], &objects);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(ours(&kubeconfig, &nodes));
    theirs(&kubectl, &nodes);
    kubectl.run(&["delete", "nodes", "-l", "bench=nodewatch"], "");
}

async fn ours(kubeconfig: &Path, nodes: &[NodeName]) {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    let count = Count::default();
    let counted = count.clone();
    let layer = tower::layer::layer_fn(move |inner| Counted { inner, count: counted.clone() });
    let stack = ClientBuilder::try_from(config).unwrap().with_layer(&layer);
    let connection = Connection::over(stack, Place::Local);
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::new(connection, session(), settings(), Journals::in_folder(folder.path()));

    let begin = Instant::now();
    let mut progress = cluster.deploy(nodes.to_vec());
    let mut created = HashSet::new();
    while created.len() < nodes.len() {
        match progress.next().await.unwrap() {
            (node, DeployProgress::Failed(notice)) if notice.headline.starts_with("cannot create") => {
                panic!("{node}: {}", notice.line())
            }
            // Of its Job, or of its pod already.
            (node, DeployProgress::Step(_) | DeployProgress::Failed(_)) => {
                created.insert(node);
            }
            _ => {}
        }
    }
    let deployed = begin.elapsed();
    drop(progress);
    let requests = count.all.swap(0, Ordering::Relaxed);
    print("deploy", requests, deployed);

    let begin = Instant::now();
    let gone = cluster.remove(Keep::new()).filter(|removal| {
        let gone = matches!(removal, Removal::Gone(_));
        async move { gone }
    });
    let gone = gone.count().await;
    let removed = begin.elapsed();
    print("remove", count.all.load(Ordering::Relaxed), removed);
    assert_eq!(gone, nodes.len() + 2, "everything was seen gone");
    println!("100 nodes at most {} requests at once (goal 10)", count.most.load(Ordering::Relaxed));
}

fn print(what: &str, requests: usize, time: Duration) {
    let each = requests as f64 / NODES as f64;
    println!("100 nodes {what}: {requests} requests ({each:.2} a node, goal 4 for both), {:.1} s", time.as_secs_f64());
}

/// The same objects by kubectl.
fn theirs(kubectl: &Kubectl, nodes: &[NodeName]) {
    let yaml = Cluster::manifests(&session(), &settings(), nodes).unwrap();
    let applied = kubectl.run(&["apply", "-f", "-"], &yaml);
    println!("100 nodes kubectl apply of the same manifests: {:.1} s", applied.as_secs_f64());
    let deleted = kubectl.run(&["delete", "--wait", "-f", "-"], &yaml);
    println!("100 nodes kubectl delete of the same manifests: {:.1} s", deleted.as_secs_f64());
}

fn session() -> SessionId {
    SessionId::new(0xbe_9c40)
}

fn settings() -> AgentSettings {
    AgentSettings {
        image: "registry.example/nodewatch-agent:bench".into(),
        pull_policy: None,
        budget: Duration::from_secs(600),
        lease: Duration::from_secs(600),
        namespace: None,
        reaper: false,
        daemonset: false,
        service_account: None,
        ring: None,
        role: None,
        push: None,
        processes: false,
        owner: "bench".into(),
    }
}
