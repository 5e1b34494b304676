//! Comms: connections that a front end opens to a named part of the kernel, for messages in both directions.

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Publishes a message on IOPub. The arguments are the header of the request that it belongs to, its kind, and its
/// content.
pub type Publish = Arc<dyn Fn(&Value, &str, Value) + Send + Sync>;

/// A part of the kernel to which front ends can open a comm. Its methods must return quickly, because later messages
/// wait.
pub trait Target: Send + Sync {
    /// Handles a `comm_open`. The handler that it returns is dropped when the comm closes.
    fn open(&self, comm: &Comm, data: &Value) -> Box<dyn CommHandler>;
}

/// The kernel's end of an open comm.
pub trait CommHandler: Send {
    /// Handles a `comm_msg`.
    fn message(&mut self, comm: &Comm, data: &Value);
}

/// Sends messages to the front end, in answer to one of its messages.
#[derive(Clone)]
pub struct Comm {
    publish: Publish,
    parent: Value,
    id: String,
}

impl Comm {
    /// Sends a `comm_msg`.
    pub fn send(&self, data: Value) {
        self.publish("comm_msg", data);
    }

    fn publish(&self, kind: &str, data: Value) {
        (self.publish)(&self.parent, kind, json!({ "comm_id": self.id, "data": data }));
    }
}

/// All targets, and all open comms.
pub struct Comms {
    publish: Publish,
    targets: HashMap<&'static str, Box<dyn Target>>,
    /// The open comms by id.
    open: Mutex<BTreeMap<String, OpenComm>>,
}

struct OpenComm {
    target: String,
    handler: Box<dyn CommHandler>,
}

impl Comms {
    /// No targets yet; messages go out through `publish`.
    pub fn new(publish: Publish) -> Self {
        Self { publish, targets: HashMap::new(), open: Mutex::default() }
    }

    /// Adds a target under a name.
    pub fn with(mut self, name: &'static str, target: impl Target + 'static) -> Self {
        self.targets.insert(name, Box::new(target));
        self
    }

    /// Handles a `comm_open`, `comm_msg` or `comm_close`. They must come in the order in which they were sent; none has
    /// a reply.
    pub fn take(&self, kind: &str, header: &Value, content: &Value) {
        let id = content["comm_id"].as_str().unwrap_or("").to_string();
        let comm = Comm { publish: self.publish.clone(), parent: header.clone(), id };
        let mut open = self.open.lock();
        match kind {
            "comm_open" => {
                let target = content["target_name"].as_str().unwrap_or("");
                // If the id is in use, the old comm is closed.
                open.remove(&comm.id);
                match self.targets.get(target) {
                    Some(known) => {
                        let handler = known.open(&comm, &content["data"]);
                        open.insert(comm.id, OpenComm { target: target.into(), handler });
                    }
                    // Without this the front end would wait for ever.
                    None => comm.publish("comm_close", json!({})),
                }
            }
            "comm_msg" => match open.get_mut(&comm.id) {
                Some(OpenComm { handler, .. }) => handler.message(&comm, &content["data"]),
                None => tunebook_wire::log(&format!("a message to the comm `{}`, which is not open", comm.id)),
            },
            _ => drop(open.remove(&comm.id)),
        }
    }

    /// The content of a `comm_info_reply`: all open comms, or those to the target that the request names.
    pub fn info(&self, content: &Value) -> Value {
        let wanted = content["target_name"].as_str().filter(|name| !name.is_empty());
        let mut comms = Map::new();
        for (id, OpenComm { target, .. }) in self.open.lock().iter() {
            if wanted.is_none_or(|wanted| wanted == target) {
                comms.insert(id.clone(), json!({ "target_name": target }));
            }
        }
        json!({ "status": "ok", "comms": comms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target that answers each message with all messages so far, and records them when the comm closes.
    struct Log(Arc<Mutex<Vec<Value>>>);

    struct LogHandler {
        said: Vec<Value>,
        ended: Arc<Mutex<Vec<Value>>>,
    }

    impl Target for Log {
        fn open(&self, comm: &Comm, data: &Value) -> Box<dyn CommHandler> {
            comm.send(json!("hello"));
            Box::new(LogHandler { said: vec![data.clone()], ended: self.0.clone() })
        }
    }

    impl CommHandler for LogHandler {
        fn message(&mut self, comm: &Comm, data: &Value) {
            self.said.push(data.clone());
            comm.send(json!(self.said));
        }
    }

    impl Drop for LogHandler {
        fn drop(&mut self) {
            self.ended.lock().push(json!(self.said));
        }
    }

    type Published = Arc<Mutex<Vec<(Value, String, Value)>>>;

    fn comms() -> (Comms, Published, Arc<Mutex<Vec<Value>>>) {
        let (published, ended) = (Published::default(), Arc::default());
        let to = published.clone();
        let publish: Publish = Arc::new(move |parent, kind, content| {
            to.lock().push((parent.clone(), kind.into(), content));
        });
        (Comms::new(publish).with("log", Log(Arc::clone(&ended))), published, ended)
    }

    #[test]
    fn each_comm_has_its_own_handler_and_answers_the_message_that_it_got() {
        let (comms, published, ended) = comms();
        let take = |kind: &str, header: i64, content: Value| {
            comms.take(kind, &json!(header), &content);
            std::mem::take(&mut *published.lock())
        };
        let message = |header: i64, id: &str, data: Value| {
            (json!(header), "comm_msg".to_string(), json!({ "comm_id": id, "data": data }))
        };
        let open = |id: &str, data: i64| json!({ "comm_id": id, "target_name": "log", "data": data });
        let said = |id: &str, data: i64| json!({ "comm_id": id, "data": data });
        assert_eq!(take("comm_open", 1, open("a", 1)), [message(1, "a", json!("hello"))]);
        assert_eq!(take("comm_open", 2, open("b", 2)), [message(2, "b", json!("hello"))]);
        assert_eq!(take("comm_msg", 3, said("a", 3)), [message(3, "a", json!([1, 3]))]);
        assert_eq!(take("comm_msg", 4, said("b", 4)), [message(4, "b", json!([2, 4]))]);
        let both = json!({ "a": { "target_name": "log" }, "b": { "target_name": "log" } });
        for asked in
            [json!({}), json!({ "target_name": "log" }), json!({ "target_name": "" }), json!({ "target_name": null })]
        {
            assert_eq!(comms.info(&asked), json!({ "status": "ok", "comms": both }), "{asked}");
        }
        assert_eq!(comms.info(&json!({ "target_name": "other" }))["comms"], json!({}));
        // A closed comm answers nothing.
        assert!(take("comm_close", 5, said("a", 0)).is_empty());
        assert_eq!(*ended.lock(), [json!([1, 3])]);
        assert!(take("comm_msg", 6, said("a", 6)).is_empty());
        assert_eq!(comms.info(&json!({}))["comms"], json!({ "b": { "target_name": "log" } }));
        // The same id opens another comm, and closes the first.
        take("comm_open", 7, open("b", 7));
        assert_eq!(*ended.lock(), [json!([1, 3]), json!([2, 4])]);
        assert_eq!(take("comm_msg", 8, said("b", 8)), [message(8, "b", json!([7, 8]))]);
    }

    #[test]
    fn a_comm_to_an_unknown_target_is_closed() {
        let (comms, published, _) = comms();
        for content in [json!({ "comm_id": "c", "target_name": "nobody", "data": {} }), json!({ "comm_id": "c" })] {
            comms.take("comm_open", &json!("h"), &content);
            let close = json!({ "comm_id": "c", "data": {} });
            assert_eq!(published.lock().drain(..).collect::<Vec<_>>(), [(json!("h"), "comm_close".into(), close)]);
        }
        assert_eq!(comms.info(&json!({}))["comms"], json!({}));
        comms.take("comm_msg", &json!("h"), &json!({ "comm_id": "unknown", "data": {} }));
        comms.take("comm_close", &json!("h"), &json!({}));
        assert!(published.lock().is_empty());
    }
}
