//! Streams to an agent by exec into its pod: the tunnel, and bulk bytes on a stream of their own.
//!
//! Owns the command lines. stdin is never half-closed: under exec's v4 protocol that would close the whole stream.

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess};

use super::{Cluster, lock};
use crate::{
    model::NodeName,
    site::{Bulk, FilePart, OpenError, Tunnel},
    text,
};

/// The agent's program in its image.
const AGENT: &str = "/nodewatch-agent";
/// kube's default of 1 KiB would make a system call of every packet.
const BUFFER: usize = 256 * 1024;

pub(super) fn open(cluster: &Cluster, node: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>> {
    let exec = exec(cluster, node, vec![AGENT.to_owned(), "connect".to_owned()]);
    async move {
        let mut process = exec.await?;
        let (Some(reader), Some(writer)) = (process.stdout(), process.stdin()) else {
            return Err(OpenError("the exec has no standard input and output".to_owned()));
        };
        Ok(Tunnel { reader: Box::new(reader), writer: Box::new(writer), guard: Box::new(process) })
    }
    .boxed()
}

pub(super) fn fetch(cluster: &Cluster, node: &NodeName, part: FilePart) -> BoxFuture<'static, Result<Bulk, OpenError>> {
    let offset = format!("--offset={}", part.offset);
    let length = format!("--length={}", part.length);
    let command = [AGENT, "fetch", &offset, &length, "--", &part.file].map(str::to_owned).to_vec();
    let exec = exec(cluster, node, command);
    async move {
        let mut process = exec.await?;
        let reader = process.stdout().ok_or_else(|| OpenError("the exec has no standard output".to_owned()))?;
        Ok(Bulk { reader: Box::new(reader), guard: Box::new(process) })
    }
    .boxed()
}

fn exec(
    cluster: &Cluster,
    node: &NodeName,
    command: Vec<String>,
) -> impl Future<Output = Result<AttachedProcess, OpenError>> + Send + use<> {
    let pod = lock(&cluster.state.pods).get(node).cloned();
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace());
    async move {
        let pod = pod.ok_or_else(|| OpenError("its pod is gone".to_owned()))?;
        let streams = AttachParams::default()
            .container("agent")
            .stdin(true)
            .stdout(true)
            .stderr(false)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER);
        api.exec(&pod, command, &streams).await.map_err(|error| OpenError(text::chain(&error)))
    }
}
