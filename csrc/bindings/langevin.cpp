// Python's view of the Langevin sampler. Arguments were checked by the Python layer.
#include "receiver/langevin.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

namespace py = pybind11;
using namespace jadce;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;
using Chains = std::vector<index_t>;
using Released = py::call_guard<py::gil_scoped_release>;

std::unique_ptr<Langevin> make_langevin(const Array<cfloat>& rotation, const Array<float>& singular, index_t antennas,
                                        index_t chains, int threads, const py::object& isa) {
  const std::string name = isa.is_none() ? "" : isa.cast<std::string>();
  return std::make_unique<Langevin>(rotation.data(), singular.data(), rotation.shape(0), antennas, chains, threads,
                                    isa.is_none() ? nullptr : name.c_str());
}

// levels [levels, 11]: keep, shift, noise, denoised, known, matrix (3), covariance (3).
void plan(Langevin& s, const Array<float>& levels) {
  if (levels.ndim() != 2 || levels.shape(1) != 11) throw std::invalid_argument("levels: wrong shape");
  std::vector<Level> list;
  for (index_t l = 0; l < levels.shape(0); ++l) {
    const float* p = levels.data(l, 0);
    list.push_back(
        {p[0], p[1], p[2], p[3] != 0.0f, static_cast<index_t>(p[4]), {p[5], p[6], p[7]}, {p[8], p[9], p[10]}});
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

// A property that shows native memory, [C, N, 2, Mp] or [C, Np].
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

void bind_langevin(py::module_& m);

void bind_langevin(py::module_& m) {
  py::class_<Langevin>(m, "Langevin")
      .def(py::init(&make_langevin), py::kw_only(), py::arg("rotation").noconvert(), py::arg("singular").noconvert(),
           py::arg("antennas"), py::arg("chains"), py::arg("threads"), py::arg("isa") = py::none())
      .def_property_readonly("isa", [](Langevin& s) { return std::string(s.isa()); })
      .def("plan", &plan, py::arg("levels").noconvert())
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
            s.anneal(chains, seed, step, steps, checked_level(s, level), prior, accumulate);
          },
          py::arg("chains"), py::arg("seed"), py::arg("step"), py::arg("steps"), py::arg("level"), py::arg("noise_var"),
          py::arg("mixture").noconvert(), py::arg("accumulate"))
      .def(
          "step",
          [](Langevin& s, const Chains& chains, std::uint64_t seed, std::uint32_t step, index_t level,
             float noise_var) { s.step(chains, seed, step, checked_level(s, level), noise_var); },
          Released(), py::arg("chains"), py::arg("seed"), py::arg("step"), py::arg("level"), py::arg("noise_var"))
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
      // Of a level, (matrix, factor) [N, 2, Np]; for tests.
      .def(
          "matrices",
          [](Langevin& s, index_t level) {
            s.prepare(checked_level(s, level));
            return py::array_t<float>({index_t{2}, s.shape().devices, index_t{2}, s.shape().padded}, s.matrices(level));
          },
          py::arg("level"));
}
