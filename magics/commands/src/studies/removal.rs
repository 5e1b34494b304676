//! Removes studies from the store.

use crate::error::{ErrorName, MagicError, Result};
use crate::magic::Context;
use tunebook_study::store::{StudyRecord, trials_folder};

/// Deletes a study, and the folder with the files of its trials.
pub fn remove(context: &Context, study: StudyRecord) -> Result<()> {
    let folder = trials_folder(&context.store_file(), &study.name)?;
    let name = study.name.clone();
    context.store()?.write(study)?.delete()?;
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let message = format!(
                "the study `{name}` was deleted, but its folder {} could not be removed: {error}",
                folder.display()
            );
            Err(MagicError::advising(ErrorName::StoreError, message, "remove the folder by hand"))
        }
        _ => Ok(()),
    }
}
