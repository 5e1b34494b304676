//! The kernel's description of itself.

use serde_json::{Value, json};
use tunebook_wire::message::PROTOCOL_VERSION;

/// The content of a `kernel_info_reply`.
pub fn kernel_info() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "status": "ok",
        "protocol_version": PROTOCOL_VERSION,
        "implementation": "tunebook",
        "implementation_version": version,
        "language_info": {
            "name": "rust",
            "version": "2024",
            "mimetype": "text/rust",
            "file_extension": ".rs",
            "pygments_lexer": "rust",
            "codemirror_mode": "rust",
            "nbconvert_exporter": "",
        },
        "banner": format!("Tunebook {version}: Rust, and magics for tuning deep learning models. %lsmagic lists them."),
        "debugger": false,
        "supported_features": [],
        "help_links": [
            { "text": "Deep Learning Tuning Playbook", "url": "https://github.com/google-research/tuning_playbook" },
            { "text": "The Rust Programming Language", "url": "https://doc.rust-lang.org/book/" },
            { "text": "tch", "url": "https://docs.rs/tch" },
        ],
    })
}
