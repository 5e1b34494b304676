//! What is done against instability, in the Playbook's order (I11), and whether it helped.

use super::comparison::{Difference, SeedValues};
use super::onset::InstabilityKind;
use super::sweep::{RateSweepResult, pooled};
use serde::Serialize;

/// A remedy against instability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// A warm-up of the learning rate, against early instability.
    Warmup,
    /// Clipping of the gradient, against early and later instability.
    Clipping,
    /// Another optimizer.
    Optimizer,
    /// Residual connections with the normalization inside: x + f(norm(x)).
    Normalization,
    /// Residual branches that are zero at the start.
    ZeroInit,
    /// A lower learning rate. The last resort.
    LowerRate,
}

/// Returns the remedies in the order in which to try them.
pub fn remedies(kind: InstabilityKind) -> Vec<Remedy> {
    let mut order =
        vec![Remedy::Clipping, Remedy::Optimizer, Remedy::Normalization, Remedy::ZeroInit, Remedy::LowerRate];
    if kind != InstabilityKind::Mid {
        order.insert(0, Remedy::Warmup);
    }
    order
}

/// Returns the remedy to try next: the first that can be tried and was not, as long as none has helped. `tried` are
/// the remedies that were tried, each with whether it helped.
pub fn next_remedy(order: &[Remedy], can_be_tried: &[Remedy], tried: &[(Remedy, bool)]) -> Option<Remedy> {
    if tried.iter().any(|(_, helped)| *helped) {
        return None;
    }
    let is_open = |remedy: &&Remedy| can_be_tried.contains(remedy) && tried.iter().all(|(other, _)| other != *remedy);
    order.iter().find(is_open).copied()
}

/// What a remedy changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RemedyEffect {
    /// The best objective without the remedy, less that with it, as values to minimize.
    pub gain: Option<Difference>,
    /// How many times higher the edge is with the remedy: the least and the most that the brackets of both edges
    /// allow. The upper end is None if no edge was found with the remedy.
    pub edge_factor: Option<[Option<f64>; 2]>,
    /// Whether the best objective is better by more than the noise of the seeds.
    pub improves: bool,
    /// Whether the edge is higher by more than its uncertainty.
    pub moves_edge: bool,
}

impl RemedyEffect {
    pub fn helps(&self) -> bool {
        self.improves || self.moves_edge
    }
}

/// Compares the sweeps without and with a remedy. `control` are the objectives at the best rate without the remedy, if
/// the sweep before cannot be compared with, because the remedy trains for more steps. The edges are compared only if
/// both are of the same optimizer.
pub fn remedy_effect(
    before: &RateSweepResult,
    after: &RateSweepResult,
    control: Option<SeedValues>,
    compares_edges: bool,
) -> RemedyEffect {
    let best = |sweep: &'_ RateSweepResult| {
        let index = sweep.best?;
        sweep.seeds.iter().find(|(i, _)| *i == index).map(|(_, seeds)| seeds.clone())
    };
    let gain = control.or_else(|| best(before)).zip(best(after)).map(|(before_best, after_best)| {
        let others = |sweep| {
            let RateSweepResult { seeds, best, .. }: &RateSweepResult = sweep;
            pooled(seeds, [best.unwrap_or(i32::MAX); 2])
        };
        Difference::new(&before_best, &after_best, others(before).chain(others(after)))
    });
    let edge_factor = before.edge.as_ref().filter(|_| compares_edges).and_then(|edge| {
        let [low, high] = [edge.interval[0].or(edge.stable_lr), edge.interval[1].or(Some(edge.unstable_lr))];
        match &after.edge {
            Some(after) => {
                let least = after.interval[0].or(after.stable_lr)? / high?;
                let most = after.interval[1].zip(low).map(|(after, before)| after / before);
                Some([Some(least), most])
            }
            None => Some([Some(after.highest? / high?), None]),
        }
    });
    RemedyEffect {
        improves: gain.as_ref().is_some_and(Difference::is_above_zero),
        moves_edge: edge_factor.is_some_and(|[least, _]| least.is_some_and(|least| least > 1.0)),
        gain,
        edge_factor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stability::{RateRun, RateSweep, RunEnd, rate};

    fn sweep(edge: f64, best: f64, level: f64) -> RateSweepResult {
        let sweep = RateSweep { first: [-60, 20], bounds: [-120, 80], seeds: 3, looks_above: false };
        let mut runs: Vec<RateRun> = vec![];
        loop {
            let next = sweep.next(&runs);
            if next.is_empty() {
                return sweep.result(&runs);
            }
            runs.extend(next.into_iter().map(|(index, seed)| {
                let lr = rate(index);
                let objective = level + 0.1 * (lr / best).log10().powi(2) + 0.001 * f64::from(seed);
                RateRun { index, seed, end: if lr < edge { RunEnd::Learned(objective) } else { RunEnd::Diverged } }
            }));
        }
    }

    #[test]
    fn warm_up_is_no_remedy_for_instability_in_mid_training_and_the_lower_rate_comes_last() {
        for (kind, first) in [
            (InstabilityKind::Early, Remedy::Warmup),
            (InstabilityKind::EarlyAndMid, Remedy::Warmup),
            (InstabilityKind::Mid, Remedy::Clipping),
        ] {
            let order = remedies(kind);
            assert_eq!((order[0], order[order.len() - 1]), (first, Remedy::LowerRate));
        }
    }

    #[test]
    fn where_only_clipping_helps_it_is_found_after_the_warm_up_and_nothing_else_is_tried() {
        let can = [Remedy::Warmup, Remedy::Clipping, Remedy::Optimizer];
        let order = remedies(InstabilityKind::Early);
        let mut tried = vec![];
        while let Some(remedy) = next_remedy(&order, &can, &tried) {
            tried.push((remedy, remedy == Remedy::Clipping));
        }
        assert_eq!(tried, [(Remedy::Warmup, false), (Remedy::Clipping, true)]);
        assert_eq!(next_remedy(&order, &[Remedy::Optimizer], &[(Remedy::Warmup, false)]), Some(Remedy::Optimizer));
        assert_eq!(next_remedy(&order, &can, &can.map(|remedy| (remedy, false))), None);
    }

    #[test]
    fn a_remedy_helps_if_the_best_objective_or_the_edge_moves_beyond_its_uncertainty() {
        let before = sweep(0.5, 1.0, 0.1);
        let same = remedy_effect(&before, &before, None, true);
        assert!(!same.helps(), "{same:?}");
        let moved = remedy_effect(&before, &sweep(3.0, 1.0, 0.1), None, true);
        assert!(moved.moves_edge && moved.improves, "{moved:?}");
        let [least, most] = moved.edge_factor.unwrap().map(Option::unwrap);
        assert!(least < 6.0 && most > 6.0 && most / least < 1.6, "{moved:?}");
        let control = SeedValues(vec![0.1, 0.101, 0.102]);
        let longer = remedy_effect(&before, &sweep(0.5, 0.6, 0.1), Some(control), true);
        assert!(!longer.helps(), "what as many steps gain without the remedy is no gain of the remedy: {longer:?}");
        let worse = remedy_effect(&before, &sweep(0.2, 1.0, 0.1), None, true);
        assert!(!worse.helps(), "{worse:?}");
        let unlimited = remedy_effect(&before, &sweep(1e9, 0.4, 0.1), None, true);
        assert!(unlimited.moves_edge && unlimited.edge_factor.unwrap()[1].is_none(), "{unlimited:?}");
        assert!(remedy_effect(&before, &sweep(1e9, 0.4, 0.2), None, false).edge_factor.is_none());
    }
}
