//! The times that a user waits for cells with workloads and tensors, after `tunebook prepare`, which set-up runs: the
//! first build of a workload and the next one; the first tensor in a kernel that has just started, and in one that was
//! idle for a while.

use crate::Line;
use anyhow::Result;
use std::time::{Duration, Instant};
use tunebook_tests::Kernel;

const TENSOR: &str = "tch::Tensor::zeros([2, 2], (tch::Kind::Float, tch::Device::Cpu))";

/// Measures all of these times.
pub fn lines() -> Result<Vec<Line>> {
    println!("cells …");
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut lines = vec![];
        let mut line = |what: &str, seconds: f64, at_most: &str| {
            let (what, peer) = (what.to_string(), format!("(at most {at_most})"));
            lines.push(Line { what, ours: seconds, peer, theirs: None, unit: "s", target: None });
        };
        let folder = tempfile::tempdir()?;
        let mut kernel = Kernel::start(folder.path()).await;
        kernel.run_ok("let ready = true;").await;
        line("first tensor, kernel just started", seconds(&mut kernel, TENSOR).await, "3 s");
        line("next tensor", seconds(&mut kernel, TENSOR).await, "as other cells");
        line("1 + 1 beside tensors", seconds(&mut kernel, "1 + 1").await, "–");

        let folder = tempfile::tempdir()?;
        let mut kernel = Kernel::start(folder.path()).await;
        // The stamp makes the source new, so that no earlier run has built it.
        let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
        let model = |activation: &str| {
            format!(
                "%%workload measured\n// {stamp}\npub struct It;\nimpl Workload for It {{\n    fn data(&self, _: &Hyperparameters) \
                 -> Result<Data> {{ tunebook_training::data::digits::load() }}\n    fn forward(&self, net: &Net, x: &Tensor) -> \
                 Tensor {{ net.linear(\"logits\", &net.linear(\"hidden\", x, 32).{activation}(), 10) }}\n}}"
            )
        };
        line("%%workload, first build and two steps", seconds(&mut kernel, &model("relu")).await, "20 s");
        line("%%workload, after an edit", seconds(&mut kernel, &model("tanh")).await, "5 s");
        kernel.run_ok("let ready = true;").await;
        // The time is part of what is measured: the kernel prepares tensors while no cell runs.
        tokio::time::sleep(Duration::from_secs(20)).await;
        line("first tensor, after a magic and 20 s", seconds(&mut kernel, TENSOR).await, "3 s");
        line("first `let` of a tensor", seconds(&mut kernel, &format!("let t = {TENSOR};")).await, "as other cells");
        Ok(lines)
    })
}

/// The seconds that a cell takes.
async fn seconds(kernel: &mut Kernel, code: &str) -> f64 {
    let started = Instant::now();
    kernel.run_ok(code).await;
    started.elapsed().as_secs_f64()
}
