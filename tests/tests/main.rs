//! The product from outside, in one program: it is linked once, and a test that takes long leaves no processor idle.
//!
//! `cargo verify -- --test product background::` runs the tests of one file. Those of `%throughput` and of Slurm are
//! programs of their own.

mod adoption;
mod architecture;
mod background;
mod cells_and_crates;
mod cells_people_write;
mod conclusions;
mod docs;
mod early_stopping;
mod exchange;
mod front_ends;
mod front_ends_people_use;
mod honest_training;
mod insights;
mod ipython_manners;
mod kills;
mod magic_examples;
mod notebook_commands;
mod output;
mod people;
mod planning;
mod playbook;
mod pools;
mod programs;
mod protocol;
mod real_conclusions;
mod replay;
mod reports;
mod rust_cells;
mod samplers;
mod scaling;
mod sentences;
mod session;
mod stability;
mod style;
mod survival;
mod sweeps;
mod tables;
mod tensors;
mod training_steps;
mod validation;
mod wire;
mod wire_properties;
mod workloads;
