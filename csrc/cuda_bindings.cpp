#include "cuda_bindings.hpp"

#include <string>
#include <utility>

#include "kernels/pilot_transform_cuda.hpp"

namespace jadce::cuda {

void bind_kernels(pybind11::module_& m) {
  m.def(
      "cuda_devices",
      [] {
        const char* message = "";
        const int count = device_count(&message);
        return std::pair(count, std::string(message));
      },
      "Number of CUDA devices, and why there is none");
  m.def("cuda_gather", by_address(&gather));
}

}  // namespace jadce::cuda
