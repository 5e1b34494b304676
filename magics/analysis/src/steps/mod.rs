//! How many steps a first study should train for (Playbook G5, G6), what the best steps of a study say about its length
//! (G1, G3), and what a longer round keeps (G8 to G10).

mod initial;
mod interval;

pub use initial::{FitTrial, FittedRate, InitialSteps, NoInitialSteps, fit_trial, initial_steps};
