// Pilots that repeat one sequence over all subcarriers: every coefficient and beam is a problem of its own with the
// same pilots and the covariance C = Q diag(variance) Q^H + noise I (reference/repeated.py). Double precision, since a
// device is seen without itself: 1 / (q^H C^-1 q) less its own variance, which may be far greater.
#pragma once

#include <cstdint>

#include "core/shapes.hpp"

namespace jadce {

inline constexpr index_t kCavities = 8;  // devices that are seen together, so that a factor is read less often

struct RepeatedView {
  Shape shape;              // of one subcarrier a coefficient: N = P
  const double* pilots;     // [K, T, 2], unit power
  const double* gram;       // [T, T, 2] Q Q^H
  const float* eigenvalue;  // [P]

  // Doubles of one task's factor and of its solution, without the factor W of beams.
  JADCE_INLINE index_t triangle() const { return shape.symbols * (shape.symbols + 1); }
  JADCE_INLINE index_t column() const { return 2 * shape.symbols; }
};

// Devices with a variance of their own above `background` times the eigenvalues, which all have.
struct VariancesView {
  float background;
  index_t count;
  const std::int32_t* device;  // [count]
  const float* above;          // [count, P, Mp]
};

struct RepeatedFactorArgs {
  const RepeatedView& view;
  const VariancesView& variances;
  double noise;
  const float* y;  // [P, T, 2, Mp]
  double* factor;  // [P, Mp / W, triangle, W] lower Cholesky factor L of C, row by row
  double* solved;  // [P, Mp / W, column, W] L^-1 y
};

struct CavityArgs {
  const RepeatedView& view;
  float background;
  const float* above[kCavities];  // [P, Mp] of each device, or null: zero
  const double* factor;           // as above
  const double* solved;
  double* scratch;  // [column, W]
  float* z;         // [count, 2 P, Mp]
  float* v;         // [count, P, Mp]
};

}  // namespace jadce
