//! `usage_request` on systems without `/proc`: it is answered with an error.

use serde_json::Value;

#[derive(Default)]
pub struct Usage;

impl Usage {
    /// The content of a `usage_reply`.
    pub fn read(&self) -> Result<Value, &'static str> {
        Err("it is known on Linux alone")
    }
}
