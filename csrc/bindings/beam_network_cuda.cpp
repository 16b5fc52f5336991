#include "kernels/beam_network/beam_network_cuda.hpp"

#include <pybind11/numpy.h>

#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/cuda.hpp"
#include "bindings/named.hpp"
#include "kernels/beam_network/beam_network_pack.hpp"

namespace jadce::cuda {

void register_beam_network_kernels(pybind11::module_& m) {
  using bindings::def_launcher, bindings::def_struct;
  def_struct(m, "NetworkShape", "The architecture of a beam network",
             JADCE_FIELDS(NetworkShape, width, hidden, blocks, taps));
  def_launcher(
      m, "beam_network", &beam_network,
      JADCE_FIELDS(BeamNetworkArgs, z, noise, eigenvalue, weights, dilation, shape, step, capacity, sizes, mean, var),
      JADCE_OPTIONAL(BeamNetworkArgs, count, enabled));
  def_launcher(
      m, "beam_network_tensor", &beam_network_tensor,
      JADCE_FIELDS(BeamNetworkArgs, z, noise, eigenvalue, weights, dilation, shape, step, capacity, sizes, mean, var),
      JADCE_OPTIONAL(BeamNetworkArgs, count, enabled));
  const auto fits = [&m](const char* name, bool (*function)(const NetworkShape&, int, int), const char* doc) {
    m.def(name, function, pybind11::kw_only(), pybind11::arg("shape"), pybind11::arg("coefficients"),
          pybind11::arg("antennas"), doc);
  };
  fits("beam_network_fits", &beam_network_fits, "Whether the network fits in single precision");
  fits("beam_network_tensor_fits", &beam_network_tensor_fits, "Whether the network fits on tensor cores");
  const auto pack = [&m]<class T>(const char* name,
                                  void (*function)(index_t, index_t, const float*, const float*, std::vector<T>&),
                                  const char* doc) {
    m.def(
        name,
        [function](const bindings::Array<float>& weight, const bindings::Array<float>& bias) {
          std::vector<T> packed;
          function(weight.shape(0), weight.shape(1), weight.data(), bias.data(), packed);
          return pybind11::array_t<T>(static_cast<pybind11::ssize_t>(packed.size()), packed.data());
        },
        pybind11::arg("weight"), pybind11::arg("bias"), doc);
  };
  pack("pack_dense", &pack_dense, "One dense layer, weight (outputs, inputs) and bias, as the network wants it");
  pack("pack_depthwise", &pack_depthwise, "One depthwise layer, weight (channels, taps) and bias");
  pack("pack_dense_tensor", &pack_dense_tensor, "The same for tensor cores, in words of four bytes");
  pack("pack_depthwise_tensor", &pack_depthwise_tensor, "The same for the network on tensor cores");
}

}  // namespace jadce::cuda
