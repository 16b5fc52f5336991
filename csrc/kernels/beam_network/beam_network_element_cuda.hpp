// Arithmetic of both of the network's CUDA kernels beam by beam (python/jadce_fast/priors/beam_network.py, Notes).
#pragma once

#include "core/complex_cuda.hpp"
#include "core/launch.hpp"
#include "kernels/beam_network/beam_network_cuda.hpp"

namespace jadce::cuda {

// Number of candidates of a received block.
inline __device__ int candidates_of(const BeamNetworkArgs& args, int block) {
  if (args.enabled != nullptr && args.enabled[block * args.step] == 0) return 0;
  if (args.turn != nullptr && args.turn[block * args.step] != args.member) return 0;
  return args.count == nullptr ? args.capacity : min(args.count[block * args.step], args.capacity);
}

inline __device__ float noise_level(float noise) { return fmaxf(noise, 1e-20f); }

inline __device__ float level_feature(float level) { return 0.25f * logf(fminf(fmaxf(level, 1e-5f), 1e3f)); }

struct Features {
  float re, im, energy;
};

inline __device__ Features features(Complex z, float eigenvalue, float level) {
  const Complex white = z * (1.0f / sqrtf(eigenvalue + level));
  return {1.4f * white.re, 1.4f * white.im, 0.5f * logf(norm(white) + 1e-3f)};
}

// Posterior mean of a coefficient, from the network's outputs.
inline __device__ Complex posterior_mean(Complex z, float eigenvalue, float level, Complex correction) {
  const float gain = eigenvalue / (eigenvalue + level);
  return z * gain + correction * (0.7f * sqrtf(gain * level / (1.0f + level * 1e-3f)));
}

// Error variance of a beam, from the network's outputs.
inline __device__ float posterior_var(const float* __restrict__ eigenvalue, int coefficients, float level,
                                      float log_spread, int subcarriers) {
  float total = 0.0f;
#pragma unroll 4
  for (int p = 0; p < coefficients; ++p) total += eigenvalue[p] / (eigenvalue[p] + level) * level;
  return total * expf(fminf(fmaxf(log_spread, -12.0f), 4.0f)) / static_cast<float>(subcarriers);
}

}  // namespace jadce::cuda
