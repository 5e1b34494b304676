//! Two Jupyter front ends for tests. Both start the real kernel and speak to it over real ZeroMQ sockets.
//!
//! - [`StrictFrontEnd`] receives every message in order and fails on one that nobody expected. It is for tests of the
//!   protocol.
//! - [`Kernel`] searches for the messages that belong to a request and skips the others. It is for tests that do not
//!   care about order.
//!
//! [`raw`] is a third client. It writes the bytes of ZeroMQ's protocol itself, so that it can send what no library
//! sends.

mod answer;
mod busy_loops;
mod kernel;
mod message;
mod own_crate;
mod processes;
mod product;
mod python;
pub mod raw;
mod registry;
mod request;
mod search;
mod stdin;
mod strict;
mod studies;
mod wait;

pub use answer::{Answer, without_colours};
pub use busy_loops::BusyLoops;
pub use kernel::{Kernel, kernel};
pub use message::{KEY, Message, cell, request_frames, signed_frames};
pub use own_crate::own_crate;
pub use processes::{command_of, descendants, memory, processor_seconds};
pub use product::{executable, lacks, repository};
pub use python::{chromium, python, script};
pub use registry::Registry;
pub use request::Request;
pub use stdin::Questions;
pub use strict::StrictFrontEnd;
pub use wait::{PATIENCE, eventually};
