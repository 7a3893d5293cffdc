//! The agent program sent into a pod of a stock image, for clusters where no image of ours can be had.
//!
//! Owns the sending; what such a pod runs until the program is there is in `template.rs`. A sent file cannot carry a
//! capability, so the pod is as locked down as ever and cannot capture, unless the user has it run as uid 0.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Cluster, exec, lock, template::PROGRAM};
use crate::{
    agents::site::OpenError,
    base::{disk, text},
    journal::Pushed,
    model::{Failure, NodeName, Notice},
};

/// How long sending may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The lines by which the pod says how far it is; a line of anything else in it means nothing.
const PRESENT: &str = "nodewatch-push:present";
const READY: &str = "nodewatch-push:ready";
const STORED: &str = "nodewatch-push:stored";

/// What is sent, and into what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// A stock image with sh, head, chmod, mv, sleep and sha256sum.
    pub image: String,
    /// The agent program; `None` where a session that was begun with it is taken up without it: pods that have it work.
    program: Option<Arc<[u8]>>,
    /// Where it was read.
    pub(super) path: PathBuf,
    /// Its lower-case hexadecimal SHA-256.
    pub(super) sha256: String,
    /// What it runs on, as Kubernetes names it; empty where nobody has the program.
    pub(super) architecture: &'static str,
    /// Its pods run as uid 0, with NET_RAW alone.
    pub as_root: bool,
}

/// A file that is larger is not the agent.
const LARGEST: u64 = 256 << 20;

impl Push {
    /// Reads the program.
    pub fn read(image: String, path: &Path, as_root: bool) -> Result<Self, Notice> {
        let refused = |cause: String| {
            let next_step = "set the agent program for the nodes' architecture with --agent-binary";
            Notice::error("no agent program to send", cause, next_step).of(Failure::BadInput)
        };
        let program =
            disk::read_regular(path, LARGEST).map_err(|error| refused(format!("{}: {error}", path.display())))?;
        // `e_machine` of the ELF header, see elf(5).
        let machine = program.get(18..20).filter(|_| program.starts_with(b"\x7fELF"));
        let architecture = match machine {
            Some([62, 0]) => "amd64",
            Some([183, 0]) => "arm64",
            _ => return Err(refused(format!("{} is not a Linux program for amd64 or arm64", path.display()))),
        };
        let sha256 = text::hex(&Sha256::digest(&program));
        Ok(Self { image, program: Some(program.into()), path: path.to_owned(), sha256, architecture, as_root })
    }

    /// The program that a session was begun with, which may not be here any more, or not as it was.
    pub fn again(image: String, pushed: &Pushed) -> Self {
        match Self::read(image.clone(), &pushed.program, pushed.as_root) {
            Ok(push) if push.sha256 == pushed.sha256 => push,
            _ => Self {
                image,
                program: None,
                path: pushed.program.clone(),
                sha256: pushed.sha256.clone(),
                architecture: "",
                as_root: pushed.as_root,
            },
        }
    }
}

/// Sees that a node's pod has the program.
pub(super) async fn ensure(cluster: &Cluster, node: &NodeName) -> Result<(), OpenError> {
    let Some(push) = &cluster.settings.push else { return Ok(()) };
    let pod = lock(&cluster.state.pods).name(node);
    let Some(pod) = pod else { return Err(OpenError::PodGone) };
    if lock(&cluster.state.pushed).get(node) == Some(&pod) {
        return Ok(());
    }
    let sent = timeout(PATIENCE, send(cluster, node, push)).await;
    sent.unwrap_or(Err(OpenError::NotTaken(PATIENCE)))?;
    lock(&cluster.state.pushed).insert(node.clone(), pod);
    Ok(())
}

async fn send(cluster: &Cluster, node: &NodeName, push: &Push) -> Result<(), OpenError> {
    let program = push.program.as_deref().unwrap_or_default();
    let (size, sum) = (program.len(), &push.sha256);
    // Another program may have sent it already: then nothing is read.
    let script = format!(
        "P={PROGRAM}; if [ -x $P ] && echo '{sum}  '$P | sha256sum -c >/dev/null 2>&1; then echo {PRESENT}; exit 0; \
         fi; \
         echo {READY}; head -c {size} > $P.part && echo '{sum}  '$P.part | sha256sum -c >/dev/null && \
         chmod 755 $P.part && mv $P.part $P && echo {STORED}"
    );
    let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let mut process = exec::exec(cluster, node, command).await?;
    let (Some(mut reader), Some(mut writer)) = (exec::output(&mut process), process.stdin()) else {
        return Err(OpenError::NoStream { opened: "the exec", stream: "standard input and output" });
    };
    let mut heard = String::new();
    let mut buffer = [0; 256];
    let mut sent = false;
    loop {
        let read = reader.read(&mut buffer).await.map_err(OpenError::NotSent)?;
        heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
        let has_said = |marker: &str| heard.lines().any(|line| line.trim_end() == marker);
        if has_said(PRESENT) || has_said(STORED) {
            return Ok(());
        }
        if read == 0 {
            return Err(OpenError::NotAccepted { heard: heard.trim().to_owned() });
        }
        if has_said(READY) && !std::mem::replace(&mut sent, true) {
            if push.program.is_none() {
                return Err(OpenError::OtherProgram { path: push.path.clone() });
            }
            writer.write_all(program).await.map_err(OpenError::NotSent)?;
            writer.flush().await.map_err(OpenError::NotSent)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_is_not_sent() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent");
        let refused = |path: &Path| Push::read("busybox:1".into(), path, false).expect_err("refused").line();
        assert!(refused(&path).contains("No such file"));
        std::fs::write(&path, "#!/bin/sh\n").expect("written");
        assert!(refused(&path).contains("is not a Linux program"));
        let mut program = b"\x7fELF".to_vec();
        program.resize(64, 0);
        std::fs::write(&path, &program).expect("written");
        assert!(refused(&path).contains("for amd64 or arm64"));
        program[18] = 183;
        std::fs::write(&path, &program).expect("written");
        let push = Push::read("busybox:1".into(), &path, false).expect("read");
        assert_eq!((push.sha256.len(), push.architecture), (64, "arm64"));
        // Taken up again: with the program as it was, and without it.
        let pushed = Pushed { program: path.clone(), sha256: push.sha256.clone(), as_root: false };
        assert_eq!(Push::again("busybox:1".into(), &pushed), push);
        program.push(1);
        std::fs::write(&path, &program).expect("written");
        let without = Push::again("busybox:1".into(), &pushed);
        assert_eq!((&without.program, &without.sha256), (&None, &push.sha256));
    }
}
