//! Comms: lines that a front end opens to a part of the kernel by its name, for messages both ways.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// Publishes a message on IOPub: header of the request that it belongs to, kind, content.
pub type Publish = Arc<dyn Fn(&Value, &str, Value) + Send + Sync>;

/// What front ends can open a comm to. What it is told it must take at once: the messages behind it wait.
pub trait Target: Send + Sync {
    /// A front end opened a comm, with data of its own. The end of what comes back is the end of the comm.
    fn open(&self, comm: &Comm, data: &Value) -> Box<dyn Line>;
}

/// The kernel's end of an open comm.
pub trait Line: Send {
    /// The front end said something.
    fn message(&mut self, comm: &Comm, data: &Value);
}

/// To speak to the front end with, in answer to one of its messages.
#[derive(Clone)]
pub struct Comm {
    publish: Publish,
    parent: Value,
    id: String,
}

impl Comm {
    /// Says something to the front end.
    pub fn send(&self, data: Value) {
        self.publish("comm_msg", data);
    }

    fn publish(&self, kind: &str, data: Value) {
        (self.publish)(&self.parent, kind, json!({ "comm_id": self.id, "data": data }));
    }
}

/// All targets, and all comms that are open.
pub struct Comms {
    publish: Publish,
    targets: HashMap<&'static str, Box<dyn Target>>,
    open: Mutex<BTreeMap<String, Open>>,
}

struct Open {
    target: String,
    line: Box<dyn Line>,
}

impl Comms {
    /// Over what publishes its messages; there is no target yet.
    pub fn new(publish: Publish) -> Self {
        Self { publish, targets: HashMap::new(), open: Mutex::default() }
    }

    /// With a target under a name.
    pub fn with(mut self, name: &'static str, target: impl Target + 'static) -> Self {
        self.targets.insert(name, Box::new(target));
        self
    }

    /// Takes a `comm_open`, `comm_msg` or `comm_close`, in the order in which they were sent; none of them has a reply.
    pub fn take(&self, kind: &str, header: &Value, content: &Value) {
        let id = content["comm_id"].as_str().unwrap_or("").to_string();
        let comm = Comm { publish: self.publish.clone(), parent: header.clone(), id };
        let Ok(mut open) = self.open.lock() else { return };
        match kind {
            "comm_open" => {
                let target = content["target_name"].as_str().unwrap_or("");
                // An id that is used again ends what it stood for.
                open.remove(&comm.id);
                match self.targets.get(target) {
                    Some(known) => {
                        let line = known.open(&comm, &content["data"]);
                        open.insert(comm.id, Open { target: target.into(), line });
                    }
                    // The front end is told so, or it would wait.
                    None => comm.publish("comm_close", json!({})),
                }
            }
            "comm_msg" => match open.get_mut(&comm.id) {
                Some(Open { line, .. }) => line.message(&comm, &content["data"]),
                None => tunebook_wire::log(&format!("a message to the comm `{}`, which is not open", comm.id)),
            },
            _ => drop(open.remove(&comm.id)),
        }
    }

    /// Content of a `comm_info_reply`: what is open, or what is open to a target.
    pub fn info(&self, content: &Value) -> Value {
        let wanted = content["target_name"].as_str().filter(|name| !name.is_empty());
        let mut comms = Map::new();
        if let Ok(open) = self.open.lock() {
            for (id, Open { target, .. }) in open.iter() {
                if wanted.is_none_or(|wanted| wanted == target) {
                    comms.insert(id.clone(), json!({ "target_name": target }));
                }
            }
        }
        json!({ "status": "ok", "comms": comms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each message with all that were said so far, and leaves a trace at its end.
    struct Log(Arc<Mutex<Vec<Value>>>);

    struct LogLine {
        said: Vec<Value>,
        ended: Arc<Mutex<Vec<Value>>>,
    }

    impl Target for Log {
        fn open(&self, comm: &Comm, data: &Value) -> Box<dyn Line> {
            comm.send(json!("hello"));
            Box::new(LogLine { said: vec![data.clone()], ended: self.0.clone() })
        }
    }

    impl Line for LogLine {
        fn message(&mut self, comm: &Comm, data: &Value) {
            self.said.push(data.clone());
            comm.send(json!(self.said));
        }
    }

    impl Drop for LogLine {
        fn drop(&mut self) {
            self.ended.lock().unwrap().push(json!(self.said));
        }
    }

    type Published = Arc<Mutex<Vec<(Value, String, Value)>>>;

    fn comms() -> (Comms, Published, Arc<Mutex<Vec<Value>>>) {
        let (published, ended) = (Published::default(), Arc::default());
        let to = published.clone();
        let publish: Publish = Arc::new(move |parent, kind, content| {
            to.lock().unwrap().push((parent.clone(), kind.into(), content));
        });
        (Comms::new(publish).with("log", Log(Arc::clone(&ended))), published, ended)
    }

    #[test]
    fn each_comm_has_a_line_of_its_own_and_answers_to_the_message_at_hand() {
        let (comms, published, ended) = comms();
        let take = |kind: &str, header: i64, content: Value| {
            comms.take(kind, &json!(header), &content);
            std::mem::take(&mut *published.lock().unwrap())
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
        // Closed: silent from here on.
        assert!(take("comm_close", 5, said("a", 0)).is_empty());
        assert_eq!(*ended.lock().unwrap(), [json!([1, 3])]);
        assert!(take("comm_msg", 6, said("a", 6)).is_empty());
        assert_eq!(comms.info(&json!({}))["comms"], json!({ "b": { "target_name": "log" } }));
        // The same id again is another comm.
        take("comm_open", 7, open("b", 7));
        assert_eq!(*ended.lock().unwrap(), [json!([1, 3]), json!([2, 4])]);
        assert_eq!(take("comm_msg", 8, said("b", 8)), [message(8, "b", json!([7, 8]))]);
    }

    #[test]
    fn a_target_that_is_not_there_closes_the_comm() {
        let (comms, published, _) = comms();
        for content in [json!({ "comm_id": "c", "target_name": "nobody", "data": {} }), json!({ "comm_id": "c" })] {
            comms.take("comm_open", &json!("h"), &content);
            let close = json!({ "comm_id": "c", "data": {} });
            assert_eq!(
                published.lock().unwrap().drain(..).collect::<Vec<_>>(),
                [(json!("h"), "comm_close".into(), close)]
            );
        }
        assert_eq!(comms.info(&json!({}))["comms"], json!({}));
        comms.take("comm_msg", &json!("h"), &json!({ "comm_id": "unknown", "data": {} }));
        comms.take("comm_close", &json!("h"), &json!({}));
        assert!(published.lock().unwrap().is_empty());
    }
}
