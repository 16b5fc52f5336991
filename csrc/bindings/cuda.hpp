// The CUDA kernels as Python functions of addresses and sizes, by name. The Python layer checks what is behind an
// address. Serves two modules: _cuda, and the emulator's _emulated where addresses are the host's.
#pragma once

#include <pybind11/pybind11.h>

namespace jadce::cuda {

// All that follows, devices, graphs and the Control.
void bind_kernels(pybind11::module_& m);

void register_pilot_transform_kernels(pybind11::module_& m);
void register_activity_kernels(pybind11::module_& m);
void register_posterior_kernels(pybind11::module_& m);
void register_beam_network_kernels(pybind11::module_& m);
void register_detection_kernels(pybind11::module_& m);
void register_langevin_kernels(pybind11::module_& m);

}  // namespace jadce::cuda
