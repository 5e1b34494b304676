//! The final evaluation on the test set (`tunebook-worker final`), the only place that uses the test part of the data
//! (Playbook F8). The caller, `%final`, records each use.

use crate::catalogue::{Catalogue, Trainable};
use crate::checkpoint;
use crate::classes;
use crate::evaluation::Evaluator;
use crate::hyperparameters::Hyperparameters;
use crate::libtorch::{Autocast, device};
use crate::model::Model;
use crate::panics;
use crate::randomness::Randomness;
use crate::trainer::Stop;
use crate::worker::load_data;
use serde_json::{Map, Value as Json, json};
use tunebook_study::WorkloadReference;
use tunebook_study::protocol::TrialRequest;

/// Evaluates the best checkpoint of the trial that `request`, a JSON text, names. It returns `{"metrics": {"test/…":
/// …}, "test_set": hash, "examples": n, "classes": […]}`, or `{"problem": reason}` if that is impossible.
pub(crate) fn evaluate(catalogue: &Catalogue, request: &str) -> Json {
    let attempt = panics::catch(|| {
        let request =
            serde_json::from_str(request).map_err(|error| Stop::Failed(format!("this is not a request: {error}")))?;
        evaluate_request(catalogue, &request)
    });
    let problem = match attempt {
        Ok(Ok(result)) => return result,
        Ok(Err(stop)) => stop.outcome().1.unwrap_or_default(),
        Err(message) => message,
    };
    json!({ "problem": problem })
}

fn evaluate_request(catalogue: &Catalogue, request: &TrialRequest) -> Result<Json, Stop> {
    let name = match &request.workload {
        WorkloadReference::Builtin { name } | WorkloadReference::Rust { name, .. } => name,
        WorkloadReference::Command { .. } => return Err(Stop::Failed("a program keeps its own test set".into())),
        WorkloadReference::Imported { .. } => return Err(Stop::Failed("an imported study has no test set".into())),
    };
    let (Some(trainable), Some(description)) = (catalogue.find(name), catalogue.describe(name)) else {
        return Err(Stop::Failed(format!("this worker has no workload `{name}`")));
    };
    let Trainable::Workload(workload) = trainable else {
        return Err(Stop::Failed(format!("`{name}` is a training function, which keeps its own test set")));
    };
    let device = device().map_err(Stop::Failed)?;
    let hp = Hyperparameters::new(&description, &request.params)?;
    let data = load_data(workload.as_ref(), &hp)?.to_device(device);
    let Some(test) = data.test() else {
        return Err(Stop::Failed(format!("the data of `{name}` have no test part (`Data::with_test` adds one)")));
    };
    let _precision = Autocast::begin(hp.precision());
    let batch_size = hp.get("batch_size");
    let few = data.train.first(2).to_device(device);
    let model = Model::new(workload.as_ref(), hp, Randomness::new(request.seed), device, &few.inputs);
    model.load(&request.directory.join(checkpoint::BEST))?;
    let mut evaluator = Evaluator::new(workload.as_ref(), device, batch_size, &data);
    let values = evaluator.evaluate(&model, test)?;
    let classes = evaluator.take_classes().map(|counts| classes::named(&counts, &data)).unwrap_or_default();
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let metrics: Map<String, Json> =
        values.into_iter().map(|(name, value)| (format!("test/{name}"), json!(finite(value)))).collect();
    Ok(json!({ "metrics": metrics, "test_set": test.hash(), "examples": test.count(), "classes": classes }))
}
