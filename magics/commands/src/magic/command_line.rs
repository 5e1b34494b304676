//! The magics that can be used on the command line, without a notebook.

use super::{Body, Magic, Subject};

/// A magic on the command line.
pub struct CommandLineMagic {
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its help as text.
    pub help: String,
    /// Whether it has a body, which is the text of a file.
    pub body: Option<MagicBody>,
}

/// Whether a magic needs a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MagicBody {
    /// It has a form without one.
    Possible,
    /// It has only this form.
    Only,
}

impl Magic {
    /// This magic on the command line. None if it needs a session, such as the magics of Rust cells, or is of no use
    /// outside of one.
    pub fn on_command_line(&self) -> Option<CommandLineMagic> {
        let of_tuning = matches!(self.subject, Subject::Study | Subject::Workload);
        if !(of_tuning || self.body == Some(Body::Crate) || self.name == "devices") {
            return None;
        }
        let body = self.body.map(|_| if self.line { MagicBody::Possible } else { MagicBody::Only });
        Some(CommandLineMagic { name: self.name, summary: self.summary, help: self.plain(), body })
    }
}
