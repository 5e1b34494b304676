//! Asynchronous successive halving (Li et al., "A system for massively parallel hyperparameter tuning", 2020), with
//! the defaults of Optuna's successive-halving pruner.

use super::{EarlyStopping, Verdict};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// One of so many configurations goes on from a rung.
pub(super) const ETA: usize = 4;

/// What trials had reached at each rung. Rung r is at the step `first · 4^r`.
#[derive(Default)]
pub(super) struct Rungs {
    /// The step of the first rung: a hundredth of the longest complete trial. None while no trial is complete.
    first: Option<u64>,
    /// For each rung, the values by the number of the trial.
    values: Vec<BTreeMap<u32, f64>>,
}

impl Rungs {
    pub(super) fn forget(&mut self, number: u32) {
        for rung in &mut self.values {
            rung.remove(&number);
        }
    }

    fn step(&self, rung: usize) -> Option<u64> {
        let factor = (ETA as u64).checked_pow(u32::try_from(rung).ok()?)?;
        self.first?.checked_mul(factor)
    }
}

/// A trial is complete. The first one says where the rungs are; what trials had reached there by now is added.
pub(super) fn completed(known: &mut EarlyStopping) {
    if known.rungs.first.is_some() {
        return;
    }
    let Some(longest) = known.longest else { return };
    known.rungs.first = Some((longest / 100).max(1));
    let numbers: Vec<(u32, Vec<u64>)> =
        known.trials.iter().map(|(number, curve)| (*number, curve.values.keys().copied().collect())).collect();
    for (number, steps) in numbers {
        for step in steps {
            reach(known, number, step);
        }
    }
}

/// Records what a trial has at the rungs that it has reached with this step. Returns those rungs.
fn reach(known: &mut EarlyStopping, number: u32, step: u64) -> Vec<usize> {
    let Some(value) = known.trials.get(&number).and_then(|curve| known.judged(curve, step)) else { return vec![] };
    let mut reached = vec![];
    let mut rung = 0;
    while known.rungs.step(rung).is_some_and(|at| at <= step) {
        if known.rungs.values.len() <= rung {
            known.rungs.values.push(BTreeMap::new());
        }
        let values = &mut known.rungs.values[rung];
        if let Entry::Vacant(vacant) = values.entry(number) {
            vacant.insert(value);
            reached.push(rung);
        }
        rung += 1;
    }
    reached
}

/// A trial is stopped at a rung unless its value is among the best ⌊k/4⌋ of the k values there, or the best of fewer
/// than four.
pub(super) fn verdict(known: &mut EarlyStopping, number: u32, step: u64) -> Option<Verdict> {
    for rung in reach(known, number, step) {
        let values = &known.rungs.values[rung];
        let mine = *values.get(&number)?;
        let mut all = known.others(number, values.iter().map(|(trial, value)| (*trial, *value)));
        all.push(mine);
        all.sort_by(f64::total_cmp);
        let kept = (all.len() / ETA).max(1);
        let worst_kept = all[kept - 1];
        if mine > worst_kept {
            let than = match kept {
                1 => format!("the best of {} configurations at rung {rung}", all.len()),
                _ => format!("the worst of the best {kept} of {} configurations at rung {rung}", all.len()),
            };
            return Some(Verdict { mine, other: worst_kept, than });
        }
    }
    None
}
