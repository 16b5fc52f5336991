// Conversions between plain complex arrays and the split, padded ones of the kernels (kernels/shapes.hpp).
#pragma once

#include "core/shapes.hpp"

namespace jadce {

inline index_t padded(index_t antennas) { return (antennas + kLanes - 1) / kLanes * kLanes; }

// Measurements [T, N, M] complex and split [N, T, 2, Mp].
inline void split(const Shape& s, const cfloat* in, float* out) {
  for (index_t n = 0; n < s.subcarriers; ++n)
    for (index_t t = 0; t < s.symbols; ++t)
      for (index_t b = 0; b < s.antennas; ++b) {
        const cfloat x = in[(t * s.subcarriers + n) * s.antennas + b];
        float* o = out + (n * s.symbols + t) * s.point() + b;
        o[0] = x.real();
        o[s.lanes] = x.imag();
      }
}

inline void merge(const Shape& s, const float* in, cfloat* out) {
  for (index_t n = 0; n < s.subcarriers; ++n)
    for (index_t t = 0; t < s.symbols; ++t)
      for (index_t b = 0; b < s.antennas; ++b) {
        const float* x = in + (n * s.symbols + t) * s.point() + b;
        out[(t * s.subcarriers + n) * s.antennas + b] = {x[0], x[s.lanes]};
      }
}

// Coefficients [count, P, M] complex and split [count, 2 P, Mp].
inline void split_coefficients(const Shape& s, index_t count, const cfloat* in, float* out) {
  for (index_t i = 0; i < count * s.coefficients; ++i) {
    float* o = out + (i / s.coefficients * 2 * s.coefficients + i % s.coefficients) * s.lanes;
    for (index_t b = 0; b < s.antennas; ++b) {
      o[b] = in[i * s.antennas + b].real();
      o[s.coefficients * s.lanes + b] = in[i * s.antennas + b].imag();
    }
  }
}

inline void merge_coefficients(const Shape& s, index_t count, const float* in, cfloat* out) {
  for (index_t i = 0; i < count * s.coefficients; ++i) {
    const float* x = in + (i / s.coefficients * 2 * s.coefficients + i % s.coefficients) * s.lanes;
    for (index_t b = 0; b < s.antennas; ++b) out[i * s.antennas + b] = {x[b], x[s.coefficients * s.lanes + b]};
  }
}

}  // namespace jadce
