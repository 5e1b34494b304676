// Functions of libtorch that tch does not offer: fused optimizer steps, a gradient norm that stays on the device,
// autocasting to bfloat16, the precision of matrix products, and memory statistics. libtorch chooses the kernels by the
// device of the tensors, so no CUDA headers are needed.
//
// A function that returns int returns 0, or 1 after an exception, whose message tunebook_last_error then returns.

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Functions.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <string>
#include <vector>

namespace {

thread_local std::string last_error;

using Handle = at::Tensor *;

std::vector<at::Tensor> list(const Handle *handles, size_t count) {
    std::vector<at::Tensor> tensors;
    tensors.reserve(count);
    for (size_t i = 0; i < count; ++i) tensors.push_back(*handles[i]);
    return tensors;
}

std::vector<at::Tensor> gradients(const std::vector<at::Tensor> &parameters) {
    std::vector<at::Tensor> tensors;
    tensors.reserve(parameters.size());
    for (const auto &parameter : parameters) {
        // A parameter on which the loss does not depend has no gradient. It is treated as 0.
        tensors.push_back(parameter.grad().defined() ? parameter.grad() : at::zeros_like(parameter));
    }
    return tensors;
}

template <typename F> int guarded(F body) {
    try {
        at::NoGradGuard no_grad;
        body();
        return 0;
    } catch (const c10::Error &error) {
        last_error = error.what_without_backtrace();
    } catch (const std::exception &error) {
        last_error = error.what();
    }
    return 1;
}

} // namespace

extern "C" {

const char *tunebook_last_error() { return last_error.c_str(); }

int tunebook_sgd(const Handle *parameters, const Handle *velocities, size_t count, double lr, double weight_decay,
                 double momentum, bool nesterov, bool first) {
    return guarded([&] {
        auto p = list(parameters, count);
        auto v = momentum == 0.0 ? std::vector<at::Tensor>() : list(velocities, count);
        at::_fused_sgd_(p, gradients(p), v, weight_decay, momentum, lr, 0.0, nesterov, false, first);
    });
}

int tunebook_adam(const Handle *parameters, const Handle *m, const Handle *v, const Handle *steps, size_t count,
                  double lr, double beta1, double beta2, double weight_decay, double epsilon, bool decoupled) {
    return guarded([&] {
        auto p = list(parameters, count);
        auto t = list(steps, count);
        for (auto &step : t) step.add_(1);
        auto g = gradients(p), first = list(m, count), second = list(v, count);
        if (decoupled) {
            at::_fused_adamw_(p, g, first, second, {}, t, lr, beta1, beta2, weight_decay, epsilon, false, false);
        } else {
            at::_fused_adam_(p, g, first, second, {}, t, lr, beta1, beta2, weight_decay, epsilon, false, false);
        }
    });
}

// RMSProp: v <- rho v + (1 - rho) g^2;  m <- gamma m + lr g / sqrt(v + epsilon);  theta <- theta - m.
int tunebook_rmsprop(const Handle *parameters, const Handle *m, const Handle *v, size_t count, double lr, double rho,
                     double gamma, double weight_decay, double epsilon) {
    return guarded([&] {
        auto p = list(parameters, count), first = list(m, count), second = list(v, count);
        auto g = gradients(p);
        if (weight_decay != 0.0) g = at::_foreach_add(g, p, weight_decay);
        at::_foreach_mul_(second, rho);
        at::_foreach_addcmul_(second, g, g, 1.0 - rho);
        auto root = at::_foreach_add(second, epsilon);
        at::_foreach_sqrt_(root);
        at::_foreach_mul_(first, gamma);
        at::_foreach_addcdiv_(first, g, root, lr);
        at::_foreach_sub_(p, first);
    });
}

// NAdam: m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
// theta <- theta - rate (beta1 m + (1 - beta1) g) / (sqrt(v) + epsilon).
int tunebook_nadam(const Handle *parameters, const Handle *m, const Handle *v, size_t count, double rate, double beta1,
                   double beta2, double weight_decay, double epsilon) {
    return guarded([&] {
        auto p = list(parameters, count), first = list(m, count), second = list(v, count);
        auto g = gradients(p);
        if (weight_decay != 0.0) g = at::_foreach_add(g, p, weight_decay);
        at::_foreach_mul_(first, beta1);
        at::_foreach_add_(first, g, 1.0 - beta1);
        at::_foreach_mul_(second, beta2);
        at::_foreach_addcmul_(second, g, g, 1.0 - beta2);
        auto ahead = at::_foreach_mul(first, beta1);
        at::_foreach_add_(ahead, g, 1.0 - beta1);
        auto root = at::_foreach_sqrt(second);
        at::_foreach_add_(root, epsilon);
        at::_foreach_addcdiv_(p, ahead, root, -rate);
    });
}

// Moving average: average <- decay average + (1 - decay) parameter.
int tunebook_average(const Handle *averages, const Handle *parameters, size_t count, double decay) {
    return guarded([&] { at::_foreach_lerp_(list(averages, count), list(parameters, count), 1.0 - decay); });
}

// Multiplies all gradients by min(1, limit / norm). The norm stays on the device, so nothing waits for it.
int tunebook_clip(const Handle *parameters, size_t count, const Handle norm, double limit) {
    return guarded([&] {
        auto factor = at::clamp_max(limit / *norm, 1.0);
        for (const auto &gradient : gradients(list(parameters, count))) gradient.mul_(factor);
    });
}

// Switches autocasting to bfloat16 on or off, for GPUs and the CPU. bfloat16 needs no scaling of the loss.
void tunebook_autocast(bool on) {
    guarded([&] {
        for (auto device : {at::kCUDA, at::kCPU}) {
            at::autocast::set_autocast_dtype(device, at::kBFloat16);
            at::autocast::set_autocast_enabled(device, on);
        }
        if (!on) at::autocast::clear_cache();
    });
}

// Computes float32 matrix products and convolutions in TF32 (on) or in full precision (off).
void tunebook_tf32(bool on) {
    guarded([&] {
        at::globalContext().setFloat32MatmulPrecision(on ? "high" : "highest");
        at::globalContext().setAllowTF32CuDNN(on);
    });
}

// Returns the L2 norm of all gradients together: a new scalar tensor on their device, or null after an exception.
Handle tunebook_gradient_norm(const Handle *parameters, size_t count) {
    Handle result = nullptr;
    guarded([&] {
        auto norms = at::_foreach_norm(gradients(list(parameters, count)));
        result = new at::Tensor(at::linalg_vector_norm(at::stack(norms)));
    });
    return result;
}

// Drops all gradients, so that the next backward pass writes them anew instead of adding to them.
void tunebook_forget_gradients(const Handle *parameters, size_t count) {
    guarded([&] {
        for (size_t i = 0; i < count; ++i) parameters[i]->mutable_grad().reset();
    });
}

// Memory of an accelerator in bytes: the most that libtorch's allocator has held in this process; what is free on the
// whole device; and the total of the device.
int tunebook_accelerator_memory(int index, uint64_t *peak, uint64_t *free, uint64_t *total) {
    return guarded([&] {
        auto device = static_cast<c10::DeviceIndex>(index);
        *peak = static_cast<uint64_t>(at::accelerator::getDeviceStats(device).reserved_bytes[0].peak);
        auto [now_free, all] = at::accelerator::getMemoryInfo(device);
        *free = now_free;
        *total = all;
    });
}

}
