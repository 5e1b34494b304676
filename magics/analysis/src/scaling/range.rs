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
    /// The plain name of the hyperparameter.
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

/// Returns the name of the hyperparameter whose range is judged, in any branch of the search space.
pub(super) fn judged_name(space: &SearchSpace) -> Option<String> {
    judged_range(space, |_| true).map(|h| h.name.clone())
}

/// Returns the edge near which the best configuration lies, or None if it lies in the inner part of the range.
///
/// A value lies at the edge if its u is in the outer tenth of the range, or if no trial has a value beyond it while
/// some trial has another value. The judged hyperparameter is the learning rate, or the first active range if it is not
/// tuned.
pub(super) fn edge_of(space: &SearchSpace, best: &Params, trials: &[Trial]) -> Option<RangeEdge> {
    let is_active = |h: &Hyperparameter| space.active(&h.name, best).is_some_and(|active| active.label() == h.label());
    let judged = judged_range(space, is_active)?;
    // A value outside of the range was tried before the range was changed, and lies at no edge of it.
    let u = judged.distribution.to_unit(best.get(&judged.name)?)?;
    let tried = trials.iter().filter_map(|trial| judged.distribution.to_unit(trial.params.get(&judged.name)?));
    let (least, most) = tried.fold((u, u), |(least, most), tried: f64| (least.min(tried), most.max(tried)));
    let side = match u {
        u if u < EDGE_SHARE || (u == least && u < most) => Side::Low,
        u if u > 1.0 - EDGE_SHARE || (u == most && u > least) => Side::High,
        _ => return None,
    };
    Some(RangeEdge { hyperparameter: judged.name.clone(), side })
}

/// Returns a search space in which the range of one hyperparameter is wider on the given sides, or None if it cannot
/// grow.
///
/// A logarithmic range grows by a factor of ten and a linear range by half its width, both as far as the domain that
/// the workload describes.
pub(crate) fn widened(
    space: &SearchSpace,
    name: &str,
    sides: &[Side],
    workload: Option<&WorkloadDescription>,
) -> Option<SearchSpace> {
    let domain = workload.and_then(|workload| workload.hyperparameter(name)).map(|h| &h.domain);
    let (least, most) = match domain {
        // An open end does not belong to the domain, so the range ends just before it.
        Some(HyperparameterDomain::Range { low, high, open_low, open_high }) => (
            low.map_or(f64::NEG_INFINITY, |x| if *open_low { x + 1e-12 } else { x }),
            high.map_or(f64::INFINITY, |x| if *open_high { x - 1e-12 } else { x }),
        ),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let within = |x: f64| x.clamp(least, most);
    let (low, high) = (sides.contains(&Side::Low), sides.contains(&Side::High));
    let log = |a: f64, b: f64| (if low { a / LOG_FACTOR } else { a }, if high { b * LOG_FACTOR } else { b });
    let linear = |a: f64, b: f64| {
        let added = LINEAR_SHARE * (b - a);
        (if low { a - added } else { a }, if high { b + added } else { b })
    };
    let mut wider = SearchSpace::new();
    let mut has_grown = false;
    for h in space.hyperparameters() {
        let mut h = h.clone();
        if h.name == name {
            let distribution = match h.distribution {
                Distribution::LogUniform { low: a, high: b } => {
                    let (a, b) = log(a, b);
                    Distribution::log_uniform(within(a), within(b))
                }
                // The bounds are those of v in 1 − v.
                Distribution::OneMinusLogUniform { low: a, high: b } => {
                    let (a, b) = log(a, b);
                    Distribution::one_minus_log_uniform(a, b.min(1.0))
                }
                Distribution::Uniform { low: a, high: b } => {
                    let (a, b) = linear(a, b);
                    Distribution::uniform(within(a), within(b))
                }
                Distribution::LogInt { low: a, high: b } => {
                    let (a, b) = log(a as f64, b as f64);
                    Distribution::log_int(within(a.round()).max(1.0) as i64, within(b.round()) as i64)
                }
                Distribution::Int { low: a, high: b } => {
                    let (a, b) = linear(a as f64, b as f64);
                    Distribution::int(within(a.round()) as i64, within(b.round()) as i64)
                }
                other => Ok(other),
            };
            let before = space.named(name).next().map(|h| h.distribution.clone());
            h.distribution = distribution.ok()?;
            has_grown |= before != Some(h.distribution.clone());
        }
        wider.declare(h).ok()?;
    }
    has_grown.then_some(wider)
}

/// Whether a recorded study is the planned one with its range widened, on one side or on both.
pub fn is_widened(
    recorded: &StudyDefinition,
    planned: &StudyDefinition,
    workload: Option<&WorkloadDescription>,
) -> bool {
    let Some(name) = judged_name(&planned.space) else { return false };
    let sides: [&[Side]; 3] = [&[Side::Low], &[Side::High], &[Side::Low, Side::High]];
    let mut spaces = sides.into_iter().filter_map(|sides| widened(&planned.space, &name, sides, workload));
    spaces.any(|space| *recorded == StudyDefinition { space, ..planned.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::sampler::SamplerKind;
    use tunebook_study::{Direction, Objective, ObjectiveValue, Role, WorkloadHyperparameter, WorkloadReference};

    fn space(name: &str, distribution: Distribution) -> SearchSpace {
        let mut space = SearchSpace::new();
        space
            .declare(Hyperparameter { name: name.into(), role: Role::Nuisance, distribution, conditions: vec![] })
            .unwrap();
        space
    }

    fn objective() -> Objective {
        Objective { metric: "e".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best }
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
        let trial = |lr: f64| Trial {
            number: 1,
            configuration: 0,
            params: params(lr),
            seed: 0,
            state: tunebook_study::TrialState::Complete,
            reason: None,
            summaries: Default::default(),
            seconds: 0.0,
            started: 0.0,
        };
        let among = |lr: f64| edge_of(&space, &params(lr), &[trial(0.01), trial(0.1), trial(1.0)]);
        assert_eq!((among(0.1), among(1.0)), (None, at(Side::High)), "no trial has a larger value than 1.0");
    }

    #[test]
    fn a_range_is_widened_on_the_given_sides_and_within_its_domain() {
        let range = |space: SearchSpace| space.hyperparameters()[0].distribution.clone();
        let (low, both): (&[Side], &[Side]) = (&[Side::Low], &[Side::Low, Side::High]);
        let lr = space("lr", Distribution::log_uniform(1e-3, 1.0).unwrap());
        let wide = |sides| range(widened(&lr, "lr", sides, None).unwrap());
        assert_eq!(wide(low), Distribution::LogUniform { low: 1e-4, high: 1.0 });
        assert_eq!(wide(both), Distribution::LogUniform { low: 1e-4, high: 10.0 });
        assert_eq!(widened(&lr, "lr", &[], None), None);

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
        let wider = range(widened(&dropout, "dropout", both, Some(&description)).unwrap());
        assert!(matches!(wider, Distribution::Uniform { low: 0.0, high } if high < 1.0 && high > 0.99), "{wider}");
        assert_eq!(widened(&dropout, "dropout", low, Some(&description)), None, "the domain ends there");
        let momentum = space("momentum", Distribution::one_minus_log_uniform(1e-2, 1.0).unwrap());
        let wider = range(widened(&momentum, "momentum", both, None).unwrap());
        assert_eq!(wider, Distribution::OneMinusLogUniform { low: 1e-3, high: 1.0 });
    }

    #[test]
    fn a_widened_study_is_recognized_and_another_one_is_not() {
        let study = |distribution| StudyDefinition {
            workload: WorkloadReference::Builtin { name: "w".into() },
            space: space("lr", distribution),
            objective: objective(),
            sampler: SamplerKind::Quasirandom,
            sampler_version: tunebook_study::sampler::VERSION,
            earlier: vec![],
            seed: 0,
            repeats: 1,
            question: None,
            notes: None,
            round: None,
            given: vec![],
            stop_early: Default::default(),
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
