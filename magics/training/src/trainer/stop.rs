//! Why a run ended before its last step.

use crate::hyperparameters::HyperparameterError;
use crate::libtorch::is_out_of_memory;
use tunebook_study::TrialState;

/// Why a run ended before its last step, with the reason in one line.
#[derive(Debug)]
pub enum Stop {
    /// The run diverged, a value became non-finite, or memory ran out. This is a result about the hyperparameters.
    Infeasible(String),
    /// Something is wrong with the workload, the request or the machine.
    Failed(String),
    /// The run did not reach its target within the steps that it had for it.
    Stopped(String),
    /// The run was cancelled.
    Cancelled,
}

impl Stop {
    /// Returns the state of the trial and the reason.
    pub fn outcome(self) -> (TrialState, Option<String>) {
        match self {
            Stop::Infeasible(reason) => (TrialState::Infeasible, Some(reason)),
            Stop::Failed(reason) => (TrialState::Failed, Some(reason)),
            Stop::Stopped(reason) => (TrialState::Stopped, Some(reason)),
            Stop::Cancelled => (TrialState::Cancelled, Some("interrupted".into())),
        }
    }

    /// Interprets an error message of libtorch or of the user's code. Running out of memory makes a trial infeasible;
    /// any other error fails it.
    pub fn from_message(message: &str) -> Self {
        let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message").trim();
        let line = line.trim_start_matches("Internal torch error: ");
        if line.contains("modified by an inplace operation") {
            let hint = "a tensor that the gradient needs was changed in place: write `x = &x + y` in place of `x += y`";
            return Stop::Failed(format!("{hint} ({line})"));
        }
        if line.starts_with("out of memory") {
            Stop::Infeasible(line.into())
        } else if is_out_of_memory(message) {
            Stop::Infeasible(format!("out of memory: {line}"))
        } else {
            Stop::Failed(line.into())
        }
    }
}

impl From<HyperparameterError> for Stop {
    fn from(error: HyperparameterError) -> Self {
        Stop::Failed(error.to_string())
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Stop::from_message(&format!("{error:#}"))
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Stop::from_message(&message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_ran_out_is_named_once() {
        for (message, expected) in [
            (
                "out of memory in the layer `a`, which asked for 2 GiB",
                "out of memory in the layer `a`, which asked for 2 GiB",
            ),
            ("can't allocate memory: you tried to allocate 8 bytes", "out of memory: can't allocate memory: you tried"),
        ] {
            let (state, reason) = Stop::from_message(message).outcome();
            assert_eq!(state, TrialState::Infeasible);
            assert!(reason.is_some_and(|reason| reason.starts_with(expected)));
        }
    }
}
