//! Training on libtorch: the worker, its trainer and the built-in workloads.
