// Activity of all devices by a structured likelihood ratio (docs/design.md, "activity").
//
// If active with power s, energy |z|^2 of coefficient p in beam b is exponential with mean null + s g lambda_p, where
// the beam's gain g is drawn from a small mixture; if inactive its mean is null. Log ratios add over coefficients, mix
// over g, add over beams, mix over s. Only logarithms of densities are formed: the ratios have exponents in the
// thousands.
#pragma once

#include <cstdint>

#include "core/shapes.hpp"

namespace jadce {

inline constexpr float kNoWeight = -1e30f;     // logarithm of a weight that is zero
inline constexpr index_t kActivityChunk = 16;  // devices of one task

struct ActivityView {
  index_t gains;                  // G components of a beam's gain
  index_t powers;                 // J components of a device's power
  index_t products;               // U distinct products gain * power
  const float* product;           // [U]
  const float* weight;            // [G], sums to one
  const float* log_power_weight;  // [J]
  const float* power;             // [J] of a device, rising
  const std::int32_t* index;      // [J, G] into product
  const float* eigenvalue;        // [groups] lambda
  const float* multiplicity;      // [groups] coefficients merged in one energy
  float least_power;              // weaker powers are not looked for

  // Whether a power is looked for where the least one is given: the greatest one is in any case.
  JADCE_INLINE bool searched(index_t j, float least) const { return power[j] >= least || j + 1 == powers; }

  static constexpr index_t kMostProducts = 96;
  static constexpr index_t kMostPowers = 16;
};

}  // namespace jadce
