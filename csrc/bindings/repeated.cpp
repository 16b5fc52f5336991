// Python's view of the receiver of repeated pilots.
#include "receiver/repeated.hpp"

#include <pybind11/complex.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <complex>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/register.hpp"
#include "receiver/layout.hpp"

namespace py = pybind11;

namespace jadce::bindings {

namespace {

std::unique_ptr<Repeated> make_repeated(const Array<std::complex<double>>& pilots, const ActivityPlan& activity,
                                        index_t antennas, index_t capacity, const Rules& rules, double rate,
                                        int threads, const char* isa) {
  const index_t coefficients = static_cast<index_t>(activity.eigenvalue.size());
  const auto* q = reinterpret_cast<const double*>(pilots.data());  // [K, T]
  return std::make_unique<Repeated>(
      RepeatedPlan{.shape = {pilots.shape(0), coefficients, pilots.shape(1), antennas, coefficients, padded(antennas)},
                   .activity = activity,
                   .pilots = {q, q + 2 * pilots.size()},
                   .capacity = capacity,
                   .rules = rules,
                   .rate = rate},
      threads, isa);
}

py::dict detect(Repeated& r, const Array<cfloat>& y, double noise, double received, index_t entries) {
  const Shape& s = r.shape();
  py::gil_scoped_release release;
  const std::lock_guard<ForkMutex> lock(r.mutex());
  r.detect(y.data(), noise, received, entries);
  const py::gil_scoped_acquire acquire;
  const auto count = static_cast<index_t>(r.candidates().size());
  Array<float> activity(s.devices), var({count, s.coefficients, s.antennas});
  Array<std::int64_t> candidates(count);
  Array<cfloat> mean({count, s.coefficients, s.antennas});
  std::copy_n(r.posterior().data(), s.devices, activity.mutable_data());
  std::copy_n(r.candidates().data(), count, candidates.mutable_data());
  merge_coefficients(s, count, r.mean(), mean.mutable_data());
  for (index_t i = 0; i < count * s.coefficients; ++i)
    std::copy_n(r.var() + i * s.lanes, s.antennas, var.mutable_data() + i * s.antennas);
  py::list history;
  for (const Repeated::Step& step : r.history())
    history.append(py::dict(py::arg("error_var") = step.error_var, py::arg("candidates") = step.candidates));
  return py::dict(py::arg("activity") = activity, py::arg("candidates") = candidates, py::arg("mean") = mean,
                  py::arg("var") = var, py::arg("settled") = r.settled(), py::arg("overflow") = r.left_out(),
                  py::arg("history") = py::tuple(history));
}

}  // namespace

void register_repeated(py::module_& m) {
  py::class_<Repeated>(m, "Repeated")
      .def(py::init(&make_repeated), py::kw_only(), py::arg("pilots").noconvert(), py::arg("activity"),
           py::arg("antennas"), py::arg("capacity"), py::arg("rules"), py::arg("rate"), py::arg("threads"),
           py::arg("isa") = py::none())
      .def_property_readonly("threads", &Repeated::threads)
      .def("detect", &detect, py::arg("y").noconvert(), py::kw_only(), py::arg("noise"), py::arg("received"),
           py::arg("entries"));
}

}  // namespace jadce::bindings
