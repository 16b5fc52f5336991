// The module _cuda, in builds with nvcc: the kernels of a GPU.
#include "bindings/cuda.hpp"

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "CUDA kernels of jadce-fast";
  jadce::cuda::bind_kernels(m);
}
