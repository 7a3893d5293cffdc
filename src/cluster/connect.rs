//! From a kubeconfig and a context's name to a client.
//!
//! Owns what a client is put together from. How calls go out is `calls`'.

use std::{path::PathBuf, sync::Arc};

use futures::stream::{BoxStream, StreamExt};
use http::{Request, Response};
use kube::{
    Client,
    client::{Body, ClientBuilder, ConfigExt},
    config::NamedContext,
};
use tower::{BoxError, Service, util::option_layer};

use super::{
    calls::{self, CallsLayer, Shared},
    credentials::{Credentials, Source},
    error::{self, Attempt},
    identity,
    kubeconfig::{self, Chosen, IN_CLUSTER, KubeconfigError},
    sender::{Sender, Way},
};
use crate::{
    base::{proxy::Proxies, text},
    model::{ClusterIdentity, ContextRow, Failure, Notice, Place},
};

/// Which cluster is meant.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Kubeconfig files other than `$KUBECONFIG` or `~/.kube/config`, merged in this order; none means these.
    pub kubeconfig: Vec<PathBuf>,
    /// A context other than the current one.
    pub context: Option<String>,
}

impl Target {
    /// The cluster that a session began in.
    fn of(identity: &ClusterIdentity) -> Self {
        Self { kubeconfig: identity.kubeconfig.clone(), context: Some(identity.context.clone()) }
    }
}

/// A cluster that can be asked.
#[derive(Clone)]
pub struct Connection {
    pub(super) client: Client,
    /// What its calls share.
    pub(super) calls: Arc<Shared>,
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
        S::Error: Into<BoxError> + Send + Sync,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let calls = Shared::new();
        let client = stack.with_layer(&CallsLayer::new(&calls)).build();
        let context = match &place {
            Place::Cluster { context, .. } => context.clone(),
            Place::Local => String::new(),
        };
        Self { client, calls, place, context, kubeconfig: Vec::new(), server: String::new(), ca_sha256: None }
    }

    /// Reads the kubeconfig, gets credentials and makes a client. Nothing is sent to the server yet.
    pub async fn open(target: &Target) -> Result<Self, Notice> {
        let (files, chosen) = find(target)?;
        let context = chosen.context;
        let flavour = flavour(chosen.config.cluster_url.host().unwrap_or_default());
        let (server, ca_sha256) = identity::trust(&chosen.config);
        let credentials = Credentials::new(chosen.source, chosen.identity);
        let attempt = Attempt { what: format!("use context {context:?}"), rights: "none" };
        credentials.get().await.map_err(|error| error::of_credentials(&attempt, &error))?;
        let unusable = |error: &(dyn std::error::Error + 'static)| {
            let next_step = "check its certificates and its server address";
            Notice::error(format!("cannot use context {context:?}"), text::root_cause(error), next_step)
                .of(Failure::BadInput)
        };
        let (base, headers) = (chosen.config.base_uri_layer(), chosen.config.extra_headers_layer());
        let headers = headers.map_err(|error| unusable(&error))?;
        // Of providers kube renews OpenID Connect's tokens; all others are plugins by now.
        let provider = chosen.config.auth_layer().map_err(|error| {
            let cause = format!("its user has the auth-provider \"oidc\": {}", text::root_cause(&error));
            let next_step = "use the plugin kubelogin instead (kubectl oidc-login setup)";
            Notice::error(format!("cannot use context {context:?}"), cause, next_step).of(Failure::BadInput)
        })?;
        let namespace = chosen.config.default_namespace.clone();
        let way = Way { config: chosen.config, proxy: chosen.proxy };
        let sender = Sender::new(way, Arc::clone(&credentials)).map_err(|error| unusable(error.as_ref()))?;
        let connections = sender.clone();
        let builder = ClientBuilder::new(sender, namespace)
            .with_layer(&headers)
            .with_layer(&option_layer(provider))
            .with_layer(&base);
        let kubeconfig = files.iter().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone())).collect();
        let over = Self::over(builder, Place::Cluster { context: context.clone(), flavour });
        over.calls.when_woken(move || connections.forget());
        let calls = Arc::downgrade(&over.calls);
        credentials
            .listen(move |program, said| calls.upgrade().inspect(|calls| calls.news.said(program, said)).is_some());
        Ok(Self { kubeconfig, server, ca_sha256, ..over })
    }

    /// The cluster that a session began in, by the session's own credentials; refused when it is another one now.
    pub async fn again(identity: &ClusterIdentity) -> Result<Self, Notice> {
        let connection = Self::by(identity).await?;
        connection.check(identity).await?;
        Ok(connection)
    }

    /// The same, whose address and CA may have changed where the user trusts the cluster with that UID.
    pub async fn again_trusted(identity: &ClusterIdentity, trusted: Option<&str>) -> Result<Self, Notice> {
        let connection = Self::by(identity).await?;
        match connection.check(identity).await {
            Err(notice) if notice.failure == Failure::Moved && trusted == Some(&identity.kube_system_uid) => Ok(()),
            outcome => outcome,
        }
        .map(|()| connection)
    }

    /// Refuses a cluster that is not the one that a session began in. The same one by another way is refused too, with
    /// [`Failure::Moved`], until somebody says that this is right.
    pub(super) async fn check(&self, expected: &ClusterIdentity) -> Result<(), Notice> {
        // Only this tells clusters apart: addresses and authorities are changed, and are taken over.
        identity::check_uid(&self.client, expected).await?;
        let facts = [
            ("API server address", Some(expected.server.as_str()), Some(self.server.as_str())),
            ("CA fingerprint", expected.ca_sha256.as_deref(), self.ca_sha256.as_deref()),
        ];
        let moved: Vec<String> = facts
            .into_iter()
            .filter(|(_, then, now)| then != now)
            .map(|(what, then, now)| {
                format!("the {what} was {} and is {}", then.unwrap_or("none"), now.unwrap_or("none"))
            })
            .collect();
        if moved.is_empty() { Ok(()) } else { Err(identity::another_way(self.context(), expected, &moved)) }
    }

    /// By the context that a session began with; whatever that leads to now.
    pub(super) async fn by(identity: &ClusterIdentity) -> Result<Self, Notice> {
        Self::open(&Target::of(identity)).await
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

    /// What the API server warns of, and that it is waited for, for as long as anybody listens.
    pub fn news(&self) -> BoxStream<'static, Notice> {
        calls::listen(Arc::clone(&self.calls)).boxed()
    }

    /// The context's name.
    pub fn context(&self) -> &str {
        &self.context
    }
}

/// The context that is meant, and the files that it was found in.
fn find(target: &Target) -> Result<(Vec<PathBuf>, Chosen), Notice> {
    let is_for_pod = target.kubeconfig.is_empty() && target.context.as_ref().is_none_or(|name| name == IN_CLUSTER);
    let files = if target.kubeconfig.is_empty() { kubeconfig::usual_files() } else { target.kubeconfig.clone() };
    if is_for_pod
        && !files.iter().any(|file| file.exists())
        && let Some(chosen) = kubeconfig::in_cluster()
    {
        return chosen.map(|chosen| (Vec::new(), chosen)).map_err(|error| {
            let next_step = "check the pod's service account";
            Notice::error("cannot use the pod's service account", error.to_string(), next_step).of(Failure::BadInput)
        });
    }
    let file = kubeconfig::read(&files).map_err(|error| unreadable(&error))?;
    let context = kubeconfig::chosen_context(&file, target.context.as_deref())?;
    let chosen = kubeconfig::choose(&file, &context, &Proxies::from_environment()).map_err(|error| {
        let next_step = match &error {
            KubeconfigError::Proxy(_) => "fix the proxy's address",
            _ => "fix it with kubectl config",
        };
        Notice::error(format!("cannot use context {context:?}"), error.to_string(), next_step).of(Failure::BadInput)
    })?;
    Ok((files, chosen))
}

fn unreadable(error: &KubeconfigError) -> Notice {
    Notice::error(
        "cannot read the kubeconfig",
        error.to_string(),
        "set one with --kubeconfig or KUBECONFIG, or use --local to watch this machine",
    )
    .of(Failure::BadInput)
}

/// Asks a credential plugin that may ask on the terminal, while nothing is drawn there. Others are asked when they are
/// needed, and what is wrong with the kubeconfig is said then.
pub async fn sign_in(target: &Target) -> Result<(), Notice> {
    let Ok((_, chosen)) = find(target) else { return Ok(()) };
    let Source::Plugin(plugin) = &chosen.source else { return Ok(()) };
    if !plugin.may_ask() {
        return Ok(());
    }
    let attempt = Attempt { what: format!("use context {:?}", chosen.context), rights: "none" };
    let credentials = Credentials::new(chosen.source, chosen.identity);
    credentials.get().await.map(drop).map_err(|error| error::of_credentials(&attempt, &error))
}

/// The same for a session's own credentials.
pub async fn sign_in_again(identity: &ClusterIdentity) -> Result<(), Notice> {
    sign_in(&Target::of(identity)).await
}

/// Every context of these files, or of the usual ones.
pub(super) fn contexts(files: &[PathBuf]) -> Result<Vec<ContextRow>, Notice> {
    let usual = kubeconfig::usual_files();
    let file = kubeconfig::read(if files.is_empty() { &usual } else { files }).map_err(|error| unreadable(&error))?;
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
    let usual = kubeconfig::usual_files();
    match kubeconfig::read(if target.kubeconfig.is_empty() { &usual } else { &target.kubeconfig }) {
        Ok(file) => kubeconfig::chosen_context(&file, target.context.as_deref()).ok(),
        Err(_) => find(target).ok().map(|(_, chosen)| chosen.context),
    }
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
        let file = kube::config::Kubeconfig::from_yaml(
            "apiVersion: v1\nkind: Config\ncontexts: [{name: a, context: {cluster: c, user: u}}, {name: b}]",
        )
        .expect("a kubeconfig");
        assert_eq!(kubeconfig::chosen_context(&file, Some("a")), Ok("a".to_owned()));
        let notice = kubeconfig::chosen_context(&file, Some("prod")).expect_err("unknown");
        assert_eq!(notice.line(), "no context \"prod\" in the kubeconfig: it has a, b (choose one with --context)");
        assert_eq!(notice.failure, Failure::BadInput);
        assert!(kubeconfig::chosen_context(&file, None).is_err());
    }

    #[test]
    fn an_eks_address_is_known() {
        assert_eq!(flavour("abc.gr7.eu-west-1.eks.amazonaws.com"), Some("eks".to_owned()));
        assert_eq!(flavour("127.0.0.1"), None);
    }
}
