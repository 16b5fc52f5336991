// Python's view of the library; with cuda_bindings.cpp the only file that knows Python. Arguments were checked by the
// Python layer; arrays are C-contiguous and of the right dtype, or pybind11 refuses them.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#if defined(JADCE_CUDA)
#include "bindings/cuda.hpp"
#endif
#include "kernels/beam_network/beam_network_pack.hpp"
#include "receiver/layout.hpp"
#include "receiver/stmp.hpp"

namespace py = pybind11;

void bind_langevin(py::module_& m);  // langevin_bindings.cpp

using namespace jadce;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

// A view of native memory that keeps its owner alive.
using Sizes = std::vector<py::ssize_t>;

template <class T>
py::array_t<T> view(Sizes sizes, const T* data, py::handle owner) {
  return py::array_t<T>(std::move(sizes), data, owner);
}

std::unique_ptr<Transform> make_transform(const py::object& rows, const py::object& array, float amplitude,
                                          const Array<cfloat>& basis, index_t devices, index_t antennas, index_t merge,
                                          bool beamspace, int threads, const py::object& isa) {
  const std::string name = isa.is_none() ? "" : isa.cast<std::string>();
  const char* variant = isa.is_none() ? nullptr : name.c_str();
  Shape s{devices, basis.shape(0), 0, antennas, basis.shape(1), padded(antennas)};
  if (!rows.is_none()) {
    const auto values = rows.cast<Array<std::int32_t>>();  // [N, T]
    s.symbols = values.shape(1);
    return std::make_unique<Transform>(s, values.data(), amplitude, nullptr, basis.data(), merge, beamspace, threads,
                                       variant);
  }
  const auto values = array.cast<Array<cfloat>>();  // [N, K, T]
  s.symbols = values.shape(2);
  return std::make_unique<Transform>(s, nullptr, 1.0f, values.data(), basis.data(), merge, beamspace, threads, variant);
}

// Without the interpreter's lock, and the plan's only user. The plan's lock is taken second: its holder never waits for
// the interpreter.
class Alone {
 public:
  explicit Alone(Transform& t) : lock_(t.mutex()) {}

 private:
  py::gil_scoped_release release_;
  std::lock_guard<std::mutex> lock_;
};

// Kernels on arrays: what ops.py calls. They allocate; a receiver does not.

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
      t.pool().each(s.devices,
                    [&](index_t k, int) { t.kernels().gather(t.view(), k, in.get(), z.get() + k * s.channel()); });
    }
  }
  merge_coefficients(s, s.devices, z.get(), out.mutable_data());
}

void gather(Transform& t, const Array<cfloat>& r, const Array<std::int64_t>& devices, Array<cfloat>& out) {
  const Shape& s = t.shape();
  const index_t count = devices.shape(0);
  const Floats in = floats(s.measurements() * s.point()), z = floats(count * s.channel());
  split(s, r.data(), in.get());
  {
    const Alone alone(t);
    const std::int64_t* device = devices.data();
    t.pool().each(
        count, [&](index_t a, int) { t.kernels().gather(t.view(), device[a], in.get(), z.get() + a * s.channel()); });
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
  t.energy(in.get(), {0, nullptr, nullptr}, nullptr, e.get());
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
                           const Array<float>& eigenvalue, const Array<float>& multiplicity) {
  const auto list = [](const auto& a) { return std::vector(a.data(), a.data() + a.size()); };
  if (product.size() > ActivityView::kMostProducts || log_power_weight.size() > ActivityView::kMostPowers)
    throw std::invalid_argument("activity mixture: too many components");
  return {list(product), list(weight), list(log_power_weight), list(eigenvalue), list(multiplicity), list(index)};
}

// Log-likelihood ratios [K] from energies [K, groups, M] and null [groups, M].
void activity_llr(const ActivityPlan& plan, const Array<float>& energy, const Array<float>& null, Array<float>& out,
                  int threads, const py::object& isa) {
  const std::string name = isa.is_none() ? "" : isa.cast<std::string>();
  const KernelTable& kernels = table(isa.is_none() ? nullptr : name.c_str());
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
    kernels.activity_table(s, groups, task, view, base.get(), slope.get(), offset.get());
  });
  pool.each((k + kActivityChunk - 1) / kActivityChunk, [&](index_t task, int) {
    kernels.activity(s, groups, task * kActivityChunk, std::min((task + 1) * kActivityChunk, k), view, e.get(),
                     slope.get(), offset.get(), llr);
  });
}

// The beam network with its packed weights.
class BeamNetwork {
 public:
  // layers: weight and bias in order of evaluation; depthwise ones have `taps` columns and come first in every block.
  BeamNetwork(index_t subcarriers, index_t width, index_t hidden, index_t taps, std::vector<std::int32_t> dilation,
              const Array<float>& eigenvalue, const std::vector<std::pair<Array<float>, Array<float>>>& layers)
      : dilation_(std::move(dilation)), eigenvalue_(eigenvalue.data(), eigenvalue.data() + eigenvalue.size()) {
    const auto blocks = static_cast<index_t>(dilation_.size());
    for (std::int32_t d : dilation_)
      if (taps % 2 != 1 || d < 1 || taps / 2 * d > kHalo)
        throw std::invalid_argument("network: too wide a convolution");
    if (static_cast<index_t>(layers.size()) != 3 * blocks + 2)
      throw std::invalid_argument("network: wrong number of layers");
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const auto& [weight, bias] = layers[i];
      const bool first_of_block = i % 3 == 1 && i + 1 < layers.size();
      (first_of_block ? pack_depthwise : pack_dense)(weight.shape(0), weight.shape(1), weight.data(), bias.data(),
                                                     packed_);
    }
    view_ = {static_cast<index_t>(eigenvalue_.size()),
             subcarriers,
             0,
             0,
             width,
             hidden,
             blocks,
             taps,
             nullptr,
             nullptr,
             nullptr};
  }

  BeamNetworkView view(index_t antennas) const {
    BeamNetworkView v = view_;
    v.antennas = antennas;
    v.lanes = padded(antennas);
    v.dilation = dilation_.data();
    v.eigenvalue = eigenvalue_.data();
    v.weights = packed_.data();
    return v;
  }

 private:
  std::vector<std::int32_t> dilation_;
  std::vector<float> eigenvalue_, packed_;
  BeamNetworkView view_;
};

// A receiver's state with the scratch of its native denoiser.
class Receiver {
 public:
  Receiver(Transform& transform, ActivityPlan activity, std::vector<float> gram, const py::object& rotation,
           index_t capacity, const BeamNetwork* network)
      : stmp_(transform, std::move(activity), std::move(gram), rotation_list(rotation), capacity), network_(network) {
    if (!network_) return;
    for (int i = 0; i < transform.pool().size(); ++i)
      scratch_.push_back(floats(network_->view(transform.shape().antennas).scratch()));
  }

  void network() {
    Transform& t = stmp_.transform();
    const Shape& s = t.shape();
    const BeamNetworkView v = network_->view(s.antennas);
    t.pool().each(stmp_.candidates(), [&](index_t a, int thread) {
      t.kernels().network(v, stmp_.z() + a * s.channel(), stmp_.noise() + a * s.lanes,
                          scratch_[static_cast<std::size_t>(thread)].get(), stmp_.mean() + a * s.channel(),
                          stmp_.var() + a * s.lanes);
    });
  }

  Stmp& stmp() { return stmp_; }

 private:
  static std::vector<cfloat> rotation_list(const py::object& rotation) {
    if (rotation.is_none()) return {};
    const auto values = rotation.cast<Array<cfloat>>();
    return {values.data(), values.data() + values.size()};
  }

  Stmp stmp_;
  const BeamNetwork* network_;
  std::vector<Floats> scratch_;
};

Sizes coefficients(const Shape& s) { return {2 * s.coefficients, s.lanes}; }
Sizes beams(const Shape& s) { return {s.lanes}; }

// A property that shows an array over candidates, [A, ...].
template <class Get>
auto candidate_view(Get get, Sizes (*rest)(const Shape&)) {
  return [get, rest](py::object self) {
    Stmp& s = self.cast<Receiver&>().stmp();
    Sizes sizes = rest(s.transform().shape());
    sizes.insert(sizes.begin(), s.candidates());
    return view(std::move(sizes), std::invoke(get, s), self);
  };
}

using release = py::call_guard<py::gil_scoped_release>;

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "Native kernels of jadce-fast";
  m.attr("__version__") = JADCE_VERSION;
  m.attr("compiler") = __VERSION__;
  m.def("isa", [] { return std::string(table().name); }, "Instruction set of the kernels in use");
  m.def(
      "variants",
      [] {
        std::vector<std::string> names;
        for (const char* name : {"generic", "avx2", "avx512"}) {
          try {
            names.emplace_back(table(name).name);
          } catch (const std::invalid_argument&) {
          }
        }
        return names;
      },
      "Instruction sets that this processor runs");

  m.def(
      "mean_square",
      [](const Array<cfloat>& y) {
        double total = 0;
        for (index_t i = 0; i < y.size(); ++i) total += std::norm(std::complex<double>(y.data()[i]));
        return total / static_cast<double>(y.size());
      },
      py::arg("y").noconvert(), "Mean |y|^2 in double precision, without waking the threads of a BLAS");
#if defined(JADCE_CUDA)
  m.attr("cuda_built") = true;
  cuda::bind_kernels(m);
#else
  m.attr("cuda_built") = false;
  m.def("cuda_devices", [] { return std::pair(0, std::string("built without CUDA (no nvcc was found)")); });
#endif

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

  bind_langevin(m);

  py::class_<ActivityPlan>(m, "ActivityPlan", py::dynamic_attr())
      .def(py::init(&make_activity), py::kw_only(), py::arg("product").noconvert(), py::arg("weight").noconvert(),
           py::arg("log_power_weight").noconvert(), py::arg("index").noconvert(), py::arg("eigenvalue").noconvert(),
           py::arg("multiplicity").noconvert());
  m.def("activity_llr", &activity_llr, py::arg("plan"), py::arg("energy").noconvert(), py::arg("null").noconvert(),
        py::arg("out").noconvert(), py::arg("threads"), py::arg("isa") = py::none());

  py::class_<BeamNetwork>(m, "BeamNetwork")
      .def(py::init<index_t, index_t, index_t, index_t, std::vector<std::int32_t>, const Array<float>&,
                    const std::vector<std::pair<Array<float>, Array<float>>>&>(),
           py::kw_only(), py::arg("subcarriers"), py::arg("width"), py::arg("hidden"), py::arg("taps"),
           py::arg("dilation"), py::arg("eigenvalue").noconvert(), py::arg("layers"));

  py::class_<Receiver>(m, "Receiver")
      .def(py::init<Transform&, ActivityPlan, std::vector<float>, const py::object&, index_t, const BeamNetwork*>(),
           py::keep_alive<1, 2>(), py::keep_alive<1, 7>(), py::kw_only(), py::arg("transform"), py::arg("activity"),
           py::arg("gram"), py::arg("rotation"), py::arg("capacity"), py::arg("network").none(true))
      .def(
          "start",
          [](Receiver& r, const Array<cfloat>& y, float scale, float noise, bool predicted) {
            const cfloat* data = y.data();
            py::gil_scoped_release free;
            r.stmp().start(data, scale, noise, predicted);
          },
          py::arg("y").noconvert(), py::arg("scale"), py::arg("noise"), py::arg("predicted"))
      .def(
          "observe", [](Receiver& r) { return r.stmp().observe(); }, release())
      .def(
          "screen",
          [](Receiver& r, float log_odds, float threshold, bool everyone) {
            return r.stmp().screen(log_odds, threshold, everyone);
          },
          py::arg("log_odds"), py::arg("threshold"), py::arg("everyone"), release())
      .def(
          "gather", [](Receiver& r) { r.stmp().gather(); }, release())
      .def("hold", [](Receiver& r) { return r.stmp().hold(); })
      .def_property_readonly("settled", [](Receiver& r) { return r.stmp().settled(); })
      .def(
          "gaussian", [](Receiver& r) { r.stmp().gaussian(); }, release())
      .def("network", &Receiver::network, release())
      .def(
          "update", [](Receiver& r, float gamma, float caution) { r.stmp().update(gamma, caution); }, py::arg("gamma"),
          py::arg("caution"), release())
      .def(
          "keep", [](Receiver& r) { r.stmp().keep(); }, release())
      .def(
          "decide", [](Receiver& r) { return r.stmp().decide(); }, release())
      .def(
          "channels",
          [](Receiver& r, Array<cfloat>& channel, Array<float>& var) {
            cfloat* c = channel.mutable_data();
            float* v = var.mutable_data();
            py::gil_scoped_release free;
            r.stmp().channels(c, v);
          },
          py::arg("channel").noconvert(), py::arg("var").noconvert())
      .def_property_readonly("residual_var", [](Receiver& r) { return r.stmp().residual_var(); })
      .def_property_readonly("overflow", [](Receiver& r) { return r.stmp().overflow(); })
      // Views of native memory; mean and var move when an output is kept, so ask anew in every iteration.
      .def_property_readonly("devices", candidate_view(&Stmp::device, [](const Shape&) { return Sizes{}; }))
      .def_property_readonly("z", candidate_view(&Stmp::z, coefficients))
      .def_property_readonly("noise", candidate_view(&Stmp::noise, beams))
      .def_property_readonly("mean", candidate_view(&Stmp::mean, coefficients))
      .def_property_readonly("var", candidate_view(&Stmp::var, beams))
      .def_property_readonly("kept_posterior",
                             [](py::object self) {
                               Stmp& s = self.cast<Receiver&>().stmp();
                               return view({s.transform().shape().devices}, s.kept_posterior(), self);
                             })
      .def(
          "decided",
          [](py::object self, index_t count) { return view({count}, self.cast<Receiver&>().stmp().decided(), self); },
          py::arg("count"));
}
