//! How many steps a first study should train for (Playbook G5, G6), what the best steps of a study say about its length
//! (G1, G3), and what a longer round keeps (G8 to G10).

mod best_steps;
mod initial;
mod interval;
mod promotion;
mod rank_agreement;

pub use best_steps::{BestSteps, TrainingRegime, best_steps};
pub use initial::{FitTrial, FittedRate, InitialSteps, NoInitialSteps, fit_trial, initial_steps};
pub use promotion::{NoPromotion, Prolonged, Transfer, prolonged, transfer};
pub(crate) use rank_agreement::spearman;
pub use rank_agreement::{RankAgreement, rank_agreement};
