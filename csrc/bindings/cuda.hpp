// The CUDA kernels as Python functions of addresses and sizes, by name. The Python layer checks what is behind an
// address. Serves two modules: _cuda, and the emulator's _emulated where addresses are the host's.
#pragma once

#include <pybind11/pybind11.h>

namespace jadce::cuda {

// Adds devices, graphs, the Control, and every kernel with the structs that it takes.
void bind_kernels(pybind11::module_& m);
// Adds whole detections (receiver/detection_cuda.hpp), whose structs have those of kernels as fields.
void register_detection_plan(pybind11::module_& m);

}  // namespace jadce::cuda
