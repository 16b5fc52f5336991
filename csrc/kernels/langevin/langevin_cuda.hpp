// Chains of annealed Langevin dynamics on a GPU; docs/langevin.md and langevin.hpp. Conventions as in
// pilot_transform_cuda.hpp.
//
// A state belongs to chain f = b C + c of received block b; kernels work on the `rows` chains that `chain` lists.
// The energies of a state come in parts, one for every `langevin_tile` antennas.
#pragma once

#include "core/complex_cuda.hpp"

namespace jadce::cuda {

// Antennas that one thread block works on, a power of two; zero if there are too many devices for any.
int langevin_tile(int devices, int antennas);

// `steps` steps of one level, x <- keep x + shift D + (D or x) matrix + force + noise, with D the exact posterior mean
// under the mixture unless `mean` is given. States and energies alternate between two arrays, starting from x and
// energy: after an odd number of steps the result is in the others.
struct LangevinStepsArgs {
  const Complex* matrix;      // [B, K, K], or null: none
  const Complex* factor;      // [B, K, K], upper triangular, or null: the noise is white
  const Complex* force;       // [B, K, M], or null: none
  const float* level;         // [B, 4]: keep, shift, standard deviation of white noise, noise variance of the state
  const float* mixture;       // [B, 3, G]: rate, offset, gain
  const Complex* mean;        // [B C, K, M], D, or null
  const std::int32_t* chain;  // [rows]
  int rows, chains, devices, antennas, components;  // rows, C, K, M, G
  bool denoised;                                    // the matrix works on D; false: on x
  std::uint64_t seed;
  std::uint32_t step;  // step i draws the noise of counter step + i
  int steps;
  Complex* x;           // [B C, K, M]
  float* energy;        // [B C, parts, K]
  Complex* other_x;     // [B C, K, M]
  float* other_energy;  // [B C, parts, K]
};
void langevin_steps(const LangevinStepsArgs&, void* stream);

// Exact posteriors of all columns, added to what is there.
struct LangevinPosteriorArgs {
  const Complex* x;                                 // [B C, K, M]
  const float* energy;                              // [B C, parts, K]
  const float* level;                               // [B, 4], as for the steps
  const float* mixture;                             // [B, 3, G]
  const std::int32_t* chain;                        // [rows]
  int rows, chains, devices, antennas, components;  // rows, C, K, M, G
  Complex* mean;                                    // [B C, K, M]
  float* power;                                     // [B C, K], |mean|^2 / M + variance
  float* probability;                               // [B C, K]
};
void langevin_posterior(const LangevinPosteriorArgs&, void* stream);

// Chains that diverged: to those before, the ones with a mean power of the bound and more, or none, are added.
inline constexpr int kSpreadParts = 16;
struct LangevinWatchArgs {
  const Complex* x;                       // [B C, K, M]
  const float* energy;                    // [B C, parts, K]
  const float* bound;                     // [B]
  const std::int32_t* before;             // [B C], not zero for a chain that had diverged
  int blocks, chains, devices, antennas;  // B, C, K, M
  std::int32_t* after;                    // [B C]
  float* spread;                          // [B, kSpreadParts], adds up to the mean variance of an entry over the others
};
void langevin_watch(const LangevinWatchArgs&, void* stream);

// The noise itself, for tests: of counters (i, pair, chain, step).
struct LangevinNoiseArgs {
  std::uint64_t seed;
  std::uint32_t chain, step;
  int count, pairs;
  std::uint32_t* words;  // [count, pairs, 4]
  float* normals;        // [count, 2 pairs, 2]
};
void langevin_noise(const LangevinNoiseArgs&, void* stream);

}  // namespace jadce::cuda
