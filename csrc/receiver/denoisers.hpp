// Module B's channel denoisers that run natively.
#pragma once

#include <cstdint>
#include <vector>

#include "core/aligned.hpp"
#include "kernels/beam_network/beam_network.hpp"
#include "receiver/stmp.hpp"
#include "receiver/transform.hpp"

namespace jadce {

// The posterior of an i.i.d. Gaussian channel, in closed form (BG-TMP).
Denoiser gaussian_denoiser(Transform& transform);

// A layer of a beam network.
struct Layer {
  const float* weight;  // [outputs, inputs], of a depthwise one [channels, taps]
  const float* bias;    // [outputs] or [channels]
  index_t outputs, inputs;
};

// A beam network with packed weights (python/jadce_fast/priors/beam_network.py is the contract).
class BeamNetwork {
 public:
  // Throws std::invalid_argument if the convolutions are too wide for the kernel, or layers are missing: input, then
  // depthwise, expanding and mixing one of every block, then output.
  BeamNetwork(index_t subcarriers, index_t taps, std::vector<std::int32_t> dilation, std::vector<float> eigenvalue,
              const std::vector<Layer>& layers, bool bf16);

  // For channels of so many coefficients: those of the network for each of one or several bands.
  BeamNetworkView view(index_t antennas, index_t coefficients) const;
  // The kernel that computes it, in single precision or with bfloat16 operands, and the floats of its scratch.
  auto kernel(const KernelTable& table) const { return bf16_ ? table.network_bf16 : table.network; }
  index_t scratch(const BeamNetworkView& view) const { return bf16_ ? view.scratch_bf16() : view.scratch(); }

 private:
  index_t subcarriers_, width_, hidden_, taps_;
  std::vector<std::int32_t> dilation_;
  bool bf16_;
  std::vector<float> eigenvalue_;
  Floats packed_;
};

// `network`, which must outlive it, on the candidates of receivers with this transform, on each of their bands of as
// many coefficients as it has. Throws std::invalid_argument if these are not all.
Denoiser network_denoiser(Transform& transform, const BeamNetwork& network);

}  // namespace jadce
