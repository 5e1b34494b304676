//! What the new runs of two configurations say, in words.

use crate::commands::seeds::rerun::{Arm, Reruns, constant_note, is_constant, problems};
use crate::report::table::{interval_or_dash, number};
use tunebook_analysis::{Adoption, Level, Runs};
use tunebook_study::{Direction, WorkloadReference};

/// Returns the sentences of the report. `arms` are the candidate and the baseline.
pub(super) fn sentences(found: &Adoption, workload: &WorkloadReference, arms: [(&Arm, &Reruns); 2]) -> Vec<String> {
    let [candidate, baseline] = arms.map(|(arm, _)| arm.trial);
    let mut said = vec![difference(found)];
    said.extend(evidence(found));
    said.push(verdict(found, candidate, baseline));
    let runs = [&found.candidate_runs, &found.baseline_runs];
    for ((arm, reruns), runs) in arms.into_iter().zip(runs) {
        let what = format!("Trial {}", arm.trial);
        said.extend(problems(&what, &reruns.trials));
        if is_constant(&runs.values) {
            said.push(constant_note(&what, &runs.values, matches!(workload, WorkloadReference::Command(_))));
        }
    }
    said.extend(luck(arms[0].0, &found.candidate_runs, found.direction));
    said
}

fn difference(found: &Adoption) -> String {
    let better = match found.direction {
        Direction::Minimize => "smaller is better",
        Direction::Maximize => "larger is better",
    };
    let counts = [&found.candidate_runs, &found.baseline_runs].map(|runs| runs.values.len());
    let runs = format!("from {} new runs of the candidate and {} of the baseline", counts[0], counts[1]);
    match (found.difference, found.interval) {
        (Some(difference), Some(_)) => format!(
            "Difference of {} (candidate − baseline; {better}): {} (95 %: {}), {runs} with the same seeds.",
            found.metric,
            number(difference),
            interval_or_dash(found.interval)
        ),
        (Some(difference), None) => format!(
            "Difference of {} (candidate − baseline; {better}): {}, {runs}. It has no interval, because runs are \
             infeasible or too few.",
            found.metric,
            number(difference)
        ),
        (None, _) => format!(
            "The difference of {} is not known, {runs}: too many of them are infeasible, or there are none.",
            found.metric
        ),
    }
}

fn evidence(found: &Adoption) -> Vec<String> {
    let [n, m] = [&found.candidate_runs, &found.baseline_runs].map(|runs| runs.values.len());
    let Some(probability) = found.probability_better else { return vec![] };
    let better = format!(
        "A run of the candidate is better than one of the baseline in {} of the {} pairs.",
        percent(probability),
        n * m
    );
    let test = match found.p_value {
        Some(p) => format!(
            "If both were equal, the candidate would be at least as far ahead with a probability of {} (exact \
             Mann–Whitney test, one-sided). The two would be at least as far apart with a probability of {} \
             (two-sided){}.",
            percent(found.p_value_better.unwrap_or(1.0)),
            percent(p),
            match found.paired_p_value {
                Some(paired) => format!(
                    "; by the {} pairs with equal seeds, with {} (exact Wilcoxon test, two-sided)",
                    found.pairs,
                    percent(paired)
                ),
                None => String::new(),
            }
        ),
        None => format!(
            "There is no verdict, because there are too few runs: even if all {n} runs of one were better than all {m} \
             of the other, equal configurations would give the same result with a probability of {}. At least \
             `--repeats {}` is needed.",
            percent(found.smallest_p_value),
            found.repeats_needed.unwrap_or(5)
        ),
    };
    vec![better, test]
}

fn verdict(found: &Adoption, candidate: u32, baseline: u32) -> String {
    let level = found.level;
    let is_better = found.probability_better.is_some_and(|chance| chance > 0.5);
    let chance = percent(found.probability_better.unwrap_or(0.0));
    match (found.adopt, level) {
        (true, _) => format!(
            "Level {level:?}. Adopt trial {candidate}: it is better than trial {baseline} by more than the chance of \
             training explains, and in {chance} of pairs. Weigh the gain against what the change costs in time and \
             complexity (Playbook F4)."
        ),
        (false, Level::L0) if found.p_value.is_none() => {
            format!("Level {level:?}. Do not adopt trial {candidate} on these runs: they are too few to show a gain.")
        }
        (false, Level::L0) => format!(
            "Level {level:?}. Do not adopt trial {candidate} on these runs: they do not show that it differs from trial \
             {baseline}. That is no proof that there is no gain: the interval says how large it may be, and more \
             `--repeats` make it narrower."
        ),
        (false, _) if !is_better => format!(
            "Level {level:?}. Do not adopt trial {candidate}: it is worse than trial {baseline} by more than the chance \
             of training explains."
        ),
        (false, Level::L1) => format!(
            "Level {level:?}. Do not adopt trial {candidate} yet: it is better by more than the chance of training \
             explains, but a verdict needs five new runs of each: `--repeats 5`."
        ),
        (false, Level::L2 | Level::L3) => format!(
            "Level {level:?}. Do not adopt trial {candidate}: it is better than trial {baseline} by more than the \
             chance of training explains, but in only {chance} of pairs. Below {}, the seed has more influence than \
             the change{}.",
            percent(found.probability_needed),
            match found.candidate_runs.infeasible.len() {
                0 => String::new(),
                n => format!("; the candidate has {n} infeasible runs"),
            }
        ),
    }
}

/// The bias of a value that was chosen because it was good.
fn luck(arm: &Arm, runs: &Runs, direction: Direction) -> Option<String> {
    let (mean, sd) = (runs.mean?, runs.standard_deviation.filter(|sd| *sd > 0.0)?);
    let luck = direction.minimized(mean) - direction.minimized(arm.recorded);
    let recorded = number(arm.recorded);
    Some(if luck > 0.0 {
        format!(
            "The study recorded {recorded} for trial {}. That is better than the mean of its {} new runs, {}, by {} \
             ({:.2} standard deviations of a run). A trial that was chosen as the best was partly lucky: expect the \
             mean.",
            arm.trial,
            runs.feasible(),
            number(mean),
            number(luck),
            luck / sd
        )
    } else {
        format!(
            "The study recorded {recorded} for trial {}, which is not better than the mean of its {} new runs, {}.",
            arm.trial,
            runs.feasible(),
            number(mean)
        )
    })
}

/// A share in per cent, with two significant digits below ten per cent.
fn percent(share: f64) -> String {
    match 100.0 * share {
        p if p > 0.0 && p < 0.01 => "less than 0.01 %".into(),
        p if p < 1.0 => format!("{} %", number((100.0 * p).round() / 100.0)),
        p if p < 10.0 => format!("{} %", number((10.0 * p).round() / 10.0)),
        p => format!("{p:.0} %"),
    }
}
