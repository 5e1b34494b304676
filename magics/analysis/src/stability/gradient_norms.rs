//! The norms of the unclipped gradients, and the threshold of clipping that follows from them (Playbook I10, I13).

use serde::Serialize;

/// The number of bins of the histogram.
const HISTOGRAM_BINS: usize = 40;

/// What the norms of many steps say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GradientNorms {
    pub p50: f64,
    /// The 90th percentile, at which the Playbook begins to clip.
    pub p90: f64,
    pub max: f64,
    /// The number of norms.
    pub steps: usize,
    /// The share of norms above [`Self::p90`].
    pub clipped: f64,
    /// The edges of the bins, evenly spaced in the logarithm, and the number of norms in each bin.
    pub histogram: (Vec<f64>, Vec<usize>),
}

/// Returns what the norms say. None without a finite norm. Norms that are not finite are left out.
pub fn gradient_norms(norms: &[f64]) -> Option<GradientNorms> {
    let mut sorted: Vec<f64> = norms.iter().copied().filter(|norm| norm.is_finite() && *norm >= 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    let max = *sorted.last()?;
    let p90 = quantile(&sorted, 0.9);
    Some(GradientNorms {
        p50: quantile(&sorted, 0.5),
        p90,
        max,
        steps: sorted.len(),
        clipped: clipped_share(&sorted, p90),
        histogram: histogram(&sorted),
    })
}

/// Returns the share of norms above a threshold.
fn clipped_share(norms: &[f64], threshold: f64) -> f64 {
    norms.iter().filter(|norm| **norm > threshold).count() as f64 / norms.len() as f64
}

impl GradientNorms {
    /// Returns the share of the norms that a threshold would clip, of norms that this was computed from.
    pub fn share_above(norms: &[f64], threshold: f64) -> f64 {
        let finite: Vec<f64> = norms.iter().copied().filter(|norm| norm.is_finite()).collect();
        if finite.is_empty() { 0.0 } else { clipped_share(&finite, threshold) }
    }
}

/// Returns a quantile, interpolated between the two nearest values.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

fn histogram(sorted: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let positive = &sorted[sorted.partition_point(|norm| *norm <= 0.0)..];
    let (Some(low), Some(high)) = (positive.first(), positive.last()) else { return (vec![], vec![]) };
    let (low, high) = (low.ln(), high.ln().max(low.ln() + 1e-6));
    let width = (high - low) / HISTOGRAM_BINS as f64;
    let mut counts = vec![0; HISTOGRAM_BINS];
    for norm in positive {
        counts[(((norm.ln() - low) / width) as usize).min(HISTOGRAM_BINS - 1)] += 1;
    }
    ((0..=HISTOGRAM_BINS).map(|i| (low + width * i as f64).exp()).collect(), counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_the_ninetieth_percentile_and_clips_a_tenth() {
        let norms: Vec<f64> = (1..=1000).rev().map(|i| f64::from(i) / 100.0).chain([f64::NAN]).collect();
        let found = gradient_norms(&norms).unwrap();
        assert!((found.p50 - 5.005).abs() < 1e-9 && (found.p90 - 9.001).abs() < 1e-9 && found.max == 10.0);
        assert_eq!((found.steps, found.clipped), (1000, 0.1));
        assert_eq!(found.histogram.1.iter().sum::<usize>(), 1000);
        assert_eq!(found.histogram.0.len(), HISTOGRAM_BINS + 1);
        assert!((GradientNorms::share_above(&norms, 4.995) - 0.501).abs() < 1e-9);
        assert!(gradient_norms(&[f64::NAN]).is_none());
        assert_eq!(gradient_norms(&[0.0, 0.0]).unwrap().histogram.1.len(), 0);
        assert_eq!(gradient_norms(&[2.0]).unwrap().p90, 2.0);
    }
}
