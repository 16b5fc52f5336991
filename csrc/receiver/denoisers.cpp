#include "receiver/denoisers.hpp"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include "kernels/beam_network/beam_network_pack.hpp"
#include "receiver/layout.hpp"

namespace jadce {

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
    if (taps % 2 != 1 || d < 1 || taps / 2 * d > kHalo) throw std::invalid_argument("network: too wide a convolution");
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

BeamNetworkView BeamNetwork::view(index_t antennas) const {
  return {.coefficients = static_cast<index_t>(eigenvalue_.size()),
          .subcarriers = subcarriers_,
          .antennas = antennas,
          .lanes = padded(antennas),
          .width = width_,
          .hidden = hidden_,
          .blocks = static_cast<index_t>(dilation_.size()),
          .taps = taps_,
          .dilation = dilation_.data(),
          .eigenvalue = eigenvalue_.data(),
          .weights = packed_.get()};
}

Denoiser network_denoiser(Transform& transform, const BeamNetwork& network) {
  const BeamNetworkView view = network.view(transform.shape().antennas);
  const auto kernel = network.kernel(transform.kernels());
  auto scratch = std::make_shared<std::vector<Floats>>();
  for (int i = 0; i < transform.pool().size(); ++i) scratch->push_back(floats(network.scratch(view.antennas)));
  return [&transform, view, kernel, scratch](const DenoiserTask& task) {
    const index_t size = task.shape.channel(), lanes = task.shape.lanes;
    transform.pool().each(task.count, [&](index_t a, int thread) {
      kernel(view, task.z + a * size, task.noise + a * lanes, (*scratch)[static_cast<std::size_t>(thread)].get(),
             task.mean + a * size, task.var + a * lanes);
    });
  };
}

}  // namespace jadce
