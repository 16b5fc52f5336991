// The CUDA kernels on the CPU, for tests: the functions of csrc/bindings/cuda.cpp on addresses of host memory.
#include "bindings/cuda.hpp"
#include "bindings/register.hpp"
#include "emulator/checks.hpp"
#include "emulator/fibers.hpp"
#include "emulator/graph.hpp"

PYBIND11_MODULE(_emulated, m) {
  using namespace jadce;
  m.doc() = "CUDA kernels of jadce-fast, emulated";
  bindings::register_rules(m);
  cuda::bind_kernels(m);
  m.def("set_reversed", &emulator::set_reversed, "Runs threads in falling order");
  m.def(
      "graph_of",
      [](pybind11::function call) {
        return reinterpret_cast<std::uintptr_t>(emulator::graph_of([call = std::move(call)] {
          call();
          return true;
        }));
      },
      "A graph that calls a Python function");
  m.def("check_tree_sum", cuda::by_address(&cuda::check_tree_sum));
  m.def("check_warp_operations", cuda::by_address(&cuda::check_warp_operations));
  m.def("check_count_values", cuda::by_address(&cuda::check_count_values));
  m.def("check_matrix_product", cuda::by_address(&cuda::check_matrix_product));
  m.def("check_misuse", cuda::by_address(&cuda::check_misuse));
}
