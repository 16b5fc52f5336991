// Python's view of the turbo receiver: planned once, then one call a detection.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings/alone.hpp"
#include "bindings/arrays.hpp"
#include "bindings/recycled.hpp"
#include "bindings/register.hpp"
#include "loop/loop.hpp"
#include "receiver/denoisers.hpp"
#include "receiver/layout.hpp"
#include "receiver/stmp.hpp"

namespace py = pybind11;

namespace jadce::bindings {

namespace {

std::unique_ptr<BeamNetwork> make_network(index_t subcarriers, index_t taps, std::vector<std::int32_t> dilation,
                                          const Array<float>& eigenvalue,
                                          const std::vector<std::pair<Array<float>, Array<float>>>& layers, bool bf16) {
  std::vector<Layer> views;
  for (const auto& [weight, bias] : layers)
    views.push_back({weight.data(), bias.data(), weight.shape(0), weight.shape(1)});
  return std::make_unique<BeamNetwork>(subcarriers, taps, std::move(dilation), list(eigenvalue), views, bf16);
}

// The network on some devices, for tests and benchmarks: z (A, P, M), noise (A, M) -> mean (A, P, M), var (A, M).
std::pair<Array<cfloat>, Array<float>> run_network(const BeamNetwork& network, const Array<cfloat>& z,
                                                   const Array<float>& noise, const py::object& isa) {
  const std::string name = isa.is_none() ? "" : isa.cast<std::string>();
  const KernelTable& kernels = table(isa.is_none() ? nullptr : name.c_str());
  const index_t count = z.shape(0), m = z.shape(2), lanes = padded(m);
  const Shape s{count, 0, 0, m, z.shape(1), lanes};
  const BeamNetworkView view = network.view(m, s.coefficients);
  if (view.coefficients != s.coefficients) throw std::invalid_argument("z: expected the network's coefficients");
  const Floats in = floats(count * s.channel()), level = floats(count * lanes), scratch = floats(network.scratch(view));
  const Floats h = floats(count * s.channel()), error = floats(count * lanes);
  split_coefficients(s, count, z.data(), in.get());
  for (index_t a = 0; a < count; ++a) std::copy_n(noise.data(a, 0), m, level.get() + a * lanes);
  {
    const py::gil_scoped_release release;
    for (index_t a = 0; a < count; ++a)
      network.kernel(kernels)(view, in.get() + a * s.channel(), level.get() + a * lanes, scratch.get(),
                              h.get() + a * s.channel(), error.get() + a * lanes);
  }
  Array<cfloat> mean({count, s.coefficients, m});
  Array<float> var({count, m});
  merge_coefficients(s, count, h.get(), mean.mutable_data());
  for (index_t a = 0; a < count; ++a) std::copy_n(error.get() + a * lanes, m, var.mutable_data(a, 0));
  return {mean, var};
}

// Python's denoise(z (A, P, M), noise_var (A, M), devices (A,)) -> (mean (A, P, M), var (A, M)), with the interpreter's
// lock taken for it alone.
Denoiser python_denoiser(py::function denoise) {
  return [denoise = std::move(denoise)](const DenoiserTask& task) {
    const py::gil_scoped_acquire lock;
    const Shape& s = task.shape;
    Array<cfloat> z({task.count, s.coefficients, s.antennas});
    Array<float> noise({task.count, s.antennas});
    Array<std::int64_t> devices(task.count);
    merge_coefficients(s, task.count, task.z, z.mutable_data());
    for (index_t a = 0; a < task.count; ++a) {
      std::copy_n(task.noise + a * s.lanes, s.antennas, noise.mutable_data(a, 0));
      devices.mutable_at(a) = task.device[a];
    }
    const auto [mean, var] = denoise(z, noise, devices).cast<std::pair<Array<cfloat>, Array<float>>>();
    split_coefficients(s, task.count, mean.data(), task.mean);
    for (index_t a = 0; a < task.count; ++a) std::copy_n(var.data(a, 0), s.antennas, task.var + a * s.lanes);
  };
}

// Module B's denoiser as Python names it: None for the Gaussian one, a network, or a function.
Denoiser make_denoiser(Transform& transform, const py::object& given) {
  if (given.is_none()) return gaussian_denoiser(transform);
  if (py::isinstance<BeamNetwork>(given)) return network_denoiser(transform, given.cast<const BeamNetwork&>());
  return python_denoiser(given.cast<py::function>());
}

// A planned receiver with its denoisers.
class Receiver {
 public:
  Receiver(Transform& transform, StmpPlan plan, std::vector<Denoiser> denoisers)
      : transform_(transform), stmp_(transform, std::move(plan)), denoisers_(std::move(denoisers)) {}

  // Results by name.
  py::dict detect(const Array<cfloat>& y, double noise_var, const NoiseCovariance& covariance) {
    const Alone alone(transform_);
    stmp_.detect(y.data(), noise_var, covariance, denoisers_);
    return results();
  }

  // Results of the next block that arrives, with its number and the microseconds that they took since then, or None
  // when none will come.
  py::object next(Arrivals& arrivals, double noise_var, const NoiseCovariance& covariance, float deadline) {
    const py::gil_scoped_release release;  // a block that is complete does not wait for the interpreter
    if (!arrivals.next()) {
      const py::gil_scoped_acquire lock;
      return py::none();
    }
    const std::lock_guard alone(transform_.mutex());
    stmp_.detect(arrivals.taken(), noise_var, covariance, denoisers_, deadline - arrivals.after(deadline));
    py::dict found = results();
    const py::gil_scoped_acquire lock;
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - arrivals.taken().at;
    found["block"] = arrivals.taken().number;
    found["latency"] = took.count();
    arrivals.took_after(static_cast<float>(took.count() - 1e6 * stmp_.looped()));
    return found;
  }

  std::unique_ptr<Arrivals> arrivals() const { return std::make_unique<Arrivals>(transform_, stmp_.rotation()); }

  // Without the interpreter's lock.
  py::dict results() {
    const Shape& s = stmp_.shape();
    const py::gil_scoped_acquire lock;
    const index_t count = stmp_.found();
    Array<float> activity(s.devices), var(count);
    Array<std::int64_t> active(count);
    Array<cfloat> channels = memory_.take<cfloat>({count, s.subcarriers, s.antennas});
    std::copy_n(stmp_.activity(), s.devices, activity.mutable_data());
    std::copy_n(stmp_.active(), count, active.mutable_data());
    cfloat* const h = channels.mutable_data();
    float* const v = var.mutable_data();
    {
      const py::gil_scoped_release release;
      stmp_.channels(h, v);
    }
    const std::vector<Stmp::Step>& steps = stmp_.history();
    Array<double> history({static_cast<index_t>(steps.size()), index_t{2}});
    double* number = history.mutable_data();
    for (const auto& step : steps) {
      *number++ = step.error_var;
      *number++ = static_cast<double>(step.candidates);
    }
    const Control& c = stmp_.control();
    return py::dict(py::arg("activity") = activity, py::arg("active") = active, py::arg("channels") = channels,
                    py::arg("channel_var") = var, py::arg("iterations") = c.iteration,
                    py::arg("converged") = c.converged != 0, py::arg("noise_var") = stmp_.remaining(),
                    py::arg("stopped") = c.stopped, py::arg("tone") = stmp_.tone(),
                    py::arg("range") = py::make_tuple(c.least, c.most), py::arg("overflow") = c.kept_left_out,
                    py::arg("history") = history);
  }

  py::dict seconds() const {
    py::dict found;
    for (std::size_t i = 0; i < Stmp::kParts; ++i) found[Stmp::kPartNames[i]] = stmp_.seconds()[i];
    return found;
  }

 private:
  Transform& transform_;
  Stmp stmp_;
  std::vector<Denoiser> denoisers_;
  Recycled memory_;  // of results
};

std::unique_ptr<Receiver> make_receiver(Transform& transform, const ActivityPlan& activity, const Array<float>& gram,
                                        const py::object& rotation, const Array<double>& amplitude, index_t capacity,
                                        const Rules& rules, double log_odds, bool learn_rate, double power,
                                        double expected, const py::tuple& denoisers) {
  if (denoisers.empty()) throw py::value_error("denoisers: expected one at least");
  std::vector<Denoiser> members;
  for (const py::handle& given : denoisers)
    members.push_back(make_denoiser(transform, py::reinterpret_borrow<py::object>(given)));
  return std::make_unique<Receiver>(transform,
                                    StmpPlan{.activity = activity,
                                             .gram = list(gram),
                                             .rotation = list_or_empty<cfloat>(rotation),
                                             .amplitude = list(amplitude),
                                             .capacity = capacity,
                                             .rules = rules,
                                             .log_odds = static_cast<float>(log_odds),
                                             .learn_rate = learn_rate,
                                             .power = power,
                                             .expected = expected},
                                    std::move(members));
}

}  // namespace

void register_receiver(py::module_& m) {
  py::class_<BeamNetwork>(m, "BeamNetwork")
      .def(py::init(&make_network), py::kw_only(), py::arg("subcarriers"), py::arg("taps"), py::arg("dilation"),
           py::arg("eigenvalue").noconvert(), py::arg("layers"), py::arg("bf16"))
      .def("denoise", &run_network, py::arg("z").noconvert(), py::arg("noise_var").noconvert(),
           py::arg("isa") = py::none());
  py::class_<NoiseCovariance>(m, "NoiseCovariance")
      .def(py::init<>())
      .def(py::init([](const Array<cfloat>& covariance, const Array<cfloat>& inverse, const Array<float>& unmix,
                       const Array<float>& level) {
             return NoiseCovariance{list(covariance), list(inverse), list(unmix), list(level)};
           }),
           py::kw_only(), py::arg("covariance").noconvert(), py::arg("inverse").noconvert(),
           py::arg("unmix").noconvert(), py::arg("level").noconvert());
  py::class_<Arrivals>(m, "Arrivals")
      .def(
          "push",
          [](Arrivals& arrivals, const Array<cfloat>& y, bool wait) {
            const py::gil_scoped_release release;
            arrivals.push(y.data(), y.shape(0), wait);
          },
          py::arg("y").noconvert(), py::arg("wait"))
      .def("close", &Arrivals::close)
      .def("counts", [](Arrivals& arrivals) {
        const Arrivals::Counts counts = arrivals.counts();
        return py::make_tuple(counts.complete, counts.dropped, counts.waited);
      });
  py::class_<Receiver>(m, "Receiver")
      .def(py::init(&make_receiver), py::keep_alive<1, 2>(), py::keep_alive<1, 13>(), py::kw_only(),
           py::arg("transform"), py::arg("activity"), py::arg("gram").noconvert(), py::arg("rotation"),
           py::arg("amplitude").noconvert(), py::arg("capacity"), py::arg("rules"), py::arg("log_odds"),
           py::arg("learn_rate"), py::arg("power"), py::arg("expected"), py::arg("denoisers"))
      .def("seconds", &Receiver::seconds)
      .def("detect", &Receiver::detect, py::arg("y").noconvert(), py::arg("noise_var"), py::arg("covariance"))
      .def("arrivals", &Receiver::arrivals, py::keep_alive<0, 1>())
      .def("next", &Receiver::next, py::arg("arrivals"), py::arg("noise_var"), py::arg("covariance"),
           py::arg("deadline"));
  m.def(
      "explained_remainder",
      [](const Rules& rules, float taken, float errors, float excess) {
        const Remainder range = explained_remainder(rules, taken, errors, excess);
        return std::pair(range.least, range.most);
      },
      py::kw_only(), py::arg("rules"), py::arg("taken"), py::arg("errors"), py::arg("excess"));
}

}  // namespace jadce::bindings
