// Chains of annealed Langevin dynamics on a GPU; docs/langevin.md and langevin.hpp. Conventions as in
// pilot_transform_cuda.hpp.
//
// A state belongs to chain f = b C + c of received block b; kernels work on the `rows` chains that `chain` lists.
#pragma once

#include "core/complex_cuda.hpp"

namespace jadce::cuda {

// Blocks of the cluster that works on one chain: more than one from compute capability 9.0 on.
int langevin_cluster();

// Tells whether clusters of this size exchange columns through global memory, because shared memory does not hold them.
bool langevin_exchanges(int devices, int antennas, int cluster);

inline constexpr int kLangevinExchange = 6;  // [K, M] arrays of an exchange

// `levels` levels of `steps` steps each, and `average` more at the last one, in one launch:
// x <- keep x + shift D + (D or x) matrix + force + noise, with D the exact posterior mean under the mixture unless
// `mean` is given. No level at all: the start alone.
struct LangevinAnnealArgs {
  const Complex* matrix;      // [levels, B, K, Kp], row n is column n of the matrix; Kp is K or K + 1, even
  const Complex* factor;      // [levels, B, K, Kp], the same of an upper triangular one, or null: the noise is white
  const Complex* force;       // [levels, B, K, M]
  const float* level;         // [levels, B, 4]: keep, shift, standard deviation of white noise, variance of the state
  const float* mixture;       // [levels, B, 3, G]: rate, offset, gain
  const Complex* mean;        // [B C, K, M], D, or null
  const float* start;         // [B], standard deviation of the white noise at which chains begin, or null: they have x
  const std::int32_t* chain;  // [rows]
  int rows, blocks, chains, devices, antennas, components;  // rows, B, C, K, M, G
  bool denoised;                                            // the matrix works on D; false: on x
  std::uint64_t seed;
  std::uint32_t step;  // step i draws the noise of counter step + i, the start that of counter step - 1
  int levels, steps, average;
  int cluster;         // blocks a chain, as langevin_cluster() or fewer
  Complex* exchange;   // [rows, kLangevinExchange, K, M] where it is needed
  Complex* x;          // [B C, K, M]
  Complex* seen;       // [levels, B C, K, M], x after the `steps` of every level, or null
  float* energy;       // [levels, B C, K], energies of the columns of `seen`
  Complex* sum;        // [B C, K, M], to which the posterior mean is added before each step of the average
  float* power;        // [B C, K], and |mean|^2 / M + variance
  float* probability;  // [B C, K]
};
void langevin_anneal(const LangevinAnnealArgs&, void* stream);

// Chains that diverged: to those before, the ones that had a mean power of the bound and more, or none, after some
// level are added.
struct LangevinWatchArgs {
  const Complex* x;                               // [levels, B C, K, M]
  const float* energy;                            // [levels, B C, K]
  const float* bound;                             // [B]
  const std::int32_t* before;                     // [B C], not zero for a chain that had diverged
  int levels, blocks, chains, devices, antennas;  // levels, B, C, K, M
  std::int32_t* after;                            // [B C]
  float* spread;                                  // [levels, B], mean variance of an entry over the others
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
