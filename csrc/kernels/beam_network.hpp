// The shipped score network on one device: circular convolutions over beams (python/jadce_fast/network.py is the contract).
//
// Beams are the SIMD lanes and all activations of a device stay in the first-level cache; weights stream from the second.
#pragma once

#include "kernels/shapes.hpp"

namespace jadce {

inline constexpr index_t kOutputs = 8;  // output channels computed together; weights are packed for it
inline constexpr index_t kHalo = 16;    // beams repeated on either side of a row, at least taps / 2

struct BeamNetworkView {
  index_t coefficients, subcarriers, antennas, lanes;  // P, N, M, Mp
  index_t width, hidden, blocks, taps;
  const float* eigenvalue;  // [P]
  const float* weights;     // packed layers in order of evaluation: bias [O'], weights [O' / 8, C, taps, 8], O' = O rounded up

  index_t row() const { return lanes + 2 * kHalo; }
  index_t features() const { return 3 * coefficients + 1; }
  index_t outputs() const { return 2 * coefficients + 1; }
  // Floats of scratch: features or outputs, trunk, hidden.
  index_t scratch() const { return (features() + width + hidden + 3 * kOutputs) * row(); }
};

}  // namespace jadce
