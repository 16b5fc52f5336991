// Module A where the noise is not white: antennas or subcarriers of different noise, or a covariance over antennas.
#pragma once

#include <complex>
#include <vector>

#include "receiver/transform.hpp"

namespace jadce {

// Noise covariances C over beams, in units of their mean in which C^-1 has a mean diagonal of one.
struct NoiseCovariance {
  std::vector<cfloat> covariance, inverse;  // [count, M, M] C and C^-1; count is one, or N
  std::vector<float> unmix;                 // [M, M] inverse of the mean over n of |C^-1|^2 and the subcarrier's gram
  std::vector<float> level;                 // [M] mean diagonal of C^-1

  bool white() const { return covariance.empty(); }
};

class ColoredNoise {
 public:
  // gram [N, T] and its mean.
  ColoredNoise(Transform& transform, const NoiseCovariance& noise, const std::vector<float>& gram, float mean_gram);

  // Mean of r^H C^-1 r over r [N, T, 2, Mp], a residual: that of noise alone is its variance. Keeps what variances
  // needs.
  double mean_square(const float* r);

  // Variances v [M] of module A's prior mean from that residual, docs/math.md (6c), at least `floor`.
  void variances(float noise, float floor, float* v) const;

  struct Variances {
    const float* v;        // [M] of module A's prior mean
    const float* channel;  // [M] of what is not known of an active device's channel
    float noise;
  };
  // Adds module A's correction of the residual r to `message` [N, T, 2, Mp], docs/math.md (2c); v_b [M] gets the
  // variances of the message, at least `floor`.
  void correct(const Variances& known, float floor, const float* r, float* message, float* v_b);

 private:
  const cfloat* of(const std::vector<cfloat>& matrices, index_t n) const;

  Transform& transform_;
  const Shape& shape_;
  const NoiseCovariance& noise_;
  const std::vector<float>& gram_;
  float mean_gram_;
  std::vector<double> filtered_, weighted_;   // [N, M] sum over t of |C^-1 r|^2, [N] of r^H C^-1 r
  std::vector<double> weight_;                // [N, T, M]
  std::vector<std::complex<double>> mixing_;  // [M, M]
};

}  // namespace jadce
