//! A slot in a pod: `kubectl run -i --rm`.

use serde_json::{Value, json};

/// Stands for a number in the name of a pod: a pod that ended may still hold its name when the next one starts.
pub(crate) const START: &str = "{start}";

/// What a pod of a pool asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kubernetes {
    image: String,
    /// GPUs of each pod.
    gpu: Option<u32>,
    cpu: Option<String>,
    memory: Option<String>,
    /// Claims of volumes, with the paths at which they are mounted.
    volumes: Vec<(String, String)>,
    /// Words for `kubectl` itself: its namespace and context.
    global: Vec<String>,
}

/// Why a description of a pod cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum KubernetesError {
    #[error("`{word}` is not written as `key=value`")]
    NoPair { word: String },
    #[error("there is no key `{key}`; the keys are image, gpu, cpu, memory, volume, namespace and context")]
    UnknownKey { key: String },
    #[error("`gpu` is a number of GPUs, not `{value}`")]
    NoNumber { value: String },
    #[error("`volume` names a claim and an absolute path, as in `volume=CLAIM:/home`, not `{value}`")]
    NoVolume { value: String },
    #[error("the image is missing: `image=…`")]
    NoImage,
}

impl Kubernetes {
    /// Reads `image=… gpu=1 volume=CLAIM:/path …`.
    pub fn parse(words: &[String]) -> Result<Self, KubernetesError> {
        let mut pod = Self::default();
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| KubernetesError::NoPair { word: word.clone() })?;
            let text = value.to_string();
            match key {
                "image" => pod.image = text,
                "gpu" => pod.gpu = Some(value.parse().map_err(|_| KubernetesError::NoNumber { value: text })?),
                "cpu" => pod.cpu = Some(text),
                "memory" => pod.memory = Some(text),
                "namespace" | "context" => pod.global.push(format!("--{key}={value}")),
                "volume" => match value.split_once(':') {
                    Some((claim, path)) if !claim.is_empty() && path.starts_with('/') => {
                        pod.volumes.push((claim.into(), path.into()));
                    }
                    _ => return Err(KubernetesError::NoVolume { value: text }),
                },
                _ => return Err(KubernetesError::UnknownKey { key: key.into() }),
            }
        }
        if pod.image.is_empty() { Err(KubernetesError::NoImage) } else { Ok(pod) }
    }

    /// Whether its pods mount a volume.
    pub fn has_volume(&self) -> bool {
        !self.volumes.is_empty()
    }

    /// The command that runs `words` in a pod of its own.
    pub(super) fn command(&self, pool: &str, number: usize, words: &[String]) -> Vec<String> {
        let plain: String = pool.to_lowercase().chars().filter(char::is_ascii_alphanumeric).take(20).collect();
        let name = format!("tunebook-{plain}-{number}-{START}");
        let own = ["kubectl", "run", &name, "--stdin", "--rm", "--quiet", "--restart=Never"].map(String::from);
        let mut command: Vec<String> = own.into();
        command.extend(self.global.iter().cloned());
        command.push(format!("--image={}", self.image));
        // Otherwise kubectl gives up a pod that waits for a node for longer than a minute.
        command.push("--pod-running-timeout=720h".into());
        command.push(format!("--overrides={}", self.overrides(&name, words)));
        command
    }

    /// The pod. What is given here replaces the container that kubectl makes, so it is complete.
    fn overrides(&self, name: &str, words: &[String]) -> Value {
        let mut limits = serde_json::Map::new();
        limits.extend(self.gpu.map(|count| ("nvidia.com/gpu".to_string(), json!(count.to_string()))));
        limits.extend(self.cpu.as_ref().map(|cpu| ("cpu".to_string(), json!(cpu))));
        limits.extend(self.memory.as_ref().map(|memory| ("memory".to_string(), json!(memory))));
        let named = |i: usize| format!("shared-{i}");
        // Kubernetes replaces `$(NAME)` and `$$` in a command.
        let words: Vec<String> = words.iter().map(|word| word.replace('$', "$$")).collect();
        let volumes = self.volumes.iter().enumerate();
        let mounts: Vec<Value> =
            volumes.clone().map(|(i, (_, path))| json!({ "name": named(i), "mountPath": path })).collect();
        let claims: Vec<Value> = volumes
            .map(|(i, (claim, _))| json!({ "name": named(i), "persistentVolumeClaim": { "claimName": claim } }))
            .collect();
        json!({ "apiVersion": "v1", "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": name,
                "image": self.image,
                "command": words,
                "stdin": true,
                // The slot ends when kubectl does.
                "stdinOnce": true,
                "resources": { "limits": limits },
                "volumeMounts": mounts,
            }],
            "volumes": claims,
        } })
    }
}

/// The pod of a slot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pod {
    pub(crate) name: String,
    /// Words for `kubectl` itself: its namespace and context.
    global: Vec<String>,
}

impl Pod {
    /// The pod that a command starts, once its name is complete.
    pub(crate) fn of(command: &[String]) -> Option<Self> {
        let global = command.iter().filter(|word| word.starts_with("--namespace=") || word.starts_with("--context="));
        Some(Self { name: command.get(2)?.clone(), global: global.cloned().collect() })
    }

    /// The words with which `kubectl` tells why it waits.
    pub(crate) fn ask(&self) -> Vec<String> {
        let what =
            "{.status.conditions[?(@.status==\"False\")].message} {.status.containerStatuses[*].state.waiting.reason}";
        let own = [String::from("get"), "pod".into(), self.name.clone(), format!("--output=jsonpath={what}")];
        own.into_iter().chain(self.global.iter().cloned()).collect()
    }

    /// The command that deletes it, if it is still there. A `kubectl run` that is ended before its pod runs leaves the
    /// pod behind.
    pub(crate) fn delete(&self) -> Vec<String> {
        let own = ["kubectl", "delete", "pod", &self.name].map(String::from);
        let options = ["--ignore-not-found", "--wait=false", "--request-timeout=30s"].map(String::from);
        own.into_iter().chain(self.global.iter().cloned()).chain(options).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Kubernetes, KubernetesError> {
        Kubernetes::parse(&text.split(' ').map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_pod_has_what_was_asked_for() {
        let pod = parse("image=a/b:1 gpu=2 cpu=4 memory=8Gi volume=home:/home namespace=ml").unwrap();
        let command = pod.command("Big GPUs", 3, &["/x y/tunebook".into(), "slot".into(), "$(x) $$".into()]);
        assert_eq!(command[..2], ["kubectl", "run"]);
        assert!(command[2].starts_with("tunebook-biggpus-") && command[2].ends_with("-3-{start}"), "{command:?}");
        assert!(command.contains(&"--namespace=ml".to_string()) && command.contains(&"--image=a/b:1".to_string()));
        let overrides = command.last().unwrap().strip_prefix("--overrides=").unwrap();
        let pod: Value = serde_json::from_str(overrides).unwrap();
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["command"], json!(["/x y/tunebook", "slot", "$$(x) $$$$"]));
        assert_eq!(container["resources"]["limits"], json!({ "nvidia.com/gpu": "2", "cpu": "4", "memory": "8Gi" }));
        assert_eq!(container["volumeMounts"][0]["mountPath"], "/home");
        assert_eq!(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "home");
    }

    #[test]
    fn a_pod_is_deleted_where_it_was_started() {
        let command = parse("image=a namespace=ml context=far").unwrap().command("gpu", 0, &["tunebook".into()]);
        let delete = Pod::of(&command).unwrap().delete().join(" ");
        let expected = "kubectl delete pod tunebook-gpu-0-{start} --namespace=ml --context=far --ignore-not-found \
                        --wait=false --request-timeout=30s";
        assert_eq!(delete, expected);
        assert!(Pod::of(&command).unwrap().ask().starts_with(&["get".to_string(), "pod".into()]));
        assert_eq!(Pod::of(&[]), None);
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(parse("gpu=1"), Err(KubernetesError::NoImage));
        assert_eq!(parse("image=a gpu=one"), Err(KubernetesError::NoNumber { value: "one".into() }));
        assert_eq!(parse("image=a gpus=1"), Err(KubernetesError::UnknownKey { key: "gpus".into() }));
        assert_eq!(parse("image"), Err(KubernetesError::NoPair { word: "image".into() }));
        assert_eq!(parse("image=a volume=home"), Err(KubernetesError::NoVolume { value: "home".into() }));
    }
}
