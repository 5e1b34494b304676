//! The environment that a study records: the machine and the versions with which it ran (Playbook H11).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use tunebook_pool::Devices;
use tunebook_study::WorkloadDescription;

/// Of the changes that are not committed, so many bytes are recorded.
const DIFF: usize = 64 << 10;
/// So many names of files that git does not know are recorded.
const UNTRACKED: usize = 100;

/// Where the optimizers of the training pipeline add ε.
const EPSILON: &str = "of adam, adamw and nadam: outside of the bias correction (ε-hat); of rmsprop: inside the root";

/// Returns the versions, the machine, and the folder of the kernel with its git commit and what is not committed, as
/// JSON.
///
/// `slots` are the devices of the slots, `pools` the pools beyond this machine, and `folder` is that in which the run
/// began. What cannot be found out is null.
///
/// `trained` is the description of the workload, None for a program.
pub fn environment(
    devices: &Devices,
    slots: &[String],
    pools: Value,
    folder: &Path,
    trained: Option<&WorkloadDescription>,
) -> Value {
    // A training function has an optimizer of its own, and shares only the seed with other workloads.
    let is_ours = trained.is_some_and(|known| known.hyperparameters.iter().any(|h| h.shared && h.name != "seed"));
    let used: BTreeSet<&str> =
        devices.devices.iter().filter(|device| slots.contains(&device.id)).map(|device| device.name.as_str()).collect();
    json!({
        "tunebook": env!("CARGO_PKG_VERSION"),
        "libtorch": devices.libtorch,
        "slots": slots,
        "devices": used,
        "driver": devices.driver,
        "pools": pools,
        "processor": field_of("/proc/cpuinfo", "model name"),
        "instruction_set": std::env::consts::ARCH,
        "operating_system": std::env::consts::OS,
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_string()),
        "folder": folder.display().to_string(),
        "git": git(folder),
        // The convention decides what a tuned ε means (Playbook I15). It is known of our own optimizers only.
        "epsilon": is_ours.then_some(EPSILON),
    })
}

fn field_of(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(file)).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// Returns the commit of a folder, whether there are changes that are not committed, and which: as `git diff HEAD`
/// writes them, cut after [`DIFF`] bytes, and the names of files that git does not know. Returns None outside of a
/// repository, or if git is not installed.
fn git(folder: &Path) -> Option<Value> {
    let command = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(folder).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        command
    };
    let run = |arguments: &[&str]| {
        let output = command(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let commit = run(&["rev-parse", "HEAD"])?;
    let status = run(&["status", "--porcelain"]).unwrap_or_default();
    let untracked: Vec<&str> = status.lines().filter_map(|line| line.strip_prefix("?? ")).take(UNTRACKED).collect();
    let diff = ["diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv"];
    let (diff, is_cut) = cut_output(command(&diff)).unwrap_or_default();
    Some(json!({ "commit": commit, "dirty": !status.is_empty(), "diff": diff, "diff_cut": is_cut,
        "untracked": untracked }))
}

/// Returns the first [`DIFF`] bytes of what a command prints, in whole lines, and whether it prints more. It is ended
/// then.
fn cut_output(mut command: Command) -> Option<(String, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
    let mut bytes = vec![];
    let read = child.stdout.take()?.take(DIFF as u64 + 1).read_to_end(&mut bytes);
    let is_cut = bytes.len() > DIFF;
    if is_cut {
        let _ = child.kill();
        let whole_lines = bytes[..DIFF].iter().rposition(|byte| *byte == b'\n').map_or(DIFF, |at| at + 1);
        bytes.truncate(whole_lines);
    }
    let _ = child.wait();
    read.ok()?;
    Some((String::from_utf8_lossy(&bytes).into_owned(), is_cut))
}

/// Returns an environment without the text of the changes that are not committed, which is long; only its number of
/// lines and its hash are left. For tables.
pub fn without_diff(mut environment: Value) -> Value {
    if let Some(Value::String(diff)) = environment.pointer_mut("/git/diff").map(Value::take) {
        environment["git"]["diff"] = match diff.lines().count() {
            0 => Value::Null,
            lines => {
                let hash: String = Sha256::digest(&diff).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                json!(format!("{lines} lines (SHA-256 {hash}…)"))
            }
        };
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_committed_is_recorded_and_cut_if_it_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| {
            let identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"];
            let ran = Command::new("git").args(identity).args(arguments).current_dir(folder.path()).output().unwrap();
            assert!(ran.status.success(), "{ran:?}");
        };
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("train.py", "lr = 1\n");
        run(&["init", "-q"]);
        run(&["add", "."]);
        run(&["commit", "-qm", "first"]);
        let clean = git(folder.path()).unwrap();
        assert_eq!((&clean["dirty"], &clean["diff"], &clean["diff_cut"]), (&json!(false), &json!(""), &json!(false)));
        write("train.py", "lr = 2\n");
        write("new.py", "");
        let dirty = git(folder.path()).unwrap();
        let diff = dirty["diff"].as_str().unwrap();
        assert!(diff.contains("-lr = 1") && diff.contains("+lr = 2"), "{diff}");
        assert_eq!((&dirty["dirty"], &dirty["untracked"]), (&json!(true), &json!(["new.py"])));
        assert_eq!(without_diff(json!({ "git": dirty }))["git"]["diff"].as_str().unwrap()[..7], *"7 lines");
        write("train.py", &"a line\n".repeat(20_000));
        let long = git(folder.path()).unwrap();
        let diff = long["diff"].as_str().unwrap();
        assert!(long["diff_cut"] == true && diff.len() <= DIFF && diff.ends_with("line\n"), "{}", diff.len());
    }
}
