//! What slots are made of, and what is known of them.

use crate::Environment;
use serde::Serialize;
use std::path::PathBuf;

/// How a slot is started, and on which device.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotSpec {
    /// `cpu:0`, `cuda:1` and so on; the pool and a number (`gpu/1`) for a slot elsewhere.
    pub device: String,
    /// The words of the command that starts `tunebook slot`, on this machine or through `ssh` on another one.
    pub command: Vec<String>,
    /// The changes to the environment that the command inherits from this process.
    pub environment: Environment,
    /// The folder in which the command, and so a program in a slot on this machine, runs. None is the current folder of
    /// this process.
    pub folder: Option<PathBuf>,
    /// For a slot elsewhere: its pool.
    pub far: Option<Far>,
}

/// What a slot elsewhere belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Far {
    /// The name of the pool.
    pub pool: String,
    /// The number of the pool, by which it differs from one that had its name before.
    pub id: u64,
    /// Which scheduler knows why it waits.
    pub scheduler: Scheduler,
    /// Whether files are copied to it.
    pub copies: bool,
    /// The command for people: the words of the user, and `…` for what Tunebook appends.
    pub shown: String,
}

/// What grants slots of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// Nothing: the command starts at once.
    None,
    Slurm,
    Kubernetes,
}

/// What a slot does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    /// It is not needed.
    Idle,
    /// Its command runs, but no machine has answered.
    Pending,
    /// It runs a trial, or its machine is there and waits for one.
    Running,
    /// It could not start, or was lost, and is started again after a pause, or never if it is given up.
    Failed,
}

/// What is known of a slot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlotStatus {
    /// Its device, or its pool and number.
    pub slot: String,
    /// Its pool. None for a slot on this machine.
    pub pool: Option<String>,
    /// The number of its pool, as in [`Far`].
    #[serde(skip)]
    pub pool_id: Option<u64>,
    pub state: SlotState,
    /// Whether it is not started again in this run.
    pub given_up: bool,
    /// The machine on which it ran last.
    pub node: Option<String>,
    /// The scheduler's job of it.
    pub job: Option<String>,
    /// Why it waits or has failed, in the words of the command or of the scheduler.
    pub reason: Option<String>,
    /// That its command was ended before it answered, and how long it had, if that was long enough. It is for the note
    /// at the end of a sweep, and no part of the result of `%pool`.
    #[serde(skip)]
    pub unanswered: Option<String>,
    /// How many trials ended in it.
    pub trials: u32,
    /// How many trials it lost.
    pub lost: u32,
}
