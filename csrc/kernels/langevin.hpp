// Annealed Langevin dynamics for Y = X P + Z (docs/langevin.md). With P = U S V^H the state of a chain is A = X U,
// where likelihood and step are diagonal. Columns and rotated coordinates of one chain are [N, 2, Mp].
#pragma once

#include "kernels/shapes.hpp"

namespace jadce {

struct RotationView {
  index_t devices;        // N
  index_t antennas;       // M
  index_t lanes;          // Mp
  index_t padded;         // N rounded up to a multiple of 4
  const float* forward;   // U as [n, 2, padded over j]
  const float* backward;  // U^H as [j, 2, padded over n]

  JADCE_INLINE index_t chain() const { return 2 * devices * lanes; }  // floats of one chain
};

// One level: a_j += pull_j (d_j - a_j) - decay_j a_j + force_j y_j + noise_j zeta_j, all [padded]; d is the denoised
// state, rotated.
struct LevelView {
  const float* pull;
  const float* decay;
  const float* force;
  const float* noise;
};

// Exact posterior of a noisy column under a mixture of powers: jadce_fast.cell.CellPrior.tables.
struct MixtureView {
  index_t components;  // a multiple of 16; padding has an offset of -1e30
  float noise_var;
  const float* rate;
  const float* offset;
  const float* gain;
};

struct PosteriorView {
  float* mean;         // [N, 2, Mp]
  float* variance;     // [N], per entry
  float* probability;  // [N]
};

struct NoiseKey {
  std::uint64_t seed;
  std::uint32_t chain;
  std::uint32_t step;
};

}  // namespace jadce
