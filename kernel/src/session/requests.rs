//! The table of requests: each kind with its handler and the kind of its reply.

use super::Session;
use super::history::Query;
use super::info::kernel_info;
use crate::cell::{Completeness, completeness, masked};
use crate::rust::Engine;
use crate::wire::Message;
use serde_json::{Value, json};
use std::sync::Arc;

impl Session {
    /// The reply to a request; `None` where none is due.
    pub(super) async fn dispatch(self: &Arc<Self>, request: &Message) -> Option<(String, Value)> {
        let content = &request.content;
        let reply = match request.kind() {
            "execute_request" => self.execute(request).await,
            "kernel_info_request" => kernel_info(),
            "is_complete_request" => self.is_complete(text(content, "code")),
            "complete_request" => self.complete(text(content, "code"), position(content)).await,
            "inspect_request" => self.inspect(text(content, "code"), position(content)).await,
            "history_request" => self.history(content),
            "comm_info_request" => json!({ "status": "ok", "comms": {} }),
            "connect_request" => json!({ "status": "ok" }),
            "comm_open" => {
                // Nothing here speaks over comms; the front end is told so, or it would wait.
                let id = json!({ "comm_id": content["comm_id"], "data": {} });
                self.iopub.publish(&request.header, "comm_close", id);
                return None;
            }
            "comm_msg" | "comm_close" => return None,
            "interrupt_request" => {
                self.interrupt();
                json!({ "status": "ok" })
            }
            "shutdown_request" => {
                let session = self.clone();
                let _ = tokio::task::spawn_blocking(move || session.end()).await;
                json!({ "status": "ok", "restart": content["restart"].as_bool().unwrap_or(false) })
            }
            other => {
                crate::wire::log(&format!("a request of an unknown kind: {other}"));
                let message = format!("this kernel has no {other}");
                json!({ "status": "error", "ename": "UnknownRequest", "evalue": message, "traceback": [] })
            }
        };
        let base = request.kind().strip_suffix("_request").unwrap_or(request.kind());
        Some((format!("{base}_reply"), reply))
    }

    fn is_complete(&self, code: &str) -> Value {
        match completeness(code, |name| self.magics.knows(name)) {
            Completeness::Complete => json!({ "status": "complete" }),
            Completeness::Incomplete { indent } => json!({ "status": "incomplete", "indent": " ".repeat(indent) }),
            Completeness::Invalid => json!({ "status": "invalid" }),
        }
    }

    async fn complete(self: &Arc<Self>, code: &str, cursor: usize) -> Value {
        let (session, code) = (self.clone(), code.to_string());
        let engine = self.engine().await;
        let found = tokio::task::spawn_blocking(move || {
            if let Some(found) = session.magics.complete(&code, cursor) {
                return Some((found.start, found.end, found.matches));
            }
            if !session.may_ask(&engine) {
                return None;
            }
            let rust = masked(&code, |name| session.magics.knows(name));
            let found = engine.complete(&rust, byte(&rust, cursor_in_masked(&code, cursor)))?;
            let kinds = found.matches;
            Some((character(&code, found.start), character(&code, found.end), kinds))
        });
        let (start, end, matches) = found.await.ok().flatten().unwrap_or((cursor, cursor, vec![]));
        let types: Vec<Value> = matches
            .iter()
            .map(|(text, kind)| json!({ "start": start, "end": end, "text": text, "type": kind, "signature": "" }))
            .collect();
        let texts: Vec<&String> = matches.iter().map(|(text, _)| text).collect();
        json!({ "status": "ok", "matches": texts, "cursor_start": start, "cursor_end": end,
            "metadata": { "_jupyter_types_experimental": types } })
    }

    async fn inspect(self: &Arc<Self>, code: &str, cursor: usize) -> Value {
        let (session, code) = (self.clone(), code.to_string());
        let engine = self.engine().await;
        let found = tokio::task::spawn_blocking(move || {
            if let Some(help) = session.magics.inspect(&code, cursor) {
                return Some(Value::Object(help));
            }
            if !session.may_ask(&engine) {
                return None;
            }
            let rust = masked(&code, |name| session.magics.knows(name));
            // The hover is of the word that ends at the position.
            let end = word_end(&rust, byte(&rust, cursor_in_masked(&code, cursor)));
            let (text, html) = engine.inspect(&rust, end)?;
            (!text.trim().is_empty()).then(|| json!({ "text/plain": text, "text/html": html }))
        });
        let data = found.await.ok().flatten();
        json!({ "status": "ok", "found": data.is_some(), "data": data.unwrap_or_else(|| json!({})), "metadata": {} })
    }

    /// Whether the engine can be asked: not while a cell runs, unless it has nothing to do with it.
    fn may_ask(&self, engine: &Engine) -> bool {
        let cell_runs = self.interrupt.lock().is_ok_and(|interrupt| interrupt.is_some());
        !cell_runs || engine.is_free()
    }

    fn history(&self, content: &Value) -> Value {
        let number = |name: &str| content[name].as_i64();
        let query = match text(content, "hist_access_type") {
            "search" => Query::Search {
                pattern: content["pattern"].as_str().unwrap_or("*").to_string(),
                unique: content["unique"].as_bool().unwrap_or(false),
                last: number("n").map(|n| n.max(0) as usize),
            },
            "range" => Query::Range {
                session: number("session").unwrap_or(0),
                start: number("start").unwrap_or(0),
                stop: number("stop"),
            },
            _ => Query::Tail { last: number("n").map_or(100, |n| n.max(0) as usize) },
        };
        let entries = self.history.lock().map(|history| history.find(&query)).unwrap_or_default();
        let with_output = content["output"].as_bool().unwrap_or(false);
        let entry = |entry: &super::history::Entry| {
            let what = if with_output { json!([entry.input, entry.output]) } else { json!(entry.input) };
            json!([entry.session, entry.line, what])
        };
        json!({ "status": "ok", "history": entries.iter().map(entry).collect::<Vec<_>>() })
    }
}

fn text<'a>(content: &'a Value, name: &str) -> &'a str {
    content[name].as_str().unwrap_or("")
}

fn position(content: &Value) -> usize {
    content["cursor_pos"].as_u64().unwrap_or(u64::MAX).min(usize::MAX as u64) as usize
}

/// Masking keeps bytes, not characters: a masked line may have more of them.
fn cursor_in_masked(code: &str, cursor: usize) -> Cursor {
    Cursor(code.char_indices().nth(cursor).map_or(code.len(), |(at, _)| at))
}

/// A byte of the original, which is the same byte of the masked code.
struct Cursor(usize);

fn byte(masked: &str, cursor: Cursor) -> usize {
    let mut at = cursor.0.min(masked.len());
    while !masked.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn character(code: &str, byte: usize) -> usize {
    code.char_indices().take_while(|(at, _)| *at < byte).count()
}

fn word_end(code: &str, at: usize) -> usize {
    let rest = code[at..].find(|c: char| !(c.is_alphanumeric() || c == '_'));
    rest.map_or(code.len(), |length| at + length)
}
