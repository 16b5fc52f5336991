#include "bindings/cuda.hpp"

#include <pybind11/stl.h>

#include <string>
#include <utility>

#include "bindings/named.hpp"
#include "bindings/register.hpp"
#include "core/graph_cuda.hpp"
#include "kernels/pilot_transform/pilot_transform_cuda.hpp"
#include "loop/control.hpp"

namespace jadce::cuda {

namespace {

void register_control(pybind11::module_& m) {
  m.attr("control_dtype") = bindings::record_dtype(
      JADCE_FIELDS(Control, noise, received, power, scale, error, previous, best, gamma, run, test, keep, last, going,
                   iteration, converged, settled, candidates, left_out, idle, slots, unplaced, kept, kept_left_out,
                   decided, found, residual, stopped, expected, deviation, fitted, least, most, trusted));
}

void register_graph(pybind11::module_& m) {
  const auto address = [](void* stream) { return reinterpret_cast<std::uintptr_t>(stream); };
  m.attr("no_loop") = kNoLoop;
  m.def(
      "check_child", [](std::uintptr_t child) { check_child(reinterpret_cast<void*>(child)); }, pybind11::arg("child"));
  pybind11::class_<Graph>(m, "Graph", pybind11::module_local())
      .def(pybind11::init<bool>(), pybind11::kw_only(), pybind11::arg("overlapping"))
      .def("begin", [address](Graph& g) { return address(g.begin()); })
      .def("open_loop",
           [address](Graph& g) {
             const auto [stream, handle] = g.open_loop();
             return std::pair(address(stream), handle);
           })
      .def(
          "add_if", [](Graph& g, std::uintptr_t child) { return g.add_if(reinterpret_cast<void*>(child)); },
          pybind11::arg("child"))
      .def("close_loop", &Graph::close_loop)
      .def("end", &Graph::end)
      .def(
          "launch", [](const Graph& g, std::uintptr_t stream) { g.launch(reinterpret_cast<void*>(stream)); },
          pybind11::arg("stream"));
}

}  // namespace

void bind_kernels(pybind11::module_& m) {
  m.def(
      "devices",
      [] {
        const char* message = "";
        const int count = device_count(&message);
        return std::pair(count, std::string(message));
      },
      "Number of CUDA devices, and why there is none");
  bindings::register_rules(m);
  register_control(m);
  register_graph(m);
  register_pilot_transform_kernels(m);
  register_activity_kernels(m);
  register_posterior_kernels(m);
  register_beam_network_kernels(m);
  register_detection_kernels(m);
  register_langevin_kernels(m);
}

}  // namespace jadce::cuda
