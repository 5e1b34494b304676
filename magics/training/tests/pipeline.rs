//! Tests the training pipeline on small workloads: steps, evaluations, checkpoints and data.

use parking_lot::ReentrantMutex;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};
use tunebook_study::protocol::{DataSource, TrialId, TrialRequest};
use tunebook_study::{Direction, Measurement, Params, Value, WorkloadReference};
use tunebook_training::catalogue::{Catalogue, Trainable};
use tunebook_training::net::{Init, Phase};
use tunebook_training::randomness::Randomness;
use tunebook_training::trainer::{Observer, Stop, train};
use tunebook_training::{Data, Examples, Hyperparameters, Net, Task, Workload, checkpoint, data, model};

/// Collects the measurements that a run reports.
#[derive(Default)]
struct Reports(Vec<Measurement>);

impl Observer for Reports {
    fn loaded(&mut self, _: &[DataSource], _: &str) {}

    fn measured(&mut self, measurement: Measurement) {
        self.0.push(measurement);
    }

    fn cancelled(&self) -> bool {
        false
    }
}

impl Reports {
    /// Returns the values of a metric in the order in which they were reported.
    fn values(&self, metric: &str) -> Vec<f64> {
        self.0.iter().filter_map(|m| m.metrics.get(metric).copied().flatten()).collect()
    }
}

fn hyperparameters(workload: Box<dyn Workload>, params: &[(&str, Value)]) -> Hyperparameters {
    let mut catalogue = Catalogue::new("rust");
    catalogue.add("tried", Trainable::Workload(workload));
    let params: Params = params.iter().map(|(name, value)| ((*name).to_string(), value.clone())).collect();
    Hyperparameters::new(&catalogue.describe("tried").unwrap(), &params).unwrap()
}

/// Trains a workload, writes its files to a folder, and returns its reports.
/// Dropout draws from libtorch's generator, which all threads of a process share. A worker trains one trial at a time;
/// of these tests, those that draw wait for each other.
static GENERATOR: ReentrantMutex<()> = ReentrantMutex::new(());

fn run<W: Workload + Copy + 'static>(
    workload: W,
    data: &Data,
    params: &[(&str, Value)],
    folder: &Path,
) -> Result<Reports, Stop> {
    let hp = hyperparameters(Box::new(workload), params);
    let request = TrialRequest {
        trial: TrialId { study: "s".into(), number: 1 },
        workload: WorkloadReference::Builtin { name: "tried".into() },
        params: Default::default(),
        seed: 3,
        objective: workload.objective().metric,
        direction: Direction::Minimize,
        directory: folder.into(),
        timeout: None,
        worker: None,
        until: None,
        noise_every: None,
        training_metrics: false,
        fit: None,
    };
    let mut reports = Reports::default();
    let _alone = GENERATOR.lock();
    train(&workload, data, hp, &request, Device::Cpu, &[], &mut reports).map(|()| reports)
}

/// Returns the tensors of a checkpoint, sorted by name.
fn tensors(path: PathBuf) -> Vec<(String, Tensor)> {
    let mut tensors: Vec<(String, Tensor)> = checkpoint::read(&path).unwrap().into_iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}

fn largest_difference(a: &[(String, Tensor)], b: &[(String, Tensor)]) -> f64 {
    let pairs = a.iter().zip(b).map(|((name, a), (other, b))| {
        assert_eq!(name, other);
        (a - b).abs().max().double_value(&[])
    });
    pairs.fold(0.0, f64::max)
}

/// A classifier with two layers on 10 features and 3 classes, optionally with a batch norm and with dropout.
#[derive(Clone, Copy)]
struct Classifier {
    norm: bool,
    dropout: bool,
}

const PLAIN: Classifier = Classifier { norm: false, dropout: false };

impl Workload for Classifier {
    fn data(&self, _: &Hyperparameters) -> anyhow::Result<Data> {
        let x = Randomness::new(9).normal(1, &[2500, 10], 1.0, Device::Cpu);
        let y = x.narrow(1, 0, 3).argmax(1, false);
        let (train, valid) = (1000, 1500);
        let all = Examples::new(x, y)?;
        Ok(Data::new(all.narrow(0, train), all.narrow(train, valid)))
    }

    fn forward(&self, net: &Net, x: &Tensor) -> Tensor {
        let mut x = net.linear("hidden", x, 16).relu();
        if self.norm {
            x = net.batch_norm("norm", &x);
        }
        if self.dropout {
            x = net.dropout(&x);
        }
        net.linear("logits", &x, 3)
    }
}

fn data_of(workload: &dyn Workload) -> Data {
    workload.data(&hyperparameters(Box::new(PLAIN), &[])).unwrap()
}

#[test]
fn micro_batches_take_the_same_step_as_the_whole_batch() {
    let (folder, data) = (tempfile::tempdir().unwrap(), data_of(&PLAIN));
    let trained = |name: &str, micro: i64| {
        let params = [("steps", 20.into()), ("batch_size", 64.into()), ("micro_batch_size", micro.into())];
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        run(PLAIN, &data, &params, &folder).unwrap();
        tensors(folder.join(checkpoint::LAST))
    };
    let whole = trained("whole", 0);
    assert!(largest_difference(&whole, &trained("micro", 16)) < 1e-5);
    assert!(largest_difference(&whole, &trained("same", 64)) == 0.0);
}

#[test]
fn an_evaluation_weights_a_smaller_last_batch_by_its_examples() {
    /// Its output is its single feature, and its loss is the mean of the outputs.
    #[derive(Clone, Copy)]
    struct Mean;
    impl Workload for Mean {
        fn data(&self, _: &Hyperparameters) -> anyhow::Result<Data> {
            // An evaluation takes them in two batches of 1024 and 476 examples, with the losses 0 and 1.
            let valid = Tensor::cat(
                &[
                    Tensor::zeros([1024, 1], (Kind::Float, Device::Cpu)),
                    Tensor::ones([476, 1], (Kind::Float, Device::Cpu)),
                ],
                0,
            );
            let train = Tensor::zeros([8, 1], (Kind::Float, Device::Cpu));
            Ok(Data::new(Examples::new(train.shallow_clone(), train)?, Examples::new(valid.shallow_clone(), valid)?))
        }
        fn forward(&self, net: &Net, x: &Tensor) -> Tensor {
            x + net.parameter("zero", &[1], Init::Constant(0.0)) * 0.0
        }
        fn loss(&self, _: &Net, outputs: &Tensor, _: &Tensor) -> Tensor {
            outputs.mean(Kind::Float)
        }
        fn task(&self) -> Task {
            Task::Regression
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let data = data_of(&Mean);
    let reports = run(Mean, &data, &[("steps", 1.into()), ("batch_size", 8.into())], folder.path()).unwrap();
    assert!((reports.values("valid/loss")[0] - 476.0 / 1500.0).abs() < 1e-7);
}

#[test]
fn each_ghost_batch_is_normalized_by_itself() {
    let hp =
        |ghost: i64| hyperparameters(Box::new(PLAIN), &[("batch_size", 12.into()), ("ghost_batch_size", ghost.into())]);
    let norm = |hp: Hyperparameters, x: &Tensor| {
        let parameters = Default::default();
        let net = |phase| Net::new(&hp, &parameters, Randomness::new(1), Device::Cpu, phase);
        let _ = net(Phase::Initialize).batch_norm("n", x);
        net(Phase::Train { step: 1 }).batch_norm("n", x)
    };
    for shape in [vec![12, 5], vec![12, 5, 3, 3]] {
        let x = Randomness::new(2).normal(1, &shape, 2.0, Device::Cpu);
        let ghosts = norm(hp(4), &x);
        let apart: Vec<Tensor> = (0..3).map(|i| norm(hp(0), &x.narrow(0, 4 * i, 4))).collect();
        assert!((&ghosts - Tensor::cat(&apart, 0)).abs().max().double_value(&[]) < 1e-5, "{shape:?}");
        assert!((ghosts - norm(hp(0), &x)).abs().max().double_value(&[]) > 1e-2, "ghost batches make no difference");
        // Of 12 examples, ghost batches of 5 leave 2. Ghost batches of 11 leave one, which has no variance of its own.
        for (ghost, sizes) in [(5, vec![5, 5, 2]), (11, vec![12]), (20, vec![12])] {
            let parts = x.split_with_sizes(sizes, 0);
            let apart: Vec<Tensor> = parts.iter().map(|part| norm(hp(0), part)).collect();
            assert!((norm(hp(ghost), &x) - Tensor::cat(&apart, 0)).abs().max().double_value(&[]) < 1e-5, "{ghost}");
        }
    }
}

#[test]
fn polyak_averages_are_evaluated_and_saved() {
    let (folder, data) = (tempfile::tempdir().unwrap(), data_of(&PLAIN));
    let trained = |name: &str, steps: i64, decay: f64| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let params = [("steps", steps.into()), ("polyak_decay", decay.into()), ("optimizer", "sgd".into())];
        run(PLAIN, &data, &params, &folder).unwrap();
        tensors(folder.join(checkpoint::LAST))
    };
    let (one, two) = (trained("one", 1, 0.0), trained("two", 2, 0.0));
    // The decay is small enough that it holds from the first step: average₂ = decay · average₁ + (1 − decay) · θ₂.
    let decay: f64 = 1e-3;
    let (first, second) = (trained("a", 1, decay), trained("b", 2, decay));
    let mixed: Vec<(String, Tensor)> =
        (0..two.len()).map(|i| (two[i].0.clone(), &first[i].1 * decay + &two[i].1 * (1.0 - decay))).collect();
    assert!(largest_difference(&second, &mixed) < 1e-6);
    assert!(largest_difference(&first, &one) > 0.0);
}

#[test]
fn clipping_is_reported_and_label_smoothing_is_for_training_only() {
    let (folder, data) = (tempfile::tempdir().unwrap(), data_of(&PLAIN));
    let params = |clip: f64| [("steps", 40.into()), ("eval_every", 20.into()), ("clip_norm", clip.into())];
    let always = run(PLAIN, &data, &params(1e-6), folder.path()).unwrap();
    assert_eq!(always.values("clipped"), [1.0, 1.0]);
    let valid = always.values("valid/loss");
    assert!((valid[0] - valid[2]).abs() < 1e-4, "it learned with gradients that are clipped to almost 0: {valid:?}");
    assert!(always.values("gradient_norm").iter().all(|norm| *norm > 1e-3), "the norm is the one before the clipping");
    assert_eq!(run(PLAIN, &data, &params(1e6), folder.path()).unwrap().values("clipped"), [0.0, 0.0]);
    // With a learning rate of almost 0 the parameters stay the same, so that only the smoothing changes the training
    // loss.
    let smoothed = [("steps", 1.into()), ("label_smoothing", 0.5.into()), ("lr", 1e-12.into())];
    let plain = [("steps", 1.into()), ("lr", 1e-12.into())];
    let (a, b) =
        (run(PLAIN, &data, &smoothed, folder.path()).unwrap(), run(PLAIN, &data, &plain, folder.path()).unwrap());
    assert!(a.values("train/loss") != b.values("train/loss") && a.values("valid/loss") == b.values("valid/loss"));
}

#[test]
fn each_source_of_randomness_can_have_a_seed_of_its_own() {
    let workload = Classifier { dropout: true, ..PLAIN };
    let (folder, data) = (tempfile::tempdir().unwrap(), data_of(&workload));
    let losses = |seeds: &[(&str, i64)]| {
        let mut params = vec![("steps", 30.into()), ("eval_every", 10.into()), ("dropout", 0.5.into())];
        params.extend(seeds.iter().map(|(name, seed)| (*name, Value::from(*seed))));
        run(workload, &data, &params, folder.path()).unwrap().values("valid/loss")
    };
    let plain = losses(&[]);
    // The seed of the trial is 3.
    let same = losses(&[("init_seed", 3), ("order_seed", 3), ("dropout_seed", 3), ("augment_seed", 3)]);
    assert_eq!(plain, same);
    assert_ne!(plain[0], losses(&[("init_seed", 4)])[0], "other initial parameters");
    for name in ["order_seed", "dropout_seed"] {
        let other = losses(&[(name, 4)]);
        assert!(plain[0] == other[0] && plain[1..] != other[1..], "{name}: the same initial parameters, other steps");
    }
    assert_eq!(plain, losses(&[("augment_seed", 4)]), "this model has no augmentation");
    let random = |seeds: &[(&str, Value)]| Randomness::of(3, &hyperparameters(Box::new(PLAIN), seeds));
    let initial = |r: &Randomness| Vec::<f32>::try_from(r.normal(1, &[5], 1.0, Device::Cpu)).unwrap();
    let (all, init, order) = (random(&[]), random(&[("init_seed", 4.into())]), random(&[("order_seed", 4.into())]));
    assert!(initial(&all) != initial(&init) && all.permutation(0, 50) == init.permutation(0, 50));
    assert!(initial(&all) == initial(&order) && all.permutation(0, 50) != order.permutation(0, 50));
}

#[test]
fn dropout_depends_on_seed_and_step_and_is_off_in_evaluations() {
    let _alone = GENERATOR.lock();
    let workload = Classifier { dropout: true, ..PLAIN };
    let (folder, data) = (tempfile::tempdir().unwrap(), data_of(&workload));
    let params = [("steps", 30.into()), ("dropout", 0.5.into())];
    let again = || run(workload, &data, &params, folder.path()).unwrap().values("valid/loss");
    assert_eq!(again(), again());
    let hp = hyperparameters(Box::new(workload), &[("dropout", 0.5.into())]);
    let model = model::Model::new(&workload, hp, Randomness::new(1), Device::Cpu, &data.train.first(2).inputs);
    let x = &data.train.first(50).inputs;
    assert_eq!(model.predict(x), model.predict(x));
    let step = |step| model.forward(&model.net(Phase::Train { step }), x);
    assert_eq!(step(1), step(1));
    assert_ne!(step(1), step(2));
}

#[test]
fn the_best_checkpoints_and_the_followed_outputs_are_kept() {
    let _alone = GENERATOR.lock();
    let (folder, data) = (tempfile::tempdir().unwrap(), data_of(&PLAIN));
    let params = [("steps", 60.into()), ("eval_every", 10.into()), ("keep_best", 3.into())];
    let errors = run(PLAIN, &data, &params, folder.path()).unwrap().values("valid/error");
    let mut sorted = errors.clone();
    sorted.sort_by(f64::total_cmp);
    for (rank, name) in ["best.safetensors", "best-2.safetensors", "best-3.safetensors"].iter().enumerate() {
        let hp = hyperparameters(Box::new(PLAIN), &[]);
        let model = model::Model::new(&PLAIN, hp, Randomness::new(8), Device::Cpu, &data.train.first(2).inputs);
        model.load(&folder.path().join(name)).unwrap();
        let wrong = model.predict(&data.valid.inputs).argmax(1, false).not_equal_tensor(&data.valid.targets);
        let error = wrong.to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        assert!((error - sorted[rank]).abs() < 1e-6, "{name}: {error}, {sorted:?}");
    }
    assert!(!folder.path().join("best-4.safetensors").exists());
    let followed = checkpoint::read(&folder.path().join("predictions.safetensors")).unwrap();
    assert_eq!(followed["outputs"].size(), [errors.len() as i64, 32, 3]);
    assert_eq!(Vec::<i64>::try_from(&followed["steps"]).unwrap(), [0, 10, 20, 30, 40, 50, 60]);
    assert_eq!(followed["targets"], data.valid.targets.index_select(0, &followed["examples"]));
    // What they belong to: the configuration with its hash, and the metrics of the same evaluations.
    let record: serde_json::Value = serde_json::from_str(&checkpoint::text_of(&followed["record"]).unwrap()).unwrap();
    assert_eq!(record["configuration"]["values"]["steps"], 60);
    assert_eq!(record["sha256"].as_str().map(str::len), Some(64));
    let of_record = record["measurements"].as_array().unwrap().iter().map(|m| m["metrics"]["valid/error"].as_f64());
    assert_eq!(of_record.collect::<Option<Vec<f64>>>(), Some(errors));
    let classes: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("classes.json")).unwrap()).unwrap();
    let correct: u64 = classes["classes"].as_array().unwrap().iter().map(|c| c["correct"].as_u64().unwrap()).sum();
    let count = data.valid.count() as f64;
    assert!((1.0 - correct as f64 / count - sorted[0]).abs() < 1e-6, "{classes}");
}

#[test]
fn bfloat16_reaches_about_the_same_error_and_tf32_needs_a_gpu() {
    let (folder, data) = (tempfile::tempdir().unwrap(), data_of(&PLAIN));
    let error = |precision: &str| {
        run(PLAIN, &data, &[("steps", 300.into()), ("precision", precision.into())], folder.path())
            .map(|reports| reports.values("valid/error").into_iter().fold(1.0, f64::min))
    };
    let (whole, half) = (error("fp32").unwrap(), error("bf16").unwrap());
    assert!(whole < 0.08 && (whole - half).abs() < 0.03, "{whole} and {half}");
    assert!(matches!(error("tf32"), Err(Stop::Failed(reason)) if reason.contains("CUDA")));
}

#[test]
fn an_unusable_table_is_an_error_that_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let refused = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let table = data::Table::read(&path).and_then(|table| table.classify("class"));
        table.map(drop).unwrap_err().to_string()
    };
    assert!(refused("a,class\n1,x\nyes,y\n").contains("the column `a`"));
    assert!(refused("a,b\n1,2\n").contains("no column `class`; it has a, b"));
    assert!(refused("class\nx\ny\n").contains("no columns beside"));
    assert!(data::Table::read(folder.path().join("none.csv")).map(drop).unwrap_err().to_string().contains("none.csv"));
}

#[test]
fn classes_and_words_of_a_table_become_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, "size,colour,class\n1.5,red,10\n2,blue,9\n3,red,10\n").unwrap();
    let table = data::Table::read(&path).unwrap();
    let examples = table.classify("class").unwrap();
    // Classes are ordered by value: 9, 10. Words are ordered alphabetically: blue, red.
    assert_eq!(Vec::<i64>::try_from(&examples.targets).unwrap(), [1, 0, 1]);
    let rows: Vec<Vec<f32>> = Vec::try_from(&examples.inputs).unwrap();
    assert_eq!(rows, [[1.5, 0.0, 1.0], [2.0, 1.0, 0.0], [3.0, 0.0, 1.0]]);
    assert_eq!(table.regress("size").unwrap().targets.size(), [3, 1]);
}

#[test]
fn data_files_are_read_completely_or_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    // Two images of 1×3 pixels.
    let images = write("images", &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 51, 255, 1, 2, 3]);
    let labels = write("labels", &[0, 0, 8, 1, 0, 0, 0, 2, 7, 4]);
    let examples = data::idx::idx_examples(&images, &labels).unwrap();
    assert_eq!((examples.inputs.size(), examples.targets.int64_value(&[1])), (vec![2, 1, 1, 3], 4));
    assert!((examples.inputs.double_value(&[0, 0, 0, 1]) - 0.2).abs() < 1e-6);
    let short = write("short", &[0, 0, 8, 1, 0, 0, 0, 2, 7]);
    assert!(data::idx::idx(&short).unwrap_err().to_string().contains("has 1 bytes of data"));
    assert!(
        data::idx::mnist_folder(folder.path()).map(drop).unwrap_err().to_string().contains("dataset-fashion-mnist")
    );

    let record = |class: u8| [vec![class], vec![class; 3072]].concat();
    for i in 1..=5 {
        write(&format!("data_batch_{i}.bin"), &record(i));
    }
    assert!(data::cifar::cifar10(folder.path()).map(drop).unwrap_err().to_string().contains("cifar-10-batches-bin"));
    write("test_batch.bin", &[record(9), record(0)].concat());
    let (train, test) = data::cifar::cifar10(folder.path()).unwrap();
    assert_eq!((train.inputs.size(), test.count()), (vec![5, 3, 32, 32], 2));

    let array = Tensor::from_slice(&[1.0_f32, 2.0, 3.0]);
    let (npy, npz, safe) =
        (folder.path().join("a.npy"), folder.path().join("a.npz"), folder.path().join("a.safetensors"));
    array.write_npy(&npy).unwrap();
    Tensor::write_npz(&[("x", &array)], &npz).unwrap();
    Tensor::write_safetensors(&[("x", &array)], &safe).unwrap();
    assert_eq!(data::npy(&npy).unwrap(), array);
    assert_eq!(data::npz(&npz, "x").unwrap(), array);
    assert_eq!(data::safetensors(&safe, "x").unwrap(), array);
    assert!(data::npz(&npz, "y").unwrap_err().to_string().contains("it holds x"));

    let text = data::text::byte_windows(&"abcdefghij".repeat(20), 4).unwrap();
    let row = |t: &Tensor| Vec::<i64>::try_from(t.get(0)).unwrap();
    assert_eq!(row(&text.train.inputs), b"abcd".map(i64::from));
    assert_eq!(row(&text.train.targets), b"bcde".map(i64::from));
}

#[test]
fn a_split_depends_on_its_seed_and_its_parts_are_disjoint() {
    let split = |seed: u64| {
        let all = Tensor::arange(100, (Kind::Int64, Device::Cpu));
        let data = Examples::new(all.shallow_clone(), all).unwrap().split(0.7, 0.1, seed).unwrap();
        [&data.train, &data.valid].map(|part| Vec::<i64>::try_from(&part.targets).unwrap())
    };
    let [train, valid] = split(1);
    assert_eq!((train.len(), valid.len()), (70, 10));
    assert!(valid.iter().all(|i| !train.contains(i)));
    assert_eq!(split(1), split(1));
    assert_ne!(split(1), split(2));
    let few = Tensor::arange(2, (Kind::Int64, Device::Cpu));
    assert!(Examples::new(few.shallow_clone(), few).unwrap().split(0.1, 0.1, 0).is_err());
}

#[test]
fn a_tch_module_is_trained_and_saved_like_any_layer() {
    #[derive(Clone, Copy)]
    struct Modules;
    impl Workload for Modules {
        fn data(&self, hp: &Hyperparameters) -> anyhow::Result<Data> {
            PLAIN.data(hp)
        }
        fn forward(&self, net: &Net, x: &Tensor) -> Tensor {
            let hidden = net.module("hidden", |vs| tch::nn::linear(vs, 10, 16, Default::default()));
            let x = x.apply(hidden.as_ref()).relu();
            net.linear("logits", &x, 3)
        }
    }
    let (folder, data) = (tempfile::tempdir().unwrap(), data_of(&Modules));
    let errors = run(Modules, &data, &[("steps", 200.into())], folder.path()).unwrap().values("valid/error");
    assert!(errors.last().is_some_and(|error| *error < 0.1), "{errors:?}");
    let names: Vec<String> = tensors(folder.path().join(checkpoint::BEST)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["hidden.bias", "hidden.weight", "logits.bias", "logits.weight"]);
}
