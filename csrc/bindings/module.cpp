// The module _core: Python's view of the library on the CPU. csrc/bindings alone knows Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/register.hpp"
#include "kernels/table.hpp"

namespace py = pybind11;

PYBIND11_MODULE(_core, m) {
  m.doc() = "Native kernels of jadce-fast";
  m.attr("__version__") = JADCE_VERSION;
  m.attr("compiler") = __VERSION__;
  m.def("isa", [] { return std::string(jadce::table().name); }, "Instruction set of the kernels in use");
  m.def("fast_bf16", [] { return jadce::table().fast_bf16; }, "Whether it has instructions for bfloat16");
  m.def(
      "variants",
      [] {
        std::vector<std::string> names;
        for (const char* name : {"generic", "avx2", "avx512", "avx512_bf16", "amx"}) {
          try {
            names.emplace_back(jadce::table(name).name);
          } catch (const std::invalid_argument&) {
          }
        }
        return names;
      },
      "Instruction sets that this processor runs");

  jadce::bindings::register_rules(m);
  jadce::bindings::register_operations(m);
  jadce::bindings::register_plan(m);
  jadce::bindings::register_images(m);
  jadce::bindings::register_receiver(m);
  jadce::bindings::register_repeated(m);
  jadce::bindings::register_langevin(m);
}
