#include "cuda_bindings.hpp"

#include <pybind11/numpy.h>

#include <complex>
#include <string>
#include <utility>
#include <vector>

#include "kernels/activity_cuda.hpp"
#include "kernels/beam_network_cuda.hpp"
#include "kernels/beam_network_pack.hpp"
#include "kernels/fft.hpp"
#include "kernels/langevin_cuda.hpp"
#include "kernels/pilot_transform_cuda.hpp"
#include "kernels/posterior_cuda.hpp"

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
  const auto pack = [](auto function) {
    return [function](const Floats& weight, const Floats& bias) {
      std::vector<float> packed;
      function(weight.shape(0), weight.shape(1), weight.data(), bias.data(), packed);
      return Floats(static_cast<pybind11::ssize_t>(packed.size()), packed.data());
    };
  };
  m.def("pack_dense", pack(&pack_dense), "One dense layer, weight (outputs, inputs) and bias, as the network wants it");
  m.def("pack_depthwise", pack(&pack_depthwise), "One depthwise layer, weight (channels, taps) and bias");
  m.def("cuda_beam_network", by_address(&beam_network));
  m.def("cuda_gather", by_address(&gather));
  m.def("cuda_spectral", by_address(&spectral));
  m.def("fft_split", &fft_split, "K1 of a K-point transform in two passes");
  m.def("cuda_spectral_large", by_address(&spectral_large));
  m.def("cuda_residual", by_address(&residual));
  m.def("cuda_activity_table", by_address(&activity_table));
  m.def("cuda_activity", by_address(&activity));
  m.def("cuda_select_candidates", by_address(&select_candidates));
  m.def("cuda_track", by_address(&track));
  m.def("cuda_observe", by_address(&observe));
  m.def("cuda_normalise", by_address(&normalise));
  m.def("cuda_gaussian", by_address(&gaussian));
  m.def("cuda_extrinsic", by_address(&extrinsic));
  m.def("cuda_assign", by_address(&assign));
  m.def("cuda_combine", by_address(&combine));
  m.def("cuda_damp", by_address(&damp));
  m.def("langevin_tile", &langevin_tile, "Antennas of one thread block of langevin_steps");
  m.attr("langevin_spread_parts") = kSpreadParts;
  m.def("cuda_langevin_steps", by_address(&langevin_steps));
  m.def("cuda_langevin_posterior", by_address(&langevin_posterior));
  m.def("cuda_langevin_watch", by_address(&langevin_watch));
  m.def("cuda_langevin_noise", by_address(&langevin_noise));
}

}  // namespace jadce::cuda
