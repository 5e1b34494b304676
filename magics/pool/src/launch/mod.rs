//! Pools beyond this machine: how the command is composed that leads to a slot there.

mod kubernetes;

pub use kubernetes::{Kubernetes, KubernetesError};
pub(crate) use kubernetes::{Pod, START};

use crate::Environment;
use crate::copying::script;
use crate::spec::{Far, Scheduler, SlotSpec};

/// The option of `srun` with the name of a job.
pub(crate) const JOB_NAME: &str = "--job-name=";

/// What would tell `srun` to redirect or to change the standard streams of its jobs.
const STREAMS: [&str; 4] = ["SRUN_INPUT", "SRUN_OUTPUT", "SRUN_ERROR", "SRUN_LABELIO"];

/// Slots that one kind of command leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct FarPool {
    /// Its name.
    pub name: String,
    /// Its number. A pool that is added under the name of an earlier one has another number.
    pub id: u64,
    /// What leads to its slots.
    pub launcher: Launcher,
    /// How many slots it has.
    pub slots: usize,
    /// Files are copied to its machines: what a study needs, and what these absolute paths name, which may contain `*`
    /// and `?`. None if its machines share a file system with this one.
    pub copies: Option<Vec<String>>,
}

/// What leads to a slot.
#[derive(Clone, Debug, PartialEq)]
pub enum Launcher {
    /// A command that runs the rest of its words, such as `ssh host`. `{slot}` stands for the number of the slot,
    /// from 0.
    Prefix(Vec<String>),
    /// Options of `srun`.
    Slurm(Vec<String>),
    /// A pod, through `kubectl run`.
    Kubernetes(Kubernetes),
}

impl Launcher {
    /// Its name in the result of `%pool`.
    pub fn kind(&self) -> &'static str {
        match self {
            Launcher::Prefix(_) => "prefix",
            Launcher::Slurm(_) => "slurm",
            Launcher::Kubernetes(_) => "kubernetes",
        }
    }

    fn scheduler(&self) -> Scheduler {
        match self {
            Launcher::Prefix(_) => Scheduler::None,
            Launcher::Slurm(_) => Scheduler::Slurm,
            Launcher::Kubernetes(_) => Scheduler::Kubernetes,
        }
    }

    /// The command of a slot for people: the words of the user, and `…` for what Tunebook appends.
    fn shown(&self, number: usize) -> String {
        let words = match self {
            Launcher::Prefix(prefix) => {
                let own = prefix.iter().map(|word| word.replace("{slot}", &number.to_string()));
                own.collect::<Vec<_>>().join(" ")
            }
            Launcher::Slurm(options) => format!("srun {}", options.join(" ")),
            Launcher::Kubernetes(_) => "kubectl run".into(),
        };
        format!("{} …", words.trim_end())
    }

    /// The command that runs `words` in slot `number` of the pool `pool`.
    pub fn command(&self, pool: &str, number: usize, words: &[String]) -> Vec<String> {
        match self {
            Launcher::Prefix(prefix) => {
                let own = prefix.iter().map(|word| word.replace("{slot}", &number.to_string()));
                // `ssh` joins the words with spaces, and a shell takes them apart again.
                let through_shell = prefix.iter().any(|word| word.rsplit('/').next() == Some("ssh"));
                let words = words.iter().map(|word| match through_shell {
                    true => shell_words::quote(word).into_owned(),
                    false => word.clone(),
                });
                own.chain(words).collect()
            }
            Launcher::Slurm(options) => {
                let own = ["srun", "--nodes=1", "--ntasks=1", "--unbuffered"].map(String::from);
                let name = format!("{JOB_NAME}tunebook-{pool}-{START}");
                own.into_iter().chain([name]).chain(options.iter().cloned()).chain(words.iter().cloned()).collect()
            }
            Launcher::Kubernetes(pod) => pod.command(pool, number, words),
        }
    }
}

impl FarPool {
    /// The slots. `slot` is the command that runs a slot, and `environment` what the session changes.
    pub fn specs(&self, slot: &[String], environment: &Environment) -> Vec<SlotSpec> {
        let mut environment = environment.clone();
        if matches!(self.launcher, Launcher::Slurm(_)) {
            // A notebook that runs in a job of Slurm asks for jobs of their own, not for steps of that job.
            let inherited = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            let of_job = inherited
                .filter(|name| name.starts_with("SLURM_") && name != "SLURM_CONF" || STREAMS.contains(&name.as_str()));
            environment.0.splice(0..0, of_job.map(|name| (name, None)));
            // `srun` gives its environment to the job.
            environment.0.extend(Environment::without_devices());
        }
        let slot = if self.copies.is_some() { script::words(slot) } else { slot.to_vec() };
        let spec = |number| SlotSpec {
            device: format!("{}/{}", self.name, number + 1),
            command: self.launcher.command(&self.name, number, &slot),
            environment: environment.clone(),
            folder: None,
            far: Some(Far {
                pool: self.name.clone(),
                id: self.id,
                scheduler: self.launcher.scheduler(),
                copies: self.copies.is_some(),
                shown: self.launcher.shown(number),
            }),
        };
        (0..self.slots).map(spec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(String::from).collect()
    }

    #[test]
    fn the_rest_of_the_words_reaches_the_slot_through_each_launcher() {
        let slot = [String::from("/a b/tunebook"), "slot".into()];
        let command = |launcher: &Launcher| launcher.command("gpu", 2, &slot);
        let plain = Launcher::Prefix(words("env CUDA_VISIBLE_DEVICES={slot}"));
        assert_eq!(command(&plain), ["env", "CUDA_VISIBLE_DEVICES=2", "/a b/tunebook", "slot"]);
        let far = Launcher::Prefix(words("/usr/bin/ssh -T host"));
        assert_eq!(command(&far), ["/usr/bin/ssh", "-T", "host", "'/a b/tunebook'", "slot"]);
        let slurm = command(&Launcher::Slurm(words("--partition=gpu --gpus=1")));
        assert_eq!(slurm[..1], ["srun"]);
        assert_eq!(slurm[slurm.len() - 4..], ["--partition=gpu", "--gpus=1", "/a b/tunebook", "slot"]);
        assert_eq!(plain.shown(2), "env CUDA_VISIBLE_DEVICES=2 …");
        assert_eq!(far.shown(0), "/usr/bin/ssh -T host …");
        assert_eq!(Launcher::Slurm(vec![]).shown(0), "srun …");
    }

    #[test]
    fn srun_does_not_pass_on_the_devices_of_this_machine() {
        let far = |launcher| FarPool { name: "gpu".into(), id: 0, launcher, slots: 1, copies: None };
        let name = "CUDA_VISIBLE_DEVICES";
        let changed = Environment(vec![(name.into(), Some("2".into()))]);
        let slurm = far(Launcher::Slurm(vec![])).specs(&words("tunebook slot"), &changed);
        assert_eq!(slurm[0].environment.get(name), Some(None));
        // What another command does with it is its own matter.
        let prefix = far(Launcher::Prefix(words("env"))).specs(&words("tunebook slot"), &changed);
        assert_eq!(prefix[0].environment.get(name), Some(Some("2")));
    }
}
