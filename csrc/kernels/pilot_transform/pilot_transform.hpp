// Module A: between measurement space and the KLT coefficients of devices (docs/design.md, "state").
//
// With pilots q, KLT basis V and beamspace measurements r, the matched-filter statistics of device k are
//   z[k, p, b] = sum_n conj(V[n, p]) sum_t conj(q[t, n, k]) r[t, n, b].
#pragma once

#include <cstdint>

#include "core/shapes.hpp"
#include "kernels/fft/fft.hpp"

namespace jadce {

inline constexpr index_t kTogether = 64;  // devices that are gathered or projected together

// Tables that the transforms read; planned once.
struct TransformView {
  Shape shape;
  const std::int32_t* rows;  // [N, T] DFT rows of partial-DFT pilots, or null
  const float* twiddle;      // [K, 2] amplitude * exp(+2 pi i k / K), with rows
  float amplitude;           // sqrt of the pilot power, with rows
  const float* array;        // [N, K, T, 2] any other pilots, rotated into the eigenvectors of Q_n Q_n^H, or null
  const float* basis;        // [N, P, 2] KLT basis V
  bool identity;             // it is the identity
  bool lags;                 // energies of all devices are taken from pairs of symbols
  index_t merge;             // energies are summed over this many neighbouring coefficients
  FftView fft;

  JADCE_INLINE index_t groups() const { return (shape.coefficients + merge - 1) / merge; }
};

// Devices whose prior mean is not only Q^H R: their part S in KLT coefficients.
struct Support {
  index_t count;
  const std::int32_t* device;  // [count]
  float* coefficients;         // [count, 2 P, Mp]
};

}  // namespace jadce
