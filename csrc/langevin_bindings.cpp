// Python's view of the Langevin sampler. Arguments were checked by the Python layer.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "receiver/langevin.hpp"

namespace py = pybind11;
using namespace jadce;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;
using Chains = std::vector<index_t>;

std::unique_ptr<Langevin> make_langevin(const Array<cfloat>& rotation, index_t antennas, index_t chains, int threads,
                                        const py::object& isa) {
  const std::string name = isa.is_none() ? "" : isa.cast<std::string>();
  return std::make_unique<Langevin>(rotation.data(), rotation.shape(0), antennas, chains, threads,
                                    isa.is_none() ? nullptr : name.c_str());
}

// level [4, padded]: pull, decay, force, noise.
LevelView level_view(const Langevin& s, const Array<float>& level) {
  const index_t n = s.view().padded;
  if (level.ndim() != 2 || level.shape(0) != 4 || level.shape(1) != n)
    throw std::invalid_argument("level: wrong shape");
  const float* p = level.data();
  return {p, p + n, p + 2 * n, p + 3 * n};
}

// mixture [3, G]: rate, offset, gain.
MixtureView mixture_view(float noise_var, const Array<float>& mixture) {
  const index_t g = mixture.ndim() == 2 ? mixture.shape(1) : 0;
  if (g == 0 || g % kLanes != 0 || mixture.shape(0) != 3) throw std::invalid_argument("mixture: wrong shape");
  const float* p = mixture.data();
  return {g, noise_var, p, p + g, p + 2 * g};
}

// A property that shows native memory, [C, N, 2, Mp] or [C, N].
auto state(float* (Langevin::*get)(), bool columns) {
  return [get, columns](py::object self) {
    Langevin& s = self.cast<Langevin&>();
    std::vector<py::ssize_t> sizes{s.chains(), s.view().devices};
    if (columns) sizes.insert(sizes.end(), {2, s.view().lanes});
    return py::array_t<float>(std::move(sizes), std::invoke(get, s), self);
  };
}

}  // namespace

void bind_langevin(py::module_& m);

void bind_langevin(py::module_& m) {
  py::class_<Langevin>(m, "Langevin")
      .def(py::init(&make_langevin), py::kw_only(), py::arg("rotation").noconvert(), py::arg("antennas"),
           py::arg("chains"), py::arg("threads"), py::arg("isa") = py::none())
      .def_property_readonly("isa", [](Langevin& s) { return std::string(s.isa()); })
      .def_property_readonly("padded", [](Langevin& s) { return s.view().padded; })
      .def(
          "block", [](Langevin& s, const Array<cfloat>& y) { s.block(y.data()); }, py::arg("y").noconvert())
      .def("start", &Langevin::start, py::call_guard<py::gil_scoped_release>(), py::arg("chains"), py::arg("seed"),
           py::arg("step"), py::arg("sigma"))
      .def(
          "anneal",
          [](Langevin& s, const Chains& chains, std::uint64_t seed, std::uint32_t step, index_t steps,
             const Array<float>& level, float noise_var, const Array<float>& mixture, bool accumulate) {
            const LevelView l = level_view(s, level);
            const MixtureView prior = mixture_view(noise_var, mixture);
            py::gil_scoped_release free;
            s.anneal(chains, seed, step, steps, l, prior, accumulate);
          },
          py::arg("chains"), py::arg("seed"), py::arg("step"), py::arg("steps"), py::arg("level").noconvert(),
          py::arg("noise_var"), py::arg("mixture").noconvert(), py::arg("accumulate"))
      .def(
          "step",
          [](Langevin& s, const Chains& chains, std::uint64_t seed, std::uint32_t step, const Array<float>& level) {
            const LevelView l = level_view(s, level);
            py::gil_scoped_release free;
            s.step(chains, seed, step, l);
          },
          py::arg("chains"), py::arg("seed"), py::arg("step"), py::arg("level").noconvert())
      .def(
          "denoise",
          [](Langevin& s, const Chains& chains, float noise_var, const Array<float>& mixture) {
            const MixtureView prior = mixture_view(noise_var, mixture);
            py::gil_scoped_release free;
            s.denoise(chains, prior);
          },
          py::arg("chains"), py::arg("noise_var"), py::arg("mixture").noconvert())
      // Views of native memory.
      .def_property_readonly("columns", state(&Langevin::columns, true))
      .def_property_readonly("mean", state(&Langevin::mean, true))
      .def_property_readonly("variance", state(&Langevin::variance, false))
      .def_property_readonly("probability", state(&Langevin::probability, false))
      .def_property_readonly("sums", state(&Langevin::sums, true))
      .def_property_readonly("sum_energy", state(&Langevin::sum_energy, false))
      .def_property_readonly("sum_active", state(&Langevin::sum_active, false));
}
