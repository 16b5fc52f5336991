// Pilots of either kind as the kernels of module A read them (pilot_transform_cuda.hpp).
#pragma once

#include <cstdint>

#include "core/complex_cuda.hpp"
#include "core/launch.hpp"
#include "kernels/pilot_transform/pilot_transform_cuda.hpp"

namespace jadce::cuda {

struct Pilots : PilotTables {
  std::uint64_t inverse;  // 2^64 / K, rounded down
  unsigned devices;
  int symbols;

  // Row of the DFT that n T + t measures; nothing of it depends on a device. 0 for other pilots.
  __device__ std::int32_t row(int measurement) const { return rows ? rows[measurement] : 0; }

  // conj(q[t, n, k]) with measurement = n T + t and its row.
  __device__ Complex conjugate_at(std::int32_t row, int measurement, unsigned k) const {
    if (rows) {
      const std::uint64_t product = static_cast<std::uint64_t>(row) * k;
      auto rest = static_cast<unsigned>(product - __umul64hi(product, inverse) * devices);  // product % K, or K more
      if (rest >= devices) rest -= devices;
      return twiddle[rest];
    }
    const int n = measurement / symbols;
    return conjugate(array[(static_cast<std::int64_t>(n) * devices + k) * symbols + measurement - n * symbols]);
  }

  // conj(q[t, n, k])
  __device__ Complex conjugate_of(int n, int t, unsigned k) const {
    return conjugate_at(row(n * symbols + t), n * symbols + t, k);
  }
};

inline Pilots pilots(const PilotTables& tables, const Sizes& sizes) {
  const auto k = static_cast<unsigned>(sizes.devices);
  return {tables, ~std::uint64_t{0} / k, k, sizes.symbols};
}

}  // namespace jadce::cuda
