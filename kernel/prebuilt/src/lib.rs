//! What Rust cells and `%%workload`s build upon: Tunebook's own sources, which the kernel carries inside its
//! executable; the crates that a cell may name without `:dep`; and the folders of the user's cache in which cargo
//! builds them.
//!
//! The kernel and the magics both use this crate; it depends on neither of them.

mod build_folder;
mod cache;
mod cell_crates;
mod image;
pub mod lock_file;
mod sources;

pub use cache::{BUILD_FOLDER, BuildInputs, CellCache, Prebuilt, Sharing};
pub use cell_crates::{CellCrate, names_crate, needs_tensors};
pub use image::IMAGE_ITEM;
pub use sources::{Sources, UnpackError, short_hash, sources_hash};
