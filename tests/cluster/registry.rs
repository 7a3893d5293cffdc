//! The agent image out of a registry, as nodes get it: by digest and by tag, with and without a pull secret.
//!
//! The image is what `assets/image.py` packs, skopeo pushes it, and Debian's docker-registry is the registry.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nodewatch_testing::{eventually, here::possible, program::said};
use serde_json::json;

use crate::{
    kubernetes::{apply, disturb, kubectl, leftovers, nodes},
    laptop::run_to,
};

/// Where this machine is seen from the nodes of a cluster of our own.
const HOST: &str = "10.89.0.1";
const PROGRAMS: [&str; 3] = ["docker-registry", "skopeo", "htpasswd"];
const USER: &str = "puller";
const PASSWORD: &str = "not-a-secret-of-anybody";

/// A registry with the agent image in it, gone when dropped.
struct Registry {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
    digest: String,
    locked: bool,
}

impl Registry {
    /// `None` where it cannot be had, or nodes are not ours to configure.
    fn start(port: u16, locked: bool) -> Option<Self> {
        if disturb().is_none() || !possible(&PROGRAMS) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let mut config = json!({"version": "0.1", "http": {"addr": format!("{HOST}:{port}")},
            "storage": {"filesystem": {"rootdirectory": at("images")}}});
        if locked {
            let users = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output().expect("htpasswd");
            std::fs::write(at("users"), users.stdout).expect("written");
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": at("users")}});
        }
        // JSON is YAML.
        std::fs::write(at("config.yml"), config.to_string()).expect("written");
        let mut command = Command::new("docker-registry");
        let child = command.arg("serve").arg(at("config.yml")).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut registry = Self { child: child.expect("a registry"), folder, port, digest: String::new(), locked };
        eventually("the registry listens", Duration::from_secs(30), || TcpStream::connect((HOST, port)).ok());
        registry.may_be_without_tls();
        registry.push();
        Some(registry)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn hosts() -> PathBuf {
        Path::new(&std::env::var("CLUSTER_DIR").expect("the cluster's folder")).join("registries")
    }

    /// Nodes look at this when they pull.
    fn may_be_without_tls(&self) {
        let folder = Self::hosts().join(format!("{HOST}:{}", self.port));
        std::fs::create_dir_all(&folder).expect("a folder");
        let told = format!("[host.\"http://{HOST}:{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n", self.port);
        std::fs::write(folder.join("hosts.toml"), told).expect("written");
    }

    /// Packs the agent and pushes it; the registry must have it under the digest that was told before.
    fn push(&mut self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (layout, digest) = (self.path("layout"), self.path("digest"));
        let packed = Command::new(root.join("tests/cluster/image.sh"))
            .args([&root.join("target/debug/nodewatch-agent").to_string_lossy(), "", "nodewatch-agent:test"])
            .args(["--layout", &layout, "--digest", &digest])
            .output()
            .expect("bash");
        assert!(packed.status.success(), "{}", said(&packed));
        let told = std::fs::read_to_string(&digest).expect("a digest");
        told.trim().clone_into(&mut self.digest);
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--all", "--quiet", "--dest-tls-verify=false"]);
        if self.locked {
            skopeo.arg(format!("--dest-creds={USER}:{PASSWORD}"));
        }
        let to = format!("docker://{}:test", self.name());
        let pushed = skopeo.args([&format!("oci:{layout}"), &to]).output().expect("skopeo");
        assert!(pushed.status.success(), "{}", said(&pushed));
    }

    fn name(&self) -> String {
        format!("{HOST}:{}/team/nodewatch-agent", self.port)
    }

    fn by_digest(&self) -> String {
        format!("{}@{}", self.name(), self.digest)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A failed test must not be followed by a failed clean-up.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(Self::hosts().join(format!("{HOST}:{}", self.port)));
    }
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn nodes_pull_by_digest_and_the_receipt_says_which() {
    let Some(registry) = Registry::start(15_001, false) else { return };
    let node = nodes().remove(0);
    let told = run_to(0, &["ports", "--nodes", &node, "--image", &registry.by_digest()]);
    assert!(told.contains(&format!("image    {}  on 1 node", registry.by_digest())), "{told}");
    // By tag too: the digest is what the registry said when the node asked.
    let tagged = format!("{}:test", registry.name());
    let told = run_to(0, &["ports", "--nodes", &node, "--image", &tagged, "--image-pull-policy", "Always"]);
    assert!(told.contains(&registry.digest), "{told}");
    // What a registry does not have is told.
    let none = format!("{}@sha256:{}", registry.name(), "0".repeat(64));
    let told = run_to(1, &["ports", "--nodes", &node, "--image", &none]);
    assert!(told.contains("cannot be pulled"), "{told}");
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_pull_secret_of_a_named_account_is_enough() {
    let Some(registry) = Registry::start(15_002, true) else { return };
    let node = nodes().remove(0);
    let (namespace, account) = ("pulls", "puller");
    let _namespace = apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace,
        "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}));
    let server = format!("--docker-server={HOST}:{}", registry.port);
    kubectl(&[
        "-n",
        namespace,
        "create",
        "secret",
        "docker-registry",
        "registry",
        &server,
        &format!("--docker-username={USER}"),
        &format!("--docker-password={PASSWORD}"),
    ]);
    let _account = apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": account, "namespace": namespace},
        "automountServiceAccountToken": false, "imagePullSecrets": [{"name": "registry"}]}));
    // Without the secret the registry refuses: so no node has it from elsewhere.
    let image = registry.by_digest();
    let refused = run_to(1, &["ports", "--nodes", &node, "-n", namespace, "--image", &image]);
    assert!(refused.contains("cannot be pulled"), "{refused}");
    let told =
        run_to(0, &["ports", "--nodes", &node, "-n", namespace, "--service-account", account, "--image", &image]);
    assert!(told.contains(&format!("image    {image}  on 1 node")), "{told}");
    assert_eq!(leftovers(), "");
}
