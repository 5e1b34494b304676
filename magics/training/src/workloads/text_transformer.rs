//! `text_transformer`: a small decoder-only transformer that predicts the next byte of a text (Vaswani et al. 2017).
//! The layer norm stands inside the residual branch (Playbook I11).

use crate::data::text::{byte_windows, text};
use crate::{Data, Hyperparameters, Net, Workload};
use anyhow::Result;
use std::io::Read;
use tch::{Kind, Tensor};
use tunebook_study::{Direction, Objective, ObjectiveValue, Value, WorkloadHyperparameter as Hp};

/// Shakespeare's 154 sonnets (1609; public domain).
const SONNETS: &[u8] = include_bytes!("../../data/sonnets.txt.gz");
/// The number of values of a byte, which are the classes.
const BYTES: i64 = 256;

pub(super) struct TextTransformer;

impl Workload for TextTransformer {
    fn data(&self, hp: &Hyperparameters) -> Result<Data> {
        let path: String = hp.get("data");
        let content = match path.as_str() {
            "sonnets" => {
                let mut content = String::new();
                flate2::read::GzDecoder::new(SONNETS).read_to_string(&mut content)?;
                content
            }
            path => text(path)?,
        };
        byte_windows(&content, hp.get("context"))
    }

    fn forward(&self, net: &Net, bytes: &Tensor) -> Tensor {
        let (layers, heads, width): (i64, i64, i64) = (net.get("layers"), net.get("heads"), net.get("width"));
        let time = bytes.size()[1];
        let positions = Tensor::arange(time, (Kind::Int64, bytes.device()));
        let mut x = net.embedding("bytes", bytes, BYTES, width) + net.embedding("places", &positions, time, width);
        for layer in 0..layers {
            let normed = net.layer_norm(&format!("layer{layer}.norm1"), &x);
            x = &x + net.dropout(&net.causal_attention(&format!("layer{layer}.attention"), &normed, heads));
            let normed = net.layer_norm(&format!("layer{layer}.norm2"), &x);
            let hidden = net.linear(&format!("layer{layer}.in"), &normed, 4 * width).gelu("none");
            x = &x + net.dropout(&net.linear(&format!("layer{layer}.out"), &hidden, width));
        }
        net.linear("logits", &net.layer_norm("norm", &x), BYTES)
    }

    fn hyperparameters(&self) -> Vec<Hp> {
        vec![
            Hp::whole("layers", 1..=96, 2).shapes().doc("Number of layers (D7)"),
            Hp::whole("heads", 1..=128, 4)
                .shapes()
                .doc("Attention heads of each layer; the width must be a multiple of it (D7)"),
            Hp::whole("width", 1..=16_384, 64).shapes().doc("Width of the residual stream (D7)"),
            Hp::whole("context", 2..=65_536, 64).shapes().doc("Length of the context in bytes (D7)"),
            Hp::text("data", "sonnets")
                .doc("Path of a UTF-8 text file, or `sonnets` for the built-in sonnets of Shakespeare"),
        ]
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("optimizer", "adamw".into()),
            ("lr", 3e-3.into()),
            ("weight_decay", 0.01.into()),
            ("schedule", "cosine".into()),
            ("warmup_steps", 50.into()),
            ("batch_size", 16.into()),
            ("clip_norm", 1.0.into()),
        ]
    }

    fn objective(&self) -> Objective {
        Objective { metric: "valid/loss".into(), direction: Direction::Minimize, judged: ObjectiveValue::Best }
    }

    fn doc(&self) -> String {
        "A small decoder-only transformer that predicts the next byte of a text, by default of Shakespeare's sonnets \
         (95 KB, public domain): 80 % for training, 10 % for validation, 10 % for testing; about 1.97 nats per byte \
         with the default values"
            .into()
    }

    fn chance(&self) -> Option<f64> {
        Some((BYTES as f64).ln())
    }
}
