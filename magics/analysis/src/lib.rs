//! Pure functions from trials to conclusions, each with its uncertainty.
