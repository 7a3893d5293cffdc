//! From a kubeconfig and a context's name to a client.
//!
//! Owns the choice of kubeconfig and context, and how many calls go out at once. Credential plugins (EKS uses one) are
//! kube's.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use http::{Request, Response};
use kube::{
    Client, Config, Error,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError, NamedContext},
};
use tower::{BoxError, Service, limit::ConcurrencyLimitLayer};

use super::{
    error::{Attempt, notice},
    identity,
};
use crate::{
    model::{ClusterIdentity, ContextRow, Failure, Notice, Place},
    text,
};

/// Calls that wait for an answer at the same time, whatever goes on.
const CALLS: usize = 10;

/// Which cluster is meant.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Kubeconfig files other than `$KUBECONFIG` or `~/.kube/config`, merged in this order; none means these.
    pub kubeconfig: Vec<PathBuf>,
    /// A context other than the current one.
    pub context: Option<String>,
}

/// A cluster that can be asked.
#[derive(Clone)]
pub struct Connection {
    pub(super) client: Client,
    /// For screens.
    pub place: Place,
    /// The context's name.
    pub(super) context: String,
    /// The files that the context was read from, as absolute paths.
    pub(super) kubeconfig: Vec<PathBuf>,
    /// The API server's address.
    pub(super) server: String,
    /// What it is trusted by, see [`ClusterIdentity::ca_sha256`].
    pub(super) ca_sha256: Option<String>,
}

impl Connection {
    /// A cluster behind a stack of services that was made elsewhere.
    pub fn over<S, B>(stack: ClientBuilder<S>, place: Place) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let client = stack.with_layer(&ConcurrencyLimitLayer::new(CALLS)).build();
        let context = match &place {
            Place::Cluster { context, .. } => context.clone(),
            Place::Local => String::new(),
        };
        Self { client, place, context, kubeconfig: Vec::new(), server: String::new(), ca_sha256: None }
    }

    /// Reads the kubeconfig and makes a client. Nothing is sent yet.
    pub async fn open(target: &Target) -> Result<Self, Notice> {
        let files = if target.kubeconfig.is_empty() { usual_files() } else { target.kubeconfig.clone() };
        let file = read(&files).map_err(|error| {
            Notice::error(
                "cannot read the kubeconfig",
                text::chain(&error),
                "name one with --kubeconfig or KUBECONFIG, or use --local to watch this machine",
            )
            .of(Failure::BadInput)
        })?;
        let context = chosen_context(&file, target.context.as_deref())?;
        let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(file, &options).await.map_err(|error| {
            Notice::error(
                format!("context {context:?} cannot be used"),
                text::chain(&error),
                "mend it with kubectl config",
            )
            .of(Failure::BadInput)
        })?;
        config.connect_timeout = Some(Duration::from_secs(10));
        let flavour = flavour(config.cluster_url.host().unwrap_or_default());
        let (server, ca_sha256) = identity::trust(&config);
        // A credential plugin runs here for the first time.
        let builder = ClientBuilder::try_from(config).map_err(|error| match error {
            Error::Auth(_) => notice(&Attempt { what: format!("use context {context:?}"), rights: "none" }, &error),
            other => Notice::error(
                format!("context {context:?} cannot be used"),
                text::root_cause(&other),
                "check its certificates and its server address",
            )
            .of(Failure::BadInput),
        })?;
        let kubeconfig = files.iter().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone())).collect();
        let over = Self::over(builder, Place::Cluster { context, flavour });
        Ok(Self { kubeconfig, server, ca_sha256, ..over })
    }

    /// The cluster that a session began in, by the session's own credentials; refused when it is another one now.
    pub async fn again(identity: &ClusterIdentity) -> Result<Self, Notice> {
        let connection = Self::by(identity).await?;
        identity::check(&connection, identity).await?;
        Ok(connection)
    }

    /// The same, whose address and CA may have changed where the user trusts the cluster with that UID.
    pub async fn again_trusted(identity: &ClusterIdentity, trusted: Option<&str>) -> Result<Self, Notice> {
        let connection = Self::by(identity).await?;
        match identity::check(&connection, identity).await {
            Err(notice) if notice.failure == Failure::Moved && trusted == Some(&identity.kube_system_uid) => Ok(()),
            outcome => outcome,
        }
        .map(|()| connection)
    }

    /// By the context that a session began with; whatever that leads to now.
    pub(super) async fn by(identity: &ClusterIdentity) -> Result<Self, Notice> {
        Self::open(&Target { kubeconfig: identity.kubeconfig.clone(), context: Some(identity.context.clone()) }).await
    }

    /// Which cluster this is.
    pub async fn identity(&self) -> Result<ClusterIdentity, Notice> {
        Ok(ClusterIdentity {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            server: self.server.clone(),
            ca_sha256: self.ca_sha256.clone(),
            kube_system_uid: identity::kube_system_uid(&self.client).await?,
        })
    }

    /// Whether it uses the context, and so the credentials, that a session began with.
    pub(super) fn is_by_context_of(&self, cluster: &ClusterIdentity) -> bool {
        (&self.context, &self.kubeconfig) == (&cluster.context, &cluster.kubeconfig)
    }

    /// The context's name.
    pub fn context(&self) -> &str {
        &self.context
    }
}

/// As kubectl has it: every file that `$KUBECONFIG` names and that exists, otherwise `~/.kube/config`.
fn usual_files() -> Vec<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let named: Vec<PathBuf> = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    if named.is_empty() {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        return vec![home.join(".kube/config")];
    }
    let exist: Vec<PathBuf> = named.iter().filter(|path| path.exists()).cloned().collect();
    if exist.is_empty() { named } else { exist }
}

fn read(files: &[PathBuf]) -> Result<Kubeconfig, KubeconfigError> {
    files.iter().map(Path::new).try_fold(Kubeconfig::default(), |all, file| all.merge(Kubeconfig::read_from(file)?))
}

fn chosen_context(file: &Kubeconfig, wanted: Option<&str>) -> Result<String, Notice> {
    let known: Vec<&str> = file.contexts.iter().map(|context| context.name.as_str()).collect();
    let known_text = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    match wanted.or(file.current_context.as_deref()) {
        Some(name) if known.contains(&name) => Ok(name.to_owned()),
        Some(name) => Err(Notice::error(
            format!("no context {name:?} in the kubeconfig"),
            known_text,
            "choose one with --context",
        )
        .of(Failure::BadInput)),
        None => Err(Notice::error("the kubeconfig has no current context", known_text, "choose one with --context")
            .of(Failure::BadInput)),
    }
}

/// Every context of these files, or of the usual ones.
pub(super) fn contexts(files: &[PathBuf]) -> Result<Vec<ContextRow>, Notice> {
    let usual = usual_files();
    let file = read(if files.is_empty() { &usual } else { files }).map_err(|error| {
        Notice::error("cannot read the kubeconfig", text::chain(&error), "mend it with kubectl config")
    })?;
    let row = |context: &NamedContext| {
        let inside = context.context.as_ref();
        ContextRow {
            name: context.name.clone(),
            cluster: inside.map(|inside| inside.cluster.clone()).unwrap_or_default(),
            user: inside.and_then(|inside| inside.user.clone()).unwrap_or_default(),
            current: file.current_context.as_ref() == Some(&context.name),
        }
    };
    Ok(file.contexts.iter().map(row).collect())
}

/// The context that would be used, without asking anybody; what is wrong with the kubeconfig is said when it is used.
pub fn context_name(target: &Target) -> Option<String> {
    let usual = usual_files();
    let file = read(if target.kubeconfig.is_empty() { &usual } else { &target.kubeconfig }).ok()?;
    chosen_context(&file, target.context.as_deref()).ok()
}

fn flavour(host: &str) -> Option<String> {
    let ends = [".eks.amazonaws.com", ".eks.amazonaws.com.cn"];
    ends.iter().any(|end| host.ends_with(end)).then(|| "eks".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_context_is_named_with_those_there_are() {
        let file = Kubeconfig::from_yaml(
            "apiVersion: v1\nkind: Config\ncontexts: [{name: a, context: {cluster: c, user: u}}, {name: b}]",
        )
        .expect("a kubeconfig");
        assert_eq!(chosen_context(&file, Some("a")), Ok("a".to_owned()));
        let notice = chosen_context(&file, Some("prod")).expect_err("unknown");
        assert_eq!(notice.line(), "no context \"prod\" in the kubeconfig: it has a, b (choose one with --context)");
        assert_eq!(notice.failure, Failure::BadInput);
        assert!(chosen_context(&file, None).is_err());
    }

    #[test]
    fn an_eks_address_is_known() {
        assert_eq!(flavour("abc.gr7.eu-west-1.eks.amazonaws.com"), Some("eks".to_owned()));
        assert_eq!(flavour("127.0.0.1"), None);
    }
}
