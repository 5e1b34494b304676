//! Which stage of a training step limits the throughput (Playbook B4).

use serde::{Deserialize, Serialize};
use tunebook_study::probe::StageSeconds;

/// The input is the bottleneck if it takes more than this many times the time of the computation.
const INPUT_BOUND: f64 = 1.1;
/// The copies are the bottleneck if they take more than this share of the time of the computation.
const TRANSFER_BOUND: f64 = 0.3;
/// The step waits for something else if it takes more than this many times what its stages explain.
const UNEXPLAINED: f64 = 1.15;
/// The host holds the GPU back if it is busy for more than this share of the time of the computation.
const HOST_BOUND: f64 = 0.9;

/// What limits the throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BottleneckKind {
    /// Only the batch size: a doubling still pays.
    None,
    /// Loading and augmenting the examples.
    Input,
    /// Copying batches to the device.
    Transfer,
    /// The computation of the model.
    Compute,
    /// The step waits for the host, or for values that are read back from the device.
    HostSync,
}

/// The bottleneck of a training step, and the gain of removing it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// What limits the throughput. None if the times of the measurement cannot be trusted.
    pub kind: Option<BottleneckKind>,
    /// The throughput of the input alone. None if it takes no time.
    pub input_examples_per_second: Option<f64>,
    /// The throughput of the computation alone.
    pub compute_examples_per_second: Option<f64>,
    /// The throughput without the bottleneck over the throughput with it. None if there is nothing to gain.
    pub expected_gain: Option<f64>,
}

impl Bottleneck {
    /// The same without a conclusion, for a measurement whose times cannot be trusted.
    pub fn unconcluded(self) -> Self {
        Self { kind: None, expected_gain: None, ..self }
    }
}

/// Attributes the time of a step with `batch_size` examples to one of its stages. `is_saturated` says whether a
/// doubling of the batch size has stopped to pay.
pub fn bottleneck(seconds: &StageSeconds, batch_size: u64, is_saturated: bool) -> Bottleneck {
    let StageSeconds { input, transfer, compute, full, overlapped, issue } = *seconds;
    let explained = if overlapped { input.max(transfer + compute) } else { input + transfer + compute };
    // With small batches the host takes as long to launch a step as the GPU takes to compute it. A larger batch mends
    // that, so that the host is the bottleneck only where a doubling has stopped to pay.
    let is_host_bound = is_saturated && issue.is_some_and(|issue| issue > HOST_BOUND * compute);
    let (kind, without) = if input > INPUT_BOUND * compute {
        (BottleneckKind::Input, transfer + compute)
    } else if transfer > TRANSFER_BOUND * compute {
        (BottleneckKind::Transfer, input.max(compute))
    } else if is_host_bound || full > UNEXPLAINED * explained {
        (BottleneckKind::HostSync, explained)
    } else if is_saturated {
        (BottleneckKind::Compute, full)
    } else {
        (BottleneckKind::None, full)
    };
    let rate = |seconds: f64| Some(batch_size as f64 / seconds).filter(|rate| rate.is_finite());
    let expected_gain = Some(full / without).filter(|gain| gain.is_finite() && without < full);
    Bottleneck {
        kind: Some(kind),
        input_examples_per_second: rate(input),
        compute_examples_per_second: rate(compute),
        expected_gain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottleneck_is_the_stage_that_is_slow() {
        let seconds =
            |input, transfer, compute, full| StageSeconds { input, transfer, compute, full, ..Default::default() };
        let ahead = |seconds| StageSeconds { overlapped: true, ..seconds };
        let issued = |issue, seconds| StageSeconds { issue: Some(issue), ..seconds };
        let cases = [
            (seconds(0.011, 0.0, 0.001, 0.012), false, BottleneckKind::Input),
            (seconds(0.001, 0.01, 0.002, 0.012), false, BottleneckKind::Transfer),
            (seconds(0.001, 0.0, 0.002, 0.013), false, BottleneckKind::HostSync),
            (seconds(0.0001, 0.0, 0.01, 0.0101), true, BottleneckKind::Compute),
            (seconds(0.0001, 0.0, 0.01, 0.0101), false, BottleneckKind::None),
            // Batches that are made ahead cost nothing while the model computes.
            (ahead(seconds(0.009, 0.001, 0.01, 0.0112)), true, BottleneckKind::Compute),
            (ahead(seconds(0.009, 0.001, 0.01, 0.0201)), true, BottleneckKind::HostSync),
            (ahead(seconds(0.02, 0.001, 0.01, 0.0201)), true, BottleneckKind::Input),
            // The host runs ahead of the GPU; it does not; and it does not while a doubling still pays.
            (issued(0.001, seconds(0.0001, 0.0, 0.01, 0.0101)), true, BottleneckKind::Compute),
            (issued(0.01, seconds(0.0001, 0.0, 0.01, 0.0101)), true, BottleneckKind::HostSync),
            (issued(0.01, seconds(0.0001, 0.0, 0.01, 0.0101)), false, BottleneckKind::None),
        ];
        for (seconds, saturated, kind) in cases {
            assert_eq!(bottleneck(&seconds, 64, saturated).kind, Some(kind), "{seconds:?}");
        }
        let mended = bottleneck(&cases[0].0, 64, false);
        assert!((mended.expected_gain.unwrap() - 12.0).abs() < 1e-9);
        assert!((mended.compute_examples_per_second.unwrap() - 64_000.0).abs() < 1e-6);
        let doubtful = mended.unconcluded();
        assert_eq!((doubtful.kind, doubtful.expected_gain), (None, None));
        assert_eq!(doubtful.compute_examples_per_second, mended.compute_examples_per_second);
    }
}
