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
  std::uint64_t inverse;  // 2^64 / N, rounded down

  __device__ SpectralInput of_batch() const {
    SpectralInput mine = *this;
    mine.r += batch() * measurements * antennas;
    return mine;
  }

  // Share of a measurement t N + n in the spectrum of coefficient p.
  __device__ Complex share(std::int32_t measurement, int p, int beam) const {
    const auto at = static_cast<std::uint64_t>(measurement);
    auto n = static_cast<int>(at - __umul64hi(at, inverse) * static_cast<unsigned>(subcarriers));  // or N more
    if (n >= subcarriers) n -= subcarriers;
    if (basis == nullptr && n != p) return {0.0f, 0.0f};
    const Complex value = r[static_cast<std::int64_t>(measurement) * antennas + beam];
    return basis ? conjugate(basis[n * coefficients + p]) * value : value;
  }

  // Spectrum of coefficient p at DFT row f.
  __device__ Complex at(int f, int p, int beam) const {
    Complex total{0.0f, 0.0f};
    for (int j = rows.start[f]; j < rows.start[f + 1]; ++j) total = total + share(rows.measurements[j], p, beam);
    return total;
  }
};

// The host makes the input from the arguments of any launcher; `rows` is empty where measurements are not taken in that
// order.
template <class Args>
SpectralInput spectral_input(const Args& args, const RowOrder& rows) {
  const Sizes& s = args.sizes;
  return {args.r,        rows,       args.basis,     s.subcarriers * s.symbols,
          s.subcarriers, s.antennas, s.coefficients, ~std::uint64_t{0} / static_cast<unsigned>(s.subcarriers)};
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

    __device__ int slot_of(int k) const { return slot ? slot[k] : -1; }
    // What a slot has of S; nothing where there is none.
    __device__ Complex part(int at) const { return at >= 0 ? s[std::int64_t{1} * at * stride] : Complex{0.0f, 0.0f}; }

    // Takes that of device k and returns it.
    __device__ Complex store(int k, Complex value) const {
      if (z) z[std::int64_t{1} * k * stride] = value;
      if (energy) energy[k] = first ? norm(value) : energy[k] + norm(value);
      return value;
    }

    // The same for a value without the device's part of S.
    __device__ void put(int k, Complex value) const { store(k, value + part(slot_of(k))); }
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
