//! Bindings of `shim.cpp`.

#![allow(unsafe_code)] // Every call hands over live tensors of equal count and catches C++ exceptions on the other side.

use std::ffi::{CStr, c_char, c_int};
use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn tunebook_last_error() -> *const c_char;
    fn tunebook_sgd(
        parameters: *const *mut C_tensor,
        velocities: *const *mut C_tensor,
        count: usize,
        lr: f64,
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
        epsilon: f64,
    ) -> c_int;
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

/// One fused step θ ← θ − lr·(g, v or g + γv). `velocities` is empty without momentum; `first`: they hold nothing yet.
pub fn sgd_step(
    parameters: &[Tensor],
    velocities: &[Tensor],
    lr: f64,
    momentum: f64,
    nesterov: bool,
    first: bool,
) -> Result<(), String> {
    let (p, v) = (handles(parameters), handles(velocities));
    debug_assert!(momentum == 0.0 || p.len() == v.len());
    // SAFETY: see the head of this file.
    let code = unsafe { tunebook_sgd(p.as_ptr(), v.as_ptr(), p.len(), lr, momentum, nesterov, first) };
    if code == 0 { Ok(()) } else { Err(last_error()) }
}

/// One fused Adam step in libtorch's form (ε outside the bias correction of v). `steps`: one counter a parameter, raised
/// by this call.
pub fn adam_step(
    parameters: &[Tensor],
    [m, v, steps]: [&[Tensor]; 3],
    lr: f64,
    betas: (f64, f64),
    epsilon: f64,
) -> Result<(), String> {
    let (p, m, v, t) = (handles(parameters), handles(m), handles(v), handles(steps));
    debug_assert!([m.len(), v.len(), t.len()] == [p.len(); 3]);
    // SAFETY: see the head of this file.
    let code = unsafe {
        tunebook_adam(p.as_ptr(), m.as_ptr(), v.as_ptr(), t.as_ptr(), p.len(), lr, betas.0, betas.1, epsilon)
    };
    if code == 0 { Ok(()) } else { Err(last_error()) }
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
