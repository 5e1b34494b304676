//! New rows for a trained model: encoded as the rows that it was trained on, and its outputs decoded to classes or
//! numbers.

use super::{Data, Table, Target};
use anyhow::{Context, Result};
use tch::{Kind, Tensor};

/// What a model predicts for rows of a table.
#[derive(Debug)]
pub struct Predictions {
    /// The class of each row, for classification.
    pub classes: Vec<String>,
    /// The probability of each class \[rows, classes\], for classification; the names of the classes are `class_names`.
    pub probabilities: Option<Tensor>,
    /// The names of all classes, in the order of the model's outputs.
    pub class_names: Vec<String>,
    /// The number for each row in the original unit of the target, for regression.
    pub numbers: Vec<f64>,
}

impl Data {
    /// Returns the inputs \[rows, features\] of new rows: with the words that the data of this model have, and on the
    /// scale of its training part. The table needs the same columns; the target may be absent.
    ///
    /// It fails if the data of this model do not come from a [`Table`], or if a column is absent or holds something
    /// else.
    pub fn encode(&self, table: &Table) -> Result<Tensor> {
        let encoding =
            self.train.encoding().context("the data of this model do not come from a `Table`, so it has no columns")?;
        let inputs = encoding.inputs(table)?;
        Ok(self.standardization().map_or(inputs.shallow_clone(), |scale| scale.apply(&inputs)))
    }

    /// Returns what the outputs \[rows, …\] of a model say about rows: the class with the greatest output, or the
    /// number in the target's original unit. It fails if the data do not come from a [`Table`].
    pub fn decode(&self, outputs: &Tensor) -> Result<Predictions> {
        let encoding =
            self.train.encoding().context("the data of this model do not come from a `Table`, so it has no classes")?;
        let mut predictions =
            Predictions { classes: vec![], probabilities: None, class_names: vec![], numbers: vec![] };
        match &encoding.target {
            Target::Classes(names) => {
                let best = Vec::<i64>::try_from(outputs.argmax(-1, false).flatten(0, -1))?;
                let name = |class: i64| names.get(class as usize).cloned().unwrap_or_else(|| format!("class {class}"));
                predictions.classes = best.into_iter().map(name).collect();
                predictions.probabilities = Some(outputs.softmax(-1, Kind::Float));
                predictions.class_names = names.clone();
            }
            Target::Numbers(_) => {
                let outputs = self.target_scale().map_or(outputs.shallow_clone(), |scale| scale.undo(outputs));
                predictions.numbers = Vec::<f64>::try_from(outputs.to_kind(Kind::Double).flatten(0, -1))?;
            }
        }
        Ok(predictions)
    }
}
