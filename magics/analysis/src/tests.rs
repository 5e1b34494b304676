//! Conclusions on trials made by hand.

use crate::*;
use tunebook_study::sampler::SamplerKind;
use tunebook_study::*;

fn definition() -> StudyDefinition {
    let mut space = SearchSpace::new();
    let mut declare = |name: &str, role, distribution| {
        space.declare(Hyperparameter { name: name.into(), role, distribution, conditions: vec![] }).unwrap();
    };
    declare("layers", Role::Scientific, Distribution::choice(vec![1.into(), 2.into(), 3.into()]).unwrap());
    declare("lr", Role::Nuisance, Distribution::log_uniform(1e-3, 1.0).unwrap());
    declare("steps", Role::Fixed, Distribution::constant(100.into()));
    StudyDefinition {
        workload: WorkloadReference::Builtin { name: "digits_mlp".into() },
        space,
        objective: objective(Direction::Minimize),
        sampler: SamplerKind::Quasirandom,
        seed: 0,
        repeats: 1,
        question: None,
        notes: None,
    }
}

fn objective(direction: Direction) -> Objective {
    Objective { metric: "e".into(), direction, judged: Judged::Best }
}

fn trial(number: u32, layers: i64, lr: f64, error: Option<f64>) -> Trial {
    let params = [("layers".into(), layers.into()), ("lr".into(), lr.into()), ("steps".into(), 100.into())];
    let summary = |e| MetricSummary { min: (e, 7), max: (e, 7), last: (e, 9) };
    Trial {
        number,
        configuration: number - 1,
        params: params.into(),
        seed: 0,
        state: if error.is_some() { TrialState::Complete } else { TrialState::Infeasible },
        reason: None,
        summaries: error.map(|e| [("e".to_string(), summary(e))].into()).unwrap_or_default(),
        seconds: 1.0,
        started: 0.0,
    }
}

fn trials() -> Vec<Trial> {
    vec![
        trial(1, 1, 0.01, Some(0.20)),
        trial(2, 2, 0.02, Some(0.10)),
        trial(3, 1, 0.05, Some(0.15)),
        trial(4, 1, 0.9, None),
        trial(5, 1, 0.1, Some(0.30)),
        trial(6, 2, 0.8, None),
        trial(7, 3, 0.9, None),
    ]
}

#[test]
fn isolation_takes_the_best_of_each_value() {
    let result = isolation(&definition(), &trials(), "layers", None, &objective(Direction::Minimize)).unwrap();
    let points: Vec<_> = result.points.iter().map(|p| (p.objective, p.trial, p.trials, p.infeasible)).collect();
    assert_eq!(points, [(Some(0.15), Some(3), 4, 1), (Some(0.10), Some(2), 2, 1), (None, None, 1, 1)]);
    assert_eq!(result.matched_trials, 1);
    assert_eq!(result.points[0].interval, Some([0.15, 0.30]));
    assert_eq!(result.points[1].interval, None, "one value says nothing of its spread");
    let json = serde_json::to_value(&result).unwrap();
    assert_eq!(json["points"][0]["value"], 1);
    assert_eq!(json["points"][2]["objective"], serde_json::Value::Null);
}

#[test]
fn of_equal_bests_the_one_that_more_often_wins_goes_first() {
    let mut trials = vec![];
    for (i, (one, two)) in [(0.1, 0.1), (0.5, 0.11), (0.6, 0.12), (0.7, 0.13)].into_iter().enumerate() {
        trials.push(trial(2 * i as u32 + 1, 1, 0.1, Some(one)));
        trials.push(trial(2 * i as u32 + 2, 2, 0.1, Some(two)));
    }
    let result = isolation(&definition(), &trials, "layers", None, &objective(Direction::Minimize)).unwrap();
    let comparison = result.comparison.unwrap();
    assert_eq!((comparison.best, comparison.second, comparison.drawn), (1, 0, 2));
    assert!(comparison.probability.unwrap() > 0.5);
}

#[test]
fn isolation_of_a_range_has_buckets_of_equal_count() {
    let trials: Vec<Trial> = (1..=40).map(|i| trial(i, 1, 0.001 * f64::from(i), Some(1.0 / f64::from(i)))).collect();
    let result = isolation(&definition(), &trials, "lr", None, &objective(Direction::Minimize)).unwrap();
    assert_eq!(result.points.len(), 6);
    assert!(result.points.iter().all(|p| (6..=7).contains(&p.trials)));
    assert_eq!(result.points.last().unwrap().objective, Some(1.0 / 40.0));
    let two = isolation(&definition(), &trials, "lr", Some(2), &objective(Direction::Maximize)).unwrap();
    assert_eq!(two.points[0].place, Place::Range([0.001, 0.02]));
    assert_eq!(two.points[0].objective, Some(1.0));
    let [low, high] = two.points[0].interval.unwrap();
    assert!(high == 1.0 && low < 1.0, "the best of a maximized metric is the upper end");
}

#[test]
fn questions_without_an_answer_say_why() {
    let ask = |label: &str, trials: &[Trial]| {
        isolation(&definition(), trials, label, None, &objective(Direction::Minimize)).unwrap_err()
    };
    assert!(matches!(ask("width", &trials()), AnalysisError::UnknownHyperparameter { .. }));
    assert!(matches!(ask("steps", &trials()), AnalysisError::Constant { .. }));
    assert!(matches!(ask("lr", &[]), AnalysisError::NoObjective { .. }));
    assert!(matches!(ask("lr", &[trial(1, 1, 0.1, None)]), AnalysisError::NoObjective { .. }));
}

#[test]
fn axis_plots_show_every_trial_and_mark_the_infeasible() {
    let result = axis(&definition(), &trials(), &[], &objective(Direction::Minimize)).unwrap();
    let names: Vec<_> = result.plots.iter().map(|p| (p.hyperparameter.as_str(), p.scale)).collect();
    assert_eq!(names, [("layers", Scale::Categorical), ("lr", Scale::Log)]);
    assert_eq!(result.plots[1].points.len(), 7);
    assert_eq!(result.plots[1].points[3].objective, None);
    assert_eq!(result.best, [2, 3, 1]);
}

#[test]
fn the_best_is_the_first_of_equals() {
    let mut all = trials();
    all.push(trial(8, 3, 0.1, Some(0.10)));
    let best = best(&all, &objective(Direction::Minimize)).unwrap();
    assert_eq!((best.trial, best.objective, best.step), (2, 0.10, 7));
    assert_eq!(counts(&all), Counts { complete: 5, infeasible: 3, ..Counts::default() });
}

#[test]
fn curves_leave_out_what_was_not_finite_and_thin_long_ones() {
    let t = trial(1, 1, 0.1, Some(0.2));
    let point = |step, e| Measurement { step, seconds: 0.0, metrics: [("e".to_string(), e)].into() };
    let long: Vec<Measurement> = (0..5000).map(|i| point(i, if i == 3 { None } else { Some(0.2) })).collect();
    let result = curves(&[(&t, long)], &objective(Direction::Minimize));
    let points = &result.trials[0].metrics["e"];
    assert_eq!(points.len(), THIN_ABOVE);
    assert_eq!((points[0].0, points[THIN_ABOVE - 1].0), (0, 4999));
    assert_eq!(result.trials[0].best_step, Some(7));
}
