//! Answers requests: one handler for each kind of request.

use super::Session;
use super::history::{Entry, Query};
use super::info::kernel_info;
use crate::engine::CompletionItem;
use serde_json::{Value, json};
use std::sync::Arc;
use tunebook_magics::{WORKLOAD_NAMES, asks, rust_to_inspect};
use tunebook_split::{Completeness, completeness, masked};
use tunebook_wire::Message;

impl Session {
    /// Answers a request, and returns the kind and the content of the reply.
    pub(super) async fn dispatch(self: &Arc<Self>, request: &Message) -> (String, Value) {
        let content = &request.content;
        let reply = match request.kind() {
            "execute_request" => self.execute(request).await,
            "kernel_info_request" => kernel_info(),
            "is_complete_request" => self.is_complete(text(content, "code")),
            "complete_request" => self.complete(text(content, "code"), position(content)).await,
            "inspect_request" => self.inspect(text(content, "code"), position(content)).await,
            "history_request" => self.history(content).await,
            "comm_info_request" => self.comms.info(content),
            "usage_request" => self.usage().await,
            "connect_request" => json!({ "status": "ok" }),
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
                tunebook_wire::log(&format!("a request of an unknown kind: {other}"));
                failed("UnknownRequest", &format!("this kernel has no {other}"))
            }
        };
        let base = request.kind().strip_suffix("_request").unwrap_or(request.kind());
        (format!("{base}_reply"), reply)
    }

    fn is_complete(&self, code: &str) -> Value {
        match completeness(code.trim_start_matches('\u{feff}'), asks) {
            Completeness::Complete => json!({ "status": "complete" }),
            Completeness::Incomplete { indent } => json!({ "status": "incomplete", "indent": " ".repeat(indent) }),
            Completeness::Invalid => json!({ "status": "invalid" }),
        }
    }

    async fn complete(self: &Arc<Self>, code: &str, cursor: usize) -> Value {
        let _asking = self.asking.acquire().await;
        let (session, code) = (self.clone(), code.to_string());
        let engine = self.engine().await;
        let found = tokio::task::spawn_blocking(move || {
            if let Some(found) = session.magics.complete(&code, cursor, &|| engine.names()) {
                let item = |(text, kind)| CompletionItem { text, kind, detail: String::new() };
                return Some((found.start, found.end, found.matches.into_iter().map(item).collect()));
            }
            let Analyzed { before, rust } = analyzed(&code);
            let at = byte_in_masked(&code, &rust, cursor);
            let found = engine.complete(&format!("{before}{rust}"), before.len() + at)?;
            let place = |byte: usize| character(&code, byte.saturating_sub(before.len()));
            Some((place(found.start), place(found.end), found.items))
        });
        let (start, end, items) = found.await.ok().flatten().unwrap_or((cursor, cursor, vec![]));
        let typed = |item: &CompletionItem| {
            let CompletionItem { text, kind, detail } = item;
            json!({ "start": start, "end": end, "text": text, "type": kind, "signature": detail })
        };
        let types: Vec<Value> = items.iter().map(typed).collect();
        let texts: Vec<&String> = items.iter().map(|item| &item.text).collect();
        json!({ "status": "ok", "matches": texts, "cursor_start": start, "cursor_end": end,
            "metadata": { "_jupyter_types_experimental": types } })
    }

    async fn inspect(self: &Arc<Self>, code: &str, cursor: usize) -> Value {
        let _asking = self.asking.acquire().await;
        let (session, code) = (self.clone(), code.to_string());
        let engine = self.engine().await;
        let found = tokio::task::spawn_blocking(move || {
            if let Some(help) = session.magics.inspect(&code, cursor) {
                return Some(Value::Object(help));
            }
            let Analyzed { before, rust } = analyzed(&code);
            // rust-analyzer describes the word that ends at the position.
            let end = word_end(&rust, byte_in_masked(&code, &rust, cursor));
            let (text, markdown) = engine.inspect(&format!("{before}{rust}"), before.len() + end)?;
            (!text.trim().is_empty()).then(|| json!({ "text/plain": text, "text/markdown": markdown }))
        });
        let data = found.await.ok().flatten();
        json!({ "status": "ok", "found": data.is_some(), "data": data.unwrap_or_else(|| json!({})), "metadata": {} })
    }

    async fn history(&self, content: &Value) -> Value {
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
        let history = self.history.clone();
        let entries = tokio::task::spawn_blocking(move || history.find(query)).await.unwrap_or_default();
        let with_output = content["output"].as_bool().unwrap_or(false);
        let shown = |Entry { session, line, input, output, .. }: Entry| match with_output {
            true => json!([session, line, [input, output]]),
            false => json!([session, line, input]),
        };
        json!({ "status": "ok", "history": entries.into_iter().map(shown).collect::<Vec<_>>() })
    }

    async fn usage(&self) -> Value {
        let usage = self.usage.clone();
        let read = tokio::task::spawn_blocking(move || usage.read()).await;
        match read {
            Ok(Ok(usage)) => usage,
            Ok(Err(error)) => failed("UsageError", &format!("what the machine is busy with cannot be read: {error}")),
            Err(panic) => failed("InternalError", &format!("the kernel has a fault: {panic}")),
        }
    }
}

/// The Rust of a cell for rust-analyzer: what comes before it, and the cell in which spaces stand for everything else.
struct Analyzed {
    before: &'static str,
    rust: String,
}

fn analyzed(code: &str) -> Analyzed {
    let rust = masked(code, asks, |magic| rust_to_inspect(magic).map(|(span, _)| span));
    let is_workload = rust_to_inspect(code.trim_start()).is_some_and(|(_, is_workload)| is_workload);
    Analyzed { before: if is_workload { WORKLOAD_NAMES } else { "" }, rust }
}

/// The content of a reply that reports an error.
fn failed(name: &str, message: &str) -> Value {
    json!({ "status": "error", "ename": name, "evalue": message, "traceback": [] })
}

fn text<'a>(content: &'a Value, name: &str) -> &'a str {
    content[name].as_str().unwrap_or("")
}

fn position(content: &Value) -> usize {
    content["cursor_pos"].as_u64().unwrap_or(u64::MAX).min(usize::MAX as u64) as usize
}

/// Converts a position in characters of a cell to a byte of the masked cell. Masking keeps the bytes of a cell, and
/// replaces a character of several bytes by several spaces.
fn byte_in_masked(code: &str, masked: &str, cursor: usize) -> usize {
    let byte = code.char_indices().nth(cursor).map_or(code.len(), |(at, _)| at);
    masked.floor_char_boundary(byte)
}

/// Converts a byte of a cell to a position in characters.
fn character(code: &str, byte: usize) -> usize {
    code.char_indices().take_while(|(at, _)| *at < byte).count()
}

fn word_end(code: &str, at: usize) -> usize {
    let rest = code[at..].find(|c: char| !(c.is_alphanumeric() || c == '_'));
    rest.map_or(code.len(), |length| at + length)
}
