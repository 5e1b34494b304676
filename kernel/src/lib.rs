//! The Jupyter kernel: one session over its sockets, the engine of Rust cells, and the commands of the executable
//! `tunebook`.

pub mod engine;
pub mod kernel;
pub mod notebook;
mod parent;
pub mod prepare;
mod session;
mod socket_files;
