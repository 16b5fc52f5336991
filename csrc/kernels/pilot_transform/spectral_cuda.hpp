// What the transforms of all devices read and write (pilot_transform_cuda.hpp), in one pass or in two.
#pragma once

#include "kernels/batch_cuda.hpp"
#include "kernels/fft/fft_cuda.hpp"

namespace jadce::cuda {

struct SpectralInput {
  const Complex* r;
  const std::int32_t* row_start;
  const std::int32_t* by_row;
  const Complex* basis;  // null: identity
  int measurements, subcarriers, antennas, coefficients;

  __device__ SpectralInput of_batch() const {
    SpectralInput mine = *this;
    mine.r += batch() * measurements * antennas;
    return mine;
  }

  // What the j-th measurement in the order of rows adds to the spectrum of coefficient p.
  __device__ Complex term(int j, int p, int beam) const {
    const auto measurement = static_cast<unsigned>(by_row[j]);
    const int n = static_cast<int>(measurement % static_cast<unsigned>(subcarriers));
    if (basis == nullptr && n != p) return {0.0f, 0.0f};
    const Complex value = r[static_cast<std::int64_t>(measurement) * antennas + beam];
    return basis ? conjugate(basis[n * coefficients + p]) * value : value;
  }

  // Spectrum of coefficient p at DFT row f.
  __device__ Complex at(int f, int p, int beam) const {
    Complex total{0.0f, 0.0f};
    for (int j = row_start[f]; j < row_start[f + 1]; ++j) total = total + term(j, p, beam);
    return total;
  }
};

struct SpectralOutput {
  const std::int32_t* slot;
  const Complex* s;
  Complex* z;
  float* energy;
  const unsigned char* quiet;  // [K]; null: nothing is summed
  float* quiet_energy;
  int devices, antennas, coefficients, merge, slots;

  __device__ SpectralOutput of_batch() const {
    SpectralOutput mine = *this;
    const std::int64_t each = std::int64_t{1} * antennas * devices;
    if (slot) mine.slot += batch() * devices;
    mine.s += batch() * slots * coefficients * antennas;
    if (z) mine.z += batch() * each * coefficients;
    if (quiet) mine.quiet += batch() * devices;
    if (quiet) mine.quiet_energy += batch() * antennas * coefficients;
    if (energy) mine.energy += batch() * each * ((coefficients + merge - 1) / merge);
    return mine;
  }

  // Coefficient p of all devices at one beam.
  struct Row {
    const std::int32_t* slot;
    const Complex* s;
    Complex* z;
    float* energy;
    int stride;
    bool first;  // of its group

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
    return {slot,
            s + at,
            z ? z + at : nullptr,
            energy ? energy + (std::int64_t{1} * (p / merge) * antennas + beam) * devices : nullptr,
            coefficients * antennas,
            p % merge == 0};
  }
};

}  // namespace jadce::cuda
