// Operations on arrays: what ops.py calls. They allocate; a receiver does not.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/alone.hpp"
#include "bindings/arrays.hpp"
#include "bindings/register.hpp"
#include "receiver/layout.hpp"
#include "receiver/stmp.hpp"

namespace py = pybind11;

namespace jadce::bindings {

namespace {

std::unique_ptr<Transform> make_transform(const py::object& rows, const py::object& array, float amplitude,
                                          const Array<cfloat>& basis, index_t devices, index_t antennas, index_t merge,
                                          bool beamspace, int threads, const char* isa) {
  Shape s{devices, basis.shape(0), 0, antennas, basis.shape(1), padded(antennas)};
  if (!rows.is_none()) {
    const auto values = rows.cast<Array<std::int32_t>>();  // [N, T]
    s.symbols = values.shape(1);
    return std::make_unique<Transform>(s, values.data(), amplitude, nullptr, basis.data(), merge, beamspace, threads,
                                       isa);
  }
  const auto values = array.cast<Array<cfloat>>();  // [N, K, T]
  s.symbols = values.shape(2);
  return std::make_unique<Transform>(s, nullptr, 1.0f, values.data(), basis.data(), merge, beamspace, threads, isa);
}

Array<cfloat> beamspace(Transform& t, const Array<cfloat>& y) {
  const Shape& s = t.shape();
  Array<cfloat> out({s.symbols, s.subcarriers, s.antennas});
  const Floats r = floats(s.measurements() * s.point());
  {
    const Alone alone(t);
    t.beamspace(y.data(), nullptr, r.get());
  }
  merge(s, r.get(), out.mutable_data());
  return out;
}

void statistics(Transform& t, const Array<cfloat>& r, Array<cfloat>& out) {
  const Shape& s = t.shape();
  const Floats in = floats(s.measurements() * s.point()), z = floats(s.devices * s.channel());
  split(s, r.data(), in.get());
  {
    const Alone alone(t);
    if (t.view().rows) {
      t.statistics(in.get(), z.get());
    } else {
      std::vector<std::int32_t> all(static_cast<std::size_t>(s.devices));
      std::iota(all.begin(), all.end(), 0);
      t.gather(in.get(), all.data(), s.devices, z.get());
    }
  }
  merge_coefficients(s, s.devices, z.get(), out.mutable_data());
}

void gather(Transform& t, const Array<cfloat>& r, const Array<std::int64_t>& devices, Array<cfloat>& out) {
  const Shape& s = t.shape();
  const index_t count = devices.shape(0);
  const std::vector<std::int32_t> device(devices.data(), devices.data() + count);
  const Floats in = floats(s.measurements() * s.point()), z = floats(count * s.channel());
  split(s, r.data(), in.get());
  {
    const Alone alone(t);
    t.gather(in.get(), device.data(), count, z.get());
  }
  merge_coefficients(s, count, z.get(), out.mutable_data());
}

void project(Transform& t, const Array<std::int64_t>& devices, const Array<cfloat>& coefficients, Array<cfloat>& out) {
  const Shape& s = t.shape();
  const index_t count = devices.shape(0);
  std::vector<std::int32_t> device(devices.data(), devices.data() + count);
  const Floats c = floats(count * s.channel()), r = floats(s.measurements() * s.point());
  const Floats power = floats(s.subcarriers * s.lanes);
  split_coefficients(s, count, coefficients.data(), c.get());
  {
    const Alone alone(t);
    for (index_t i = 0; i < count * s.channel(); ++i) c[static_cast<std::size_t>(i)] *= -1;
    t.residual(nullptr, nullptr, nullptr, {count, device.data(), c.get()}, r.get(), power.get());
  }
  merge(s, r.get(), out.mutable_data());
}

// Energies [K, groups, M] of the statistics: the energy pass alone, as the receiver runs it.
void energies(Transform& t, const Array<cfloat>& r, Array<float>& out) {
  const Shape& s = t.shape();
  const Floats in = floats(s.measurements() * s.point()), e = floats(t.energy_size());
  split(s, r.data(), in.get());
  const index_t w = t.kernels().width, groups = t.view().groups(), blocks = s.lanes / w;
  float* o = out.mutable_data();
  const Alone alone(t);
  t.energy(in.get(), {0, nullptr, nullptr}, e.get());
  t.pool().each(s.devices, [&](index_t k, int) {
    for (index_t g = 0; g < groups; ++g)
      for (index_t b = 0; b < blocks; ++b) {
        const index_t count = std::min(w, s.antennas - b * w);
        if (count > 0)
          std::copy_n(e.get() + ((g * blocks + b) * s.devices + k) * w, count,
                      o + (k * groups + g) * s.antennas + b * w);
      }
  });
}

ActivityPlan make_activity(const Array<float>& product, const Array<float>& weight,
                           const Array<float>& log_power_weight, const Array<std::int32_t>& index,
                           const Array<float>& eigenvalue, const Array<float>& multiplicity,
                           const Array<float>& power) {
  if (product.size() > ActivityView::kMostProducts || log_power_weight.size() > ActivityView::kMostPowers)
    throw std::invalid_argument("activity mixture: too many components");
  return {list(product), list(weight), list(log_power_weight), list(eigenvalue), list(multiplicity),
          list(power),   list(index)};
}

// Log-likelihood ratios [K] from energies [K, groups, M] and null [groups, M].
void activity_llr(const ActivityPlan& plan, const Array<float>& energy, const Array<float>& null, Array<float>& out,
                  int threads, const char* isa) {
  const KernelTable& kernels = table(isa);
  const index_t k = energy.shape(0), groups = energy.shape(1), m = energy.shape(2), lanes = padded(m),
                w = kernels.width;
  const Shape s{k, 0, 0, m, groups, lanes};
  const ActivityView view = plan.view();
  const Floats e = floats(k * groups * lanes), base = floats(groups * lanes);
  const Floats slope = floats(view.products * groups * lanes), offset = floats(view.products * lanes);
  for (index_t i = 0; i < groups; ++i) {
    for (index_t b = 0; b < lanes; ++b) base[static_cast<std::size_t>(i * lanes + b)] = b < m ? null.at(i, b) : 1.0f;
    for (index_t d = 0; d < k; ++d)
      for (index_t b = 0; b < m; ++b)
        e[static_cast<std::size_t>(((i * lanes / w + b / w) * k + d) * w + b % w)] = energy.at(d, i, b);
  }
  float* llr = out.mutable_data();
  py::gil_scoped_release release;
  ThreadPool pool(threads);
  pool.each(lanes / w, [&](index_t task, int) {
    kernels.activity_table({.shape = s,
                            .groups = groups,
                            .mixture = view,
                            .null = base.get(),
                            .slope = slope.get(),
                            .offset = offset.get()},
                           task);
  });
  pool.each((k + kActivityChunk - 1) / kActivityChunk, [&](index_t task, int) {
    kernels.activity({.shape = s,
                      .groups = groups,
                      .mixture = view,
                      .energy = e.get(),
                      .slope = slope.get(),
                      .offset = offset.get(),
                      .llr = llr},
                     task);
  });
}

}  // namespace

void register_operations(py::module_& m) {
  py::class_<Transform>(m, "Transform")
      .def(py::init(&make_transform), py::kw_only(), py::arg("rows"), py::arg("array"), py::arg("amplitude"),
           py::arg("basis").noconvert(), py::arg("devices"), py::arg("antennas"), py::arg("merge"),
           py::arg("beamspace"), py::arg("threads"), py::arg("isa") = py::none())
      .def_property_readonly("isa", [](Transform& t) { return std::string(t.kernels().name); })
      .def_property_readonly("threads", [](Transform& t) { return t.pool().size(); })
      .def("beamspace", &beamspace, py::arg("y").noconvert())
      .def("statistics", &statistics, py::arg("r").noconvert(), py::arg("out").noconvert())
      .def("energies", &energies, py::arg("r").noconvert(), py::arg("out").noconvert())
      .def("gather", &gather, py::arg("r").noconvert(), py::arg("devices").noconvert(), py::arg("out").noconvert())
      .def("project", &project, py::arg("devices").noconvert(), py::arg("coefficients").noconvert(),
           py::arg("out").noconvert());

  py::class_<ActivityPlan>(m, "ActivityPlan", py::dynamic_attr())
      .def(py::init(&make_activity), py::kw_only(), py::arg("product").noconvert(), py::arg("weight").noconvert(),
           py::arg("log_power_weight").noconvert(), py::arg("index").noconvert(), py::arg("eigenvalue").noconvert(),
           py::arg("multiplicity").noconvert(), py::arg("power").noconvert());
  m.def("activity_llr", &activity_llr, py::arg("plan"), py::arg("energy").noconvert(), py::arg("null").noconvert(),
        py::arg("out").noconvert(), py::arg("threads"), py::arg("isa") = py::none());
}

}  // namespace jadce::bindings
