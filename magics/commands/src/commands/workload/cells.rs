//! The crates that a Rust cell can use without `:dep`: `tunebook` (with its feature `tensors` if the cell needs them),
//! and the crate of each `%%workload`.

use super::build_cache::BuildCache;
use super::source::WorkloadCell;
use crate::error::{ErrorName, MagicError, Result, Source};
use crate::magic::Context;
use tunebook_prebuilt::{CellCrate, Sources, UnpackError, names_crate, needs_tensors};

/// The crates that the code of a cell names. If there are any, the first one is `tunebook`.
pub fn crates_for(context: &Context, code: &str) -> Result<Vec<CellCrate>> {
    // Where the store cannot be used, the cell still runs.
    let defined = match context.store_to_read().unwrap_or(None) {
        Some(store) => store.workloads()?,
        None => vec![],
    };
    let named: Vec<_> = defined.into_iter().filter(|record| names_crate(code, &record.name)).collect();
    if named.is_empty() && !needs_tensors(code) {
        return match names_crate(code, "tunebook") {
            true => Ok(vec![CellCrate::tunebook(&Sources::open(&context.settings.cache)?)]),
            false => Ok(vec![]),
        };
    }
    let mut crates = vec![CellCrate::tunebook_with_tensors(&Sources::open(&context.settings.cache)?)];
    if !named.is_empty() {
        let build_cache = BuildCache::open(context)?;
        for record in named {
            let body = WorkloadCell::new(&record.name, &record.body, &Source::new(&record.body, 0), 0)?;
            crates.push(CellCrate { path: build_cache.crate_for_cells(&body)?, name: record.name, features: vec![] });
        }
    }
    Ok(crates)
}

impl From<UnpackError> for MagicError {
    fn from(error: UnpackError) -> Self {
        MagicError::new(
            ErrorName::BuildError,
            error.to_string(),
            Some("choose another folder with TUNEBOOK_CACHE".into()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;

    #[test]
    fn a_cell_without_tensors_needs_no_libtorch() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        assert_eq!(crates_for(&context, "let model = 1;").unwrap(), []);
        let crates = crates_for(&context, "tunebook::display(&1)").unwrap();
        let [CellCrate { name, path, features }] = &crates[..] else { panic!("{crates:?}") };
        assert!(name == "tunebook" && features.is_empty() && path.join("Cargo.toml").is_file(), "{crates:?}");
        let crates = crates_for(&context, "use tch::Tensor;").unwrap();
        assert_eq!((&crates[0].path, &crates[0].features), (path, &vec!["tensors".to_string()]));
    }
}
