//! The changes that a session makes to the environment variables of the processes that it starts.

use std::process::Command;

/// The variables that choose the devices of this machine. Another machine has other devices, and its scheduler gives
/// them out.
const OF_DEVICES: [&str; 6] = [
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "TUNEBOOK_DEVICE",
];

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

    /// The changes that hold on another machine too: those of variables that choose devices are left out.
    pub fn elsewhere(&self) -> Vec<(String, Option<String>)> {
        self.0.iter().filter(|(name, _)| !OF_DEVICES.contains(&name.as_str())).cloned().collect()
    }

    /// What keeps a command from passing on the devices of this machine.
    pub(crate) fn without_devices() -> impl Iterator<Item = (String, Option<String>)> {
        OF_DEVICES.into_iter().map(|name| (name.into(), None))
    }

    /// The change of one variable: its new value, `Some(None)` if it is removed, None if it is not changed.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        self.0.iter().rev().find(|(changed, _)| changed == name).map(|(_, value)| value.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_devices_of_this_machine_are_not_chosen_on_another_one() {
        let changes = [("A", Some("1")), ("CUDA_VISIBLE_DEVICES", Some("2")), ("TUNEBOOK_DEVICE", None), ("B", None)];
        let changes = changes.map(|(name, value)| (name.to_string(), value.map(String::from)));
        let elsewhere = Environment(changes.clone().into()).elsewhere();
        assert_eq!(elsewhere, [changes[0].clone(), changes[3].clone()]);
    }
}
