// Pilots of either kind as the kernels of module A read them (pilot_transform_cuda.hpp).
#pragma once

#include "core/complex_cuda.hpp"
#include "core/launch.hpp"

namespace jadce::cuda {

struct Pilots {
  const std::int32_t* rows;  // [N, T]
  const Complex* twiddle;    // [K]
  const Complex* array;      // [N, K, T]
  std::uint64_t inverse;     // 2^64 / K, rounded down
  unsigned devices;
  int symbols;

  // conj(q[t, n, k])
  __device__ Complex conjugate_of(int n, int t, unsigned k) const {
    if (rows) {
      const std::uint64_t product = static_cast<std::uint64_t>(rows[n * symbols + t]) * k;
      auto rest = static_cast<unsigned>(product - __umul64hi(product, inverse) * devices);  // product % K, or K more
      if (rest >= devices) rest -= devices;
      return twiddle[rest];
    }
    return conjugate(array[(static_cast<std::int64_t>(n) * devices + k) * symbols + t]);
  }
};

inline Pilots pilots(const std::int32_t* rows, const float* twiddle, const float* array, int devices, int symbols) {
  const auto k = static_cast<unsigned>(devices);
  return {rows, complex(twiddle), complex(array), ~std::uint64_t{0} / k, k, symbols};
}

}  // namespace jadce::cuda
