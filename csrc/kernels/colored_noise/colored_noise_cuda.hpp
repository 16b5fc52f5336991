// Module A on a GPU where the noise is not white, docs/math.md (2c), (6c): receiver/colored_noise.hpp by kernels.
// Conventions as in pilot_transform_cuda.hpp. Covariances C over beams, one a subcarrier, are in units in which C^-1
// has a mean diagonal of one; kernels read rows of matrices that are Hermitian as columns.
#pragma once

#include <cstdint>

#include "core/complex_cuda.hpp"
#include "kernels/posterior/posterior_cuda.hpp"
#include "kernels/sizes.hpp"
#include "loop/control.hpp"
#include "loop/rules.hpp"

namespace jadce::cuda {

struct alignas(16) ComplexDouble {
  double re, im;
};

// What C^-1 makes of r: squares behind it, and r^H C^-1 r, whose mean is the variance of noise alone.
struct WhitenArgs {
  const Complex* r;             // [B, T, N, M]
  const std::int32_t* enabled;  // word of the Control, or null
  const Complex* inverse;       // [N, M, M] C^-1
  Sizes sizes;
  float* filtered;  // [B, N, M] sum over t of |C^-1 r|^2
  float* whitened;  // [B, N, M] sum over t of Re(conj(r) C^-1 r)
  double* power;    // [B, N] sum of `whitened` over beams, or null
};
void whiten(const WhitenArgs&, void* stream);

// Variances of module A's prior mean, and what single beams' gains v / (v gram + C) leave of a device.
struct NoiseMixingArgs {
  const Control* control;     // [B]
  const float* filtered;      // [B, N, M]
  const float* gram;          // [N, T]
  const Complex* covariance;  // [N, M, M]
  const float* unmix;         // [M, M] inverse of the mean over n of |C^-1|^2 and the subcarrier's gram
  const float* level;         // [M] mean diagonal of C^-1
  float mean_gram;
  bool uniform;  // all of gram are equal
  Rules rules;
  Sizes sizes;
  float* v_a;             // [B, M] with rules.predicted only measured in the first iteration
  double* gain;           // [B, M] sum of gram times the gains
  ComplexDouble* mixing;  // [B, M, M] covariance of a device's error, before gains are divided by their mean
};
void noise_mixing(const NoiseMixingArgs&, void* stream);

// Begins an iteration: the best combination of beams, its variances, and what the iteration will do (loop/loop.hpp).
struct NoiseInvertArgs {
  Control* control;       // [B]
  Candidates candidates;  // of the iteration before; the first one has none
  const float* v_a;       // [B, M]
  float mean_gram;
  Rules rules;
  int capacity;
  Sizes sizes;
  double* gain;           // [B, M] divides gains of beams by their mean
  ComplexDouble* mixing;  // [B, M, M] is worked on
  float* unknown;         // [B, M] variance of what is not known of an active device's channel
  float* v_b;             // [B, M] variance of the message
  Complex* mix;           // [B, M, M] combination of unit diagonal, column by column
  float* history;         // [B, max_iterations, 2] as for module_a()
};
void noise_invert(const NoiseInvertArgs&, void* stream);

// Module A's message to module B, r_b = r_pri + combination of r times the gains.
struct NoiseMessageArgs {
  const Control* control;     // [B]
  const float* gram;          // [N, T]
  const Complex* covariance;  // [N, M, M]
  const float* v_a;           // [B, M]
  const double* gain;         // [B, M]
  const Complex* mix;         // [B, M, M]
  const Complex* r_pri;       // [B, T, N, M]
  Sizes sizes;
  Complex* r;    // [B, T, N, M] is worked on
  Complex* r_b;  // [B, T, N, M]
};
void noise_message(const NoiseMessageArgs&, void* stream);

}  // namespace jadce::cuda
