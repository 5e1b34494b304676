//! What a Rust cell can use: tensors that show themselves, and the models that studies have trained.
//!
//! The kernel adds this crate, `tch`, and the crate of a `%%workload` to a cell that names them.
//!
//! ```no_run
//! # struct Wine;
//! # use tunebook_training::prelude::*;
//! # impl Workload for Wine {
//! #     fn data(&self, _: &Hyperparameters) -> Result<Data> { anyhow::bail!("") }
//! #     fn forward(&self, net: &Net, x: &Tensor) -> Tensor { net.linear("y", x, 1) }
//! # }
//! let best = tunebook::model_of(Wine, "wines", 3)?;
//! let valid = best.data()?.valid;
//! let wrong = best.predict(&valid.inputs).argmax(-1, false).not_equal_tensor(&valid.targets);
//! println!("{} of {} wrong", wrong.sum(tch::Kind::Int64), valid.count());
//! # Ok::<(), anyhow::Error>(())
//! ```

mod picture;
mod show;
mod trained;

pub use tch;
pub use tunebook_training;

pub use picture::{Picture, picture};
pub use show::ShowTensor;
pub use trained::{Checkpoint, Trained, checkpoint, model, model_of};
pub use tunebook_training::libtorch::best_device as device;

/// In scope in every cell that uses tensors.
pub mod prelude {
    pub use crate::ShowTensor;
}
