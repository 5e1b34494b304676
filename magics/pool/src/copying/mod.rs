//! Copies what trials need to a machine that shares no file system with the notebook's, and brings back what they
//! write.
//!
//! Everything goes through the standard input and output of the slot. First a shell script (`script.rs`) asks for the
//! executable `tunebook`, unless the machine has it, and becomes it. Then the slot compares the files that its trials
//! need with those that it has (`mirror.rs`), and asks for the others. The pool sends them (`sender.rs`) from the
//! thread that reads what the slot says, so that nothing else waits for them. When a trial has ended, its files come
//! back (`results.rs`).
//!
//! On the node everything lies in `~/.cache/tunebook/node`, or in that folder below `XDG_CACHE_HOME`. What
//! nobody has used for two weeks is removed (`cleaning.rs`). It can be deleted whenever no trial runs there.

pub(crate) mod cleaning;
mod known;
pub(crate) mod mirror;
pub(crate) mod results;
pub(crate) mod script;
pub(crate) mod sender;

use crate::NeededFile;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::PathBuf;
use tunebook_study::Params;

/// So many bytes are sent or received at a time.
pub(crate) const CHUNK: usize = 1 << 18;

/// What a node gets that shares no file system with the notebook's machine, besides its [`Needs`](crate::Needs).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Copied {
    /// The executable that runs the slot.
    pub executable: NeededFile,
    /// The name of the notebook's machine. Files of two machines that have the same path are two files.
    pub origin: String,
    /// What distinguishes the study, in this pool, from others, also from a later one of the same name: its trials find
    /// neither the files nor the checkpoints of others.
    pub study: String,
    /// The folder that holds a folder for each trial of the study.
    pub trials: PathBuf,
    /// The folder of libtorch's libraries, if trials need it.
    pub libraries: Option<PathBuf>,
    /// The default values of text hyperparameters that name copied files. A study that does not declare them gets them.
    pub defaults: Params,
}

/// Reads up to so many bytes. None at the end.
pub(crate) fn read_some(input: &mut impl Read, chunk: &mut [u8], most: u64) -> std::io::Result<Option<usize>> {
    let most = chunk.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    loop {
        match input.read(&mut chunk[..most]) {
            Ok(0) => return Ok(None),
            Ok(read) => return Ok(Some(read)),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Bytes as they are shown.
pub(crate) fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1}", bytes as f64 / 1e6),
        _ => format!("{:.0}", bytes as f64 / 1e6),
    }
}
