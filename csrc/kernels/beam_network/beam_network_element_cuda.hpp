// What both of the network's CUDA kernels do beam by beam (python/jadce_fast/priors/beam_network.py, Notes).
#pragma once

#include "core/complex_cuda.hpp"
#include "core/launch.hpp"

namespace jadce::cuda {

// The independent blocks of a launch and how many candidates each has.
struct Candidates {
  const std::int32_t* count;
  const std::int32_t* go;
  int step, batch, capacity;

  __device__ int of(int block) const {
    if (go != nullptr && go[block * step] == 0) return 0;
    return count == nullptr ? capacity : min(count[block * step], capacity);
  }
};

inline __device__ float noise_level(float noise) { return fmaxf(noise, 1e-20f); }

inline __device__ float level_feature(float level) { return 0.25f * logf(fminf(fmaxf(level, 1e-5f), 1e3f)); }

struct Features {
  float re, im, energy;
};

inline __device__ Features features(Complex z, float eigenvalue, float level) {
  const Complex white = z * (1.0f / sqrtf(eigenvalue + level));
  return {1.4f * white.re, 1.4f * white.im, 0.5f * logf(norm(white) + 1e-3f)};
}

// From the network's outputs: the posterior mean of a coefficient,
inline __device__ Complex posterior_mean(Complex z, float eigenvalue, float level, Complex correction) {
  const float gain = eigenvalue / (eigenvalue + level);
  return z * gain + correction * (0.7f * sqrtf(gain * level / (1.0f + level * 1e-3f)));
}

// and the error variance of a beam.
inline __device__ float posterior_var(const float* __restrict__ eigenvalue, int coefficients, float level,
                                      float log_spread, int subcarriers) {
  float total = 0.0f;
#pragma unroll 4
  for (int p = 0; p < coefficients; ++p) total += eigenvalue[p] / (eigenvalue[p] + level) * level;
  return total * expf(fminf(fmaxf(log_spread, -12.0f), 4.0f)) / static_cast<float>(subcarriers);
}

}  // namespace jadce::cuda
