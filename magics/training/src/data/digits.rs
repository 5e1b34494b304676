//! The digits: 1,797 images of handwritten digits with 8×8 pixels in 17 grey levels, a part of this crate. They are the
//! test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine Learning
//! Repository, CC BY 4.0).

use super::{Data, Examples};
use anyhow::{Result, bail};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::io::Read;
use tch::Tensor;

/// Each line is one image: 64 grey levels (0–16) and the class.
const FILE: &[u8] = include_bytes!("../../data/digits.csv.gz");

/// The side of an image in pixels.
pub const SIDE: i64 = 8;
/// The number of classes.
pub const CLASSES: i64 = 10;
/// The number of training examples.
pub const TRAIN: usize = 1257;
/// The number of validation examples, and of test examples.
pub const VALID: usize = 270;
/// The validation error of always predicting the most frequent class of the validation part (28 of 270 examples).
pub const CHANCE_ERROR: f64 = 1.0 - 28.0 / 270.0;

/// Returns all images and their classes in the order of the file. The grey levels are scaled to 0–1.
pub fn read() -> Result<(Vec<[f32; 64]>, Vec<i64>)> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(FILE).read_to_string(&mut text)?;
    let (mut images, mut labels) = (vec![], vec![]);
    for (number, line) in text.lines().enumerate() {
        let fields: Vec<f32> = line.split(',').filter_map(|field| field.trim().parse().ok()).collect();
        let Some((label, pixels)) = fields.split_last().filter(|(_, pixels)| pixels.len() == 64) else {
            bail!("the file of the digits has {} numbers in line {}, not 65", fields.len(), number + 1);
        };
        let mut image = [0.0; 64];
        for (pixel, level) in image.iter_mut().zip(pixels) {
            *pixel = level / 16.0;
        }
        images.push(image);
        labels.push(*label as i64);
    }
    Ok((images, labels))
}

/// Returns the indices of the training, validation and test examples. The split is stratified by class and never
/// changes, since recorded results depend on it.
pub fn split(labels: &[i64]) -> [Vec<usize>; 3] {
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    let mut order: Vec<usize> = (0..labels.len()).collect();
    for last in (1..order.len()).rev() {
        let other = (u128::from(generator.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
    // The order is now sorted by class, so that picks at equal distances take the same share of each class.
    order.sort_by_key(|i| labels[*i]);
    let (mut parts, total) = ([vec![], vec![], vec![]], labels.len());
    for (position, example) in order.into_iter().enumerate() {
        // Of the examples that are not for training, every other one is for validation.
        let (picked, with_this) = (position * 2 * VALID / total, (position + 1) * 2 * VALID / total);
        let part = match (with_this > picked, picked.is_multiple_of(2)) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        parts[part].push(example);
    }
    parts
}

/// Returns the digits: 1,257 training, 270 validation and 270 test examples, with inputs \[count, 64\] (float32, 0–1)
/// and classes \[count\] (i64, 0–9).
///
/// ```
/// let data = tunebook_training::data::digits::load()?;
/// let images = data.train.inputs.view([-1, 1, 8, 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn load() -> Result<Data> {
    let (images, labels) = read()?;
    let [train, valid, test] = split(&labels).map(|part| {
        let pixels: Vec<f32> = part.iter().flat_map(|i| images[*i]).collect();
        let classes: Vec<i64> = part.iter().map(|i| labels[*i]).collect();
        let inputs = Tensor::from_slice(&pixels).reshape([part.len() as i64, SIDE * SIDE]);
        Examples::new(inputs, Tensor::from_slice(&classes))
    });
    Ok(Data::new(train?, valid?).with_test(test?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_has_the_stated_sizes_is_disjoint_and_stratified() {
        let (images, labels) = read().unwrap();
        assert_eq!(images.len(), 1797);
        assert!(images.iter().flatten().all(|x| (0.0..=1.0).contains(x)));
        let parts = split(&labels);
        assert_eq!(parts.each_ref().map(Vec::len), [TRAIN, VALID, VALID]);
        let mut all: Vec<usize> = parts.iter().flatten().copied().collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1797));
        for part in &parts {
            for class in 0..CLASSES {
                let whole = labels.iter().filter(|l| **l == class).count() as f64 / 1797.0;
                let here = part.iter().filter(|i| labels[**i] == class).count() as f64 / part.len() as f64;
                assert!((here - whole).abs() < 0.01, "class {class}: {here} of a part, {whole} of all");
            }
        }
        let most = (0..CLASSES).map(|c| parts[1].iter().filter(|i| labels[**i] == c).count()).max().unwrap();
        assert!((CHANCE_ERROR - (1.0 - most as f64 / VALID as f64)).abs() < 1e-12, "most frequent: {most}");
    }
}
