//! Tests of the analyses of a study, on a few trials with known objectives.

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
    StudyDefinition::new(
        WorkloadReference::Builtin { name: "digits_mlp".into() },
        space,
        objective(Direction::Minimize),
    )
}

fn objective(direction: Direction) -> Objective {
    Objective { metric: "e".into(), direction, judged: ObjectiveValue::Best }
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
    let points: Vec<_> = result.points.iter().map(|p| (p.objective, p.trial, p.trials.len(), p.infeasible)).collect();
    assert_eq!(points, [(Some(0.15), Some(3), 4, 1), (Some(0.10), Some(2), 2, 1), (None, None, 1, 1)]);
    assert_eq!(result.matched, 1);
    assert_eq!(result.points[0].interval, None, "its upper end would be the infeasible trial");
    assert_eq!(result.points[1].interval, None, "one value says nothing of its spread");
    let json = serde_json::to_value(&result).unwrap();
    assert_eq!((&json["points"][0]["value"], &json["points"][0]["trials"]), (&1.into(), &4.into()));
    assert_eq!(json.get("scale"), None);
    assert_eq!(json["points"][2]["objective"], serde_json::Value::Null);
}

#[test]
fn of_equal_bests_the_one_that_is_more_often_better_comes_first() {
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
    assert!(result.points.iter().all(|p| (6..=7).contains(&p.trials.len())));
    assert_eq!(result.points.last().unwrap().objective, Some(1.0 / 40.0));
    let two = isolation(&definition(), &trials, "lr", Some(2), &objective(Direction::Maximize)).unwrap();
    assert_eq!(two.points[0].bucket, Bucket::Range([0.001, 0.02]));
    assert_eq!(two.points[0].objective, Some(1.0));
    let [low, high] = two.points[0].interval.unwrap().map(Option::unwrap);
    assert!(low < 1.0 && high > 1.0, "{low} to {high}");
}

/// Each complete or infeasible trial is in exactly one point, and no value is in two buckets.
fn check_partition(result: &Isolation, trials: &[Trial]) {
    let mut numbers: Vec<u32> = result.points.iter().flat_map(|p| &p.trials).map(|trial| trial.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, trials.iter().map(|trial| trial.number).collect::<Vec<_>>());
    let ranges: Vec<[f64; 2]> = result
        .points
        .iter()
        .map(|p| match &p.bucket {
            Bucket::Range(range) => *range,
            Bucket::Value(value) => [value.as_f64().unwrap(); 2],
        })
        .collect();
    for (point, [low, high]) in result.points.iter().zip(&ranges) {
        for trial in &point.trials {
            let value = trials[trial.number as usize - 1].params["width"].as_f64().unwrap();
            assert!((*low..=*high).contains(&value), "{value} in {low} to {high}");
        }
    }
    assert!(ranges.windows(2).all(|pair| pair[0][1] < pair[1][0]), "{ranges:?}");
}

/// A study of an integer, and trials that have the given values of it. The objective of a trial is its number.
fn integer_study(high: i64, values: &[i64]) -> (StudyDefinition, Vec<Trial>) {
    let mut space = SearchSpace::new();
    let (name, distribution) = ("width".to_string(), Distribution::int(1, high).unwrap());
    space.declare(Hyperparameter { name, role: Role::Scientific, distribution, conditions: vec![] }).unwrap();
    let trials = values
        .iter()
        .zip(1..)
        .map(|(value, number)| {
            let objective = (number % 5 != 0).then(|| f64::from(number));
            Trial { params: [("width".to_string(), (*value).into())].into(), ..trial(number, 1, 0.1, objective) }
        })
        .collect();
    (StudyDefinition { space, ..definition() }, trials)
}

#[test]
fn trials_with_equal_integers_are_in_one_point() {
    let minimize = objective(Direction::Minimize);
    // Four buckets of 21 trials would be cut after the 5th, 10th and 15th, each time between equal values.
    let values: Vec<i64> = (0..21).map(|i| 1 + i % 3).collect();
    let (definition, trials) = integer_study(3, &values);
    let result = isolation(&definition, &trials, "width", None, &minimize).unwrap();
    check_partition(&result, &trials);
    let counts: Vec<usize> = result.points.iter().map(|p| p.trials.len()).collect();
    assert_eq!(counts, [7, 7, 7]);
    assert_eq!(result.points[1].objective, Some(2.0));
    let infeasible: Vec<u32> =
        result.points[1].trials.iter().filter(|t| t.objective.is_none()).map(|t| t.number).collect();
    assert_eq!((infeasible, result.points[1].infeasible), (vec![5, 20], 2));

    for (high, n) in [(2, 21), (3, 20), (3, 5), (4, 13), (10, 40), (11, 40), (30, 60)] {
        let values: Vec<i64> = (0..n).map(|i| 1 + (i * i * 7 + i) % high).collect();
        let (definition, trials) = integer_study(high, &values);
        for buckets in [None, Some(1), Some(2), Some(3), Some(7), Some(50)] {
            let result = isolation(&definition, &trials, "width", buckets, &minimize).unwrap();
            check_partition(&result, &trials);
            let has_single_values = high <= buckets.map_or(10, |most| most as i64);
            let found: Vec<&Bucket> = result.points.iter().map(|p| &p.bucket).collect();
            match has_single_values {
                true => assert_eq!(
                    found,
                    (1..=high).map(|v| Bucket::Value(v.into())).collect::<Vec<_>>().iter().collect::<Vec<_>>()
                ),
                false => assert!(found.iter().all(|bucket| matches!(bucket, Bucket::Range(_)))),
            }
            assert!(buckets.is_none_or(|most| result.points.len() <= most));
        }
    }
    let (definition, trials) = integer_study(3, &[2; 9]);
    let result = isolation(&definition, &trials, "width", None, &minimize).unwrap();
    check_partition(&result, &trials);
    let counts: Vec<usize> = result.points.iter().map(|p| p.trials.len()).collect();
    assert_eq!(counts, [0, 9, 0], "a value without a trial has a point too");
}

/// A study with three seeds for each configuration. The configuration `i` has the objectives `seeds[i]`.
fn with_seeds(seeds: &[[Option<f64>; 3]]) -> Vec<Trial> {
    let one = |configuration: usize, repeat: usize| Trial {
        configuration: configuration as u32,
        ..trial(
            (3 * configuration + repeat + 1) as u32,
            1 + configuration as i64 % 2,
            0.1,
            seeds[configuration][repeat],
        )
    };
    (0..seeds.len()).flat_map(|configuration| (0..3).map(move |repeat| one(configuration, repeat))).collect()
}

#[test]
fn a_configuration_counts_by_the_median_over_its_seeds() {
    let minimize = objective(Direction::Minimize);
    let trials = with_seeds(&[
        [Some(0.01), Some(0.30), Some(0.31)],
        [Some(0.20), Some(0.22), Some(0.21)],
        [Some(0.02), None, None],
        [Some(0.25), Some(0.26), Some(0.24)],
    ]);
    let best = best_trial(&trials, &minimize).unwrap();
    assert_eq!((best.trial, best.objective, best.repeats), (6, 0.21, 3));
    let order: Vec<u32> = ranked(&trials, &minimize).iter().map(|trial| trial.number).collect();
    assert_eq!(order, [6, 10, 2], "two of the seeds of the third configuration are infeasible");
    assert_eq!(axis(&definition(), &trials, &[], &minimize, &[], &Flags::default()).unwrap().best, [6, 10, 2]);
    let result = isolation(&definition(), &trials, "layers", None, &minimize).unwrap();
    let found = |p: &IsolationPoint| (p.objective, p.trial, p.trials.len(), p.configurations, p.infeasible, p.seeds);
    assert_eq!(found(&result.points[0]), (Some(0.30), Some(2), 6, 2, 1, Some([0.01, 0.31])));
    assert_eq!(found(&result.points[1]), (Some(0.21), Some(6), 6, 2, 0, Some([0.20, 0.22])));
    let history = optimization_history(&trials, &minimize);
    let so_far: Vec<Option<f64>> = history.trials.iter().map(|trial| trial.best_so_far).collect();
    assert_eq!(so_far[..6], [None, None, Some(0.30), Some(0.30), Some(0.30), Some(0.21)]);
    let best = best_of_k(&trials, &minimize).unwrap();
    assert_eq!((best.configurations, best.points.len(), best.thinned), (4, 4, None));
    let failed: Vec<Trial> = trials.iter().map(|trial| Trial { state: TrialState::Failed, ..trial.clone() }).collect();
    assert_eq!(best_trial(&failed, &minimize), None);
    // While a study runs, a configuration with fewer seeds is not ranked yet.
    let best = best_trial(&trials[..8], &minimize).unwrap();
    assert_eq!(best.trial, 6);
}

#[test]
fn a_point_counts_configurations_that_failed_beside_the_others() {
    let failed = |trial: Trial| Trial { state: TrialState::Failed, ..trial };
    let mut trials = with_seeds(&[[Some(0.1); 3], [None; 3], [Some(0.2); 3], [None; 3]]);
    // One seed of the first configuration failed, and all seeds of the last two.
    for i in [0, 6, 7, 8, 9, 10, 11] {
        trials[i] = failed(trials[i].clone());
    }
    let minimize = objective(Direction::Minimize);
    let result = isolation(&definition(), &trials, "layers", None, &minimize).unwrap();
    let found: Vec<_> = result.points.iter().map(|p| (p.configurations, p.infeasible, p.failed)).collect();
    assert_eq!(found, [(1, 0, 1), (1, 1, 1), (0, 0, 0)]);
    assert!(result.has_seeds());
    // In a range, a failed trial counts with the nearest bucket.
    let trials = [trial(1, 1, 0.01, Some(0.2)), trial(2, 1, 0.1, Some(0.3)), failed(trial(3, 1, 0.5, None))];
    let result = isolation(&definition(), &trials, "lr", Some(2), &minimize).unwrap();
    assert_eq!(result.points.iter().map(|p| p.failed).collect::<Vec<_>>(), [0, 1]);
    // 0.04 is nearer to 0.1 on a logarithmic scale.
    let trials = [trial(1, 1, 0.01, Some(0.2)), trial(2, 1, 0.1, Some(0.3)), failed(trial(3, 1, 0.04, None))];
    let result = isolation(&definition(), &trials, "lr", Some(2), &minimize).unwrap();
    assert_eq!(result.points.iter().map(|p| p.failed).collect::<Vec<_>>(), [0, 1]);
    assert!(!result.has_seeds());
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
fn a_boundary_in_one_branch_widens_the_range_of_this_branch_only() {
    let mut space = SearchSpace::new();
    let mut declare = |name: &str, role, distribution, optimizer: Option<&str>| {
        let condition = |word: &str| Condition { name: "optimizer".into(), values: vec![word.into()] };
        let (name, conditions) = (name.into(), optimizer.map(condition).into_iter().collect());
        space.declare(Hyperparameter { name, role, distribution, conditions }).unwrap();
    };
    let optimizers = Distribution::choice(vec!["sgd".into(), "adam".into()]).unwrap();
    declare("optimizer", Role::Scientific, optimizers, None);
    let [of_sgd, of_adam] = [(1e-3, 1.0), (1e-5, 1e-2)].map(|(a, b)| Distribution::log_uniform(a, b).unwrap());
    declare("lr", Role::Nuisance, of_sgd.clone(), Some("sgd"));
    declare("lr", Role::Nuisance, of_adam.clone(), Some("adam"));
    let minimize = objective(Direction::Minimize);
    let workload = WorkloadReference::Builtin { name: "digits_mlp".into() };
    let definition = StudyDefinition::new(workload, space, minimize.clone());
    // With adam, the largest rate is the best one. With sgd, the one in the middle is, and worse.
    let trials: Vec<Trial> = (0..80_u32)
        .map(|i| {
            let u = (f64::from(i / 2) + 0.5) / 40.0;
            let (optimizer, range, error) = match i % 2 {
                0 => ("sgd", &of_sgd, 2.0 + (u - 0.5).powi(2)),
                _ => ("adam", &of_adam, 1.0 - u),
            };
            let params = [("optimizer".into(), optimizer.into()), ("lr".into(), range.from_unit(u))];
            Trial { params: params.into(), ..trial(i + 1, 1, 0.1, Some(error)) }
        })
        .collect();
    let (flags, measured) = (Flags::default(), Default::default());
    let view = StudyView {
        definition: &definition,
        trials: &trials,
        objective: &minimize,
        measured: &measured,
        workload: None,
        flags: &flags,
        importance: None,
    };
    let found = insight(view).unwrap();
    let boundaries: Vec<&Finding> = found.iter().filter(|finding| finding.id == "boundary").collect();
    let [boundary] = boundaries[..] else { panic!("{found:?}") };
    assert_eq!((boundary.hyperparameter.as_deref(), boundary.side), (Some("optimizer=adam/lr"), Some(End::High)));
    let Some(Experiment::Wider(wider)) = &boundary.experiment else { panic!("{boundary:?}") };
    let ranges: Vec<&Distribution> = wider.named("lr").map(|h| &h.distribution).collect();
    assert_eq!(ranges, [&of_sgd, &Distribution::log_uniform(1e-5, 0.1).unwrap()]);
}

#[test]
fn axis_plots_show_every_trial_and_mark_the_infeasible() {
    let result = axis(&definition(), &trials(), &[], &objective(Direction::Minimize), &[], &Flags::default()).unwrap();
    let names: Vec<_> = result.plots.iter().map(|p| (p.hyperparameter.as_str(), p.scale)).collect();
    assert_eq!(names, [("layers", Scale::Categorical), ("lr", Scale::Log)]);
    assert_eq!(result.plots[1].points.len(), 7);
    assert_eq!(result.plots[1].points[3].objective, None);
    assert_eq!(result.best, [2, 3, 1]);
    let layers = &result.plots[0];
    assert_eq!(layers.best_span, ValueSpan::Values(vec![1.into(), 2.into()]));
    assert_eq!(layers.tried_span, ValueSpan::Values(vec![1.into(), 2.into(), 3.into()]));
    let lr = &result.plots[1];
    assert_eq!((&lr.best_span, &lr.tried_span), (&ValueSpan::Range([0.01, 0.05]), &ValueSpan::Range([0.01, 0.9])));
    assert_eq!((lr.infeasible_above, lr.infeasible_below), (3, 0), "the best trial has 0.02");
    let json = serde_json::to_value(lr).unwrap();
    let mut names: Vec<&String> = json.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["hyperparameter", "points", "scale", "suspicious"]);
}

#[test]
fn a_hyperparameter_that_no_best_trial_has_has_an_empty_span() {
    let mut definition = definition();
    let condition = Condition { name: "layers".into(), values: vec![3.into()] };
    let (name, distribution) = ("dropout".to_string(), Distribution::uniform(0.0, 1.0).unwrap());
    definition
        .space
        .declare(Hyperparameter { name, role: Role::Nuisance, distribution, conditions: vec![condition] })
        .unwrap();
    let mut trials = trials();
    trials[6].params.insert("dropout".into(), 0.5.into());
    let result =
        axis(&definition, &trials, &["dropout".to_string()], &objective(Direction::Minimize), &[], &Flags::default())
            .unwrap();
    let plot = &result.plots[0];
    assert_eq!((&plot.best_span, &plot.tried_span), (&ValueSpan::Empty, &ValueSpan::Range([0.5, 0.5])));
    assert_eq!((plot.infeasible_above, plot.infeasible_below), (0, 0), "the best trial has no dropout");
}

#[test]
fn conclusions_of_an_axis_plot_come_from_all_trials_although_its_points_are_thinned() {
    // At equal distances, the second trial would be left out.
    let n = 2 * MAX_POINTS as u32 + 1;
    let trials: Vec<Trial> = (1..=n)
        .map(|i| trial(i, 1, 0.5 * f64::from(i) / f64::from(n), if i == 2 { Some(0.1) } else { None }))
        .collect();
    let result =
        axis(&definition(), &trials, &["lr".to_string()], &objective(Direction::Minimize), &[], &Flags::default())
            .unwrap();
    let plot = &result.plots[0];
    assert_eq!((plot.thinned, plot.infeasible_above, plot.infeasible_below), (Some(n as usize), n as usize - 2, 1));
    assert!(plot.points.len() > MAX_POINTS - 4 && plot.points.len() <= MAX_POINTS, "{}", plot.points.len());
    assert!(plot.points.iter().any(|point| point.trial == 2), "the best trial is drawn");
}

#[test]
fn infeasible_trials_are_in_an_axis_plot_although_no_other_trial_ended() {
    let ask = |state: TrialState| {
        let trials = [Trial { state, ..trial(1, 1, 0.1, None) }];
        axis(&definition(), &trials, &["lr".to_string()], &objective(Direction::Minimize), &[], &Flags::default())
    };
    let found = ask(TrialState::Infeasible).unwrap();
    let points = &found.plots[0].points;
    assert_eq!((found.best.len(), points.len(), points[0].objective), (0, 1, None));
    assert!(matches!(ask(TrialState::Failed), Err(AnalysisError::NoObjective { .. })), "there is nothing to draw");
}

#[test]
fn the_history_has_the_best_so_far_of_complete_trials_only() {
    let mut all = trials();
    all[4].state = TrialState::Failed;
    all[6].state = TrialState::Running;
    all.reverse();
    let history = optimization_history(&all, &objective(Direction::Minimize));
    let found: Vec<_> = history.trials.iter().map(|t| (t.number, t.objective, t.best_so_far)).collect();
    let best = Some(0.10);
    let expected = [
        (1, Some(0.20), Some(0.20)),
        (2, best, best),
        (3, Some(0.15), best),
        (4, None, best),
        (5, None, best),
        (6, None, best),
    ];
    assert_eq!(found, expected);
    let maximized = optimization_history(&all, &objective(Direction::Maximize));
    assert_eq!(maximized.trials[5].best_so_far, Some(0.20));
    assert_eq!(optimization_history(&[], &objective(Direction::Minimize)).trials, []);
}

#[test]
fn an_error_names_the_hyperparameter_that_it_is_about() {
    let ask = |labels: &[&str], trials: &[Trial]| {
        let labels: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
        axis(&definition(), trials, &labels, &objective(Direction::Minimize), &[], &Flags::default()).unwrap_err()
    };
    assert_eq!(ask(&["lr", "width"], &trials()).hyperparameter(), Some("width"));
    assert_eq!(ask(&["steps"], &trials()).hyperparameter(), Some("steps"));
    assert_eq!(ask(&["lr"], &[]).hyperparameter(), None);
}

#[test]
fn the_best_is_the_first_of_equals() {
    let mut all = trials();
    all.push(trial(8, 3, 0.1, Some(0.10)));
    let best = best_trial(&all, &objective(Direction::Minimize)).unwrap();
    assert_eq!((best.trial, best.objective, best.step), (2, 0.10, 7));
    assert_eq!(count_by_state(&all), TrialCounts { complete: 5, infeasible: 3, ..TrialCounts::default() });
}

#[test]
fn the_best_of_k_of_a_large_study_keeps_the_half_and_says_that_it_left_out_others() {
    let trials: Vec<Trial> = (1..=2101).map(|i| trial(i, 1, 0.1, Some(f64::from(i)))).collect();
    let found = best_of_k(&trials, &objective(Direction::Minimize)).unwrap();
    assert_eq!((found.thinned, found.reliable_to), (Some(2101), 1050));
    assert!(found.points.len() <= MAX_POINTS, "{}", found.points.len());
    let ks: Vec<usize> = found.points.iter().map(|point| point.k).collect();
    assert!(ks.is_sorted() && ks[0] == 1 && ks.contains(&1050) && ks.ends_with(&[2101]), "{ks:?}");
}

#[test]
fn curves_leave_out_what_was_not_finite_and_thin_long_ones() {
    let t = trial(1, 1, 0.1, Some(0.2));
    let point = |step, e| Measurement { step, seconds: 0.0, metrics: [("e".to_string(), e)].into() };
    let value =
        |i: u64| [(3, None), (3333, Some(99.0))].into_iter().find(|(at, _)| *at == i).map_or(Some(0.2), |(_, e)| e);
    let long: Vec<Measurement> = (0..5000).map(|i| point(i, value(i))).collect();
    let long = MeasuredTrial { trial: &t, measurements: long, gradient_norms: vec![] };
    let result = curves(&[long], &objective(Direction::Minimize));
    let points = &result.trials[0].metrics["e"];
    assert!(points.len() <= MAX_POINTS && points.len() > MAX_POINTS / 2, "{}", points.len());
    assert_eq!((points[0].0, points.last().map(|(step, _)| *step)), (0, Some(4999)));
    assert!(points.contains(&(3333, 99.0)) && points.contains(&(7, 0.2)), "a spike, and the best step");
    assert_eq!((&result.trials[0].thinned["e"], result.trials[0].best_step), (&4999, Some(7)));
    let short = MeasuredTrial { trial: &t, measurements: vec![point(1, Some(0.2))], gradient_norms: vec![] };
    let json = serde_json::to_value(curves(&[short], &objective(Direction::Minimize))).unwrap();
    assert_eq!(json["trials"][0].get("thinned"), None);
}

#[test]
fn a_study_of_failed_trials_has_a_finding_with_the_commonest_reason() {
    let failed = |number, reason: &str| Trial {
        state: TrialState::Failed,
        reason: Some(reason.into()),
        ..trial(number, 1, 0.1, None)
    };
    let trials = [failed(1, "it took too long"), failed(2, "exit status 1."), failed(3, "exit status 1.")];
    let ask = |trials: &[Trial]| {
        let (definition, objective) = (&definition(), &objective(Direction::Minimize));
        let (flags, measured) = (&Flags::default(), &std::collections::BTreeMap::new());
        insight(StudyView { definition, trials, objective, measured, workload: None, flags, importance: None })
    };
    let found = ask(&trials).unwrap();
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.id, finding.severity), ("infeasible-fraction", Severity::Problem));
    let of = |name: &str| finding.evidence[name];
    assert_eq!([of("failed"), of("configurations"), of("share"), of("commonest_reason")], [3.0, 3.0, 1.0, 2.0]);
    assert!(finding.message.ends_with("The commonest reason, of 2 trials: exit status 1."), "{}", finding.message);
    assert!(ask(&[]).is_err());
}

#[test]
fn what_an_infeasible_seed_reported_does_not_count_as_variance_over_seeds() {
    let of = |state: TrialState| -> Vec<Trial> {
        let seed = |i: u32| {
            let (configuration, error) = (i / 3, 0.1 * f64::from(1 + i / 3) + 1e-4 * f64::from(i % 3));
            Trial { configuration, ..trial(i + 1, 1, 0.01 * f64::from(1 + configuration), Some(error)) }
        };
        let mut all: Vec<Trial> = (0..12).map(seed).collect();
        // The last seed of the second configuration was far from the others before it ended.
        all[5] = Trial { state, configuration: 1, ..trial(6, 1, 0.02, Some(5.0)) };
        all
    };
    let has_variance = |trials: &[Trial]| {
        let (definition, objective) = (&definition(), &objective(Direction::Minimize));
        let (flags, measured) = (&Flags::default(), &std::collections::BTreeMap::new());
        let view = StudyView { definition, trials, objective, measured, workload: None, flags, importance: None };
        insight(view).unwrap().iter().any(|finding| finding.id == "seed-variance")
    };
    assert!(has_variance(&of(TrialState::Complete)));
    assert!(!has_variance(&of(TrialState::Infeasible)));
}

/// A study of three numbers of layers and four learning rates, in which the first configuration is far better than all
/// others.
fn lonely(sampler: SamplerKind) -> (StudyDefinition, Vec<Trial>) {
    let rate = |i: u32| 0.1 * f64::from(1 + i / 3);
    let mut space = SearchSpace::new();
    let lists: [(&str, Role, Vec<Value>); 2] = [
        ("layers", Role::Scientific, vec![1.into(), 2.into(), 3.into()]),
        ("lr", Role::Nuisance, (0..4).map(|i| rate(3 * i).into()).collect()),
    ];
    for (name, role, values) in lists {
        let distribution = Distribution::choice(values).unwrap();
        space.declare(Hyperparameter { name: name.into(), role, distribution, conditions: vec![] }).unwrap();
    }
    let error = |i: u32| if i == 0 { 0.1 } else { 1.0 + 0.1 * f64::from(i) };
    let trials = (0..12).map(|i| trial(i + 1, 1 + i64::from(i % 3), rate(i), Some(error(i)))).collect();
    (StudyDefinition { space, sampler, ..definition() }, trials)
}

/// What the checklist says of how dense the search is.
fn density(definition: &StudyDefinition, trials: &[Trial]) -> Finding {
    let objective = &objective(Direction::Minimize);
    let (flags, measured) = (&Flags::default(), &std::collections::BTreeMap::new());
    let view = StudyView { definition, trials, objective, measured, workload: None, flags, importance: None };
    insight(view).unwrap().into_iter().find(|finding| finding.id == "sampling-density").unwrap()
}

#[test]
fn a_sparse_search_is_doubled_with_all_configurations_of_the_study() {
    let (definition, mut trials) = lonely(SamplerKind::Quasirandom);
    let found = density(&definition, &trials);
    assert_eq!(found.experiment, Some(Experiment::MoreConfigurations(24)));
    assert!(found.message.contains("the best of half of the configurations"), "{}", found.message);
    assert!(found.evidence.contains_key("gain_of_last_doubling"));
    for (number, state) in [(13, TrialState::Stopped), (14, TrialState::Failed), (15, TrialState::Cancelled)] {
        trials.push(Trial { state, ..trial(number, 1, 0.1, Some(3.0)) });
    }
    assert_eq!(density(&definition, &trials).experiment, Some(Experiment::MoreConfigurations(30)));
    // Of an even number of configurations, the median lies between the two in the middle: 1.5 and 1.6.
    assert!((found.evidence["near"] - 0.1 * (1.55 - 0.1)).abs() < 1e-9, "{:?}", found.evidence);
    // Given configurations are no draws, so nothing is said of what half of all would find.
    let given = StudyDefinition { given: vec![Params::new(); 6], ..definition };
    let found = density(&given, &trials);
    assert!(!found.message.contains("half of the configurations"), "{}", found.message);
    assert!(!found.evidence.contains_key("gain_of_last_doubling"));
}

#[test]
fn a_whole_grid_has_no_more_configurations() {
    let (definition, trials) = lonely(SamplerKind::Grid);
    let found = density(&definition, &trials);
    assert_eq!(found.experiment, None);
    assert!(found.advice.starts_with("The grid has no other configurations."), "{}", found.advice);
    assert!(!found.message.contains("half of the configurations"), "{}", found.message);
    let found = density(&definition, &trials[..9]);
    assert_eq!(found.experiment, Some(Experiment::MoreConfigurations(12)));
    assert!(found.advice.starts_with("Run more configurations"), "{}", found.advice);
}

#[test]
fn a_list_value_of_which_all_configurations_failed_is_left_out() {
    let rates = [0.01, 0.03, 0.1, 0.3, 0.5, 0.9].into_iter().zip(1..);
    let failed = |(lr, number)| Trial { state: TrialState::Failed, ..trial(number, 2, lr, None) };
    let mut trials: Vec<Trial> = rates.map(failed).collect();
    trials.extend([trial(7, 1, 0.02, Some(0.1)), trial(8, 3, 0.2, Some(0.2)), trial(9, 1, 0.6, Some(0.3))]);
    let (definition, objective) = (&definition(), &objective(Direction::Minimize));
    let (flags, measured, trials) = (&Flags::default(), &std::collections::BTreeMap::new(), &trials[..]);
    let view = StudyView { definition, trials, objective, measured, workload: None, flags, importance: None };
    let found = insight(view).unwrap().into_iter().find(|finding| finding.id == "infeasible-fraction").unwrap();
    assert_eq!(found.hyperparameter.as_deref(), Some("layers"));
    assert!(found.message.contains("6 of the 6 configurations with layers = 2 gave no usable result"), "{found:?}");
    assert_eq!(found.advice, "Leave out layers = 2, or fix the cause.");
    let Some(Experiment::Changed { space, .. }) = &found.experiment else { panic!("{found:?}") };
    let rest = Distribution::choice(vec![1.into(), 3.into()]).unwrap();
    assert_eq!(space.named("layers").map(|h| &h.distribution).collect::<Vec<_>>(), [&rest]);
}

#[test]
fn what_rounding_leaves_of_equal_seeds_is_no_variance() {
    let (definition, trials) = lonely(SamplerKind::Quasirandom);
    // The mean of three times 0.1 is not 0.1.
    let seed = |i: u32| {
        let configuration = i / 3;
        Trial { number: i + 1, configuration, ..trials[configuration as usize].clone() }
    };
    let found = density(&definition, &(0..36).map(seed).collect::<Vec<Trial>>());
    assert!(found.message.contains("a tenth of its distance to the median"), "{}", found.message);
    assert!(!found.message.contains("standard deviations"), "{}", found.message);
}

#[test]
fn small_numbers_have_an_exponent() {
    let texts = [7.85e-17, 0.000_25, 0.012_345_6, 12_345.6].map(number);
    assert_eq!(texts, ["7.85e-17", "0.00025", "0.01235", "12346"]);
}
