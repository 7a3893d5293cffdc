//! An API server in memory: objects by their paths, and a script that may answer before them. Where it says what a current
//! server says, it says it in the words of one: `kubernetes-1.36/` has answers of a real Kubernetes 1.36.2, as they came.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use kube::client::{Body, ClientBuilder};
use serde_json::{Value, json};

/// The way to a server.
pub type Stack = ClientBuilder<tower_test::mock::Mock<Request<Body>, Response<Said>>>;

/// The bytes of an answer, and whether they end.
pub struct Said {
    bytes: Option<Bytes>,
    ends: bool,
}

impl http_body::Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// What the server does with a call.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Says this.
    Says {
        code: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
        /// Nothing is missing; otherwise the connection stays open and silent.
        ends: bool,
    },
    /// Never says anything.
    Hangs,
}

impl From<(u16, Value)> for Answer {
    fn from((code, value): (u16, Value)) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self::Says { code, headers, body: value.to_string().into(), ends: true }
    }
}

impl Answer {
    /// A watch that is begun, and quiet.
    pub fn quiet() -> Self {
        Self::Says { code: 200, headers: Vec::new(), body: Bytes::new(), ends: false }
    }

    /// Some text of that type.
    pub fn text(code: u16, kind: &str, text: &str) -> Self {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        Self::Says { code, headers, body: Bytes::from(text.to_owned()), ends: true }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Says { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// What a real Kubernetes 1.36.2 answered, word for word.
    pub fn recorded(name: &str) -> Self {
        let path = format!("{}/tests/support/kubernetes-1.36/{name}.http", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a recording");
        let (_, answer) = text.split_once("\nHTTP/2 ").expect("an answer");
        let (head, body) = answer.split_once("\n\n").unwrap_or((answer, ""));
        let mut lines = head.lines();
        let code = lines.next().and_then(|line| line.trim().parse().ok()).expect("a status");
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.filter(|(name, _)| *name != "content-length");
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self::Says { code, headers, body: Bytes::from(body.to_owned()), ends: true }
    }

    fn response(self) -> Option<Response<Said>> {
        let Self::Says { code, headers, body, ends } = self else { return None };
        let mut response = Response::builder().status(code);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        let bytes = (!body.is_empty()).then_some(body);
        Some(response.body(Said { bytes, ends }).expect("a response"))
    }
}

/// One call as the server got it.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub query: String,
    /// What the body is said to be.
    pub content_type: String,
    pub body: Value,
}

#[derive(Default)]
pub struct State {
    /// By path, as in `/api/v1/namespaces/x`.
    pub objects: BTreeMap<String, Value>,
    pub calls: Vec<Call>,
    pub in_flight: usize,
    pub most_in_flight: usize,
    uids: usize,
}

#[derive(Clone, Default)]
pub struct Server {
    state: Arc<Mutex<State>>,
}

pub fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "code": code, "reason": reason, "message": message});
    (code, status)
}

impl Server {
    /// A server with `kube-system`, and the way to it. Watches are begun and stay quiet; streaming lists are refused, as by
    /// a server whose storage is old.
    pub fn start(mut script: impl FnMut(&Call) -> Option<(u16, Value)> + Send + 'static) -> (Self, Stack) {
        Self::scripted(move |call| {
            let watches = call.query.contains("watch=true");
            if watches { None } else { script(call).map(Answer::from) }
        })
    }

    /// The same with a script that also says how the server answers, and is asked about watches too.
    pub fn scripted(mut script: impl FnMut(&Call) -> Option<Answer> + Send + 'static) -> (Self, Stack) {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Said>>();
        let server = Self::default();
        server.put("/api/v1/namespaces/kube-system", json!({"metadata": {"name": "kube-system", "uid": "cluster-1"}}));
        let ours = server.clone();
        tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some((request, respond)) = handle.next_request().await {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.expect("a body");
                let content_type = parts.headers.get("content-type").and_then(|value| value.to_str().ok());
                let call = Call {
                    content_type: content_type.unwrap_or_default().to_owned(),
                    method: parts.method,
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    body: serde_json::from_slice(&body).unwrap_or_default(),
                };
                let answer = script(&call).unwrap_or_else(|| ours.lock().whatever(&call));
                let watches = call.query.contains("watch=true");
                {
                    let mut state = ours.lock();
                    state.calls.push(call);
                    state.in_flight += usize::from(!watches);
                    state.most_in_flight = state.most_in_flight.max(state.in_flight);
                }
                let Some(response) = answer.response() else {
                    unanswered.push(respond);
                    continue;
                };
                let ours = ours.clone();
                tokio::spawn(async move {
                    // As long as an answer takes to arrive, others may be asked for.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    ours.lock().in_flight -= usize::from(!watches);
                    respond.send_response(response);
                });
            }
        });
        (server, ClientBuilder::new(service, "default"))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("whole")
    }

    pub fn put(&self, path: &str, object: Value) {
        self.lock().objects.insert(path.to_owned(), object);
    }

    /// Calls with that method, as paths.
    pub fn called(&self, method: &Method) -> Vec<String> {
        self.lock().calls.iter().filter(|call| call.method == method).map(|call| call.path.clone()).collect()
    }
}

impl State {
    fn whatever(&mut self, call: &Call) -> Answer {
        match (call.query.contains("watch=true"), call.query.contains("sendInitialEvents=true")) {
            (true, true) => Answer::recorded("watchlist"),
            (true, false) => Answer::quiet(),
            (false, _) => self.answer(call).into(),
        }
    }

    fn answer(&mut self, call: &Call) -> (u16, Value) {
        match (call.method.as_str(), call.path.as_str()) {
            ("POST", path) if path.ends_with("selfsubjectaccessreviews") => {
                let mut review = call.body.clone();
                review["status"] = json!({"allowed": true});
                (201, review)
            }
            ("GET", "/version") => (200, json!({"major": "1", "minor": "33", "gitVersion": "v1.33.1"})),
            ("GET", "/api") => {
                (200, json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
            }
            ("GET", "/apis") => (200, json!({"kind": "APIGroupList", "groups": []})),
            ("GET", "/api/v1") => (
                200,
                json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                {"name": "configmaps", "kind": "ConfigMap", "singularName": "", "namespaced": true,
                 "verbs": ["create", "delete", "list"]}]}),
            ),
            ("POST", path) => {
                if call.query.contains("dryRun") {
                    return (201, call.body.clone());
                }
                let name = call.body["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("{path}/{name}");
                if self.objects.contains_key(&path) {
                    return refusal(409, "AlreadyExists", "there is one already");
                }
                self.uids += 1;
                let mut object = call.body.clone();
                object["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
                self.objects.insert(path, object.clone());
                (201, object)
            }
            ("DELETE", path) => {
                let Some(object) = self.objects.get(path) else { return refusal(404, "NotFound", "not found") };
                let wanted = &call.body["preconditions"]["uid"];
                if *wanted != object["metadata"]["uid"] {
                    // In the words of 1.36.
                    let found = object["metadata"]["uid"].as_str().unwrap_or_default();
                    let message = format!(
                        "Operation cannot be fulfilled: the UID in the precondition ({}) does not match the \
                        UID in record ({found}). The object might have been deleted and then recreated",
                        wanted.as_str().unwrap_or_default()
                    );
                    return refusal(409, "Conflict", &message);
                }
                let object = object.clone();
                let below = format!("{path}/");
                let inside = format!("/{}/", path.trim_start_matches("/api/v1/"));
                self.objects.retain(|known, _| known != path && !known.starts_with(&below) && !known.contains(&inside));
                (200, object)
            }
            ("PATCH", path) => match self.objects.get_mut(path) {
                None => refusal(404, "NotFound", "not found"),
                Some(object) => {
                    merge(object, &call.body);
                    (200, object.clone())
                }
            },
            ("GET", path) => match self.objects.get(path) {
                Some(object) => (200, object.clone()),
                None if is_list(path) => (200, self.list(call)),
                None => refusal(404, "NotFound", "not found"),
            },
            _ => refusal(405, "MethodNotAllowed", "no such thing"),
        }
    }

    fn list(&self, call: &Call) -> Value {
        let (parent, plural) = call.path.rsplit_once('/').expect("a path");
        let label = call.query.split('&').find_map(|part| part.strip_prefix("labelSelector="));
        let label = label.map(|label| label.replace("%2F", "/").replace("%3D", "=").replace("%2C", ","));
        let items = self.objects.iter().filter(|(path, object)| {
            let (collection, _) = path.rsplit_once('/').expect("a path");
            let here = if parent.contains("/namespaces/") || plural == "namespaces" {
                collection == call.path
            } else {
                collection.ends_with(&format!("/{plural}"))
            };
            let labels = &object["metadata"]["labels"];
            let chosen = label.iter().flat_map(|label| label.split(',')).all(|one| match one.split_once('=') {
                Some((key, value)) => labels[key] == value,
                None => labels.get(one).is_some(),
            });
            here && chosen
        });
        let items: Vec<&Value> = items.map(|(_, object)| object).collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
    }
}

fn is_list(path: &str) -> bool {
    let kinds =
        ["namespaces", "nodes", "pods", "events", "services", "serviceaccounts", "jobs", "daemonsets", "configmaps"];
    kinds.iter().any(|kind| path.ends_with(&format!("/{kind}")))
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}
