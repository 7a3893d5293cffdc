//! From a kubeconfig and a context's name to a client.
//!
//! Owns the choice of kubeconfig and context. Credential plugins (EKS uses one) are kube's.

use std::{path::PathBuf, time::Duration};

use kube::{
    Client, Config, Error,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::error::{Attempt, notice};
use crate::{
    model::{Failure, Notice, Place},
    text,
};

/// Which cluster is meant.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// A kubeconfig other than `$KUBECONFIG` or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// A context other than the current one.
    pub context: Option<String>,
}

/// A cluster that can be asked.
pub struct Connection {
    pub(super) client: Client,
    /// For screens.
    pub place: Place,
}

impl Connection {
    /// A cluster behind a client that was made elsewhere.
    pub fn over(client: Client, place: Place) -> Self {
        Self { client, place }
    }

    /// Reads the kubeconfig and makes a client. Nothing is sent yet.
    pub async fn open(target: &Target) -> Result<Self, Notice> {
        let file = match &target.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let file = file.map_err(|error| {
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
        // A credential plugin runs here for the first time.
        let client = Client::try_from(config).map_err(|error| match error {
            Error::Auth(_) => notice(&Attempt { what: format!("use context {context:?}"), rights: "none" }, &error),
            other => Notice::error(
                format!("context {context:?} cannot be used"),
                text::root_cause(&other),
                "check its certificates and its server address",
            )
            .of(Failure::BadInput),
        })?;
        Ok(Self { client, place: Place::Cluster { context, flavour } })
    }
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

fn flavour(host: &str) -> Option<&'static str> {
    host.ends_with(".eks.amazonaws.com").then_some("eks")
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
        assert_eq!(flavour("abc.gr7.eu-west-1.eks.amazonaws.com"), Some("eks"));
        assert_eq!(flavour("127.0.0.1"), None);
    }
}
