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

/// What says that the memory was used up. Then the trial is the cause, whatever else was said. In lower case.
///
/// - slurmstepd: `Detected 1 oom_kill event in StepId=5.0. Some of the step tasks have been OOM Killed.`, in older
///   versions `oom-kill event(s)`, and `Exceeded job memory limit at some point.`
/// - Kubernetes: `OOMKilled`, the reason of a container that was ended.
const OUT_OF_MEMORY: [&str; 5] = ["oom_kill", "oom-kill", "oom kill", "oomkill", "memory limit"];

/// The messages that name a cause outside the trial, and the cause. Of a message with several parts, all must be there.
/// In lower case.
const OUTSIDE: [(&[&str], &str); 15] = [
    // slurmstepd (src/slurmd/slurmstepd/req.c): `*** STEP 5.0 ON n1 CANCELLED AT … DUE TO PREEMPTION ***` and so on.
    (&["due to preemption"], "preemption"),
    (&["due to node failure"], "a node that failed"),
    (&["due to time limit"], "the time limit of the job"),
    (&["due to job requeue"], "the job was queued again"),
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

    /// The trial lost its slot, for this reason. Returns why the trial has failed, or None if it runs again.
    pub fn lost(&mut self, reason: &str) -> Option<String> {
        // A trial that gets further each time ends at last, however often machines are taken from it.
        if self.reached > self.reached_before {
            (self.own, self.outside) = (0, 0);
        }
        self.reached_before = self.reached;
        match cause_outside(reason) {
            None => {
                self.own += 1;
                (self.own >= LOSSES).then(|| format!("{reason}, {} times", self.own))
            }
            Some(cause) => {
                self.outside += 1;
                (self.outside >= LOSSES_OUTSIDE).then(|| {
                    format!(
                        "{reason}. Slots were taken from it {} times in a row before it got any further; this time the \
                         cause was outside the trial: {cause}",
                        self.outside
                    )
                })
            }
        }
    }
}

/// The cause of the loss of a slot, if the words of the loss name one outside the trial.
fn cause_outside(reason: &str) -> Option<&'static str> {
    let reason = reason.to_lowercase();
    let says = |part: &&str| reason.contains(*part);
    if OUT_OF_MEMORY.iter().any(says) {
        return None;
    }
    OUTSIDE.iter().find(|(parts, _)| parts.iter().all(says)).map(|(_, cause)| *cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(how: &str) -> String {
        format!("its slot on gpu/1 on n1 was lost ({how} (exit status: 143))")
    }

    #[test]
    fn what_schedulers_say_is_a_cause_outside_the_trial() {
        for (how, cause) in [
            ("slurmstepd: error: *** STEP 5.0 ON n1 CANCELLED AT 2026-01-02T03:04:05 DUE TO PREEMPTION ***", "preempt"),
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
            let found = cause_outside(&lost(how));
            assert!(found.is_some_and(|found| found.contains(cause)), "{how}: {found:?}");
        }
    }

    #[test]
    fn what_the_trial_may_have_caused_is_not() {
        for how in [
            "signal: 9 (SIGKILL)",
            "srun: error: n1: task 0: Exited with exit code 1",
            "srun: error: n1: task 0: Segmentation fault",
            // Whoever ended it by hand does not say why, and neither does Slurm where a limit of memory is enforced.
            "slurmstepd: error: *** STEP 5.0 ON n1 CANCELLED AT 2026-01-02T03:04:05 ***",
            "slurmstepd: error: Detected 1 oom_kill event in StepId=5.0. Some of the step tasks have been OOM Killed.; \
             srun: Force Terminated StepId=5.0",
            "pod default/tunebook-gpu-0-1f terminated (OOMKilled)",
            "sh: train.py: not found",
            "it said nothing for 60 s",
        ] {
            assert_eq!(cause_outside(&lost(how)), None, "{how}");
        }
    }

    #[test]
    fn a_trial_fails_after_three_losses_of_its_own_and_after_twenty_with_a_cause_outside() {
        let (own, outside) = (lost("signal: 9"), lost("DUE TO PREEMPTION"));
        let mut losses = Losses::default();
        assert_eq!([losses.lost(&own), losses.lost(&own)], [None, None]);
        // A loss with a cause outside does not count to the three, and the others still do.
        assert_eq!(losses.lost(&outside), None);
        assert_eq!(losses.lost(&own), Some(format!("{own}, 3 times")));

        let mut losses = Losses::default();
        assert!((1..LOSSES_OUTSIDE).all(|_| losses.lost(&outside).is_none()));
        let failed = losses.lost(&outside).expect("it has failed");
        assert!(failed.contains("20 times in a row") && failed.ends_with("outside the trial: preemption"), "{failed}");
    }

    #[test]
    fn a_trial_that_gets_further_never_fails_by_losses() {
        let mut losses = Losses::default();
        for step in 1..100 {
            losses.reached(step);
            assert_eq!(losses.lost(&lost(if step % 2 == 0 { "signal: 9" } else { "PREEMPTED" })), None);
        }
    }
}
