#include "receiver/denoisers.hpp"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include "kernels/beam_network/beam_network_pack.hpp"
#include "receiver/layout.hpp"

namespace jadce {

namespace {}  // namespace

Denoiser gaussian_denoiser(Transform& transform) {
  return [&transform](const DenoiserTask& task) {
    const index_t size = task.shape.channel(), lanes = task.shape.lanes;
    transform.pool().each(task.count, [&](index_t a, int) {
      transform.kernels().gaussian(task.shape, task.z + a * size, task.noise + a * lanes, task.mean + a * size,
                                   task.var + a * lanes);
    });
  };
}

BeamNetwork::BeamNetwork(index_t subcarriers, index_t taps, std::vector<std::int32_t> dilation,
                         std::vector<float> eigenvalue, const std::vector<Layer>& layers, bool bf16)
    : subcarriers_(subcarriers),
      taps_(taps),
      dilation_(std::move(dilation)),
      bf16_(bf16),
      eigenvalue_(std::move(eigenvalue)) {
  for (std::int32_t d : dilation_)
    if (taps % 2 != 1 || d < 1 || taps / 2 * d > kFurthest)
      throw std::invalid_argument("network: too wide a convolution");
  if (dilation_.empty() || layers.size() != 3 * dilation_.size() + 2)
    throw std::invalid_argument("network: wrong number of layers");
  width_ = layers[0].outputs;
  hidden_ = layers[2].outputs;
  std::vector<float> packed;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Layer& layer = layers[i];
    const bool first_of_block = i % 3 == 1 && i + 1 < layers.size();
    (first_of_block ? bf16 ? pack_depthwise_bf16 : pack_depthwise
     : bf16         ? pack_dense_bf16
                    : pack_dense)(layer.outputs, layer.inputs, layer.weight, layer.bias, packed);
  }
  packed_ = floats(static_cast<index_t>(packed.size()));  // aligned, for tiles
  std::copy(packed.begin(), packed.end(), packed_.get());
}

BeamNetworkView BeamNetwork::view(index_t antennas, index_t coefficients) const {
  if (coefficients % static_cast<index_t>(eigenvalue_.size()) != 0)
    throw std::invalid_argument("network: coefficients of another basis");
  return {.coefficients = static_cast<index_t>(eigenvalue_.size()),
          .subcarriers = subcarriers_,
          .antennas = antennas,
          .lanes = padded(antennas),
          .width = width_,
          .hidden = hidden_,
          .blocks = static_cast<index_t>(dilation_.size()),
          .taps = taps_,
          .imaginary = coefficients,
          .halo = (taps_ / 2 * *std::max_element(dilation_.begin(), dilation_.end()) + kHalo - 1) / kHalo * kHalo,
          .dilation = dilation_.data(),
          .eigenvalue = eigenvalue_.data(),
          .weights = packed_.get()};
}

Denoiser network_denoiser(Transform& transform, const BeamNetwork& network) {
  const BeamNetworkView view = network.view(transform.shape().antennas, transform.shape().coefficients);
  const auto kernel = network.kernel(transform.kernels());
  const index_t lanes = view.lanes, rest = (network.scratch(view) + kHalo - 1) / kHalo * kHalo;  // aligned
  auto scratch = std::make_shared<std::vector<Floats>>();
  for (int i = 0; i < transform.pool().size(); ++i) scratch->push_back(floats(rest + lanes));
  return [&transform, view, kernel, scratch, lanes, rest](const DenoiserTask& task) {
    const index_t size = task.shape.channel();
    transform.pool().each(task.count, [&](index_t a, int thread) {
      float* const own = (*scratch)[static_cast<std::size_t>(thread)].get();
      float *const var = task.var + a * lanes, *const of_band = own + rest;
      for (index_t p = 0; p < view.imaginary; p += view.coefficients) {
        const index_t band = a * size + p * lanes;
        kernel(view, task.z + band, task.noise + a * lanes, own, task.mean + band, p == 0 ? var : of_band);
        for (index_t b = 0; p > 0 && b < lanes; ++b) var[b] += of_band[b];
      }
    });
  };
}

}  // namespace jadce
