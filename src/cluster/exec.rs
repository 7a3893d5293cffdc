//! Streams to an agent by exec into its pod: the tunnel, and bulk bytes on a stream of their own.
//!
//! Owns the command lines. stdin is never half-closed: under exec's v4 protocol that would close the whole stream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::api::{Api, AttachParams, AttachedProcess};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{Cluster, lock, template};
use crate::{
    agents::site::{Bulk, FilePart, OpenError, StreamFrom, Tunnel},
    model::NodeName,
};

/// The agent's program in its image.
const AGENT: &str = "/nodewatch-agent";

/// The agent's program in this session's pods.
fn program(cluster: &Cluster) -> &'static str {
    if cluster.settings.push.is_some() { template::PROGRAM } else { AGENT }
}

/// kube's default of 1 KiB would make a system call of every packet.
const BUFFER: usize = 256 * 1024;

/// A part of a file that is there comes without a pause.
const SILENT: Duration = Duration::from_secs(30);

pub(super) fn open(cluster: &Cluster, node: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>> {
    let (cluster, node) = (cluster.clone(), node.clone());
    async move {
        let mut process = exec(&cluster, &node, vec![program(&cluster).to_owned(), "connect".to_owned()]).await?;
        let (Some(reader), Some(writer)) = (output(&mut process), process.stdin()) else {
            return Err(OpenError::NoStream { opened: "the exec", stream: "standard input and output" });
        };
        Ok(Tunnel { reader: Box::new(reader), writer: Box::new(writer), guard: Box::new(process) })
    }
    .boxed()
}

pub(super) fn fetch(
    cluster: &Cluster,
    node: &NodeName,
    part: &FilePart,
) -> BoxFuture<'static, Result<Bulk, OpenError>> {
    let offset = format!("--offset={}", part.offset);
    let length = format!("--length={}", part.length);
    let command = [program(cluster), "fetch", &offset, &length, "--", &part.file].map(str::to_owned);
    bulk(cluster, node, command.to_vec(), Some(SILENT))
}

pub(super) fn follow(
    cluster: &Cluster,
    node: &NodeName,
    from: StreamFrom,
) -> BoxFuture<'static, Result<Bulk, OpenError>> {
    let command = [program(cluster).to_owned(), "follow".to_owned()];
    // A quiet capture says nothing for as long as it likes.
    bulk(cluster, node, command.into_iter().chain(from.arguments()).collect(), None)
}

/// What a command writes to its standard output, which is cut when nothing comes for so long.
fn bulk(
    cluster: &Cluster,
    node: &NodeName,
    command: Vec<String>,
    silent: Option<Duration>,
) -> BoxFuture<'static, Result<Bulk, OpenError>> {
    let exec = exec(cluster, node, command);
    async move {
        let mut process = exec.await?;
        let none = OpenError::NoStream { opened: "the exec", stream: "standard output" };
        let mut reader = output(&mut process).ok_or(none)?;
        reader.silent = silent.map(|silent| (silent, Box::pin(sleep_until(Instant::now() + silent))));
        Ok(Bulk { reader: Box::new(reader), guard: Box::new(process) })
    }
    .boxed()
}

pub(super) fn exec(
    cluster: &Cluster,
    node: &NodeName,
    command: Vec<String>,
) -> impl Future<Output = Result<AttachedProcess, OpenError>> + Send + use<> {
    let pod = lock(&cluster.state.pods).name(node);
    let api: Api<Pod> = Api::namespaced(cluster.client().clone(), &cluster.namespace());
    async move {
        let pod = pod.ok_or(OpenError::PodGone)?;
        let streams = AttachParams::default()
            .container("agent")
            .stdin(true)
            .stdout(true)
            .stderr(false)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER);
        api.exec(&pod, command, &streams).await.map_err(|error| OpenError::Refused(Box::new(error)))
    }
}

/// A process's standard output that ends with the exec. kube's own reader waits for ever after a cut connection.
pub(super) struct Output<R> {
    reader: R,
    /// The exec's outcome, until it is known.
    outcome: Option<BoxFuture<'static, Option<Status>>>,
    cut: bool,
    /// Cut when nothing has come for so long.
    silent: Option<(Duration, Pin<Box<Sleep>>)>,
}

pub(super) fn output(process: &mut AttachedProcess) -> Option<Output<impl AsyncRead + Unpin + use<>>> {
    let outcome = process.take_status()?.boxed();
    Some(Output { reader: process.stdout()?, outcome: Some(outcome), cut: false, silent: None })
}

impl<R: AsyncRead + Unpin> AsyncRead for Output<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(outcome) = &mut self.outcome
            && let Poll::Ready(status) = outcome.poll_unpin(context)
        {
            self.outcome = None;
            match status {
                None => self.cut = true,
                Some(Status { status: Some(word), message, .. }) if word == "Failure" => {
                    return Poll::Ready(Err(io::Error::other(message.unwrap_or_default())));
                }
                Some(_) => {}
            }
        }
        // What has come before the end is still read.
        match Pin::new(&mut self.reader).poll_read(context, buffer) {
            Poll::Pending if self.cut => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Poll::Pending => {
                let Some((silent, end)) = &mut self.silent else { return Poll::Pending };
                ready!(end.as_mut().poll(context));
                let words = format!("no data for {} s", silent.as_secs());
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, words)))
            }
            read @ Poll::Ready(_) => {
                if let Some((silent, end)) = &mut self.silent {
                    end.as_mut().reset(Instant::now() + *silent);
                }
                read
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_cut_exec_ends_the_stream_after_what_had_come() {
        let (reader, mut writer) = tokio::io::simplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"last words").await.expect("room");
        let mut output = Output { reader, outcome: Some(async { None }.boxed()), cut: false, silent: None };
        let mut buffer = [0; 64];
        assert_eq!(output.read(&mut buffer).await.expect("what had come"), 10);
        assert_eq!(output.read(&mut buffer).await.expect_err("cut").kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_failed_command_says_why() {
        let (reader, _writer) = tokio::io::simplex(64);
        let status =
            Status { status: Some("Failure".to_owned()), message: Some("exit code 1".to_owned()), ..Status::default() };
        let mut output = Output { reader, outcome: Some(async { Some(status) }.boxed()), cut: false, silent: None };
        assert_eq!(output.read(&mut [0; 8]).await.expect_err("failed").to_string(), "exit code 1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_does_not_come_is_cut() {
        let (reader, mut writer) = tokio::io::simplex(64);
        let end = Box::pin(sleep_until(Instant::now() + SILENT));
        let mut output = Output { reader, outcome: None, cut: false, silent: Some((SILENT, end)) };
        let mut buffer = [0; 64];
        tokio::time::sleep(SILENT / 2).await;
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"half").await.expect("room");
        assert_eq!(output.read(&mut buffer).await.expect("what came"), 4);
        let began = Instant::now();
        assert_eq!(output.read(&mut buffer).await.expect_err("no more").to_string(), "no data for 30 s");
        assert_eq!(began.elapsed().as_secs(), SILENT.as_secs());
    }
}
