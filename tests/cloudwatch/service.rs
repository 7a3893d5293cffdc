//! A stand-in for CloudWatch Logs at the seam, for answers that moto never gives: each call is answered by the test.
//!
//! Keeps what was put, so that what is there at the end is there for the test's eyes too.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use serde_json::{Value, json};

/// What a call gets.
pub enum Answer {
    /// As the service would.
    Usual,
    /// As the service would, and this for an answer.
    Told(Value),
    /// Nothing is done: the HTTP status, the error's code and its message.
    Error(u16, &'static str, &'static str),
    /// It is done; the answer is lost.
    Lost,
}

#[derive(Default)]
pub struct Kept {
    /// Every call, in order.
    pub calls: Vec<(String, Value)>,
    /// Messages by stream, `GROUP STREAM`.
    pub streams: std::collections::BTreeMap<String, Vec<(u64, String)>>,
    /// Retention and tags by group.
    pub groups: std::collections::BTreeMap<String, (Option<u64>, Value)>,
}

type Script = dyn Fn(&str, usize) -> Answer + Send + Sync;

#[derive(Clone)]
pub struct Service {
    pub endpoint: String,
    pub kept: Arc<Mutex<Kept>>,
}

impl Service {
    /// `script` is asked with the operation and how often it was called before.
    pub fn start(script: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let service = Self { endpoint, kept: Arc::default() };
        let (kept, script): (_, Arc<Script>) = (Arc::clone(&service.kept), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, script) = (Arc::clone(&kept), Arc::clone(&script));
                thread::spawn(move || {
                    // A client that goes away is no failure of the test.
                    let _ = serve(stream, &kept, &*script);
                });
            }
        });
        service
    }

    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("whole")
    }

    pub fn calls(&self, operation: &str) -> usize {
        self.kept().calls.iter().filter(|(name, _)| name == operation).count()
    }

    pub fn messages(&self, stream: &str) -> Vec<String> {
        let kept = self.kept();
        kept.streams.get(stream).map(|events| events.iter().map(|(_, text)| text.clone()).collect()).unwrap_or_default()
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Kept>, script: &Script) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (mut operation, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            match name.to_ascii_lowercase().as_str() {
                "x-amz-target" => value.rsplit('.').next().unwrap_or_default().clone_into(&mut operation),
                "content-length" => length = value.trim().parse().expect("a length"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let input: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (status, answer) = {
            let mut kept = kept.lock().expect("whole");
            let before = kept.calls.iter().filter(|(name, _)| *name == operation).count();
            kept.calls.push((operation.clone(), input.clone()));
            match script(&operation, before) {
                Answer::Error(status, code, message) => (status, json!({"__type": code, "message": message})),
                Answer::Lost => {
                    kept.usual(&operation, &input);
                    return Ok(());
                }
                Answer::Told(answer) => {
                    kept.usual(&operation, &input);
                    (200, answer)
                }
                Answer::Usual => kept.usual(&operation, &input),
            }
        };
        let text = answer.to_string();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.1\r\n");
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes())?;
    }
}

impl Kept {
    fn usual(&mut self, operation: &str, input: &Value) -> (u16, Value) {
        let text = |key: &str| input[key].as_str().unwrap_or_default().to_owned();
        let (group, stream) = (text("logGroupName"), text("logStreamName"));
        let key = format!("{group} {stream}");
        let error = |code: &str, message: &str| (400, json!({"__type": code, "message": message}));
        match operation {
            "CreateLogGroup" if self.groups.contains_key(&group) => error("ResourceAlreadyExistsException", "is there"),
            "CreateLogGroup" => {
                self.groups.insert(group, (None, input["tags"].clone()));
                (200, json!({}))
            }
            "CreateLogStream" if !self.groups.contains_key(&group) => error("ResourceNotFoundException", "no group"),
            "CreateLogStream" => {
                self.streams.entry(key).or_default();
                (200, json!({}))
            }
            "PutRetentionPolicy" => {
                if let Some((days, _)) = self.groups.get_mut(&group) {
                    *days = input["retentionInDays"].as_u64();
                }
                (200, json!({}))
            }
            "DescribeLogGroups" => {
                let prefix = text("logGroupNamePrefix");
                let found = self.groups.iter().filter(|(name, _)| name.starts_with(&prefix));
                let found = found.map(|(name, (days, _))| {
                    let arn = format!("arn:aws:logs:us-east-1:123456789012:log-group:{name}:*");
                    let mut group = json!({"logGroupName": name, "arn": arn, "logGroupClass": "STANDARD"});
                    if let Some(days) = days {
                        group["retentionInDays"] = json!(days);
                    }
                    group
                });
                (200, json!({"logGroups": found.collect::<Vec<_>>()}))
            }
            "ListTagsForResource" => {
                let arn = text("resourceArn");
                let tags = self.groups.get(arn.rsplit(':').next().unwrap_or_default()).map(|(_, tags)| tags.clone());
                (200, json!({"tags": tags.filter(Value::is_object).unwrap_or_else(|| json!({}))}))
            }
            "PutLogEvents" => self.put(&key, input),
            "GetLogEvents" => {
                let events = self.streams.get(&key).map(Vec::as_slice).unwrap_or_default();
                let events = events.iter().map(|(at, text)| json!({"timestamp": at, "message": text}));
                (200, json!({"events": events.collect::<Vec<_>>(), "nextForwardToken": "end"}))
            }
            "FilterLogEvents" => {
                let of_group = self.streams.iter().filter(|(name, _)| name.split(' ').next() == Some(&group));
                let events = of_group.flat_map(|(_, events)| events);
                let events = events.map(|(at, text)| json!({"timestamp": at, "message": text}));
                (200, json!({"events": events.collect::<Vec<_>>()}))
            }
            _ => (200, json!({})),
        }
    }

    /// With the limits and the order that the API reference has.
    fn put(&mut self, key: &str, input: &Value) -> (u16, Value) {
        let error = |code: &str, message: &str| (400, json!({"__type": code, "message": message}));
        let events = input["logEvents"].as_array().cloned().unwrap_or_default();
        let events: Vec<(u64, String)> = events
            .iter()
            .map(|event| {
                let message = event["message"].as_str().expect("a message").to_owned();
                (event["timestamp"].as_u64().expect("a time"), message)
            })
            .collect();
        let Some(stream) = self.streams.get_mut(key) else { return error("ResourceNotFoundException", "no stream") };
        if events.iter().any(|(_, text)| text.contains("poison")) {
            return error("InvalidParameterException", "1 validation error detected");
        }
        if !events.is_sorted_by_key(|(at, _)| *at) {
            return error("InvalidParameterException", "Log events must be in chronological order.");
        }
        let bytes: usize = events.iter().map(|(_, text)| text.len() + 26).sum();
        if bytes > 1_048_576 || events.len() > 10_000 {
            return error("InvalidParameterException", "Upload too large");
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
        let too_new = |at: u64| u128::from(at) > now + 7_200_000;
        let new = events.iter().position(|(at, _)| too_new(*at));
        stream.extend(events.into_iter().filter(|(at, _)| !too_new(*at)));
        (
            200,
            new.map_or_else(
                || json!({}),
                |index| json!({"rejectedLogEventsInfo": {"tooNewLogEventStartIndex": index}}),
            ),
        )
    }
}
