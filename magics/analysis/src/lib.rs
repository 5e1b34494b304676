//! Pure functions from trials and measurements to conclusions, each with its uncertainty.
//!
//! This crate does no input or output and knows neither Jupyter nor libtorch. A magic asks a question, calls one
//! function of this crate and renders what it returns. Results serialize to the JSON fields that `magics/REFERENCE.md`
//! lists for their kind; where a field of a struct has another name in the JSON, or is not part of it, an attribute of
//! serde says so.
//!
//! Every `interval` is a 95 % interval `[low, high]`. Bootstraps use a fixed seed, so the same input gives the same
//! interval.

mod adoption;
mod axis;
mod best_of_k;
mod configurations;
mod cost;
mod curves;
mod design;
mod early_stopping;
mod error;
mod failures;
mod history;
mod hyperparameter;
mod importance;
mod insight;
mod isolation;
mod limit;
mod log_least_squares;
mod metric_bounds;
mod noise;
mod percent;
mod program;
mod ranking;
mod replay;
mod resampling;
mod retune;
mod runs;
mod scaling;
mod stability;
mod steps;
mod student;
#[cfg(test)]
mod tests;
mod thinning;
mod throughput;
mod timing;
mod usual_names;
mod validation;
mod words;

pub use adoption::{Adoption, LEAST_CONFIGURATIONS, Replication, adoption, replication};
pub use axis::{Axis, AxisPlot, AxisPoint, ValueSpan, axis};
pub use best_of_k::{BestOfK, BestOfKPoint, Objectives, best_of_k};
pub use configurations::{Configuration, configurations, ranked_configurations};
pub use cost::{ExpectedTime, TimedTrial, TrialTime, expected_time};
pub use curves::{Curve, Curves, MeasuredTrial, curves};
pub use design::{
    BATCH_SIZE_CHANGED, Design, DesignedHyperparameter, Explored, LINTS, Lint, Stage, batch_size_too_large, design,
    expected_proposals, exploitation, is_plain, lints, several_questions,
};
pub use early_stopping::{EarlyStopped, early_stopped};
pub use error::AnalysisError;
pub use failures::{Cause, Flags, causes, flags};
pub use history::{HistoryTrial, OptimizationHistory, optimization_history};
pub use importance::{HyperparameterImportance, Importance, Interaction, importance};
pub use insight::{
    End, Experiment, Finding, Overfitting, Severity, StudyView, insight, least_for_insensitive, trials_to_measure,
};
pub use isolation::{Bucket, BucketTrial, Comparison, Isolation, IsolationPoint, Level, isolation};
pub use limit::{LimitSearch, is_memory_linear};
pub use noise::{NoisePoint, RunNoise, describes_noise_of, noise_point, run_noise, steps_to_measure};
pub use percent::estimated_percent;
pub use program::{Literal, is_same_project, literals};
pub use ranking::{BestTrial, TrialCounts, best_trial, count_by_state, ranked};
pub use replay::{MetricDifference, Replay, StateDifference, TrialPair, is_time};
pub use retune::{Retuning, TunedStudy, compares_batch_sizes_by_validation, not_tuned_again, retuning};
pub use runs::{Runs, Seeds, runs, seeds};
pub use scaling::{
    BatchSizeStudy, BatchSizeTuning, Costs, InvalidSize, NextAction, NoFit, Payback, RangeEdge, Regime, Scaling,
    ScalingFit, ScalingPoint, Side, StepSeconds, StepsToTarget, is_widened, scaling, steps_to_target,
};
pub use stability::{
    Difference, Edge, FIRST_FACTOR, GradientNorms, HIGHEST_RATE, InstabilityKind, LOWEST_RATE, Limit, LimitVerdict,
    NEAR, Onset, OnsetOf, RATES_PER_DECADE, RatePoint, RateRun, RateSweep, RateSweepResult, Remedy, RemedyEffect,
    RunAbove, RunEnd, SeedValues, WarmupCandidate, WarmupOutcome, WarmupRun, WarmupSearch, gradient_norms,
    instability_kind, limit, nearest_rate, next_remedy, onset, raises_steps, rate, remedies, remedy_effect,
    warmup_lengths,
};
pub use steps::{
    BestSteps, FitTrial, FittedRate, InitialSteps, NoInitialSteps, NoPromotion, Prolonged, RankAgreement,
    TrainingRegime, Transfer, best_steps, fit_trial, initial_steps, prolonged, rank_agreement, transfer,
};
pub use thinning::{MAX_POINTS, thinned_curve, thinned_to};
pub use throughput::{
    BatchSizeTiming, Bottleneck, BottleneckKind, PointState, StepTime, Throughput, ThroughputPoint, bottleneck,
    disturbed_throughput, sizes_to_time, throughput,
};
pub use timing::{Outliers, Timing, timing};
pub use validation::{ValidationPrecision, ValidationUses, luck_of_the_best, uses_validation, validation_precision};
pub use words::{counted, number, verb};
