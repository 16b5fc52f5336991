// What a receiver plans before a block arrives.
#include "receiver/plan.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/register.hpp"

namespace py = pybind11;

namespace jadce::bindings {

namespace {

template <class T>
Array<T> array(const std::vector<T>& values, std::vector<index_t> shape) {
  return Array<T>(std::move(shape), values.data());
}

template <class T>
Array<T> array(const std::vector<T>& values) {
  return array(values, {static_cast<index_t>(values.size())});
}

// pilots [T, N, K] -> gram [N, T], rotation [N, T, T], array [N, K, T].
py::tuple rotate_pilots(const Array<cfloat>& pilots, int threads) {
  const index_t t = pilots.shape(0), n = pilots.shape(1), k = pilots.shape(2);
  RotatedPilots out;
  {
    const py::gil_scoped_release release;
    out = rotated_pilots(pilots.data(), {k, n, t, 0, 0, 0}, {}, threads);
  }
  return py::make_tuple(array(out.gram, {n, t}), array(out.rotation, {n, t, t}), array(out.array, {n, k, t}));
}

// The tables by the names that ActivityPlan takes.
py::dict tables(const ActivityPlan& plan) {
  const index_t powers = static_cast<index_t>(plan.power.size()), gains = static_cast<index_t>(plan.weight.size());
  return py::dict(py::arg("product") = array(plan.product), py::arg("weight") = array(plan.weight),
                  py::arg("log_power_weight") = array(plan.log_power_weight), py::arg("power") = array(plan.power),
                  py::arg("index") = array(plan.index, {powers, gains}), py::arg("eigenvalue") = array(plan.eigenvalue),
                  py::arg("multiplicity") = array(plan.multiplicity));
}

}  // namespace

void register_plan(py::module_& m) {
  m.attr("first_rate") = kFirstRate;
  m.def("rotate_pilots", &rotate_pilots, py::arg("pilots").noconvert(), py::arg("threads"));
  m.def(
      "amplitudes",
      [](const Array<cfloat>& pilots) {
        return array(amplitudes(pilots.data(), pilots.shape(0) * pilots.shape(1), pilots.shape(2)));
      },
      py::arg("pilots").noconvert());
  m.def(
      "merged", [](const Array<float>& eigenvalue) { return merged(list(eigenvalue)); },
      py::arg("eigenvalue").noconvert());
  m.def(
      "power_levels", [](bool flat, index_t antennas) { return array(power_levels(flat, antennas)); }, py::kw_only(),
      py::arg("flat"), py::arg("antennas"));
  m.def(
      "activity_tables",
      [](const Array<float>& eigenvalue, const Array<float>& gain, const Array<float>& weight,
         const Array<float>& power, const Array<float>& share, const Array<float>& multiplicity) {
        return tables(
            activity_plan({list(eigenvalue), list(gain), list(weight), list(power), list(share), list(multiplicity)}));
      },
      py::kw_only(), py::arg("eigenvalue").noconvert(), py::arg("gain").noconvert(), py::arg("weight").noconvert(),
      py::arg("power").noconvert(), py::arg("share").noconvert(), py::arg("multiplicity").noconvert());
  m.def(
      "receiver_tables",
      [](const Array<float>& eigenvalue, const Array<float>& gain, const Array<float>& weight,
         const Array<double>& amplitude, index_t antennas, bool known_power) {
        return tables(receiver_activity({list(eigenvalue), list(gain), list(weight), {}, {}, {}}, list(amplitude),
                                        antennas, known_power));
      },
      py::kw_only(), py::arg("eigenvalue").noconvert(), py::arg("gain").noconvert(), py::arg("weight").noconvert(),
      py::arg("amplitude").noconvert(), py::arg("antennas"), py::arg("known_power"));
  m.def(
      "floors",
      [](const Rules& rules, index_t antennas, const Array<float>& eigenvalue, const Array<float>& gain,
         const Array<float>& weight) {
        const Rules own = rules_of(rules, antennas, {list(eigenvalue), list(gain), list(weight), {}, {}, {}});
        return py::dict(py::arg("decodable") = own.decodable, py::arg("smallest_mean_power") = own.smallest_mean_power);
      },
      py::kw_only(), py::arg("rules"), py::arg("antennas"), py::arg("eigenvalue").noconvert(),
      py::arg("gain").noconvert(), py::arg("weight").noconvert());
  m.def("most_candidates", &most_candidates, py::kw_only(), py::arg("rules"), py::arg("rate"), py::arg("devices"),
        py::arg("asked"));
  m.def(
      "assumed",
      [](double rate, double power, const Array<double>& amplitude) {
        const Assumed a = assumed(rate, power, list(amplitude));
        return py::dict(py::arg("log_odds") = a.log_odds, py::arg("power") = a.power, py::arg("expected") = a.expected);
      },
      py::kw_only(), py::arg("rate"), py::arg("power"), py::arg("amplitude").noconvert());
}

}  // namespace jadce::bindings
