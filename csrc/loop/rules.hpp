// The receiver's rules for single numbers, one for the CPU's loop (stmp.cpp) and for a GPU's kernels.
#pragma once

#include <cmath>

#include "core/shapes.hpp"

namespace jadce {

inline constexpr float kSmallestVariance = 1e-3f;  // of the noise: v_A is tracked no further down
inline constexpr float kRounding = 1e-6f;          // of the received power: nor below single precision
inline constexpr float kSmallestPower = 2e-2f;     // of the noise: of a device whose energy does not exceed the noise
inline constexpr float kQuiet = -7.0f;             // log odds below which a device serves as noise reference
inline constexpr index_t kEnoughQuiet = 50;
inline constexpr float kSmallestNull = 1e-3f;  // of the tracked variance
inline constexpr float kSmallestAlpha = 1e-9f;
inline constexpr float kLargestAlpha = 0.95f;
inline constexpr float kCertain = 0.999f;    // probability from which a device is not looked at again
inline constexpr float kNegligible = 1e-4f;  // of the error variance: support devices below are dropped

// As std::max: NaN in the first argument is handed on, so that the loop notices it.
JADCE_INLINE float at_least(float x, float least) { return x < least ? least : x; }

JADCE_INLINE float sigmoid(float x) { return x >= 0 ? 1 / (1 + expf(-x)) : expf(x) / (1 + expf(x)); }

// Least variance of module A's prior mean that is believed.
JADCE_INLINE float variance_floor(float noise, float received, float mean_gram) {
  return at_least(kSmallestVariance * noise, kRounding * received) / mean_gram;
}

// Variance of module A's prior mean from the mean square of the residual, docs/math.md (6).
JADCE_INLINE float measured_variance(float residual, float noise, float mean_gram, float floor) {
  return at_least((residual - noise) / mean_gram, floor);
}

// v (1 / eta - 1), Cai (10); with as many symbols as devices and little noise eta rounds to one.
JADCE_INLINE float message_variance(float v, double eta, float least) {
  return at_least(static_cast<float>(v * (1 / eta - 1)), least);
}

// Mean energy of an inactive device's coefficient from that of the quiet ones.
JADCE_INLINE float believed_null(float mean, float v) { return at_least(mean, kSmallestNull * v); }

// Received power of a device from its energy, docs/math.md (9); `noise` is the part per dimension.
JADCE_INLINE float device_power(double energy, float dimensions, float noise, float mean_v) {
  return at_least(static_cast<float>(energy) / dimensions - noise, kSmallestPower * mean_v);
}

JADCE_INLINE float believed_alpha(double alpha) {
  const float value = at_least(static_cast<float>(alpha), kSmallestAlpha);
  return value > kLargestAlpha ? kLargestAlpha : value;
}

}  // namespace jadce
