// Python's view of the Langevin sampler. Arguments were checked by the Python layer.
#include "receiver/langevin.hpp"

#include <pybind11/stl.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "bindings/arrays.hpp"
#include "bindings/register.hpp"

namespace jadce::bindings {

namespace py = pybind11;

namespace {

using Chains = Langevin::Chains;
using Released = py::call_guard<py::gil_scoped_release>;

std::unique_ptr<Langevin> make_langevin(const Array<cfloat>& rotation, const Array<float>& singular, index_t antennas,
                                        index_t chains, int threads, const char* isa) {
  return std::make_unique<Langevin>(
      LangevinPlan{rotation.data(), singular.data(), rotation.shape(0), antennas, chains, threads, isa});
}

// levels: objects with the attributes of jadce_fast.anneal.Level.
void plan(Langevin& s, const std::vector<py::object>& levels) {
  std::vector<Level> list;
  for (const py::object& level : levels) {
    Level& l = list.emplace_back();
    const auto read = [&level](const char* name, auto& field) {
      field = level.attr(name).cast<std::remove_reference_t<decltype(field)>>();
    };
    read("keep", l.keep);
    read("shift", l.shift);
    read("noise", l.noise);
    read("denoised", l.denoised);
    read("known", l.known);
    read("matrix", l.matrix);
    read("covariance", l.covariance);
  }
  py::gil_scoped_release free;
  s.plan(std::move(list));
}

// mixture [3, G]: rate, offset, gain.
MixtureView mixture_view(float noise_var, const Array<float>& mixture) {
  const index_t g = mixture.ndim() == 2 ? mixture.shape(1) : 0;
  if (g == 0 || mixture.shape(0) != 3) throw std::invalid_argument("mixture: wrong shape");
  const float* p = mixture.data();
  return {g, noise_var, p, p + g, p + 2 * g};
}

index_t checked_level(const Langevin& s, index_t level) {
  if (level < 0 || level >= s.levels()) throw std::out_of_range("level: not planned");
  return level;
}

// A property that shows native memory, [C, K, 2, Mp] or [C, Kp].
auto state(float* (Langevin::*get)(), bool columns) {
  return [get, columns](py::object self) {
    Langevin& s = self.cast<Langevin&>();
    std::vector<py::ssize_t> sizes{s.chains()};
    if (columns)
      sizes.insert(sizes.end(), {s.shape().devices, 2, s.shape().lanes});
    else
      sizes.push_back(s.shape().padded);
    return py::array_t<float>(std::move(sizes), std::invoke(get, s), self);
  };
}

}  // namespace

void register_langevin(py::module_& m) {
  py::class_<Langevin>(m, "Langevin")
      .def(py::init(&make_langevin), py::kw_only(), py::arg("rotation").noconvert(), py::arg("singular").noconvert(),
           py::arg("antennas"), py::arg("chains"), py::arg("threads"), py::arg("isa") = py::none())
      .def_property_readonly("isa", [](Langevin& s) { return std::string(s.isa()); })
      .def("plan", &plan, py::arg("levels"))
      .def(
          "block",
          [](Langevin& s, const Array<cfloat>& force) {
            if (force.size() != s.levels() * s.shape().devices * s.shape().antennas)
              throw std::invalid_argument("force: wrong shape");
            s.block(force.data());
          },
          py::arg("force").noconvert())
      .def("start", &Langevin::start, Released(), py::arg("chains"), py::arg("seed"), py::arg("step"), py::arg("sigma"))
      .def(
          "anneal",
          [](Langevin& s, const Chains& chains, std::uint64_t seed, std::uint32_t step, index_t steps, index_t level,
             float noise_var, const Array<float>& mixture, bool accumulate) {
            const MixtureView prior = mixture_view(noise_var, mixture);
            py::gil_scoped_release free;
            s.anneal(chains, {checked_level(s, level), seed, step, steps}, prior, accumulate);
          },
          py::kw_only(), py::arg("chains"), py::arg("seed"), py::arg("step"), py::arg("steps"), py::arg("level"),
          py::arg("noise_var"), py::arg("mixture").noconvert(), py::arg("accumulate"))
      .def(
          "step",
          [](Langevin& s, const Chains& chains, std::uint64_t seed, std::uint32_t step, index_t level,
             float noise_var) { s.step(chains, {checked_level(s, level), seed, step, 1}, noise_var); },
          Released(), py::kw_only(), py::arg("chains"), py::arg("seed"), py::arg("step"), py::arg("level"),
          py::arg("noise_var"))
      .def(
          "denoise",
          [](Langevin& s, const Chains& chains, float noise_var, const Array<float>& mixture) {
            const MixtureView prior = mixture_view(noise_var, mixture);
            py::gil_scoped_release free;
            s.denoise(chains, prior);
          },
          py::arg("chains"), py::arg("noise_var"), py::arg("mixture").noconvert())
      .def("power", &Langevin::power, py::arg("chains"))
      .def("spread", &Langevin::spread, py::arg("chains"))
      // Views of native memory.
      .def_property_readonly("columns", state(&Langevin::columns, true))
      .def_property_readonly("mean", state(&Langevin::mean, true))
      .def_property_readonly("variance", state(&Langevin::variance, false))
      .def_property_readonly("probability", state(&Langevin::probability, false))
      .def_property_readonly("sums", state(&Langevin::sums, true))
      .def_property_readonly("sum_energy", state(&Langevin::sum_energy, false))
      .def_property_readonly("sum_active", state(&Langevin::sum_active, false))
      .def_property_readonly("counted",
                             [](py::object self) {
                               Langevin& s = self.cast<Langevin&>();
                               return py::array_t<std::int32_t>(s.chains(), s.counted(), self);
                             })
      // Matrix and factor of a level, [K, 2, Kp] each; for tests.
      .def(
          "matrices",
          [](Langevin& s, index_t level) {
            s.prepare(checked_level(s, level));
            return py::array_t<float>({index_t{2}, s.shape().devices, index_t{2}, s.shape().padded}, s.matrices(level));
          },
          py::arg("level"));
}

}  // namespace jadce::bindings
