// The shipped score network on one device (python/jadce_fast/priors/beam_network.py is the contract), in single
// precision (beam_network.cpp) or with bfloat16 operands (beam_network_bf16.cpp).
//
// In single precision beams are the SIMD lanes. All activations of a device stay in the first-level cache; weights
// stream from the second.
#pragma once

#include <cstdint>

#include "core/shapes.hpp"

namespace jadce {

inline constexpr index_t kOutputs = 8;         // output channels computed together; weights are packed for it
inline constexpr index_t kTile = 16;           // rows and columns of a tile of a bfloat16 product
inline constexpr index_t kFurthest = 1 << 14;  // beams from one to the furthest that a block reads
inline constexpr index_t kHalo = 16;  // the number of beams repeated on either side of a row is a multiple of it

// Columns of the tiles of a layer with so many outputs, and numbers of a row that is the operand of the next one: whole
// words of two inputs, whole tiles. What the layer does not have is zero.
JADCE_INLINE index_t tiled(index_t outputs) { return (outputs + kTile - 1) / kTile * kTile; }
JADCE_INLINE index_t operand(index_t inputs) { return (inputs + 2 * kTile - 1) / (2 * kTile) * (2 * kTile); }

struct BeamNetworkView {
  index_t coefficients, subcarriers, antennas, lanes;  // P, N, M, Mp
  index_t width, hidden, blocks, taps;
  index_t imaginary;             // rows from the real parts of z and h to the imaginary ones, P or more
  index_t halo;                  // beams repeated on either side of a row, at least taps / 2 times every dilation
  const std::int32_t* dilation;  // [blocks]
  const float* eigenvalue;       // [P]
  // Layers in order of evaluation. Dense: bias [O'], weight [O' / 8, C, 8], O' = O rounded up to kOutputs.
  // Depthwise: bias [C], weight [C, taps]. With bfloat16 operands, C' = tiled(C), O' = tiled(O). Dense: bias [O'],
  // weight [O' / 16, operand(C) / 2, 16] words of two inputs. Depthwise: bias [C'], weight [taps, C'].
  const float* weights;

  JADCE_INLINE index_t row() const { return lanes + 2 * halo; }
  JADCE_INLINE index_t features() const { return 3 * coefficients + 1; }
  JADCE_INLINE index_t outputs() const { return 2 * coefficients + 1; }
  // Floats of scratch, zero before the first use: features or outputs, trunk, depthwise result, hidden.
  JADCE_INLINE index_t scratch() const { return (features() + 2 * width + hidden + 4 * kOutputs) * row(); }
  JADCE_INLINE index_t scratch_bf16() const {
    const index_t ends = 3 * operand(features()) / 2 + operand(outputs());
    return lanes * (ends + operand(width) / 2 + operand(hidden) / 2) + (lanes + 2 * halo) * operand(width);
  }
};

}  // namespace jadce
