// The shipped score network on one device (python/jadce_fast/priors/beam_network.py is the contract).
//
// Beams are the SIMD lanes and all activations of a device stay in the first-level cache; weights stream from the
// second.
#pragma once

#include <cstdint>

#include "core/shapes.hpp"

namespace jadce {

inline constexpr index_t kOutputs = 8;  // output channels computed together; weights are packed for it
inline constexpr index_t kHalo = 16;    // beams repeated on either side of a row, at least taps / 2

struct BeamNetworkView {
  index_t coefficients, subcarriers, antennas, lanes;  // P, N, M, Mp
  index_t width, hidden, blocks, taps;
  const std::int32_t* dilation;  // [blocks]
  const float* eigenvalue;       // [P]
  // Layers in order of evaluation. Dense: bias [O'], weight [O' / 8, C, 8], O' = O rounded up to kOutputs.
  // Depthwise: bias [C], weight [C, taps].
  const float* weights;

  JADCE_INLINE index_t row() const { return lanes + 2 * kHalo; }
  JADCE_INLINE index_t features() const { return 3 * coefficients + 1; }
  JADCE_INLINE index_t outputs() const { return 2 * coefficients + 1; }
  // Floats of scratch: features or outputs, trunk, depthwise result, hidden.
  JADCE_INLINE index_t scratch() const { return (features() + 2 * width + hidden + 4 * kOutputs) * row(); }
};

}  // namespace jadce
