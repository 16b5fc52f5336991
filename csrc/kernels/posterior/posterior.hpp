// Element-wise updates of module B's messages (docs/math.md, "the state in measurement space"), for a row of beams on
// the CPU and one number on a GPU.
#pragma once

#include "core/shapes.hpp"

namespace jadce {

// Posterior mean over observation of an i.i.d. Gaussian channel of unit power (BG-TMP).
template <class V>
JADCE_INLINE V gaussian_gain(V noise) {
  return 1.0f / (1.0f + noise);
}

// Weights of the update S = kept S + taken h, of S itself and of the posterior mean h.
template <class V>
JADCE_INLINE V kept(float gamma, V b) {
  return 1.0f - gamma - gamma * b;
}
template <class V>
JADCE_INLINE V taken(float gamma, float weight, V a) {
  return gamma * weight * a;
}

// (1 - gamma) old - gamma b r_b; the first iterations have no old.
template <class V>
JADCE_INLINE V damped(float gamma, V b, V r_b, V old) {
  const V value = -gamma * b * r_b;
  return gamma == 1.0f ? value : value + (1.0f - gamma) * old;
}

// Gain of the residual in module A's message, v / ((v gram + noise) eta).
template <class V>
JADCE_INLINE V residual_gain(V v, float gram, float noise, V eta) {
  return v / ((v * gram + noise) * eta);
}

}  // namespace jadce
