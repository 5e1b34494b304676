//! What the store of a kernel holds.

use crate::kernel::Kernel;
use tunebook_study::Trial;
use tunebook_study::store::Store;

impl Kernel {
    /// The trials of a study that the kernel has recorded in its folder. There are none while there is no such study.
    pub fn recorded(&self, study: &str) -> Vec<Trial> {
        let Some(store) = self.store() else { return vec![] };
        let Ok(Some(study)) = store.study(study) else { return vec![] };
        store.trials(&study).expect("the trials of a study")
    }

    /// The steps and values of a metric that a trial has reported. Values that are not finite are left out.
    pub fn curve(&self, study: &str, number: u32, metric: &str) -> Vec<(u64, f64)> {
        let Some(store) = self.store() else { return vec![] };
        let Ok(Some(study)) = store.study(study) else { return vec![] };
        let measured = store.measurements(&study, number).expect("the measurements of a trial");
        measured.iter().filter_map(|m| Some((m.step, (*m.metrics.get(metric)?)?))).collect()
    }

    /// The number of trials that have ended and need not run again, over all studies in the kernel's folder.
    pub fn trials_ended(&self) -> usize {
        let Some(store) = self.store() else { return 0 };
        let studies = store.studies().unwrap_or_default();
        let trials = studies.iter().flat_map(|study| store.trials(study).unwrap_or_default());
        trials.filter(|trial| !trial.state.runs_again()).count()
    }

    /// The store in the kernel's folder, or None while there is none.
    fn store(&self) -> Option<Store> {
        Store::open_to_read(&self.folder.join(".tunebook/studies.db")).ok().flatten()
    }
}
