//! Safe functions around `shim.cpp`. Tensors must be on one device; states are updated in place.

// Each call passes pointers to live tensors and their number. The C++ functions catch all exceptions.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};
use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn tunebook_accelerator_memory(index: c_int, peak: *mut u64, free: *mut u64, total: *mut u64) -> c_int;
    fn tunebook_last_error() -> *const c_char;
    fn tunebook_sgd(
        parameters: *const *mut C_tensor,
        velocities: *const *mut C_tensor,
        count: usize,
        lr: f64,
        weight_decay: f64,
        momentum: f64,
        nesterov: bool,
        first: bool,
    ) -> c_int;
    fn tunebook_adam(
        parameters: *const *mut C_tensor,
        m: *const *mut C_tensor,
        v: *const *mut C_tensor,
        steps: *const *mut C_tensor,
        count: usize,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
        decoupled: bool,
    ) -> c_int;
    fn tunebook_rmsprop(
        parameters: *const *mut C_tensor,
        m: *const *mut C_tensor,
        v: *const *mut C_tensor,
        count: usize,
        lr: f64,
        rho: f64,
        gamma: f64,
        weight_decay: f64,
        epsilon: f64,
    ) -> c_int;
    fn tunebook_nadam(
        parameters: *const *mut C_tensor,
        m: *const *mut C_tensor,
        v: *const *mut C_tensor,
        count: usize,
        rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
    ) -> c_int;
    fn tunebook_average(
        averages: *const *mut C_tensor,
        parameters: *const *mut C_tensor,
        count: usize,
        decay: f64,
    ) -> c_int;
    fn tunebook_clip(parameters: *const *mut C_tensor, count: usize, norm: *mut C_tensor, limit: f64) -> c_int;
    fn tunebook_autocast(on: bool);
    fn tunebook_tf32(on: bool);
    fn tunebook_gradient_norm(parameters: *const *mut C_tensor, count: usize) -> *mut C_tensor;
    fn tunebook_forget_gradients(parameters: *const *mut C_tensor, count: usize);
}

/// Returns pointers to the C++ handles of tensors. The C++ functions change the data behind a handle, never the handle
/// itself, so a shared reference to a tensor may become a `*mut`.
fn handles(tensors: &[Tensor]) -> Vec<*mut C_tensor> {
    tensors.iter().map(|tensor| tensor.as_ptr().cast_mut()).collect()
}

/// Returns the first line of the message of this thread's last C++ exception.
fn last_error() -> String {
    // SAFETY: the string belongs to the shim and lives until the next exception on this thread.
    let text = unsafe { CStr::from_ptr(tunebook_last_error()) };
    text.to_string_lossy().lines().next().unwrap_or_default().to_string()
}

fn checked(code: c_int) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(last_error()) }
}

/// Takes one fused step of [`Rule::Sgd`](crate::optimizer::Rule::Sgd),
/// [`Rule::Momentum`](crate::optimizer::Rule::Momentum) or [`Rule::Nesterov`](crate::optimizer::Rule::Nesterov).
///
/// `momentum` is γ, and λ · θ is added to the gradient (λ = `weight_decay`). Without momentum, `velocities` is empty.
/// `first` says that this is the first step, in which the velocities become the gradients.
pub fn sgd_step(
    parameters: &[Tensor],
    velocities: &[Tensor],
    lr: f64,
    weight_decay: f64,
    (momentum, nesterov): (f64, bool),
    first: bool,
) -> Result<(), String> {
    let (p, v) = (handles(parameters), handles(velocities));
    debug_assert!(momentum == 0.0 || p.len() == v.len());
    // SAFETY: see the head of this file.
    checked(unsafe { tunebook_sgd(p.as_ptr(), v.as_ptr(), p.len(), lr, weight_decay, momentum, nesterov, first) })
}

/// How Adam applies weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightDecay {
    /// λθ is added to the gradient.
    Coupled,
    /// ηλθ is subtracted from the parameters (AdamW).
    Decoupled,
}

/// Takes one fused step of Adam in PyTorch's form, which adds `epsilon` to √(v / (1 − β₂ᵗ)).
///
/// `steps` holds one counter t for each parameter (a float32 scalar), which this call increases by 1.
pub fn adam_step(
    parameters: &[Tensor],
    [m, v, steps]: [&[Tensor]; 3],
    lr: f64,
    (beta1, beta2): (f64, f64),
    (weight_decay, form): (f64, WeightDecay),
    epsilon: f64,
) -> Result<(), String> {
    let (p, m, v, t) = (handles(parameters), handles(m), handles(v), handles(steps));
    debug_assert!([m.len(), v.len(), t.len()] == [p.len(); 3]);
    let (n, decoupled) = (p.len(), form == WeightDecay::Decoupled);
    let [p, m, v, t] = [p.as_ptr(), m.as_ptr(), v.as_ptr(), t.as_ptr()];
    // SAFETY: see the head of this file.
    checked(unsafe { tunebook_adam(p, m, v, t, n, lr, beta1, beta2, weight_decay, epsilon, decoupled) })
}

/// Takes one step of [`Rule::RmsProp`](crate::optimizer::Rule::RmsProp).
pub fn rmsprop_step(
    parameters: &[Tensor],
    [m, v]: [&[Tensor]; 2],
    lr: f64,
    (rho, gamma): (f64, f64),
    weight_decay: f64,
    epsilon: f64,
) -> Result<(), String> {
    let (p, m, v) = (handles(parameters), handles(m), handles(v));
    debug_assert!([m.len(), v.len()] == [p.len(); 2]);
    let n = p.len();
    let [p, m, v] = [p.as_ptr(), m.as_ptr(), v.as_ptr()];
    // SAFETY: see the head of this file.
    checked(unsafe { tunebook_rmsprop(p, m, v, n, lr, rho, gamma, weight_decay, epsilon) })
}

/// Takes one step of [`Rule::NAdam`](crate::optimizer::Rule::NAdam). `rate` is η · b, the learning rate times the bias
/// correction.
pub fn nadam_step(
    parameters: &[Tensor],
    [m, v]: [&[Tensor]; 2],
    rate: f64,
    (beta1, beta2): (f64, f64),
    weight_decay: f64,
    epsilon: f64,
) -> Result<(), String> {
    let (p, m, v) = (handles(parameters), handles(m), handles(v));
    debug_assert!([m.len(), v.len()] == [p.len(); 2]);
    let n = p.len();
    let [p, m, v] = [p.as_ptr(), m.as_ptr(), v.as_ptr()];
    // SAFETY: see the head of this file.
    checked(unsafe { tunebook_nadam(p, m, v, n, rate, beta1, beta2, weight_decay, epsilon) })
}

/// Updates an exponential moving average of the parameters: average ← decay · average + (1 − decay) · parameter.
pub fn average_step(averages: &[Tensor], parameters: &[Tensor], decay: f64) -> Result<(), String> {
    let (a, p) = (handles(averages), handles(parameters));
    debug_assert!(a.len() == p.len());
    // SAFETY: see the head of this file.
    checked(unsafe { tunebook_average(a.as_ptr(), p.as_ptr(), p.len(), decay) })
}

/// Multiplies all gradients by min(1, limit / norm), where `norm` is their L2 norm, a scalar tensor on their device. It
/// does not wait for the device.
pub fn clip_gradients(parameters: &[Tensor], norm: &Tensor, limit: f64) -> Result<(), String> {
    let p = handles(parameters);
    // SAFETY: see the head of this file.
    checked(unsafe { tunebook_clip(p.as_ptr(), p.len(), norm.as_ptr().cast_mut(), limit) })
}

/// The number format of matrix products and convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// float32.
    Fp32,
    /// TF32: the factors are rounded to 10 bits of mantissa before they are multiplied. It needs a CUDA device.
    Tf32,
    /// bfloat16, while parameters and sums stay in float32.
    Bf16,
}

/// Sets the precision of the process while it lives. When it is dropped, the precision is float32 again.
pub struct Autocast(());

impl Autocast {
    pub fn begin(precision: Precision) -> Self {
        // SAFETY: these calls set flags of libtorch, which its operations read.
        unsafe {
            tunebook_autocast(precision == Precision::Bf16);
            tunebook_tf32(precision == Precision::Tf32);
        }
        Self(())
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            tunebook_autocast(false);
            tunebook_tf32(false);
        }
    }
}

/// Returns the L2 norm of all gradients together, as a scalar tensor that stays on their device.
pub fn gradient_norm(parameters: &[Tensor]) -> Result<Tensor, String> {
    let p = handles(parameters);
    // SAFETY: see the head of this file.
    let norm = unsafe { tunebook_gradient_norm(p.as_ptr(), p.len()) };
    if norm.is_null() {
        return Err(last_error());
    }
    // SAFETY: the C++ function has created this tensor and handed over its ownership.
    Ok(unsafe { Tensor::from_ptr(norm) })
}

/// Drops the gradients, so that the next backward pass writes instead of adding.
pub fn forget_gradients(parameters: &[Tensor]) {
    let p = handles(parameters);
    // SAFETY: see the head of this file.
    unsafe { tunebook_forget_gradients(p.as_ptr(), p.len()) }
}

/// The memory of a GPU in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceleratorMemory {
    /// The most that libtorch's allocator has held in this process.
    pub peak: u64,
    /// What is free on the whole device now.
    pub free: u64,
    /// The total of the device.
    pub total: u64,
}

/// Returns the memory of the CUDA device `index`, as libtorch's allocator and the driver report it.
pub fn accelerator_memory(index: usize) -> Result<AcceleratorMemory, String> {
    let mut memory = AcceleratorMemory::default();
    let index = c_int::try_from(index).map_err(|_| "there is no such device".to_string())?;
    // SAFETY: the three pointers are valid until the call has returned.
    checked(unsafe { tunebook_accelerator_memory(index, &mut memory.peak, &mut memory.free, &mut memory.total) })?;
    Ok(memory)
}
