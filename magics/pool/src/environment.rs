//! The changes that a session makes to the environment variables of the processes that it starts.

use std::process::Command;

/// Variables with their new values, or None for a variable that is removed. A later entry overrides earlier ones of the
/// same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Environment(pub Vec<(String, Option<String>)>);

impl Environment {
    /// Applies the changes to a command that is to be started.
    pub fn give(&self, command: &mut Command) {
        for (name, value) in &self.0 {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }

    /// The change of one variable: its new value, `Some(None)` if it is removed, None if it is not changed.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        self.0.iter().rev().find(|(changed, _)| changed == name).map(|(_, value)| value.as_deref())
    }
}
