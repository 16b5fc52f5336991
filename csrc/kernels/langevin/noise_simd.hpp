// Arithmetic of W lanes for noise.hpp and langevin.hpp.
#pragma once

#include "core/simd.hpp"
#include "kernels/langevin/noise.hpp"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace jadce::JADCE_ISA {

typedef std::uint32_t vuint __attribute__((vector_size(4 * W)));
typedef std::uint64_t vwide __attribute__((vector_size(4 * W)));

// Products of the lower halves of 64-bit lanes.
static inline vwide multiply_lower(vwide a, std::uint32_t b) {
#if defined(__AVX512F__)
  return (vwide)_mm512_maskz_mul_epu32(0xff, (__m512i)a, _mm512_set1_epi64(b));  // GCC 12 warns of the plain one
#elif defined(__AVX2__)
  return (vwide)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#else
  return (a & 0xffffffffull) * std::uint64_t{b};
#endif
}

struct SimdMath {
  static vuint word(std::uint32_t x) { return x - vuint{}; }
  static vec number(vuint x) { return __builtin_convertvector((vint)x, vec); }  // below 2^31
  static vec max(vec a, vec b) { return JADCE_ISA::max(a, b); }
  static vec exp(vec x) { return JADCE_ISA::exp(x); }
  static vec log(vec x) { return JADCE_ISA::log(x); }
  static vec sqrt(vec x) { return JADCE_ISA::sqrt(x); }
  static void multiply(vuint a, std::uint32_t b, vuint& high, vuint& low) {
    const vwide even = multiply_lower((vwide)a, b), odd = multiply_lower((vwide)a >> 32, b);
    const vwide upper = vwide{} + 0xffffffff00000000ull;
    high = (vuint)((even >> 32) | (odd & upper));
    low = (vuint)((even & ~upper) | (odd << 32));
  }
};

}  // namespace jadce::JADCE_ISA
