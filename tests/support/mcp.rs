//! A client of the SDK, over the standard input and output of a server that is this program.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use nodewatch_tui::mcp::MOST_BYTES;
use rmcp::{
    RoleClient, ServiceExt,
    model::CallToolRequestParams,
    service::{Peer, RunningService},
};
use serde_json::Value;
use tokio::{process::Child, time::timeout};

/// What a server does at its end is done by then.
const ENDS_WITHIN: Duration = Duration::from_secs(90);

pub struct Client {
    service: RunningService<RoleClient, ()>,
    pub child: Child,
}

impl Client {
    /// Starts a server, and shakes hands.
    pub async fn start(command: Command) -> Self {
        let mut command = tokio::process::Command::from(command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let streams = (child.stdout.take().expect("piped"), child.stdin.take().expect("piped"));
        let service = ().serve(streams).await.expect("it speaks the protocol");
        Self { service, child }
    }

    /// To call tools with, also while others run.
    pub fn peer(&self) -> Peer<RoleClient> {
        self.service.peer().clone()
    }

    /// What a tool answers, and whether that is an error.
    pub async fn call(&self, tool: &'static str, arguments: Value) -> (Value, bool) {
        called(self.peer(), tool, arguments).await
    }

    /// What a tool answers, which must be no error.
    pub async fn answer(&self, tool: &'static str, arguments: Value) -> Value {
        let (answer, failed) = self.call(tool, arguments).await;
        assert!(!failed, "{tool}: {answer}");
        answer
    }

    /// The code of a tool's refusal, and its words.
    pub async fn refusal(&self, tool: &'static str, arguments: Value) -> (String, String) {
        let (answer, failed) = self.call(tool, arguments).await;
        assert!(failed && answer["outcome"] == "refused", "{tool}: {answer}");
        let text = |name: &str| answer["error"][name].as_str().unwrap_or_default().to_owned();
        (text("code"), text("message"))
    }

    /// Ends the server's standard input; its exit code.
    pub async fn ended(self) -> Option<i32> {
        let (mut child, service) = self.parts();
        service.cancel().await.expect("it ends");
        exit(&mut child).await
    }

    /// The server, and the connection to it.
    pub fn parts(self) -> (Child, RunningService<RoleClient, ()>) {
        (self.child, self.service)
    }
}

/// The exit code of a server that is on its way to its end.
pub async fn exit(child: &mut Child) -> Option<i32> {
    timeout(ENDS_WITHIN, child.wait()).await.expect("it ends").expect("it is ours").code()
}

/// The same as [`Client::call`]. Whatever a tool answers is within the bound, and has nothing in it that is hidden.
pub async fn called(peer: Peer<RoleClient>, tool: &'static str, arguments: Value) -> (Value, bool) {
    let arguments = arguments.as_object().cloned().expect("an object");
    let params = CallToolRequestParams::new(tool).with_arguments(arguments);
    let result = peer.call_tool(params).await.unwrap_or_else(|error| panic!("{tool}: {error}"));
    assert_eq!((result.content.len(), &result.structured_content), (1, &None), "{tool}");
    let text = result.content[0].as_text().expect("text").text.clone();
    assert!(text.len() <= MOST_BYTES, "{tool}: {} bytes", text.len());
    assert!(!text.chars().any(|character| character.is_control() || character == '\u{202e}'), "{tool}: {text:?}");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["tool"], tool);
    (answer, result.is_error == Some(true))
}
