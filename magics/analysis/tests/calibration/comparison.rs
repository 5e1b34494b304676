//! The probability of the best against the second best, beside what identical values give.

use crate::surfaces::{Random, SURFACES, Surface, definition, objective};
use tunebook_analysis::{Comparison, Level, isolation};

fn comparisons(surface: &Surface, arms: i64, configurations: u32, gain: f64, studies: u32) -> Vec<Comparison> {
    let mut random = Random::new(7 + u64::from(configurations));
    let definition = definition(arms, surface.nuisances, 1);
    let study = |_| {
        let mut trials = surface.study(arms, configurations, 1, &mut random);
        for trial in trials.iter_mut().filter(|trial| trial.params["arm"].as_i64() == Some(1)) {
            if let Some(summary) = trial.summaries.get_mut("e") {
                summary.min.0 -= gain;
            }
        }
        isolation(&definition, &trials, "arm", None, &objective()).unwrap().comparison.unwrap()
    };
    (0..studies).map(study).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn identical_values_are_told_apart_in_at_most_a_twentieth_of_studies() {
    for (surface, arms, configurations) in
        [(&SURFACES[1], 2, 10), (&SURFACES[3], 2, 20), (&SURFACES[7], 3, 20), (&SURFACES[6], 4, 8)]
    {
        let found = comparisons(surface, arms, configurations, 0.0, 300);
        let share = |is: &dyn Fn(&Comparison) -> bool| {
            found.iter().filter(|comparison| is(comparison)).count() as f64 / found.len() as f64
        };
        let alarms = share(&|comparison| comparison.level == Level::L1);
        let probability = median(found.iter().map(|comparison| comparison.probability.unwrap()).collect());
        let null = median(found.iter().map(|comparison| comparison.null.unwrap()).collect());
        println!(
            "{}, {arms} values: {alarms:.3} told apart, probability {probability:.2}, null {null:.2}",
            surface.name
        );
        assert!(alarms <= 0.05 + 3.0 * (0.05 * 0.95 / found.len() as f64).sqrt(), "{}: {alarms}", surface.name);
        // The probability itself is high although nothing differs; what stands beside it says so.
        assert!(probability > 0.6 && null > 0.65, "{}: {probability} against {null}", surface.name);
    }
}

#[test]
fn values_that_differ_clearly_are_told_apart() {
    for (surface, gain) in [(&SURFACES[1], 0.25), (&SURFACES[3], 0.1), (&SURFACES[7], 0.4)] {
        let found = comparisons(surface, 2, 20, gain, 100);
        let told = found.iter().filter(|comparison| comparison.level == Level::L1 && comparison.best == 0).count();
        println!("{}: {told} of {} told apart", surface.name, found.len());
        assert!(told >= 90, "{}: {told} of {}", surface.name, found.len());
    }
}
