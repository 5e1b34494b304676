//! What training costs, and what a change of the batch size pays back (Playbook B11, B12). One trial trains on one device, so
//! what it consumes is its seconds times the price of that device.

use super::ScalingPoint;
use serde::Serialize;

/// Prices, in any currency.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs {
    /// Of one device for one hour.
    pub price: Option<f64>,
    /// To be paid once before the fastest size can be used: hardware, engineering.
    pub upfront: Option<f64>,
    /// Trials that will be trained.
    pub planned: Option<u32>,
    /// The workload's own batch size, from which a change would be made.
    pub own: Option<u64>,
}

/// What a change to the fastest size is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Payback {
    /// The size of today: the workload's own, or the smallest that is valid.
    pub from: u64,
    /// The fastest.
    pub to: u64,
    /// What one training costs less.
    pub saved_per_trial: f64,
    /// To be paid once.
    pub upfront: f64,
    /// Trainings that pay it back; `None` where none do.
    pub trials: Option<f64>,
    /// Whether the planned ones do.
    pub pays: Option<bool>,
}

impl Costs {
    /// Of so many seconds.
    pub(super) fn of(&self, seconds: f64) -> f64 {
        self.price.map_or(f64::NAN, |price| price * seconds / 3600.0)
    }

    pub(super) fn payback(&self, points: &[ScalingPoint], fastest: Option<u64>) -> Option<Payback> {
        let (upfront, fastest) = (self.upfront?, fastest?);
        let valid = || points.iter().filter(|point| point.valid);
        let from = valid().find(|point| Some(point.batch_size) == self.own).or_else(|| valid().next())?;
        let to = valid().find(|point| point.batch_size == fastest)?;
        let saved_per_trial = from.cost? - to.cost?;
        let trials = (saved_per_trial > 0.0).then(|| (upfront / saved_per_trial).ceil());
        let pays = self.planned.map(|planned| trials.is_some_and(|trials| f64::from(planned) >= trials));
        Some(Payback { from: from.batch_size, to: fastest, saved_per_trial, upfront, trials, pays })
    }
}
