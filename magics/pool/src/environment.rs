//! What a session changes of the environment that its processes inherit.

use std::process::Command;

/// Variables with their values; `None`: taken away. Later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Environment(pub Vec<(String, Option<String>)>);

impl Environment {
    /// Gives it to a process that is to be started.
    pub fn give(&self, command: &mut Command) {
        for (name, value) in &self.0 {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }

    /// What it says of a variable; `None` where it says nothing.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        self.0.iter().rev().find(|(of, _)| of == name).map(|(_, value)| value.as_deref())
    }
}
