//! What a training to the target costs, and what a change of the batch size pays back (Playbook B11, B12).
//!
//! One trial trains on one device. So a training with batch size b consumes R(b) = S(b)·t(b)·p: its S(b) steps, times
//! the time of a step t(b), times the price p of the device.

use super::ScalingPoint;
use serde::Serialize;

/// Prices, in any currency, and what they are compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs {
    /// The price of one device for one hour.
    pub price_per_hour: Option<f64>,
    /// The amount to be paid once before the fastest size can be used, for example for hardware or engineering.
    pub upfront: Option<f64>,
    /// The number of trainings that are planned.
    pub planned_trainings: Option<u32>,
    /// The workload's own batch size, from which a change would be made.
    pub own_batch_size: Option<u64>,
}

/// What a change to the fastest batch size is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Payback {
    /// The batch size before the change: the workload's own, or the smallest valid size if its own was not studied.
    pub from: u64,
    /// The fastest batch size.
    pub to: u64,
    /// R(from) − R(to), the amount that one training costs less after the change.
    #[serde(rename = "saved_per_trial")]
    pub saved_per_training: f64,
    /// The amount to be paid once.
    pub upfront: f64,
    /// The number of trainings that pay it back: upfront / saved, rounded up. None if a training saves nothing.
    #[serde(rename = "trials")]
    pub trainings: Option<f64>,
    /// Whether the planned trainings pay it back. None if it is not known how many are planned.
    pub pays: Option<bool>,
}

impl Costs {
    /// Only the price of one device for one hour.
    pub fn at_price(price_per_hour: f64) -> Self {
        Self { price_per_hour: Some(price_per_hour), ..Self::default() }
    }

    /// Returns the cost of so many seconds of one device. NaN if its price is not known.
    pub fn of(&self, seconds: f64) -> f64 {
        self.price_per_hour.map_or(f64::NAN, |price| price * seconds / 3600.0)
    }

    /// Returns what a change to the fastest size is worth, or None if there is nothing to be paid, or no size to
    /// compare.
    pub(super) fn payback(&self, points: &[ScalingPoint], fastest: Option<u64>) -> Option<Payback> {
        let (upfront, fastest) = (self.upfront?, fastest?);
        let valid = || points.iter().filter(|point| point.valid);
        let from = valid().find(|point| Some(point.batch_size) == self.own_batch_size).or_else(|| valid().next())?;
        let to = valid().find(|point| point.batch_size == fastest)?;
        let saved_per_training = from.cost? - to.cost?;
        let trainings = (saved_per_training > 0.0).then(|| (upfront / saved_per_training).ceil());
        let pays = self.planned_trainings.map(|planned| trainings.is_some_and(|needed| f64::from(planned) >= needed));
        Some(Payback { from: from.batch_size, to: fastest, saved_per_training, upfront, trainings, pays })
    }
}
