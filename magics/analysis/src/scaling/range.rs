//! The range of the tuned hyperparameter at one batch size: whether the best value lies at its edge, and how it is
//! widened.

use tunebook_study::{
    Distribution, Hyperparameter, HyperparameterDomain, Params, SearchSpace, StudyDefinition, Trial,
    WorkloadDescription,
};

/// The outer share of a range on each side that counts as its edge. It is a share of u, the coordinate in which the
/// range is sampled evenly.
const EDGE_SHARE: f64 = 0.1;
/// A logarithmic range is widened by this factor.
const LOG_FACTOR: f64 = 10.0;
/// A linear range is widened by this share of its width.
const LINEAR_SHARE: f64 = 0.5;

/// One end of a range, in u.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Low,
    High,
}

/// A range at whose edge the best value lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeEdge {
    /// The label of the hyperparameter.
    pub hyperparameter: String,
    /// The end near which the best value lies.
    pub side: Side,
}

/// Returns the hyperparameter whose range is judged: the learning rate, or the first range if the learning rate is not
/// tuned.
fn judged_range(space: &SearchSpace, is_active: impl Fn(&Hyperparameter) -> bool) -> Option<&Hyperparameter> {
    let is_range = |h: &&Hyperparameter| {
        !matches!(h.distribution, Distribution::Choice { .. } | Distribution::Constant { .. }) && is_active(h)
    };
    let ranges = || space.hyperparameters().iter().filter(is_range);
    ranges().find(|h| h.name == "lr").or_else(|| ranges().next())
}

/// Returns the search space in which the judged range is wider on both sides, in each branch that has one, or None if
/// none of them can grow.
pub(super) fn widened_on_both_sides(
    space: &SearchSpace,
    workload: Option<&WorkloadDescription>,
) -> Option<SearchSpace> {
    let name = &judged_range(space, |_| true)?.name;
    let mut wider = None;
    for h in space.named(name) {
        let grown = widened(wider.as_ref().unwrap_or(space), h, &[Side::Low, Side::High], workload);
        wider = grown.or(wider);
    }
    wider
}

/// Returns the edge near which the best configuration lies, or None if it lies in the inner part of the range.
///
/// A value lies at the edge if its u is in the outer tenth of the range, or if no trial has a value beyond it while
/// some trial has another value. The judged hyperparameter is the learning rate, or the first active range if it is not
/// tuned.
pub(super) fn edge_of(space: &SearchSpace, best: &Params, trials: &[Trial]) -> Option<RangeEdge> {
    let judged = judged_range(space, |h| space.value_of(h, best).is_some())?;
    // A trial of another branch has no place in this range.
    let place = |params: &Params| judged.distribution.to_unit(space.value_of(judged, params)?);
    // A value outside of the range was tried before the range was changed, and lies at no edge of it.
    let u = place(best)?;
    let tried = trials.iter().filter_map(|trial| place(&trial.params));
    let (least, most) = tried.fold((u, u), |(least, most), tried: f64| (least.min(tried), most.max(tried)));
    let side = match u {
        u if u < EDGE_SHARE || (u == least && u < most) => Side::Low,
        u if u > 1.0 - EDGE_SHARE || (u == most && u > least) => Side::High,
        _ => return None,
    };
    Some(RangeEdge { hyperparameter: judged.label(), side })
}

/// Returns a search space in which the range of one of its hyperparameters is wider on the given sides, or None if it
/// cannot grow. Another branch with the same name keeps its range.
///
/// A logarithmic range grows by a factor of ten and a linear range by half its width, both as far as the domain that
/// the workload describes. The new bounds are rounded away from the range, as a person would write them, so that the
/// range still has all values that it had.
pub(crate) fn widened(
    space: &SearchSpace,
    hyperparameter: &Hyperparameter,
    sides: &[Side],
    workload: Option<&WorkloadDescription>,
) -> Option<SearchSpace> {
    let domain = workload.and_then(|workload| workload.hyperparameter(&hyperparameter.name)).map(|h| &h.domain);
    let (least, most) = match domain {
        Some(HyperparameterDomain::Range { low, high, open_low, open_high }) => {
            (low.map(|x| (x, *open_low)), high.map(|x| (x, *open_high)))
        }
        _ => (None, None),
    };
    // Where an end grows, from `a` to `grown`, it stays in the domain.
    let end_low = |a: f64, grown: f64| if sides.contains(&Side::Low) { limited(a, grown, least, -1.0) } else { a };
    let end_high = |b: f64, grown: f64| if sides.contains(&Side::High) { limited(b, grown, most, 1.0) } else { b };
    let log = |a: f64, b: f64| {
        let grown = [(a / LOG_FACTOR, false), (b * LOG_FACTOR, true)];
        let [low, high] = grown.map(|(x, is_up)| outward(x, exponent(x) - 1, is_up));
        (end_low(a, low), end_high(b, high))
    };
    let linear = |a: f64, b: f64| {
        let added = LINEAR_SHARE * (b - a);
        let digit = exponent(added) - 1;
        (end_low(a, outward(a - added, digit, false)), end_high(b, outward(b + added, digit, true)))
    };
    let mut wider = SearchSpace::new();
    let mut has_grown = false;
    for h in space.hyperparameters() {
        let mut h = h.clone();
        if h == *hyperparameter {
            let distribution = match h.distribution {
                Distribution::LogUniform { low: a, high: b } => {
                    let (a, b) = log(a, b);
                    Distribution::log_uniform(a, b)
                }
                // The bounds are those of v in 1 − v, and v is at most 1.
                Distribution::OneMinusLogUniform { low: a, high: b } => {
                    let grown = [(a / LOG_FACTOR, Side::Low, a), (b * LOG_FACTOR, Side::High, b)];
                    let [low, high] = grown.map(|(x, side, old)| match sides.contains(&side) {
                        true => outward(x, exponent(x) - 1, side == Side::High),
                        false => old,
                    });
                    Distribution::one_minus_log_uniform(low, high.min(1.0))
                }
                Distribution::Uniform { low: a, high: b } => {
                    let (a, b) = linear(a, b);
                    Distribution::uniform(a, b)
                }
                Distribution::LogInt { low: a, high: b } => {
                    let (a, b) = log(a as f64, b as f64);
                    Distribution::log_int(a.round().max(1.0) as i64, b.round() as i64)
                }
                Distribution::Int { low: a, high: b } => {
                    let (a, b) = linear(a as f64, b as f64);
                    Distribution::int(a.floor() as i64, b.ceil() as i64)
                }
                other => Ok(other),
            };
            h.distribution = distribution.ok()?;
            has_grown = h.distribution != hyperparameter.distribution;
        }
        wider.declare(h).ok()?;
    }
    has_grown.then_some(wider)
}

/// The exponent of the first digit of a number.
fn exponent(x: f64) -> i32 {
    x.abs().log10().floor() as i32
}

/// Returns a number as a multiple of 10^`digit`: the next one above or below. A number that is one but for the error of
/// its arithmetic stays where it is.
fn outward(x: f64, digit: i32, is_up: bool) -> f64 {
    let count = x / 10f64.powi(digit);
    let whole = match (count - count.round()).abs() < 1e-6 {
        true => count.round(),
        false if is_up => count.ceil(),
        false => count.floor(),
    };
    // The text has the nearest number of so few digits, which a product need not have.
    format!("{whole}e{digit}").parse().unwrap_or(x)
}

/// Returns where an end of a range grows from `from` to `to`, in the direction 1 or −1, without leaving its domain. An
/// `open` end of a domain does not belong to it; then the range ends a short way before it, for example at 0.999.
fn limited(from: f64, to: f64, end: Option<(f64, bool)>, direction: f64) -> f64 {
    let Some((end, is_open)) = end.filter(|(end, is_open)| {
        let beyond = (to - end) * direction;
        beyond > 0.0 || (beyond == 0.0 && *is_open)
    }) else {
        return to;
    };
    if !is_open {
        return end;
    }
    let scale = if end == 0.0 { (from - to).abs() } else { end.abs() };
    let first = exponent(scale) - 3;
    let mut before = (0..9).map(|closer| {
        let digit = first - closer;
        outward(end - direction * 10f64.powi(digit), digit, direction > 0.0)
    });
    before.find(|x| (x - from) * direction > 0.0).unwrap_or(from)
}

/// Whether a recorded study is the planned one with its range widened, on one side or on both. In a space with branches
/// it is the range of the branch of the best trial, or that of all branches on both sides.
pub fn is_widened(
    recorded: &StudyDefinition,
    planned: &StudyDefinition,
    workload: Option<&WorkloadDescription>,
) -> bool {
    let Some(judged) = judged_range(&planned.space, |_| true) else { return false };
    // A range without conditions is judged in every trial.
    let may_be_judged = |h: &&Hyperparameter| *h == judged || !judged.conditions.is_empty();
    let ranges = planned.space.hyperparameters().iter().filter(may_be_judged);
    let on_one_side =
        ranges.flat_map(|h| [Side::Low, Side::High].map(|side| widened(&planned.space, h, &[side], workload)));
    let mut spaces = on_one_side.chain([widened_on_both_sides(&planned.space, workload)]).flatten();
    spaces.any(|space| *recorded == StudyDefinition { space, ..planned.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::{
        Condition, Direction, Objective, ObjectiveValue, Role, WorkloadHyperparameter, WorkloadReference,
    };

    fn space(name: &str, distribution: Distribution) -> SearchSpace {
        let mut space = SearchSpace::new();
        space
            .declare(Hyperparameter { name: name.into(), role: Role::Nuisance, distribution, conditions: vec![] })
            .unwrap();
        space
    }

    /// A space in which the first range is wider.
    fn first_widened(
        space: &SearchSpace,
        sides: &[Side],
        workload: Option<&WorkloadDescription>,
    ) -> Option<SearchSpace> {
        widened(space, &space.hyperparameters()[0], sides, workload)
    }

    fn objective() -> Objective {
        Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best }
    }

    fn trial(params: Params) -> Trial {
        Trial {
            number: 1,
            configuration: 0,
            params,
            seed: 0,
            state: tunebook_study::TrialState::Complete,
            reason: None,
            summaries: Default::default(),
            seconds: 0.0,
            started: 0.0,
        }
    }

    /// The learning rate of each optimizer: with sgd from 0.001 to 1, with adam from 0.00001 to 0.01.
    fn branches() -> SearchSpace {
        let mut space = SearchSpace::new();
        let mut declare = |name: &str, distribution, optimizer: Option<&str>| {
            let condition = |word: &str| Condition { name: "optimizer".into(), values: vec![word.into()] };
            let (name, role, conditions) =
                (name.into(), Role::Nuisance, optimizer.map(condition).into_iter().collect());
            space.declare(Hyperparameter { name, role, distribution, conditions }).unwrap();
        };
        declare("optimizer", Distribution::choice(vec!["sgd".into(), "adam".into()]).unwrap(), None);
        declare("lr", Distribution::log_uniform(1e-3, 1.0).unwrap(), Some("sgd"));
        declare("lr", Distribution::log_uniform(1e-5, 1e-2).unwrap(), Some("adam"));
        space
    }

    fn ranges(space: &SearchSpace) -> Vec<String> {
        space.named("lr").map(|h| h.distribution.to_string()).collect()
    }

    #[test]
    fn only_the_range_of_one_branch_is_widened() {
        let space = branches();
        let wide = |label: &str, side| widened(&space, space.find(label).unwrap(), &[side], None).unwrap();
        let adam = wide("optimizer=adam/lr", Side::High);
        assert_eq!(ranges(&adam), ["~ loguniform(0.001, 1)", "~ loguniform(1e-5, 0.1)"]);
        assert_eq!(
            ranges(&wide("optimizer=sgd/lr", Side::Low)),
            ["~ loguniform(0.0001, 1)", "~ loguniform(1e-5, 0.01)"]
        );
        let both = widened_on_both_sides(&space, None).unwrap();
        assert_eq!(ranges(&both), ["~ loguniform(0.0001, 10)", "~ loguniform(1e-6, 0.1)"]);
        let study = |space| StudyDefinition::new(WorkloadReference::Builtin { name: "w".into() }, space, objective());
        for wider in [adam, both] {
            assert!(is_widened(&study(wider), &study(space.clone()), None));
        }
    }

    #[test]
    fn the_edge_of_a_branch_is_judged_by_the_trials_of_the_branch() {
        let space = branches();
        let params = |optimizer: &str, lr: f64| {
            Params::from([("optimizer".to_string(), optimizer.into()), ("lr".to_string(), lr.into())])
        };
        let best = params("adam", 1e-3);
        let mut trials: Vec<Trial> = [1e-4, 3e-4, 1e-3].map(|lr| trial(params("adam", lr))).to_vec();
        let edge = Some(RangeEdge { hyperparameter: "optimizer=adam/lr".into(), side: Side::High });
        assert_eq!(edge_of(&space, &best, &trials), edge, "no trial with adam has a larger rate");
        // In the range of adam, this rate of sgd would be a larger one.
        trials.push(trial(params("sgd", 5e-3)));
        assert_eq!(edge_of(&space, &best, &trials), edge, "a rate of sgd is no rate of adam");
        trials.push(trial(params("adam", 3e-3)));
        assert_eq!(edge_of(&space, &best, &trials), None);
    }

    #[test]
    fn the_edge_is_the_outer_tenth_of_the_learning_rates_range() {
        let mut space = SearchSpace::new();
        let mut declare = |name: &str, distribution| {
            let (name, role, conditions) = (name.into(), Role::Nuisance, vec![]);
            space.declare(Hyperparameter { name, role, distribution, conditions }).unwrap();
        };
        declare("momentum", Distribution::uniform(0.0, 1.0).unwrap());
        declare("lr", Distribution::log_uniform(1e-4, 10.0).unwrap());
        let params = |lr: f64| Params::from([("lr".to_string(), lr.into()), ("momentum".to_string(), 0.99.into())]);
        let at = |side| Some(RangeEdge { hyperparameter: "lr".into(), side });
        let edge = |lr: f64| edge_of(&space, &params(lr), &[]);
        assert_eq!(edge(2.0), None, "momentum lies at its edge, but is not judged");
        assert_eq!(edge(5.0), at(Side::High));
        assert_eq!(edge(2e-4), at(Side::Low));
        assert_eq!(edge_of(&SearchSpace::new(), &Params::new(), &[]), None);
        let trial = |lr: f64| trial(params(lr));
        let among = |lr: f64| edge_of(&space, &params(lr), &[trial(0.01), trial(0.1), trial(1.0)]);
        assert_eq!((among(0.1), among(1.0)), (None, at(Side::High)), "no trial has a larger value than 1.0");
    }

    #[test]
    fn a_range_is_widened_on_the_given_sides_and_within_its_domain() {
        let range = |space: SearchSpace| space.hyperparameters()[0].distribution.clone();
        let (low, both): (&[Side], &[Side]) = (&[Side::Low], &[Side::Low, Side::High]);
        let lr = space("lr", Distribution::log_uniform(1e-3, 1.0).unwrap());
        let wide = |sides| range(first_widened(&lr, sides, None).unwrap());
        assert_eq!(wide(low), Distribution::LogUniform { low: 1e-4, high: 1.0 });
        assert_eq!(wide(both), Distribution::LogUniform { low: 1e-4, high: 10.0 });
        assert_eq!(first_widened(&lr, &[], None), None);

        let dropout = space("dropout", Distribution::uniform(0.0, 0.8).unwrap());
        let description = WorkloadDescription {
            name: "w".into(),
            kind: "builtin".into(),
            doc: String::new(),
            hyperparameters: vec![WorkloadHyperparameter::real("dropout", 0.0..=1.0, 0.0).below()],
            metrics: vec![],
            objective: objective(),
            chance: None,
        };
        let wider = range(first_widened(&dropout, both, Some(&description)).unwrap());
        assert_eq!(wider, Distribution::Uniform { low: 0.0, high: 0.999 });
        assert_eq!(first_widened(&dropout, low, Some(&description)), None, "the domain ends there");
        let momentum = space("momentum", Distribution::one_minus_log_uniform(1e-2, 1.0).unwrap());
        let wider = range(first_widened(&momentum, both, None).unwrap());
        assert_eq!(wider, Distribution::OneMinusLogUniform { low: 1e-3, high: 1.0 });
    }

    #[test]
    fn a_widened_range_has_bounds_that_a_person_would_write_and_all_values_that_it_had() {
        let domain = |hyperparameters| WorkloadDescription {
            name: "w".into(),
            kind: "builtin".into(),
            doc: String::new(),
            hyperparameters,
            metrics: vec![],
            objective: objective(),
            chance: None,
        };
        let below_one = domain(vec![WorkloadHyperparameter::real("h", 0.0..=1.0, 0.0).above().below()]);
        let below_hundred = domain(vec![WorkloadHyperparameter::real("h", 0.0..=100.0, 0.0).below()]);
        let uniform = |a, b| Distribution::uniform(a, b).unwrap();
        let log = |a, b| Distribution::log_uniform(a, b).unwrap();
        let (one, hundred) = (Some(&below_one), Some(&below_hundred));
        let cases = [
            (uniform(0.1, 0.9), one, "~ uniform(0.0001, 0.999)"),
            (uniform(0.5, 0.999), one, "~ uniform(0.25, 0.9999)"),
            (uniform(0.5, 0.6), one, "~ uniform(0.45, 0.65)"),
            (uniform(0.0, 90.0), hundred, "~ uniform(0, 99.9)"),
            (uniform(0.3, 0.6), None, "~ uniform(0.15, 0.75)"),
            (uniform(0.0, 0.9178), None, "~ uniform(-0.46, 1.38)"),
            (uniform(0.9, 0.904), None, "~ uniform(0.898, 0.906)"),
            (uniform(-3.0, 1000.0), None, "~ uniform(-510, 1510)"),
            (log(3e-4, 0.7), None, "~ loguniform(3e-5, 7)"),
            (log(1.234e-3, 0.777), None, "~ loguniform(0.00012, 7.8)"),
            (log(0.01, 0.5), one, "~ loguniform(0.001, 0.999)"),
            (Distribution::one_minus_log_uniform(3e-3, 0.07).unwrap(), one, "~ 1 - loguniform(0.0003, 0.7)"),
            (Distribution::int(3, 17).unwrap(), None, "~ int(-4, 24)"),
            (Distribution::int(1, 2).unwrap(), None, "~ int(0, 3)"),
            (Distribution::log_int(16, 64).unwrap(), None, "~ logint(2, 640)"),
        ];
        let both = [Side::Low, Side::High];
        for (old, workload, expected) in cases {
            let wide = first_widened(&space("h", old.clone()), &both, workload).unwrap();
            let wide = &wide.hyperparameters()[0].distribution;
            assert_eq!(wide.to_string(), expected, "{old}");
            for u in [0.0, 0.3, 1.0] {
                assert!(wide.to_unit(&old.from_unit(u)).is_some(), "{old} has {} and {wide} has not", old.from_unit(u));
            }
        }
        let closest = uniform(0.5, 1.0 - 1e-13);
        assert_eq!(first_widened(&space("h", closest), &[Side::High], one), None, "there is no room for more");
    }

    #[test]
    fn a_widened_study_is_recognized_and_another_one_is_not() {
        let study = |distribution| {
            StudyDefinition::new(
                WorkloadReference::Builtin { name: "w".into() },
                space("lr", distribution),
                objective(),
            )
        };
        let log = |low, high| study(Distribution::log_uniform(low, high).unwrap());
        let planned = log(1e-3, 1.0);
        for recorded in [log(1e-4, 1.0), log(1e-3, 10.0), log(1e-4, 10.0)] {
            assert!(is_widened(&recorded, &planned, None), "{:?}", recorded.space);
        }
        assert!(!is_widened(&planned, &planned, None) && !is_widened(&log(1e-5, 1.0), &planned, None));
        assert!(!is_widened(&StudyDefinition { seed: 1, ..log(1e-4, 1.0) }, &planned, None));
    }
}
