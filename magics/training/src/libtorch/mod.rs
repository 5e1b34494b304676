//! Access to libtorch beyond tch: the shim, the loading of the CUDA library, the choice of the device.

mod shim;

pub use shim::{
    AcceleratorMemory, Autocast, Precision, WeightDecay, accelerator_memory, adam_step, average_step, clip_gradients,
    forget_gradients, gradient_norm, nadam_step, rmsprop_step, sgd_step,
};

use tch::Device;

/// Loads libtorch's CUDA library, if it is installed. Call it before any other function of libtorch: the first query
/// decides for the life of the process whether there is CUDA.
#[allow(unsafe_code)]
pub fn load_cuda() {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: loading runs the library's initializers, which register its CUDA kernels with libtorch and do nothing
    // else.
    if let Ok(library) = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) } {
        std::mem::forget(library);
    }
}

/// Returns the device that this worker trains on: the one that `TUNEBOOK_DEVICE` names (`cpu` or `cuda:N`), else the
/// first GPU, else the CPU. It fails if the variable has another value or names a GPU that does not exist.
pub fn device() -> Result<Device, String> {
    let cuda = |index: usize| {
        let count = tch::Cuda::device_count() as usize;
        if index < count {
            return Ok(Device::Cuda(index));
        }
        Err(format!("there is no device cuda:{index}: libtorch finds {count} CUDA devices"))
    };
    match std::env::var("TUNEBOOK_DEVICE").ok().as_deref() {
        None => Ok(Device::cuda_if_available()),
        Some("cpu") => Ok(Device::Cpu),
        Some(name) => match name.strip_prefix("cuda:").and_then(|index| index.parse().ok()) {
            Some(index) => cuda(index),
            None => Err(format!("TUNEBOOK_DEVICE is `{name}`; it must be `cpu` or `cuda:N`")),
        },
    }
}

/// Waits until a GPU has done all work that was submitted to it. On a CPU it returns at once.
pub fn synchronize(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

/// Returns the first GPU, else the CPU. Call it before any other function of libtorch, or the process will not see the
/// GPU.
///
/// Cells call it as `tunebook::device()`:
///
/// ```
/// let device = tunebook_training::libtorch::best_device();
/// let x = tch::Tensor::ones([2, 3], (tch::Kind::Float, device));
/// ```
pub fn best_device() -> Device {
    load_cuda();
    Device::cuda_if_available()
}

/// Returns the version of libtorch.
pub fn version() -> String {
    // Each version of tch needs exactly this version of libtorch, and checks it when it is built.
    "2.11.0".into()
}

/// Returns whether a message of libtorch says that the memory of the host or of a device ran out.
pub fn is_out_of_memory(message: &str) -> bool {
    ["out of memory", "can't allocate memory", "not enough memory"].iter().any(|text| message.contains(text))
}

/// Returns how much was asked for, as a message of libtorch about memory that ran out says it. None if it does not.
pub(crate) fn asked_for(message: &str) -> Option<&str> {
    let amount = message.split_once("ried to allocate ")?.1.split(". ").next()?.trim().trim_end_matches('.');
    Some(amount).filter(|amount| amount.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::asked_for;

    #[test]
    fn how_much_was_asked_for_is_found() {
        for (message, expected) in [
            (
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 68719476736 bytes. Error code 12",
                Some("68719476736 bytes"),
            ),
            ("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has", Some("2.50 GiB")),
            ("CUDA error: out of memory", None),
        ] {
            assert_eq!(asked_for(message), expected);
        }
    }
}
