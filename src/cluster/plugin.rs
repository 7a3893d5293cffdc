//! A credential plugin's run: what it is told, where it may ask, what it answers, what it says beside that.
//!
//! Owns the child process with its bounds and its end. Must not know when it is due, nor what is done with the answer.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use kube::config::{ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    sync::oneshot,
    time::Instant,
};

use crate::base::loan::{self, Loan};

/// How long it may take where nobody sees what it waits for.
const DEADLINE: Duration = Duration::from_secs(60);
/// After this somebody who waits at a terminal is told what for.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is kept of what it says: the end of it.
const SAID: usize = 2048;
/// And of that so many lines are shown.
const LINES: usize = 6;
/// An answer is a token or a chain of certificates.
const ANSWER: usize = 1024 * 1024;
/// How long output may come after its end, from what it has started.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// One that has failed on a terminal that was lent to it does not get it again so soon: the screen would come and go.
const NOT_AGAIN: Duration = Duration::from_secs(20);

/// When one failed on a terminal that was lent to it.
static IN_VAIN: Mutex<Option<Instant>> = Mutex::new(None);

fn may_ask() -> bool {
    !loan::is_taken() && std::io::stdin().is_terminal()
}

/// A plugin as the kubeconfig has it.
#[derive(Debug, Clone)]
pub(super) struct Plugin {
    /// How it is run.
    pub exec: ExecConfig,
    /// What it is told about the cluster, where it wants to know.
    pub cluster: Option<ExecAuthCluster>,
}

/// What it gave.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// A bearer token.
    pub token: Option<String>,
    /// A client certificate and its key, in PEM.
    pub certificate: Option<(String, String)>,
    /// When they end.
    pub ends: Option<Timestamp>,
    /// What it said beside that, where nobody has seen it.
    pub said: Option<String>,
}

/// Why it gave nothing. What it wrote to its standard output is in none of them: it may be a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum PluginError {
    #[error("the kubeconfig has no command for the credential plugin")]
    NoCommand,
    #[error("the credential plugin {program} is not installed{}", hinted(.hint.as_deref()))]
    NotInstalled { program: String, hint: Option<String> },
    #[error("cannot start the credential plugin {program}: {reason}")]
    Start { program: String, reason: String },
    #[error("the credential plugin {program} needs a terminal (interactiveMode: Always), but {reason}")]
    NeedsTerminal { program: String, reason: &'static str },
    #[error("the credential plugin {program} ended with {status}{}", words(.said))]
    Failed { program: String, status: ExitStatus, said: String },
    #[error("the credential plugin {program} has not answered for {seconds} s and was stopped{}", words(.said))]
    NoAnswer { program: String, seconds: u64, said: String },
    #[error("the credential plugin {program} {what}{}", if .said.trim().is_empty() { String::new() } else { words(.said) })]
    Answer { program: String, what: String, said: String },
}

impl PluginError {
    /// It may give something when it is run again.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::NoAnswer { .. })
    }

    /// It may give something when it can ask somebody.
    fn may_be_asked_for(&self) -> bool {
        matches!(self, Self::NeedsTerminal { .. }) || self.may_pass()
    }

    /// What to do about it.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::NotInstalled { .. } => "install it, or put it on PATH, and try again",
            Self::NoCommand | Self::Start { .. } => "fix the user's exec in the kubeconfig",
            Self::NeedsTerminal { .. } => {
                "start the program on a terminal with this context (--context): it then asks before the screen opens; it \
                 also asks when the session is left"
            }
            Self::Failed { .. } | Self::NoAnswer { .. } | Self::Answer { .. } => {
                "renew what it needs (for EKS: aws sso login) and try again"
            }
        }
    }
}

/// Its last words, on one line.
fn words(said: &str) -> String {
    match last_words(said) {
        Some(last) => format!(": {last}"),
        None => ", without a message".to_owned(),
    }
}

fn last_words(said: &str) -> Option<String> {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("; ");
    (!last.is_empty()).then(|| crate::base::text::visible(&last))
}

fn hinted(hint: Option<&str>) -> String {
    let lines = hint.iter().flat_map(|hint| hint.lines()).map(str::trim).filter(|line| !line.is_empty());
    lines.fold(String::new(), |all, line| format!("{all}{} {line}", if all.is_empty() { ":" } else { "," }))
}

#[derive(Deserialize)]
struct ExecCredential {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default, rename = "apiVersion")]
    api_version: Option<String>,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    client_certificate_data: Option<String>,
    #[serde(default)]
    client_key_data: Option<String>,
    #[serde(default)]
    expiration_timestamp: Option<String>,
}

impl Plugin {
    /// The program's name, for people.
    pub fn program(&self) -> String {
        self.exec.command.clone().unwrap_or_default()
    }

    /// What tells it from another one, the same each time that a kubeconfig is read.
    pub fn key(&self) -> String {
        let ExecConfig { command, args, api_version, interactive_mode, .. } = &self.exec;
        let mode = format!("{interactive_mode:?}");
        let cluster = self.cluster.as_ref().map(|cluster| json!(cluster));
        json!([command, args, self.variables(), api_version, mode, cluster]).to_string()
    }

    /// What is set in its environment, by name. Of two with the same name the later one counts.
    fn variables(&self) -> BTreeMap<&str, &str> {
        let mut variables = BTreeMap::new();
        for variable in self.exec.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                variables.insert(name.as_str(), value.as_str());
            }
        }
        variables
    }

    /// Whether it may ask on a terminal, where there is one.
    pub fn may_ask(&self) -> bool {
        self.exec.interactive_mode != Some(ExecInteractiveMode::Never)
    }

    /// Runs it; where it has to ask and a screen lends the terminal for that, there.
    pub async fn run(&self) -> Result<Answer, PluginError> {
        let on_screen = loan::is_taken() && std::io::stdin().is_terminal();
        match self.run_once().await {
            Err(error) if on_screen && self.may_ask() && error.may_be_asked_for() => {
                let in_vain = whole(&IN_VAIN).is_some_and(|at| at.elapsed() < NOT_AGAIN);
                let loan = if in_vain { None } else { loan::borrow().await };
                match loan {
                    Some(loan) => self.run_on(loan).await,
                    None => Err(error),
                }
            }
            outcome => outcome,
        }
    }

    /// Runs it on the terminal, which goes back afterwards.
    async fn run_on(&self, _loan: Loan) -> Result<Answer, PluginError> {
        let outcome = self.run_once().await;
        *whole(&IN_VAIN) = outcome.is_err().then(Instant::now);
        outcome
    }

    async fn run_once(&self) -> Result<Answer, PluginError> {
        let program = self.program();
        if program.is_empty() {
            return Err(PluginError::NoCommand);
        }
        let terminal = may_ask();
        if self.exec.interactive_mode == Some(ExecInteractiveMode::Always) && !terminal {
            let reason = if loan::is_taken() { "the screen is using it" } else { "there is none" };
            return Err(PluginError::NeedsTerminal { program, reason });
        }
        let asks = terminal && self.may_ask();
        let unseen = loan::is_taken();
        let child = self.command(asks).spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                PluginError::NotInstalled { program: program.clone(), hint: self.exec.install_hint.clone() }
            }
            _ => PluginError::Start { program: program.clone(), reason: error.to_string() },
        })?;
        // Whoever has it before the eyes ends it with Ctrl-C, and may take the time to look for a code.
        let deadline = (!asks).then_some(DEADLINE);
        let (status, answer, said) = watched(child, &program, deadline).await?;
        if !status.success() {
            return Err(PluginError::Failed { program, status, said });
        }
        match self.read(&answer) {
            Ok(answer) => Ok(Answer { said: last_words(&said).filter(|_| unseen), ..answer }),
            Err(what) => Err(PluginError::Answer { program, what, said }),
        }
    }

    fn command(&self, asks: bool) -> Command {
        let mut command = Command::new(self.program());
        command.args(self.exec.args.iter().flatten());
        command.envs(self.variables());
        let mut spec = json!({ "interactive": asks });
        if let Some(cluster) = &self.cluster {
            spec["cluster"] = json!(cluster);
        }
        let told = json!({ "kind": "ExecCredential", "apiVersion": self.exec.api_version, "spec": spec });
        command.env("KUBERNETES_EXEC_INFO", told.to_string());
        command.stdin(if asks { Stdio::inherit() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        if loan::is_taken() {
            // In the background of the terminal it can neither read keys nor change how they are read.
            command.process_group(0);
        }
        command
    }

    /// What its answer holds, or what is wrong with it.
    fn read(&self, answer: &[u8]) -> Result<Answer, String> {
        let text = std::str::from_utf8(answer).map_err(|_| "did not answer with text".to_owned())?;
        let answer: ExecCredential =
            serde_saphyr::from_str(text).map_err(|_| "did not answer with an ExecCredential".to_owned())?;
        if answer.kind.as_deref().is_some_and(|kind| kind != "ExecCredential") {
            return Err("did not answer with an ExecCredential".to_owned());
        }
        if let (Some(wanted), Some(version)) = (&self.exec.api_version, &answer.api_version)
            && wanted != version
        {
            return Err(format!("answered with version {version}, but the kubeconfig says {wanted}"));
        }
        let status = answer.status.ok_or_else(|| "answered without a status".to_owned())?;
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let token = filled(status.token);
        let certificate = match (filled(status.client_certificate_data), filled(status.client_key_data)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("returned a certificate or a key, but not both".to_owned()),
        };
        if token.is_none() && certificate.is_none() {
            return Err("returned neither a token nor a certificate".to_owned());
        }
        let ends = filled(status.expiration_timestamp);
        let ends = ends.map(|at| at.parse().map_err(|_| "returned an invalid expirationTimestamp".to_owned()));
        Ok(Answer { token, certificate, ends: ends.transpose()?, said: None })
    }
}

/// Ends what the plugin has started too, where it has a group of its own.
struct Group(Option<rustix::process::Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            // It may be gone already.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

type Kept = Arc<Mutex<Vec<u8>>>;

fn taken(kept: &Kept) -> Vec<u8> {
    std::mem::take(&mut *whole(kept))
}

/// What is behind a lock is one value, so it is whole even if a holder panicked.
fn whole<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for its end: how it ended, its answer, and the end of what it said.
async fn watched(
    mut child: Child,
    program: &str,
    deadline: Option<Duration>,
) -> Result<(ExitStatus, Vec<u8>, String), PluginError> {
    let drawn_on = loan::is_taken();
    let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    let mut group = Group(pid.filter(|_| drawn_on));
    let (answer, said) = (Kept::default(), Kept::default());
    let quiet = Arc::new(AtomicBool::new(true));
    let (full, is_full) = oneshot::channel();
    let heard = Heard { answer: Arc::clone(&answer), said: Arc::clone(&said), quiet: Arc::clone(&quiet) };
    let reading = tokio::spawn(heard.read(child.stdout.take(), child.stderr.take(), drawn_on, full));
    let told = async {
        tokio::time::sleep(PATIENCE).await;
        if !drawn_on && quiet.load(Ordering::Relaxed) && std::io::stderr().is_terminal() {
            let program = crate::base::text::visible(program);
            let _ = writeln!(std::io::stderr(), "waiting for the credential plugin {program} (Ctrl-C stops it)");
        }
        std::future::pending::<()>().await;
    };
    let too_long = async {
        match deadline {
            Some(deadline) => tokio::time::sleep(deadline).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = child.wait() => Some(ended),
        Ok(()) = is_full => {
            reading.abort();
            let what = format!("answered with more than {}", crate::base::text::bytes(ANSWER as u64));
            let said = String::from_utf8_lossy(&taken(&said)).into_owned();
            return Err(PluginError::Answer { program: program.to_owned(), what, said });
        }
        () = too_long => None,
        () = told => None,
    };
    let abort = reading.abort_handle();
    let text = |said: &Kept| String::from_utf8_lossy(&taken(said)).into_owned();
    let Some(ended) = ended else {
        abort.abort();
        let seconds = deadline.unwrap_or_default().as_secs();
        return Err(PluginError::NoAnswer { program: program.to_owned(), seconds, said: text(&said) });
    };
    // What it has started may keep its output open for ever.
    let _ = tokio::time::timeout(AFTERWARDS, reading).await;
    abort.abort();
    // What it leaves running at its own end, as an agent of keys, is its own affair.
    group.0 = None;
    let status =
        ended.map_err(|error| PluginError::Start { program: program.to_owned(), reason: error.to_string() })?;
    Ok((status, taken(&answer), text(&said)))
}

/// What a plugin has let be heard so far.
struct Heard {
    answer: Kept,
    said: Kept,
    /// It has said nothing.
    quiet: Arc<AtomicBool>,
}

impl Heard {
    /// Keeps what it answers and says, until it has said all or its answer is longer than one may be.
    async fn read(
        self,
        stdout: Option<impl AsyncRead + Unpin>,
        stderr: Option<impl AsyncRead + Unpin>,
        drawn_on: bool,
        full: oneshot::Sender<()>,
    ) {
        let mut full = Some(full);
        let answers = drain(stdout, |bytes| {
            let mut answer = whole(&self.answer);
            answer.extend_from_slice(bytes);
            if answer.len() > ANSWER
                && let Some(full) = full.take()
            {
                // Whoever waits for its end may have gone.
                let _ = full.send(());
            }
            answer.len() <= ANSWER
        });
        let says = drain(stderr, |bytes| {
            self.quiet.store(false, Ordering::Relaxed);
            if !drawn_on {
                // What it asks and says is for whoever sits there, as it comes.
                let mut terminal = std::io::stderr().lock();
                let _ = terminal.write_all(bytes).and_then(|()| terminal.flush());
            }
            let mut said = whole(&self.said);
            said.extend_from_slice(bytes);
            let over = said.len().saturating_sub(SAID);
            said.drain(..over);
            true
        });
        futures::join!(answers, says);
    }
}

/// Hands on what comes, for as long as more is wanted; after that nobody reads.
async fn drain(from: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8]) -> bool) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !take(&buffer[..count]) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(profile: &str) -> String {
        let yaml = format!(
            "apiVersion: client.authentication.k8s.io/v1\ncommand: aws\nargs: [eks, get-token]\nenv:\n\
             - {{name: AWS_PROFILE, value: {profile}}}\n\
             - {{value: eu-west-1, name: AWS_REGION}}\n\
             - {{name: HOME, value: /home/a}}\n\
             - {{name: AWS_STS_REGIONAL_ENDPOINTS, value: regional}}\n"
        );
        let exec: ExecConfig = serde_saphyr::from_str(&yaml).expect("an exec");
        Plugin { exec, cluster: None }.key()
    }

    #[test]
    fn a_plugin_has_one_key_however_often_it_is_read() {
        let first = key("staging");
        assert!(first.contains("AWS_REGION") && first.contains("regional"), "{first}");
        // The variables of each parse are in maps of their own order.
        for _ in 0..20 {
            assert_eq!(key("staging"), first);
        }
        assert_ne!(key("production"), first);
    }
}
