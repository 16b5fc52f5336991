#include "receiver/detection_cuda.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "bindings/cuda.hpp"
#include "bindings/named.hpp"

namespace jadce::cuda {

namespace {

namespace py = pybind11;
using bindings::def_struct;

template <class T>
py::dtype element() {
  if constexpr (std::is_same_v<T, Complex>) {
    return py::dtype("complex64");
  } else if constexpr (std::is_same_v<T, Control>) {
    return py::dtype("V" + std::to_string(sizeof(T)));
  } else if constexpr (std::is_same_v<T, Input>) {
    return py::dtype("V" + std::to_string(sizeof(T)));
  } else {
    return py::dtype::of<T>();
  }
}

// Buffers by their names: shapes of a block's part, and NumPy's types.
py::dict buffers(const DetectionShape& shape) {
  py::dict found;
  DetectionMemory memory{};
  each_buffer(memory, shape, [&]<class T>(const char* name, T*&, std::initializer_list<index_t> sides) {
    py::list list;
    for (const index_t side : sides) list.append(side);
    found[name] = py::make_tuple(py::tuple(list), element<T>());
  });
  return found;
}

DetectionMemory memory_at(const DetectionShape& shape, const py::dict& addresses) {
  DetectionMemory memory{};
  each_buffer(memory, shape, [&]<class T>(const char* name, T*& pointer, std::initializer_list<index_t>) {
    pointer = reinterpret_cast<T*>(addresses[name].cast<std::uintptr_t>());
  });
  return memory;
}

py::list names(std::span<const Step> steps) {
  py::list found;
  for (const Step& step : steps) found.append(step.name);
  return found;
}

void enqueue(const DetectionPlan& plan, const std::string& step, std::uint64_t loop, std::uintptr_t stream) {
  for (const auto steps : {first_steps(), iteration_steps(), last_steps()})
    for (const Step& s : steps)
      if (step == s.name) return s.enqueue(plan, loop, reinterpret_cast<void*>(stream));
  throw std::invalid_argument("step: expected one of a detection, found '" + step + "'");
}

}  // namespace

void register_detection_plan(py::module_& m) {
  def_struct(m, "DetectionShape", "Sizes by which memory of a detection is planned",
             JADCE_FIELDS(DetectionShape, sizes, capacity, merge, products, max_iterations, statistics));
  def_struct(m, "NetworkTables", "A beam network in device memory",
             JADCE_FIELDS(NetworkTables, eigenvalue, weights, dilation, shape, tensor));
  def_struct(m, "DetectionTables", "Tables of a detection in device memory",
             JADCE_FIELDS(DetectionTables, gram, gain, pilots, mixture, networks),
             JADCE_OPTIONAL(DetectionTables, basis, dft, rotation, rows, fft, amplitude, first, first_fft, second_fft));
  py::class_<DetectionMemory>(m, "DetectionMemory", py::module_local())
      .def(py::init(&memory_at), py::arg("shape"), py::arg("addresses"));
  def_struct(m, "DetectionPlan", "A planned detection",
             JADCE_FIELDS(DetectionPlan, shape, memory, tables, rules, log_odds, learn_rate, known, expected,
                          closed_form, mean_gram, uniform, left));
  m.def("detection_buffers", &buffers, py::arg("shape"), "Shapes and types of a block's buffers by their names");
  m.attr("first_steps") = names(first_steps());
  m.attr("iteration_steps") = names(iteration_steps());
  m.attr("last_steps") = names(last_steps());
  m.attr("rounds") = kRounds;
  m.def("enqueue", &enqueue, py::arg("plan"), py::arg("step"), py::kw_only(), py::arg("loop") = kNoLoop,
        py::arg("stream"), "Enqueues a kernel of a detection");
}

}  // namespace jadce::cuda
