//! What lies between this crate and libtorch beside tch: the shim, CUDA's library, the device.

mod shim;

pub use shim::{
    AcceleratorMemory, Autocast, Precision, WeightDecay, accelerator_memory, adam_step, average_step, clip_gradients,
    forget_gradients, gradient_norm, nadam_step, rmsprop_step, sgd_step,
};

use tch::Device;

/// Loads libtorch's CUDA half where there is one. To be called before anything else touches libtorch: the first query
/// fixes for the life of the process whether CUDA is there.
#[allow(unsafe_code)]
pub fn load_cuda() {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: libtorch's own library, whose initializers register its kernels; nothing of ours runs yet.
    if let Ok(library) = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) } {
        std::mem::forget(library);
    }
}

/// The device that this worker trains on: what `TUNEBOOK_DEVICE` names, else the first GPU, else the CPU.
pub fn device() -> Result<Device, String> {
    let cuda = |index: usize| {
        let count = tch::Cuda::device_count() as usize;
        if index < count {
            return Ok(Device::Cuda(index));
        }
        Err(format!("there is no device cuda:{index}: libtorch finds {count} CUDA devices here"))
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

/// Waits until a device has done all that it was given. A CPU always has.
pub fn synchronize(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

/// The first GPU, else the CPU; for code that is no worker. To be called before anything else touches libtorch, or CUDA stays
/// out of reach for the life of the process.
pub fn best_device() -> Device {
    load_cuda();
    Device::cuda_if_available()
}

/// Version of libtorch.
pub fn version() -> String {
    // tch is built against exactly one version of libtorch and checks it when it is built.
    "2.11.0".into()
}

/// Whether a message of libtorch says that memory ran out.
pub fn is_out_of_memory(message: &str) -> bool {
    ["out of memory", "can't allocate memory", "not enough memory"].iter().any(|text| message.contains(text))
}
