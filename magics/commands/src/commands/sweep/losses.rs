//! Trials that lost their slot: which of them run again, and which have failed.
//!
//! A slot that ends by itself may have been ended by its trial, or by something outside of it, as preemption is. Only
//! what the trial may have caused counts against it soon.

/// A trial has failed once its slot has ended by itself this many times in a row, without the trial getting any further
/// than before. Losses with a cause outside the trial are not counted.
const LOSSES: u32 = 3;
/// The same for losses with a cause outside the trial. A trial without checkpoints that takes longer than a slot lives
/// would otherwise run for ever.
const LOSSES_OUTSIDE: u32 = 20;

/// What says that the memory was used up. Then the trial ends at once: it would use up the memory again. Of a message
/// with several parts, all must be in one line. In lower case.
///
/// - slurmstepd: `Detected 1 oom_kill event in StepId=5.0. Some of the step tasks have been OOM Killed.`, in older
///   versions `oom-kill event(s)`, and `Exceeded job memory limit at some point.`
/// - srun: `n1: task 0: Out Of Memory`
/// - Kubernetes: `OOMKilled`, the reason of a container that was ended.
const OUT_OF_MEMORY: [&[&str]; 6] =
    [&["oom_kill"], &["oom-kill"], &["oom kill"], &["oomkill"], &["exceeded ", " memory limit"], &["out of memory"]];

/// What says why the scheduler ended a job, and the cause. It counts also if a line about the memory is there: that may
/// be about an earlier trial of the slot, whose worker was killed. In lower case.
///
/// slurmstepd (src/slurmd/slurmstepd/req.c): `*** STEP 5.0 ON n1 CANCELLED AT … DUE TO PREEMPTION ***` and so on.
const ENDED_BECAUSE: [(&[&str], &str); 4] = [
    (&["due to preemption"], "preemption"),
    (&["due to node failure"], "a node that failed"),
    (&["due to time limit"], "the time limit of the job"),
    (&["due to job requeue"], "the job was queued again"),
];

/// The other messages that name a cause outside the trial, and the cause. Of a message with several parts, all must be
/// in one line. In lower case.
const OUTSIDE: [(&[&str], &str); 12] = [
    // The slot (tunebook-pool, src/slot/signals.rs).
    (&["tunebook slot: ended by sig"], "a signal to all processes of the job"),
    // srun (src/srun/allocate.c): `Node failure on n1`; the controller ended the step; the job is gone.
    (&["node failure on "], "a node that failed"),
    (&["force terminated "], "the scheduler ended the job"),
    (&["job allocation", "has been revoked"], "the scheduler ended the job"),
    // The states of jobs in squeue and sacct, which a command of one's own may print.
    (&["preempted"], "preemption"),
    (&["node_fail"], "a node that failed"),
    // kubectl: the answer of the API server about a pod that was deleted, `pods "tunebook-gpu-0-1f" not found`.
    (&["pods \"", "\" not found"], "its pod was deleted"),
    // kubectl run: `pod default/tunebook-gpu-0-1f terminated (ContainerStatusUnknown)`, with the kubelet's message `The
    // container could not be located when the pod was deleted` (or `terminated`).
    (&["containerstatusunknown"], "its pod was deleted"),
    (&["could not be located when the pod was "], "its pod was deleted"),
    // The kubelet about a pod that it ended (pkg/kubelet/eviction, pkg/kubelet/nodeshutdown).
    (&["evicted"], "its pod was evicted"),
    (&["the node was low on resource"], "its pod was evicted"),
    (&["terminated in response to imminent node shutdown"], "its node was shut down"),
];

/// What follows when a trial has lost its slot, and the reason to record.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// The trial runs again.
    RunsAgain(String),
    /// It has used up the memory, so it is infeasible.
    OutOfMemory(String),
    /// It has lost too many slots.
    Failed(String),
}

/// How often a trial has lost its slot in a row, without getting any further.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    /// The losses that the trial may have caused.
    own: u32,
    /// Those with a cause outside of it.
    outside: u32,
    /// The last step that it reported.
    reached: u64,
    /// The last step that it had reported when it was lost before.
    reached_before: u64,
}

impl Losses {
    /// The trial reported a step.
    pub fn reached(&mut self, step: u64) {
        self.reached = self.reached.max(step);
    }

    /// The trial lost its slot, for this reason. `said` are the last lines of the slot's command. The reason shows only
    /// some of them, and the one that tells the cause is often followed by others.
    pub fn lost(&mut self, reason: &str, said: &[String]) -> Loss {
        // A trial that gets further each time ends at last, however often machines are taken from it.
        if self.reached > self.reached_before {
            (self.own, self.outside) = (0, 0);
        }
        self.reached_before = self.reached;
        let Some((cause, line)) = cause(reason, said) else {
            self.own += 1;
            return match self.own {
                LOSSES.. => Loss::Failed(format!("{reason}, {} times", self.own)),
                _ => Loss::RunsAgain(reason.into()),
            };
        };
        let reason = match reason.contains(line) {
            true => reason.to_string(),
            false => format!("{reason}; before that it said `{line}`"),
        };
        match cause {
            Cause::OutOfMemory => Loss::OutOfMemory(format!("out of memory: {reason}")),
            Cause::Outside(cause) => {
                self.outside += 1;
                match self.outside {
                    LOSSES_OUTSIDE.. => Loss::Failed(format!(
                        "{reason}. Slots were taken from it {} times in a row before it got any further; this time the \
                         cause was outside the trial: {cause}",
                        self.outside
                    )),
                    _ => Loss::RunsAgain(reason),
                }
            }
        }
    }
}

/// Why a slot was lost.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cause {
    OutOfMemory,
    Outside(&'static str),
}

/// Why a slot was lost, and the line that says so. None if nothing that was said names a cause.
fn cause<'a>(reason: &'a str, said: &'a [String]) -> Option<(Cause, &'a str)> {
    let lines = said.iter().map(String::as_str).chain([reason]);
    let lines: Vec<(String, &str)> = lines.map(|line| (line.to_lowercase(), line)).collect();
    let find = |parts: &[&str]| lines.iter().find(|(lower, _)| parts.iter().all(|part| lower.contains(part)));
    let outside = |causes: &[(&[&str], &'static str)]| {
        causes.iter().find_map(|(parts, cause)| Some((Cause::Outside(cause), find(parts)?.1)))
    };
    let out_of_memory = || OUT_OF_MEMORY.iter().find_map(|parts| Some((Cause::OutOfMemory, find(parts)?.1)));
    outside(&ENDED_BECAUSE).or_else(out_of_memory).or_else(|| outside(&OUTSIDE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(how: &str) -> String {
        format!("its slot on gpu/1 on n1 was lost ({how} (exit status: 143))")
    }

    fn cause_of(how: &str) -> Option<Cause> {
        cause(&lost(how), &[]).map(|(cause, _)| cause)
    }

    #[test]
    fn what_schedulers_say_is_a_cause_outside_the_trial() {
        for (how, cause) in [
            ("slurmstepd: error: *** STEP 5.0 ON n1 CANCELLED AT 2026-01-02T03:04:05 DUE TO PREEMPTION ***", "preempt"),
            ("tunebook slot: ended by SIGTERM", "a signal to all"),
            (
                "slurmstepd: error: *** STEP 5.0 ON n1 CANCELLED AT 2026-01-02T03:04:05 DUE TO NODE FAILURE, SEE \
                 SLURMCTLD LOG FOR DETAILS ***",
                "failed",
            ),
            ("slurmstepd: error: *** JOB 5 ON n1 CANCELLED AT 2026-01-02T03:04:05 DUE TO TIME LIMIT ***", "limit"),
            ("slurmstepd: error: *** JOB 5 ON n1 CANCELLED AT 2026-01-02T03:04:05 DUE TO JOB REQUEUE ***", "again"),
            ("srun: error: Node failure on n1; srun: error: n1: task 0: Killed", "failed"),
            ("srun: error: n1: task 0: Terminated; srun: Force Terminated StepId=5.0", "scheduler"),
            ("srun: error: Job allocation 5 has been revoked", "scheduler"),
            ("state: NODE_FAIL", "failed"),
            ("Error from server (NotFound): pods \"tunebook-gpu-0-1f\" not found", "deleted"),
            ("pod default/tunebook-gpu-0-1f terminated (ContainerStatusUnknown)", "deleted"),
            ("pod terminated (Evicted); The node was low on resource: memory.", "evicted"),
        ] {
            let found = cause_of(how);
            assert!(matches!(found, Some(Cause::Outside(found)) if found.contains(cause)), "{how}: {found:?}");
        }
    }

    #[test]
    fn what_the_trial_may_have_caused_is_not() {
        for how in [
            "signal: 9 (SIGKILL)",
            "srun: error: n1: task 0: Exited with exit code 1",
            "srun: error: n1: task 0: Segmentation fault",
            // Whoever ended it by hand does not say why.
            "slurmstepd: error: *** STEP 5.0 ON n1 CANCELLED AT 2026-01-02T03:04:05 ***",
            "Welcome. The memory limit of this machine is 4 GB",
            "sh: train.py: not found",
            "it said nothing for 60 s",
        ] {
            assert_eq!(cause_of(how), None, "{how}");
        }
    }

    #[test]
    fn a_trial_that_uses_up_the_memory_ends_at_its_first_loss() {
        for how in [
            "slurmstepd: error: Detected 1 oom_kill event in StepId=5.0. Some of the step tasks have been OOM Killed.; \
             srun: Force Terminated StepId=5.0",
            "slurmstepd: error: Exceeded job memory limit at some point.",
            "srun: error: n1: task 0: Out Of Memory",
            "pod default/tunebook-gpu-0-1f terminated (OOMKilled)",
        ] {
            let expected = Loss::OutOfMemory(format!("out of memory: {}", lost(how)));
            assert_eq!(Losses::default().lost(&lost(how), &[]), expected, "{how}");
        }
        // The worker of an earlier trial was killed for its memory, and then the slot was taken away.
        let said =
            ["Detected 1 oom_kill event in StepId=5.0", "*** STEP 5.0 ON n1 CANCELLED AT … DUE TO PREEMPTION ***"];
        let loss = Losses::default().lost(&lost("signal: 9"), &said.map(String::from));
        assert!(matches!(loss, Loss::RunsAgain(_)), "{loss:?}");
    }

    #[test]
    fn the_cause_is_found_and_shown_also_if_other_lines_follow() {
        let said = [
            "srun: error: Node failure on n1",
            "srun: Job step aborted: Waiting up to 32 seconds for job step to finish.",
            "slurmstepd: error: *** STEP 5.0 ON n1 CANCELLED AT 2026-01-02T03:04:05 ***",
            "srun: error: n1: task 0: Killed",
        ];
        let reason = lost(&said[2..].join("; "));
        let mut losses = Losses::default();
        for _ in 0..LOSSES {
            let again = format!("{reason}; before that it said `{}`", said[0]);
            assert_eq!(losses.lost(&reason, &said.map(String::from)), Loss::RunsAgain(again));
        }
        // Two lines that have a part each are no message.
        assert_eq!(cause(&lost("signal: 9"), &["pods \"a".into(), "b\" not found".into()]), None);
    }

    #[test]
    fn a_trial_fails_after_three_losses_of_its_own_and_after_twenty_with_a_cause_outside() {
        let (own, outside) = (lost("signal: 9"), lost("DUE TO PREEMPTION"));
        let mut losses = Losses::default();
        let again = |reason: &String| Loss::RunsAgain(reason.clone());
        assert_eq!([losses.lost(&own, &[]), losses.lost(&own, &[])], [again(&own), again(&own)]);
        // A loss with a cause outside does not count to the three, and the others still do.
        assert_eq!(losses.lost(&outside, &[]), again(&outside));
        assert_eq!(losses.lost(&own, &[]), Loss::Failed(format!("{own}, 3 times")));

        let mut losses = Losses::default();
        assert!((1..LOSSES_OUTSIDE).all(|_| losses.lost(&outside, &[]) == again(&outside)));
        let Loss::Failed(failed) = losses.lost(&outside, &[]) else { panic!("it has not failed") };
        assert!(failed.contains("20 times in a row") && failed.ends_with("outside the trial: preemption"), "{failed}");
    }

    #[test]
    fn a_trial_that_gets_further_never_fails_by_losses() {
        let mut losses = Losses::default();
        for step in 1..100 {
            losses.reached(step);
            let loss = losses.lost(&lost(if step % 2 == 0 { "signal: 9" } else { "PREEMPTED" }), &[]);
            assert!(matches!(loss, Loss::RunsAgain(_)), "{loss:?}");
        }
    }
}
