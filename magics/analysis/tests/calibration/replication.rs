//! The highest level of `%adopt`: repeats of a whole study seldom confirm a scientific value that makes no difference,
//! also where the configurations of the study do differ, and they confirm one that does.

use crate::surfaces::{Random, SURFACES, Surface, definition, objective};
use tunebook_analysis::{Level, Replication, adoption, ranked, replication};
use tunebook_study::Trial;

/// The repeats of studies in which the first of two values is better by `gain`. The candidate is the best trial of the
/// study, the baseline the best one of the other value, as a user chooses them.
fn replications(
    surface: &Surface,
    configurations: u32,
    gain: f64,
    repeats: usize,
    count: u32,
) -> Vec<(i64, Replication)> {
    let mut random = Random::new(13 + u64::from(configurations));
    let definition = definition(2, surface.nuisances, 1);
    let arm = |trial: &Trial| trial.params["arm"].as_i64().unwrap();
    let mut study = || {
        let mut trials = surface.study(2, configurations, 1, &mut random);
        for trial in trials.iter_mut().filter(|trial| arm(trial) == 1) {
            if let Some(summary) = trial.summaries.get_mut("e") {
                summary.min.0 -= gain;
            }
        }
        trials
    };
    let one = |_| {
        let (first, again) = (study(), (0..repeats).map(|_| study()).collect::<Vec<_>>());
        let ranked = ranked(&first, &objective());
        let candidate = ranked[0];
        let baseline = ranked.iter().find(|trial| arm(trial) != arm(candidate)).unwrap();
        (arm(candidate), replication(&definition, &objective(), [candidate, baseline], &again).unwrap())
    };
    (0..count).map(one).collect()
}

fn a_value_without_effect_is_seldom_confirmed(count: u32) {
    for (surface, configurations, repeats) in
        [(&SURFACES[1], 10, 1), (&SURFACES[3], 10, 1), (&SURFACES[7], 12, 2), (&SURFACES[6], 8, 1)]
    {
        let found = replications(surface, configurations, 0.0, repeats, count);
        let share = found.iter().filter(|(_, found)| found.confirms).count() as f64 / f64::from(count);
        println!("{}, {repeats} repeats: {share:.3} confirmed without an effect", surface.name);
        assert!(share <= 0.05, "{}: {share}", surface.name);
    }
}

#[test]
fn a_scientific_value_without_effect_is_confirmed_in_at_most_a_twentieth_of_studies() {
    a_value_without_effect_is_seldom_confirmed(300);
}

#[test]
fn a_clear_effect_is_confirmed_and_raises_an_adoption_to_the_highest_level() {
    for (surface, gain) in [(&SURFACES[1], 0.25), (&SURFACES[3], 0.1), (&SURFACES[7], 0.4)] {
        let found = replications(surface, 20, gain, 1, 100);
        let told = found.iter().filter(|(arm, found)| *arm == 1 && found.confirms).count();
        println!("{}: {told} of {} confirmed", surface.name, found.len());
        assert!(told >= 90, "{}: {told}", surface.name);
        assert_eq!((found[0].1.studies, found[0].1.configurations), (1, [20, 20]));
    }
    // New runs that show the gain, and a repeat that does or does not.
    let runs = |shift: f64| {
        let trial = |number: u32| crate::surfaces::trial(number, 0, 1, &[], Some(f64::from(number) + shift));
        (1..=5).map(trial).collect::<Vec<Trial>>()
    };
    let level = |candidate: f64, confirms: bool| {
        let repeat = replications(&SURFACES[7], 20, 0.4, 1, 5).into_iter().find(|(_, found)| found.confirms).unwrap().1;
        adoption(&runs(candidate), &runs(0.0), &objective()).with(Some(Replication { confirms, ..repeat })).level
    };
    assert_eq!((level(-10.0, true), level(-10.0, false), level(0.0, true)), (Level::L3, Level::L2, Level::L0));
    assert_eq!(level(10.0, true), Level::L2, "a harm is not confirmed by a repeat in which the value is better");
}

/// Two trials of the same scientific value, and a repeat with too few configurations.
#[test]
fn what_a_repeat_cannot_say_is_not_said() {
    let mut random = Random::new(5);
    let definition = definition(2, 2, 1);
    let (study, few) = (SURFACES[0].study(2, 10, 1, &mut random), SURFACES[0].study(2, 3, 1, &mut random));
    let arm = |value: i64| study.iter().filter(move |trial| trial.params["arm"].as_i64() == Some(value));
    let (a, b) = (arm(1).next().unwrap(), arm(2).next().unwrap());
    let same = replication(&definition, &objective(), [a, arm(1).nth(1).unwrap()], std::slice::from_ref(&few));
    assert_eq!(same, None);
    let found = replication(&definition, &objective(), [a, b], &[few]).unwrap();
    assert_eq!((found.configurations, found.p_value, found.confirms), ([3, 3], None, false));
}

#[test]
#[ignore = "large size"]
fn replication_at_large_size() {
    a_value_without_effect_is_seldom_confirmed(5000);
}
