// What tch does not reach: fused optimizer steps and a gradient norm that stays on the device. No CUDA headers are
// needed: libtorch dispatches by the device of the tensors.

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
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
        // A parameter that the loss does not depend on has no gradient: it stays as it is.
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

int tunebook_sgd(const Handle *parameters, const Handle *velocities, size_t count, double lr, double momentum,
                 bool nesterov, bool first) {
    return guarded([&] {
        auto p = list(parameters, count);
        auto v = momentum == 0.0 ? std::vector<at::Tensor>() : list(velocities, count);
        at::_fused_sgd_(p, gradients(p), v, 0.0, momentum, lr, 0.0, nesterov, false, first);
    });
}

int tunebook_adam(const Handle *parameters, const Handle *m, const Handle *v, const Handle *steps, size_t count,
                  double lr, double beta1, double beta2, double epsilon) {
    return guarded([&] {
        auto p = list(parameters, count);
        auto t = list(steps, count);
        for (auto &step : t) step.add_(1);
        at::_fused_adam_(p, gradients(p), list(m, count), list(v, count), {}, t, lr, beta1, beta2, 0.0, epsilon, false,
                         false);
    });
}

// The L2 norm of all gradients together, as a new scalar tensor on their device; null on an error.
Handle tunebook_gradient_norm(const Handle *parameters, size_t count) {
    Handle result = nullptr;
    guarded([&] {
        auto norms = at::_foreach_norm(gradients(list(parameters, count)));
        result = new at::Tensor(at::linalg_vector_norm(at::stack(norms)));
    });
    return result;
}

void tunebook_forget_gradients(const Handle *parameters, size_t count) {
    guarded([&] {
        for (size_t i = 0; i < count; ++i) parameters[i]->mutable_grad().reset();
    });
}

}
