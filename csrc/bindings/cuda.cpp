#include "bindings/cuda.hpp"

#include <pybind11/numpy.h>

#include <complex>
#include <string>
#include <utility>
#include <vector>

#include "core/graph_cuda.hpp"
#include "kernels/activity/activity_cuda.hpp"
#include "kernels/beam_network/beam_network_cuda.hpp"
#include "kernels/beam_network/beam_network_pack.hpp"
#include "kernels/detection/detection_cuda.hpp"
#include "kernels/fft/fft.hpp"
#include "kernels/langevin/langevin_cuda.hpp"
#include "kernels/pilot_transform/pilot_transform_cuda.hpp"
#include "kernels/posterior/posterior_cuda.hpp"

namespace jadce::cuda {

using Floats = pybind11::array_t<float, pybind11::array::c_style>;

void bind_kernels(pybind11::module_& m) {
  m.def(
      "cuda_devices",
      [] {
        const char* message = "";
        const int count = device_count(&message);
        return std::pair(count, std::string(message));
      },
      "Number of CUDA devices, and why there is none");
  m.def(
      "fft_tables",
      [](index_t length) {
        const FftPlan plan(length);
        const auto array = [](const std::vector<cfloat>& v) {
          return pybind11::array_t<cfloat>(static_cast<pybind11::ssize_t>(v.size()), v.data());
        };
        return std::tuple(array(plan.twiddle()), array(plan.root()), array(plan.chirp()), array(plan.chirp_dft()));
      },
      "Twiddles, roots, chirp and the chirp's transform of a K-point transform");
  const auto pack = []<class T>(void (*function)(index_t, index_t, const float*, const float*, std::vector<T>&)) {
    return [function](const Floats& weight, const Floats& bias) {
      std::vector<T> packed;
      function(weight.shape(0), weight.shape(1), weight.data(), bias.data(), packed);
      return pybind11::array_t<T>(static_cast<pybind11::ssize_t>(packed.size()), packed.data());
    };
  };
  m.def("pack_dense", pack(&pack_dense), "One dense layer, weight (outputs, inputs) and bias, as the network wants it");
  m.def("pack_depthwise", pack(&pack_depthwise), "One depthwise layer, weight (channels, taps) and bias");
  m.def("pack_dense_tensor", pack(&pack_dense_tensor), "The same for tensor cores, in words of four bytes");
  m.def("pack_depthwise_tensor", pack(&pack_depthwise_tensor), "The same for the network on tensor cores");
  m.def("cuda_beam_network", by_address(&beam_network));
  m.def("cuda_beam_network_fits", &beam_network_fits, "Whether the network fits in single precision");
  m.def("cuda_beam_network_tensor", by_address(&beam_network_tensor));
  m.def("cuda_beam_network_tensor_fits", &beam_network_tensor_fits,
        "Whether that kernel takes (antennas, coefficients, width, hidden, blocks, taps)");
  m.def("cuda_gather", by_address(&gather));
  m.def("cuda_spectral", by_address(&spectral));
  m.def("fft_split", &fft_split, "K1 of a K-point transform in two passes");
  m.def("cuda_spectral_large", by_address(&spectral_large));
  m.def("cuda_residual", by_address(&residual));
  m.def("cuda_activity_table", by_address(&activity_table));
  m.def("cuda_activity", by_address(&activity));
  m.def("cuda_select_candidates", by_address(&select_candidates));
  m.def("cuda_direct", by_address(&direct));
  m.def("cuda_observe", by_address(&observe));
  m.def("langevin_tile", &langevin_tile, "Antennas of one thread block of langevin_steps");
  m.attr("langevin_spread_parts") = kSpreadParts;
  m.def("cuda_langevin_steps", by_address(&langevin_steps));
  m.def("cuda_langevin_posterior", by_address(&langevin_posterior));
  m.def("cuda_langevin_watch", by_address(&langevin_watch));
  m.def("cuda_langevin_noise", by_address(&langevin_noise));
  m.def("cuda_update", by_address(&update));
  m.def("cuda_set_input", by_address(&set_input));
  m.def("cuda_beamspace", by_address(&beamspace));
  m.def("cuda_begin", by_address(&begin));
  m.def("cuda_choose", by_address(&choose));
  m.def("cuda_decide", by_address(&decide));
  m.def("cuda_finish", by_address(&finish));

  pybind11::dict fields;
  for (const auto& [name, word] : kControlFields) fields[name] = word;
  m.attr("control_fields") = fields;
  m.attr("control_words") = kControlWords;
  m.attr("no_loop") = kNoLoop;
  const auto address = [](void* stream) { return reinterpret_cast<std::uintptr_t>(stream); };
  m.def("check_child", [](std::uintptr_t child) { check_child(reinterpret_cast<void*>(child)); });
  pybind11::class_<Graph>(m, "Graph", pybind11::module_local())
      .def(pybind11::init<bool>())
      .def("begin", [address](Graph& g) { return address(g.begin()); })
      .def("open_loop",
           [address](Graph& g) {
             const auto [stream, handle] = g.open_loop();
             return std::pair(address(stream), handle);
           })
      .def("add_if", [](Graph& g, std::uintptr_t child) { return g.add_if(reinterpret_cast<void*>(child)); })
      .def("close_loop", &Graph::close_loop)
      .def("end", &Graph::end)
      .def("launch", [](const Graph& g, std::uintptr_t stream) { g.launch(reinterpret_cast<void*>(stream)); });
}

}  // namespace jadce::cuda
