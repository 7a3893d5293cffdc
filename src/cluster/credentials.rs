//! Who we are to the API server, and when that is renewed.
//!
//! Owns where a token or a certificate comes from, for how long it is used, and that it is asked for once however many
//! calls need it. kube 5 runs a plugin for each client, on the caller's thread and never again after a 401
//! (kube-rs/kube#1675): what is here and in `sender` can go when it does better. Must not know what is called.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{
    plugin::{Plugin, PluginError},
    tls::Identity,
};

/// A token file is read again so often, as client-go does.
const FILE: SignedDuration = SignedDuration::from_secs(60);
/// What ends sooner than this is renewed. client-go waits for the end itself, but a certificate that ends in the middle
/// of a handshake is no 401.
const SKEW: SignedDuration = SignedDuration::from_secs(5);
/// Nothing is asked for more often than this because it has ended: a clock may be wrong.
const AT_MOST: Duration = Duration::from_secs(30);
/// For so long a failure answers everybody who asks.
const FAILED: Duration = Duration::from_secs(2);
/// A fresh credential that is refused at once is not asked for again before this.
const REFUSED: Duration = Duration::from_secs(15);
/// A call waits for a plugin for so long; the plugin goes on.
const WAIT: Duration = Duration::from_secs(20);

/// Where credentials come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// There are none, or a certificate alone.
    Fixed(Option<HeaderValue>),
    /// A file that somebody keeps fresh, and what is used as long as it cannot be read.
    File { path: PathBuf, otherwise: Option<HeaderValue> },
    /// A program.
    Plugin(Box<Plugin>),
}

/// Why there are none.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CredentialError {
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The plugin has given credentials before that a server took: it may do so again.
    #[error(transparent)]
    Renewal(PluginError),
    #[error("the credential plugin {program} has been asked for new credentials and has not answered for {} s", WAIT.as_secs())]
    Slow { program: String },
    #[error("the credential plugin {program} returned unusable credentials: {reason}")]
    Unusable { program: String, reason: String },
    #[error("cannot read the token file {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("the token contains characters that cannot be sent")]
    Token,
    #[error("the program is ending")]
    Ending,
}

impl CredentialError {
    /// What to do about it.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Plugin(error) | Self::Renewal(error) => error.next_step(),
            Self::Slow { .. } => "wait for it, or stop what it waits for",
            Self::Unusable { .. } | Self::File { .. } | Self::Token | Self::Ending => "fix the kubeconfig's user",
        }
    }

    /// Trying again may help without anybody's doing.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Slow { .. } | Self::Renewal(_))
    }
}

/// `Authorization` of a bearer token.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, CredentialError> {
    authorization(&format!("Bearer {}", token.trim()))
}

/// `Authorization` of a name and a password.
pub(super) fn basic(user: &str, password: &str) -> Result<HeaderValue, CredentialError> {
    authorization(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

fn authorization(value: &str) -> Result<HeaderValue, CredentialError> {
    let mut value = HeaderValue::try_from(value).map_err(|_| CredentialError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What calls go out with.
#[derive(Debug)]
pub(super) struct Credential {
    /// `Authorization`.
    pub header: Option<HeaderValue>,
    /// The client's certificate.
    pub identity: Option<Identity>,
    ends: Option<Timestamp>,
    got: Instant,
    /// Its end had come before it.
    was_over: bool,
    /// It was asked for because the one before it was refused.
    after_refusal: bool,
    /// A server has taken it.
    worked: AtomicBool,
}

impl Credential {
    /// A server has taken it.
    pub fn worked(&self) {
        self.worked.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        is_past(self.ends) && !(self.was_over && self.got.elapsed() < AT_MOST)
    }

    /// It has just been asked for, and asking once more would give no better one.
    fn is_hopeless(&self) -> bool {
        self.after_refusal && !self.worked.load(Ordering::Relaxed) && self.got.elapsed() < REFUSED
    }
}

fn is_past(ends: Option<Timestamp>) -> bool {
    ends.is_some_and(|ends| Timestamp::now() >= ends.saturating_sub(SKEW).unwrap_or(ends))
}

type Outcome = Result<Arc<Credential>, CredentialError>;

/// A user's credentials, shared by all that call in the user's name.
#[derive(Debug)]
pub(super) struct Credentials {
    source: Source,
    /// The kubeconfig's own certificate.
    identity: Option<Identity>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Credential>>,
    running: Option<Shared<BoxFuture<'static, Outcome>>>,
    failed: Option<(Instant, CredentialError)>,
    /// What a plugin has said that nobody has heard.
    said: Option<String>,
    listeners: Vec<Listener>,
}

/// Takes a plugin's name and what it has said; false once nobody is there any more.
type Listener = Box<dyn Fn(&str, &str) -> bool + Send>;

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("State").finish_non_exhaustive()
    }
}

/// Those of plugins, by what the kubeconfig says of them: several connections of one process ask once.
static KNOWN: Mutex<Vec<(String, Arc<Credentials>)>> = Mutex::new(Vec::new());

impl Credentials {
    /// Credentials of a source. Nothing is asked of it yet.
    pub fn new(source: Source, identity: Option<Identity>) -> Arc<Self> {
        let Source::Plugin(plugin) = &source else {
            return Arc::new(Self { source, identity, state: Mutex::default() });
        };
        let key = format!("{} {}", plugin.key(), identity.as_ref().map(Identity::key).unwrap_or_default());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, shared)) = known.iter().find(|(other, _)| *other == key) {
            return Arc::clone(shared);
        }
        let new = Arc::new(Self { source, identity, state: Mutex::default() });
        known.push((key, Arc::clone(&new)));
        new
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment, so it is whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on this hears what a plugin says while a screen hides it, and what it has said already.
    pub fn listen(&self, listener: impl Fn(&str, &str) -> bool + Send + 'static) {
        let mut state = self.state();
        state.listeners.push(Box::new(listener));
        if let Some(said) = state.said.take() {
            self.say(&mut state, said);
        }
    }

    fn say(&self, state: &mut State, said: String) {
        let Source::Plugin(plugin) = &self.source else { return };
        let program = plugin.program();
        state.listeners.retain(|listener| listener(&program, &said));
        if state.listeners.is_empty() {
            state.said = Some(said);
        }
    }

    /// What a call goes out with now. What has ended is renewed first.
    pub async fn get(self: &Arc<Self>) -> Outcome {
        let known = self.state().current.clone();
        match known {
            Some(current) if !current.is_over() => Ok(current),
            Some(current) => match self.renew(false, Some(WAIT)).await {
                // The laptop's clock may be the one that is wrong.
                Err(CredentialError::Slow { .. }) if current.worked.load(Ordering::Relaxed) => Ok(current),
                renewed => renewed,
            },
            None => self.renew(false, None).await,
        }
    }

    /// A server has refused what a call went out with: another one, or nothing where there is none to be had.
    pub async fn refused(self: &Arc<Self>, used: &Arc<Credential>) -> Result<Option<Arc<Credential>>, CredentialError> {
        let known = self.state().current.clone();
        let current = match known {
            Some(current) if !Arc::ptr_eq(&current, used) => current,
            _ if matches!(self.source, Source::Fixed(_)) || used.is_hopeless() => return Ok(None),
            _ => self.renew(true, Some(WAIT)).await?,
        };
        let same = current.header == used.header
            && match (&current.identity, &used.identity) {
                (Some(one), Some(other)) => one.is(other),
                (None, None) => true,
                _ => false,
            };
        Ok((!same).then_some(current))
    }

    async fn renew(self: &Arc<Self>, after_refusal: bool, wait: Option<Duration>) -> Outcome {
        let running = {
            let mut state = self.state();
            if let Some((at, error)) = &state.failed
                && at.elapsed() < FAILED
            {
                return Err(error.clone());
            }
            let ours = Arc::clone(self);
            state.running.get_or_insert_with(|| ours.start(after_refusal)).clone()
        };
        match wait {
            None => running.await,
            Some(wait) => tokio::time::timeout(wait, running).await.unwrap_or_else(|_| {
                let Source::Plugin(plugin) = &self.source else { return Err(CredentialError::Ending) };
                Err(CredentialError::Slow { program: plugin.program() })
            }),
        }
    }

    /// Asks, in a task of its own: a call that is given up does not take the answer from the others.
    fn start(self: Arc<Self>, after_refusal: bool) -> Shared<BoxFuture<'static, Outcome>> {
        let task = tokio::spawn(async move {
            let outcome = self.ask(after_refusal).await;
            let mut state = self.state();
            let worked = state.current.as_ref().is_some_and(|current| current.worked.load(Ordering::Relaxed));
            let outcome = outcome.map_err(|error| match error {
                CredentialError::Plugin(error) if worked && error.may_pass() => CredentialError::Renewal(error),
                other => other,
            });
            state.running = None;
            match &outcome {
                Ok(credential) => (state.current, state.failed) = (Some(Arc::clone(credential)), None),
                Err(error) => state.failed = Some((Instant::now(), error.clone())),
            }
            outcome
        });
        task.map(|joined| joined.unwrap_or(Err(CredentialError::Ending))).boxed().shared()
    }

    async fn ask(&self, after_refusal: bool) -> Outcome {
        let (header, identity, ends) = match &self.source {
            Source::Fixed(header) => (header.clone(), None, None),
            Source::File { path, otherwise } => {
                let read = tokio::fs::read_to_string(path).await;
                let header = match (read, otherwise) {
                    (Ok(token), _) => bearer(&token)?,
                    (Err(_), Some(otherwise)) => otherwise.clone(),
                    (Err(error), None) => self
                        .last_header()
                        .ok_or_else(|| CredentialError::File { path: path.clone(), reason: error.to_string() })?,
                };
                (Some(header), None, Some(Timestamp::now() + FILE))
            }
            Source::Plugin(plugin) => {
                let answer = plugin.run().await?;
                if let Some(said) = answer.said {
                    self.say(&mut self.state(), said);
                }
                let unusable = |reason| CredentialError::Unusable { program: plugin.program(), reason };
                let identity = answer.certificate.map(|(certificate, key)| {
                    Identity::from_pem(certificate.as_bytes(), key.as_bytes()).map_err(unusable)
                });
                let identity = identity.transpose()?;
                let ends = answer.ends.or_else(|| identity.as_ref()?.ends());
                (answer.token.as_deref().map(bearer).transpose()?, identity, ends)
            }
        };
        let identity = identity.or_else(|| self.identity.clone());
        let (was_over, worked) = (is_past(ends), AtomicBool::new(false));
        Ok(Arc::new(Credential { header, identity, ends, got: Instant::now(), was_over, after_refusal, worked }))
    }

    /// A file that is gone leaves what it said.
    fn last_header(&self) -> Option<HeaderValue> {
        self.state().current.as_ref()?.header.clone()
    }
}
