// The CUDA kernels on the CPU, for tests: the functions of csrc/bindings/cuda.cpp on addresses of host memory.
#include "bindings/cuda.hpp"
#include "bindings/named.hpp"
#include "emulator/checks.hpp"
#include "emulator/fibers.hpp"
#include "emulator/graph.hpp"

PYBIND11_MODULE(_emulated, m) {
  using namespace jadce;
  m.doc() = "CUDA kernels of jadce-fast, emulated";
  cuda::bind_kernels(m);
  m.def("set_reversed", &emulator::set_reversed, pybind11::arg("reversed"), "Runs threads in falling order");
  m.def(
      "graph_of",
      [](pybind11::function call) {
        return reinterpret_cast<std::uintptr_t>(emulator::graph_of([call = std::move(call)] {
          call();
          return true;
        }));
      },
      pybind11::arg("call"), "A graph that calls a Python function");
  using bindings::def_launcher;
  def_launcher(m, "check_tree_sum", &cuda::check_tree_sum, JADCE_FIELDS(cuda::TreeSumArgs, x, count, threads, out));
  def_launcher(m, "check_warp_operations", &cuda::check_warp_operations,
               JADCE_FIELDS(cuda::WarpOperationsArgs, threads, out));
  def_launcher(m, "check_count_values", &cuda::check_count_values, JADCE_FIELDS(cuda::CountValuesArgs, x, count, bins));
  def_launcher(m, "check_matrix_product", &cuda::check_matrix_product,
               JADCE_FIELDS(cuda::MatrixProductArgs, x, w, wait, out));
  def_launcher(m, "check_rounds", &cuda::check_rounds,
               JADCE_FIELDS(cuda::RoundsArgs, x, kind, blocks, threads, cluster, rounds, together, out),
               JADCE_OPTIONAL(cuda::RoundsArgs, told));
  def_launcher(m, "check_misuse", &cuda::check_misuse, JADCE_FIELDS(cuda::MisuseArgs, kind, threads, shared, out));
}
