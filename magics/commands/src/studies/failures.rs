//! Trials that cannot be used: what the store and the workload know of them, and sentences about them.

use crate::error::Result;
use tunebook_analysis::{Flags, causes};
use tunebook_study::store::{Store, StudyRecord};
use tunebook_study::{Objective, Trial, TrialState, WorkloadDescription};

/// At most so many trials are named in a sentence.
const NAMED: usize = 8;

/// Flags the complete trials of a study that are suspicious.
pub fn flags(
    store: &Store,
    study: &StudyRecord,
    trials: &[Trial],
    objective: &Objective,
    workload: Option<&WorkloadDescription>,
) -> Result<Flags> {
    let untrained = store
        .measurements_at(study, 0)?
        .into_iter()
        .filter_map(|(number, measurement)| Some((number, (*measurement.metrics.get(&objective.metric)?)?)))
        .collect();
    Ok(tunebook_analysis::flags(trials, objective, &untrained, workload))
}

/// Returns sentences about the trials that cannot be used, and about those that are flagged. There are none if all can
/// be used.
pub fn sentences_about_failures(trials: &[Trial], flags: &Flags) -> Vec<String> {
    let (counts, mut sentences) = (causes(trials, flags), vec![]);
    let ended = trials.iter().filter(|trial| !trial.state.runs_again()).count();
    let unusable: usize = counts.iter().map(|(_, count)| count).sum();
    if unusable > 0 {
        let percent = |count: usize| 100.0 * count as f64 / ended.max(1) as f64;
        let classes: Vec<String> =
            counts.iter().map(|(cause, count)| format!("{count} {cause} ({:.0} %)", percent(*count))).collect();
        // Trials that run, or were interrupted, are not counted.
        let which_ended = if trials.len() > ended { " that ended" } else { "" };
        let which = match (unusable, ended) {
            (1, 1) => format!("The only trial{which_ended}"),
            (all, ended) if all == ended => format!("All {ended} trials{which_ended}"),
            _ => format!("{unusable} of {ended} trials{which_ended}"),
        };
        sentences.push(format!("{which} cannot be used: {}.", classes.join(", ")));
    }
    let chance =
        flags.chance.map_or(String::new(), |chance| format!(" (about {})", crate::report::table::number(chance)));
    for (numbers, what) in [
        (&flags.worse_than_chance, format!("are no better than an untrained model{chance}")),
        (&flags.outlier, format!("lie far from all others and nearer to chance{chance} than to the best")),
    ] {
        if !numbers.is_empty() {
            let named: Vec<String> = numbers.iter().take(NAMED).map(u32::to_string).collect();
            let count = numbers.len();
            let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
            let of = trials.iter().filter(|trial| trial.state == TrialState::Complete).count();
            sentences.push(format!("Flagged: {count} of {of} complete trials {what}: {}{more}.", named.join(", ")));
        }
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::trial;

    #[test]
    fn trials_that_were_interrupted_are_not_denied() {
        let said = |states: &[TrialState]| {
            let trials: Vec<Trial> = (1..).zip(states).map(|(number, state)| trial(number, *state)).collect();
            sentences_about_failures(&trials, &Flags::default()).join(" ")
        };
        let (complete, failed, cancelled) = (TrialState::Complete, TrialState::Failed, TrialState::Cancelled);
        assert_eq!(said(&[failed]), "The only trial cannot be used: 1 failed (100 %).");
        let with_others = said(&[failed, cancelled, cancelled]);
        assert_eq!(with_others, "The only trial that ended cannot be used: 1 failed (100 %).");
        assert_eq!(said(&[failed, complete]), "1 of 2 trials cannot be used: 1 failed (50 %).");
        let running = said(&[failed, complete, TrialState::Running]);
        assert_eq!(running, "1 of 2 trials that ended cannot be used: 1 failed (50 %).");
    }
}
