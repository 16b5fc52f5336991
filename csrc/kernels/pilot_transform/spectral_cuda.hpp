// Input and output of the transforms of all devices (pilot_transform_cuda.hpp), in one pass or in two.
#pragma once

#include <cstdint>

#include "core/complex_cuda.hpp"
#include "kernels/batch_cuda.hpp"
#include "kernels/pilot_transform/pilot_transform_cuda.hpp"

namespace jadce::cuda {

struct SpectralInput {
  const Complex* r;  // [B, T, N, M]
  RowOrder rows;
  const Complex* basis;  // [N, P], null: identity
  int measurements, subcarriers, antennas, coefficients;

  __device__ SpectralInput of_batch() const {
    SpectralInput mine = *this;
    mine.r += batch() * measurements * antennas;
    return mine;
  }

  // Share of the j-th measurement, in the order of rows, in the spectrum of coefficient p.
  __device__ Complex term(int j, int p, int beam) const {
    const auto measurement = static_cast<unsigned>(rows.measurements[j]);
    const int n = static_cast<int>(measurement % static_cast<unsigned>(subcarriers));
    if (basis == nullptr && n != p) return {0.0f, 0.0f};
    const Complex value = r[static_cast<std::int64_t>(measurement) * antennas + beam];
    return basis ? conjugate(basis[n * coefficients + p]) * value : value;
  }

  // Spectrum of coefficient p at DFT row f.
  __device__ Complex at(int f, int p, int beam) const {
    Complex total{0.0f, 0.0f};
    for (int j = rows.start[f]; j < rows.start[f + 1]; ++j) total = total + term(j, p, beam);
    return total;
  }
};

// Makes the input from the arguments of any launcher; `rows` is empty where measurements are not taken in that order.
template <class Args>
JADCE_INLINE SpectralInput spectral_input(const Args& args, const RowOrder& rows) {
  const Sizes& s = args.sizes;
  return {args.r, rows, args.basis, s.subcarriers * s.symbols, s.subcarriers, s.antennas, s.coefficients};
}

struct SpectralOutput {
  SparseParts parts;
  StatisticsOutput to;
  int devices, antennas, coefficients;

  __device__ SpectralOutput of_batch() const {
    SpectralOutput mine = *this;
    const std::int64_t each = std::int64_t{1} * antennas * devices;
    if (parts.slot) mine.parts.slot += batch() * devices;
    mine.parts.s += batch() * parts.slots * coefficients * antennas;
    if (to.z) mine.to.z += batch() * each * coefficients;
    if (to.energy) mine.to.energy += batch() * each * ((coefficients + to.merge - 1) / to.merge);
    return mine;
  }

  // Coefficient p of all devices at one beam.
  struct Row {
    const std::int32_t* slot;
    const Complex* s;
    Complex* z;
    float* energy;
    int stride;
    bool first;  // begins its group

    // Takes that of device k and returns it with the device's part of S.
    __device__ Complex put(int k, Complex value) const {
      const int at = slot ? slot[k] : -1;
      if (at >= 0) value = value + s[std::int64_t{1} * at * stride];
      if (z) z[std::int64_t{1} * k * stride] = value;
      if (energy) energy[k] = first ? norm(value) : energy[k] + norm(value);
      return value;
    }
  };

  // Coefficients of a group must come in rising order.
  __device__ Row row(int p, int beam) const {
    const std::int64_t at = std::int64_t{1} * p * antennas + beam;
    return {parts.slot,
            parts.s + at,
            to.z ? to.z + at : nullptr,
            to.energy ? to.energy + (std::int64_t{1} * (p / to.merge) * antennas + beam) * devices : nullptr,
            coefficients * antennas,
            p % to.merge == 0};
  }
};

template <class Args>
JADCE_INLINE SpectralOutput spectral_output(const Args& args) {
  return {args.parts, args.out, args.sizes.devices, args.sizes.antennas, args.sizes.coefficients};
}

}  // namespace jadce::cuda
