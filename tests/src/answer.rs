//! All messages that one request brought, and the questions that tests ask about them.

use crate::message::Message;
use serde_json::Value;

/// All messages that one request brought.
#[derive(Debug)]
pub struct Answer {
    /// The content of the reply.
    pub reply: Value,
    /// The messages on IOPub that belong to the request, from `busy` to `idle`.
    pub published: Vec<Message>,
}

impl Answer {
    /// All text of a stream, `stdout` or `stderr`.
    pub fn text(&self, name: &str) -> String {
        let streams = self.published.iter().filter(|m| m.kind() == "stream" && m.content["name"] == name);
        streams.map(|m| m.content["text"].as_str().unwrap_or("")).collect()
    }

    /// The messages of a type.
    pub fn all(&self, kind: &str) -> Vec<&Message> {
        self.published.iter().filter(|message| message.kind() == kind).collect()
    }

    /// The first message of a type. Panics if there is none.
    pub fn first(&self, kind: &str) -> &Message {
        let found = self.published.iter().find(|m| m.kind() == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {:#?}", self.published))
    }

    /// The result of a magic for programs (`application/vnd.tunebook.v1+json`), from the last display that holds one.
    /// Panics if there is none.
    pub fn result(&self) -> Value {
        let mime = "application/vnd.tunebook.v1+json";
        let last = self.published.iter().rfind(|m| m.content["data"].get(mime).is_some());
        last.unwrap_or_else(|| panic!("no result in {:#?}", self.published)).content["data"][mime].clone()
    }

    /// The error as text without colours: `ename: evalue`, then the traceback. Panics if there is none.
    pub fn error(&self) -> String {
        let content = &self.first("error").content;
        let mut text =
            format!("{}: {}\n", content["ename"].as_str().unwrap_or(""), content["evalue"].as_str().unwrap_or(""));
        for line in content["traceback"].as_array().into_iter().flatten() {
            text = text + &without_colours(line.as_str().unwrap_or("")) + "\n";
        }
        text
    }

    /// The value of the cell as text, or an empty text if it has no value.
    pub fn value(&self) -> &str {
        let value = self.published.iter().find(|message| message.kind() == "execute_result");
        value.map_or("", Message::plain_text)
    }

    /// The plain text of all displays and results, one after the other.
    pub fn shown(&self) -> String {
        let texts: Vec<&str> = self.published.iter().map(Message::plain_text).filter(|text| !text.is_empty()).collect();
        texts.join("\n")
    }

    /// The text of the pager, or an empty text if the pager is not used.
    pub fn page(&self) -> &str {
        self.reply["payload"][0]["data"]["text/plain"].as_str().unwrap_or("")
    }

    /// The Markdown of the pager, or an empty text if the pager is not used.
    pub fn page_markdown(&self) -> &str {
        self.reply["payload"][0]["data"]["text/markdown"].as_str().unwrap_or("")
    }

    /// The field `status` of the reply.
    pub fn status(&self) -> &str {
        self.reply["status"].as_str().unwrap_or("")
    }
}

impl Message {
    /// The plain text of a display or result, or an empty text.
    pub fn plain_text(&self) -> &str {
        self.content["data"]["text/plain"].as_str().unwrap_or("")
    }
}

/// Returns a text without the ANSI sequences that colour it.
pub fn without_colours(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("\x1b[") {
        plain += &rest[..at];
        rest = rest[at..].split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}
