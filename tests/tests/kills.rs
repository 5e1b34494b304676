//! `kill -9` at random moments of a study, of the kernel, of a slot, or of a program: what was recorded stays, nothing
//! runs twice, no process is left, and the study goes on.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tunebook_study::{Trial, TrialState};
use tunebook_tests::{Kernel, PATIENCE, cell, command_of, descendants, eventually};

const TRIALS: u32 = 5000;

/// The study. Each trial writes its number to a log when it begins.
const PROGRAM: &str = "echo $TUNEBOOK_TRIAL >> began\nfor step in 1 2 3; do\n  echo \"{\\\"step\\\": $step, \\\"e\\\": $1}\"\n  \
                       sleep 0.00$step\ndone\n";

fn sweep(trials: u32) -> String {
    format!(
        "%%sweep s --trials {trials} --resume --parallel 2\ncommand sh run.sh {{x}}\nnuisance x ~ uniform(0, 1)\n\
         minimize e"
    )
}

/// Random numbers that a seed makes again (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn finished(trials: &[Trial]) -> BTreeMap<u32, Trial> {
    trials.iter().filter(|trial| !trial.state.runs_again()).map(|trial| (trial.number, trial.clone())).collect()
}

/// The numbers of the trials in the order in which they began.
fn began(folder: &Path) -> Vec<u32> {
    let log = std::fs::read_to_string(folder.join("began")).unwrap_or_default();
    log.lines().map(|line| line.parse().unwrap()).collect()
}

/// Kills so many times, and checks after each time.
async fn survives(kills: usize) {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("run.sh"), PROGRAM).unwrap();
    let mut victims: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..kills {
        let mut kernel = Kernel::start(folder).await;
        let earlier = began(folder).len();
        kernel.send("execute_request", cell(&sweep(TRIALS))).await;
        // Most of the kills come while trials run, the others while the sweep begins.
        if random.below(4) > 0 {
            assert!(eventually(PATIENCE, || began(folder).len() > earlier).await, "no trial begins");
        }
        tokio::time::sleep(Duration::from_micros(random.below(400_000))).await;
        let victim = ["kernel", "slot", "program"][random.below(3) as usize];
        *victims.entry(victim).or_default() += 1;
        let below = descendants(kernel.process.id());
        if victim != "kernel" {
            let name = if victim == "slot" { " slot" } else { "run.sh" };
            if let Some(pid) = kernel.children(name).first() {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            tokio::time::sleep(Duration::from_micros(random.below(100_000))).await;
        }
        // What another reader of the store sees is acknowledged, and so is what ran before it.
        let acknowledged = finished(&kernel.recorded("s"));
        let log = began(folder).len();
        kernel.kill();
        let alive = || below.iter().filter(|pid| !command_of(**pid).is_empty()).count();
        assert!(eventually(PATIENCE, || alive() == 0).await, "processes are left: {below:?}");

        let recorded = kernel.recorded("s");
        let after = finished(&recorded);
        for (number, trial) in &acknowledged {
            assert_eq!(after.get(number), Some(trial), "trial {number} was lost or changed");
            if trial.state == TrialState::Complete {
                assert_eq!(kernel.curve("s", *number, "e").len(), 3, "measurements of trial {number} were lost");
            }
        }
        let again: Vec<u32> = began(folder)[log..].iter().filter(|n| acknowledged.contains_key(n)).copied().collect();
        assert!(again.is_empty(), "these trials had ended and ran again: {again:?}");
        let configurations: BTreeSet<u32> = recorded.iter().map(|trial| trial.configuration).collect();
        assert_eq!(configurations.len(), recorded.len(), "a configuration has two numbers");
    }
    // The study goes on to an end.
    let mut kernel = Kernel::start(folder).await;
    let ended = kernel.recorded("s").len() as u32 + 4;
    assert!(ended as usize > kills, "so few trials ran that nothing was tested");
    let before = finished(&kernel.recorded("s"));
    let result = kernel.run_ok(&sweep(ended)).await.result();
    let after = finished(&kernel.recorded("s"));
    assert_eq!(after.keys().copied().collect::<Vec<_>>(), (1..=ended).collect::<Vec<_>>(), "{result}");
    assert!(before.iter().all(|(number, trial)| after[number] == *trial));
    // A program that was killed has failed. No other trial has.
    let failed = after.values().filter(|trial| trial.state != TrialState::Complete).count();
    assert!(failed <= victims.get("program").copied().unwrap_or(0), "{failed} of {ended} trials failed: {victims:?}");
    println!("{kills} kills ({victims:?}), {ended} trials, {failed} failed, {} starts", began(folder).len());
}

#[tokio::test]
async fn kills_at_ten_random_moments_lose_nothing_and_repeat_nothing() {
    survives(10).await;
}

/// Takes some minutes: `cargo verify -- --test product kills:: -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "takes minutes"]
async fn kills_at_two_hundred_random_moments_lose_nothing_and_repeat_nothing() {
    survives(200).await;
}
