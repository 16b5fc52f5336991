// Chains of annealed Langevin dynamics on a GPU; docs/langevin.md and langevin.hpp. Conventions as in
// pilot_transform_cuda.hpp.
//
// A state belongs to chain f = b C + c of received block b; kernels work on the `rows` chains that `chain` lists.
// States x [B C, N, M, 2]; their energies come in parts, one for every `langevin_tile` antennas: [B C, parts, N].
#pragma once

#include <cstdint>

namespace jadce::cuda {

// Antennas that one thread block works on, a power of two; zero if there are too many devices for any.
int langevin_tile(int devices, int antennas);

// `steps` steps of one level, x <- keep x + shift D + (D or x) matrix + force + noise. For every received block:
// matrix [B, N, N, 2] (null: none), factor [B, N, N, 2] upper triangular (null: white noise), force [B, N, M, 2] (null:
// none), level [B, 4] holds keep, shift, standard deviation of white noise, noise variance of the state; mixture
// [B, 3, G] rate, offset, gain. D is the exact posterior mean under the mixture, or `mean` [B C, N, M, 2] where that is
// not null; with denoised = 0 the matrix works on x. Step i draws the noise of counter step + i. States and energies
// alternate between two arrays, starting from x and energy: after an odd number of steps the result is in the others.
void langevin_steps(const float* matrix, const float* factor, const float* force, const float* level,
                    const float* mixture, const float* mean, const std::int32_t* chain, int rows, int chains,
                    int devices, int antennas, int components, int denoised, std::uint64_t seed, std::uint32_t step,
                    int steps, float* x, float* energy, float* other_x, float* other_energy, void* stream);

// Exact posteriors of all columns, added to mean [B C, N, M, 2], power [B C, N] (|mean|^2 / M + variance) and
// probability [B C, N].
void langevin_posterior(const float* x, const float* energy, const float* level, const float* mixture,
                        const std::int32_t* chain, int rows, int chains, int devices, int antennas, int components,
                        float* mean, float* power, float* probability, void* stream);

// Chains that diverged, before and after [B C]: those with a mean power of bound [B] and more, or none, are added.
// spread [B, kSpreadParts] adds up to the mean variance of an entry over the other chains.
inline constexpr int kSpreadParts = 16;
void langevin_watch(const float* x, const float* energy, const float* bound, const std::int32_t* before, int blocks,
                    int chains, int devices, int antennas, std::int32_t* after, float* spread, void* stream);

// For tests: words [count, pairs, 4] and normals [count, 2 pairs, 2] of counters (i, pair, chain, step).
void langevin_noise(std::uint64_t seed, std::uint32_t chain, std::uint32_t step, int count, int pairs,
                    std::uint32_t* words, float* normals, void* stream);

}  // namespace jadce::cuda
