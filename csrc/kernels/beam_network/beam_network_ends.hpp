// What the beam network's kernels have in common: features of a device before the first layer, and the combination of
// the last layer's outputs with the Wiener estimate. Beams are the lanes of both; `row` floats are from channel to
// channel.
#pragma once

#include "core/simd.hpp"
#include "kernels/beam_network/beam_network.hpp"

namespace jadce::JADCE_ISA {

static inline vec noise_level(const float* noise) { return max(load(noise), splat(1e-20f)); }

// z [2, P, Mp], parts `imaginary` rows apart, noise [Mp] -> features [3 P + 1, row]
static inline void features(const BeamNetworkView& v, const float* z, const float* noise, float* out, index_t row) {
  const index_t p = v.coefficients, lanes = v.lanes;
  for (index_t b = 0; b < lanes; b += W) {
    const vec level = noise_level(noise + b);
    for (index_t i = 0; i < p; ++i) {
      const vec scale = 1.0f / sqrt(v.eigenvalue[i] + level);
      const vec re = load(z + i * lanes + b) * scale, im = load(z + (v.imaginary + i) * lanes + b) * scale;
      store(out + i * row + b, 1.4f * re);
      store(out + (p + i) * row + b, 1.4f * im);
      store(out + (2 * p + i) * row + b, 0.5f * log(re * re + im * im + 1e-3f));
    }
    store(out + 3 * p * row + b, 0.25f * log(min(max(level, splat(1e-5f)), splat(1e3f))));
  }
}

// z [2, P, Mp] as above, noise [Mp], outputs f [2 P + 1, row] -> h as z, var [Mp]
static inline void combined(const BeamNetworkView& v, const float* z, const float* noise, const float* f, index_t row,
                            float* h, float* var) {
  const index_t p = v.coefficients, lanes = v.lanes;
  for (index_t b = 0; b < lanes; b += W) {
    const vec level = noise_level(noise + b);
    vec total{};
    for (index_t i = 0; i < p; ++i) {
      const vec gain = v.eigenvalue[i] / (v.eigenvalue[i] + level), error = gain * level;
      const vec step = 0.7f * sqrt(error / (1.0f + level * 1e-3f));
      total += error;
      for (index_t half = 0; half < 2; ++half) {
        const index_t c = half * v.imaginary + i;
        store(h + c * lanes + b, gain * load(z + c * lanes + b) + step * load(f + (half * p + i) * row + b));
      }
    }
    const vec spread = exp(min(max(load(f + 2 * p * row + b), splat(-12.0f)), splat(4.0f)));
    store(var + b, total * spread / static_cast<float>(v.subcarriers));
  }
  for (index_t half = 0; half < 2; ++half)  // lanes beyond the antennas stay empty
    for (index_t c = half * v.imaginary; c < half * v.imaginary + p; ++c)
      for (index_t b = v.antennas; b < lanes; ++b) h[c * lanes + b] = 0;
}

}  // namespace jadce::JADCE_ISA
