//! What the kernel and its machine are busy with is read from `/proc`; where there is none it is not known.

use serde_json::Value;

/// See the module.
#[derive(Default)]
pub struct Usage;

impl Usage {
    /// Content of a `usage_reply`.
    pub fn read(&self) -> Result<Value, &'static str> {
        Err("it is known on Linux alone")
    }
}
