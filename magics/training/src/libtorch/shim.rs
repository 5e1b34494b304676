//! Bindings of `shim.cpp`.

#![allow(unsafe_code)] // Every call hands over live tensors of equal count and catches C++ exceptions on the other side.

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

/// libtorch's own handles change the tensor behind them, not themselves: `*mut` of a shared tensor is what its C++ API
/// takes as well.
fn handles(tensors: &[Tensor]) -> Vec<*mut C_tensor> {
    tensors.iter().map(|tensor| tensor.as_ptr().cast_mut()).collect()
}

fn last_error() -> String {
    // SAFETY: a string of the shim that lives until its next error on this thread.
    let text = unsafe { CStr::from_ptr(tunebook_last_error()) };
    text.to_string_lossy().lines().next().unwrap_or_default().to_string()
}

fn checked(code: c_int) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(last_error()) }
}

/// One fused step θ ← θ − lr·(g, v or g + γv), with λθ added to g. `velocities` is empty without momentum; `first`: they
/// hold nothing yet.
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

/// Where Adam's weight decay acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightDecay {
    /// Added to the gradient.
    Coupled,
    /// On the parameters, apart from the gradient (AdamW).
    Decoupled,
}

/// One fused Adam step in libtorch's form (ε outside the bias correction of v). `steps`: one counter a parameter, raised
/// by this call.
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

/// One step of RMSProp with momentum γ, ε inside the root.
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

/// One step of NAdam; `rate` is the learning rate with the bias corrections in it.
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

/// One step of an exponential moving average of the parameters.
pub fn average_step(averages: &[Tensor], parameters: &[Tensor], decay: f64) -> Result<(), String> {
    let (a, p) = (handles(averages), handles(parameters));
    debug_assert!(a.len() == p.len());
    // SAFETY: see the head of this file.
    checked(unsafe { tunebook_average(a.as_ptr(), p.as_ptr(), p.len(), decay) })
}

/// Scales the gradients down to a norm of `limit` where theirs, `norm`, is above it; nothing is read back.
pub fn clip_gradients(parameters: &[Tensor], norm: &Tensor, limit: f64) -> Result<(), String> {
    let p = handles(parameters);
    // SAFETY: see the head of this file.
    checked(unsafe { tunebook_clip(p.as_ptr(), p.len(), norm.as_ptr().cast_mut(), limit) })
}

/// What products are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// float32 throughout.
    Fp32,
    /// float32 with products in TF32 (CUDA).
    Tf32,
    /// Products in bfloat16, parameters and sums in float32.
    Bf16,
}

/// Computes in a precision for the rest of its life, then in float32 again.
pub struct Autocast(());

impl Autocast {
    /// Begins.
    pub fn begin(precision: Precision) -> Self {
        // SAFETY: these set flags of libtorch that its operations read.
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

/// L2 norm of all gradients together, left on the device.
pub fn gradient_norm(parameters: &[Tensor]) -> Result<Tensor, String> {
    let p = handles(parameters);
    // SAFETY: see the head of this file; the new tensor is owned by the one made from it.
    let norm = unsafe { tunebook_gradient_norm(p.as_ptr(), p.len()) };
    if norm.is_null() {
        return Err(last_error());
    }
    // SAFETY: a fresh tensor that nothing else holds.
    Ok(unsafe { Tensor::from_ptr(norm) })
}

/// Drops the gradients, so that the next backward pass writes instead of adding.
pub fn forget_gradients(parameters: &[Tensor]) {
    let p = handles(parameters);
    // SAFETY: see the head of this file.
    unsafe { tunebook_forget_gradients(p.as_ptr(), p.len()) }
}

/// Memory of an accelerator in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceleratorMemory {
    /// The most that libtorch's allocator held in this process.
    pub peak: u64,
    /// Free now, on the whole device.
    pub free: u64,
    /// All that there is.
    pub total: u64,
}

/// Asks the allocator and the driver of a CUDA device.
pub fn accelerator_memory(index: usize) -> Result<AcceleratorMemory, String> {
    let mut memory = AcceleratorMemory::default();
    let index = c_int::try_from(index).map_err(|_| "there is no such device".to_string())?;
    // SAFETY: three numbers that are written before it returns.
    checked(unsafe { tunebook_accelerator_memory(index, &mut memory.peak, &mut memory.free, &mut memory.total) })?;
    Ok(memory)
}
