//! A stand-in of the Messages API: it plays a fixed script of tool calls and keeps what came back.
//!
//! The first turn answers with the first tool call, the turn that brings its result with the next one, and after the
//! last one comes a final text. Everything else is 404, never `200 {}`: Claude Code would retry its settings requests.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::http::{Body, Handler, Request, Response};

/// One step of the script: a tool the agent shall use.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The tool's name, such as `Write`, `Edit` or `Bash`.
    pub name: String,
    /// Its input.
    pub input: Value,
}

impl ToolCall {
    /// A call of this tool.
    pub fn new(name: &str, input: Value) -> Self {
        Self {
            name: name.into(),
            input,
        }
    }
}

/// What the agent's tool answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// Its text.
    pub text: String,
    /// Whether the agent marked it as an error.
    pub is_error: bool,
}

/// Who may ask.
#[derive(Clone, Debug)]
enum Login {
    Anybody,
    Key(String),
    Token(String),
}

impl Login {
    /// What a token needs beside it, as the real service demands.
    const BETA: &str = "oauth-2025-04-20";

    fn refuses(&self, request: &Request) -> Option<&'static str> {
        let is = |name: &str, value: &str| request.header(name) == Some(value);
        match self {
            Self::Anybody => None,
            Self::Key(key) => (!is("x-api-key", key)).then_some("invalid x-api-key"),
            Self::Token(_) if request.header("x-api-key").is_some() => {
                Some("a key beside the token")
            }
            Self::Token(token) if !is("authorization", &format!("Bearer {token}")) => {
                Some("invalid bearer token")
            }
            Self::Token(_) => {
                let beta = request.header("anthropic-beta").unwrap_or("");
                let has = beta.split(',').any(|member| member.trim() == Self::BETA);
                (!has).then_some("OAuth authentication is currently not supported")
            }
        }
    }
}

/// The stand-in. Clones share their log.
#[derive(Clone, Debug)]
pub struct MessagesApi {
    script: Vec<ToolCall>,
    answer: String,
    login: Login,
    results: Arc<Mutex<Vec<ToolResult>>>,
}

impl MessagesApi {
    /// Plays this script and ends with this text.
    pub fn new(script: Vec<ToolCall>, answer: &str) -> Self {
        Self {
            script,
            answer: answer.into(),
            login: Login::Anybody,
            results: Arc::default(),
        }
    }

    /// Refuses requests without this `x-api-key` (401).
    #[must_use]
    pub fn require_key(mut self, key: &str) -> Self {
        self.login = Login::Key(key.into());
        self
    }

    /// Refuses requests without this OAuth token and the beta header that goes with one (401).
    #[must_use]
    pub fn require_token(mut self, token: &str) -> Self {
        self.login = Login::Token(token.into());
        self
    }

    /// The tool results of the longest conversation so far. An exit status of 0 proves little; these do.
    pub fn results(&self) -> Vec<ToolResult> {
        self.results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn reply(&self, request: &Request) -> Response {
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return error(400, "invalid_request_error", "the body is not JSON");
        };
        let results = tool_results(&body);
        let turn = results.len();
        let mut kept = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        if turn > kept.len() {
            *kept = results;
        }
        drop(kept);
        // Side requests (titles, topic checks) come without tools and must not take a step of the script.
        let has_tools = body["tools"].as_array().is_some_and(|t| !t.is_empty());
        let call = self.script.get(turn).filter(|_| has_tools);
        let content = match call {
            Some(call) => json!({
                "type": "tool_use", "id": format!("toolu_{turn:08}"), "name": call.name, "input": call.input,
            }),
            None => json!({ "type": "text", "text": self.answer }),
        };
        if body["stream"] == true {
            stream(&body, &content)
        } else {
            Response::json(200, &message(&body, vec![content.clone()], stop(&content)))
        }
    }
}

impl Handler for MessagesApi {
    fn answer(&self, request: &Request) -> Response {
        if (request.method.as_str(), request.path()) != ("POST", "/v1/messages") {
            return error(404, "not_found_error", "not found");
        }
        if let Some(why) = self.login.refuses(request) {
            return error(401, "authentication_error", why);
        }
        self.reply(request)
    }
}

fn stop(content: &Value) -> &'static str {
    match content["type"] == "tool_use" {
        true => "tool_use",
        false => "end_turn",
    }
}

fn message(body: &Value, content: Vec<Value>, stop: impl Into<Value>) -> Value {
    json!({
        "id": "msg_00000001", "type": "message", "role": "assistant", "model": body["model"],
        "content": content, "stop_reason": stop.into(), "stop_sequence": null,
        "usage": { "input_tokens": 10, "output_tokens": 10 },
    })
}

/// The content as server-sent events, its payload split so that a proxy that buffers or cuts shows.
fn stream(body: &Value, content: &Value) -> Response {
    let (start, deltas): (Value, Vec<Value>) = if content["type"] == "tool_use" {
        let mut start = content.clone();
        start["input"] = json!({});
        let input = content["input"].to_string();
        let piece = |text: &str| json!({ "type": "input_json_delta", "partial_json": text });
        (start, halves(&input).map(piece).to_vec())
    } else {
        let piece = |text: &str| json!({ "type": "text_delta", "text": text });
        let text = content["text"].as_str().unwrap_or("");
        (
            json!({ "type": "text", "text": "" }),
            halves(text).map(piece).to_vec(),
        )
    };
    let mut events = vec![
        json!({ "type": "message_start", "message": message(body, Vec::new(), Value::Null) }),
        json!({ "type": "content_block_start", "index": 0, "content_block": start }),
        json!({ "type": "ping" }),
    ];
    events.extend(
        deltas
            .into_iter()
            .map(|delta| json!({ "type": "content_block_delta", "index": 0, "delta": delta })),
    );
    events.extend([
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({
            "type": "message_delta", "usage": { "output_tokens": 10 },
            "delta": { "stop_reason": stop(content), "stop_sequence": null },
        }),
        json!({ "type": "message_stop" }),
    ]);
    let chunks = events.iter().map(|event| {
        let name = event["type"].as_str().unwrap_or("");
        format!("event: {name}\ndata: {event}\n\n").into_bytes()
    });
    Response {
        status: 200,
        headers: vec![("content-type".into(), "text/event-stream".into())],
        body: Body::Chunks(chunks.collect()),
    }
}

fn halves(text: &str) -> [&str; 2] {
    let middle = (0..=text.len() / 2)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    let (first, second) = text.split_at(middle);
    [first, second]
}

fn tool_results(body: &Value) -> Vec<ToolResult> {
    let messages = body["messages"].as_array().into_iter().flatten();
    messages
        .filter_map(|message| message["content"].as_array())
        .flatten()
        .filter(|block| block["type"] == "tool_result")
        .map(|block| ToolResult {
            text: match &block["content"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            },
            is_error: block["is_error"] == true,
        })
        .collect()
}

fn error(status: u16, kind: &str, message: &str) -> Response {
    let value = json!({ "type": "error", "error": { "type": kind, "message": message } });
    Response::json(status, &value)
}
