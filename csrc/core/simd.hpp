// Vectors of W floats and the few functions on them that kernels need.
//
// Kernel files are compiled once per instruction set, each time with JADCE_ISA naming a namespace of its own. Nothing
// in these files may come from the standard library's templates: the linker would merge an AVX-512 copy into all
// variants.
#pragma once

#include <cstdint>

#ifndef JADCE_ISA
#define JADCE_ISA generic
#endif

namespace jadce::JADCE_ISA {

#if defined(__AVX512F__)
inline constexpr int W = 16;
#elif defined(__AVX2__)
inline constexpr int W = 8;
#else
inline constexpr int W = 4;
#endif

typedef float vec __attribute__((vector_size(4 * W)));
typedef float vec_any __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef std::int32_t vint __attribute__((vector_size(4 * W)));

static inline vec load(const float* p) { return *reinterpret_cast<const vec_any*>(p); }
static inline void store(float* p, vec v) { *reinterpret_cast<vec_any*>(p) = v; }
static inline vec splat(float x) { return x - vec{}; }
static inline vec max(vec a, vec b) { return a > b ? a : b; }
static inline vec min(vec a, vec b) { return a < b ? a : b; }

static inline vec sqrt(vec x) {
  vec y;
  for (int i = 0; i < W; ++i) y[i] = __builtin_sqrtf(x[i]);  // becomes one vector instruction
  return y;
}

static inline float sum(vec v) {
  float total = 0;
  for (int i = 0; i < W; ++i) total += v[i];
  return total;
}

// exp(x), relative error below 2e-7; arguments are clipped to the range of normal floats.
static inline vec exp(vec x) {
  x = min(max(x, splat(-87.0f)), splat(88.0f));
  const vec shift = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const vec n = (x * 1.44269504088896341f + shift) - shift;
  const vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  vec p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const vint bits = (__builtin_convertvector(n, vint) + 127) << 23;
  return p * (vec)bits;
}

// log(x) of positive normal x, absolute error below 2e-7 times max(1, |log x|).
static inline vec log(vec x) {
  vint bits = (vint)max(x, splat(1.17549435e-38f));
  const vint shifted = bits - 0x3f3504f3;  // mantissa from sqrt(1/2) to sqrt(2)
  const vint exponent = shifted >> 23;
  bits = (shifted & 0x007fffff) + 0x3f3504f3;
  const vec m = (vec)bits - 1.0f;
  const vec e = __builtin_convertvector(exponent, vec);
  vec p = splat(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const vec m2 = m * m;
  return e * 0.693359375f + (m + (e * -2.12194440e-4f - 0.5f * m2 + p * m * m2));
}

static inline vec sigmoid(vec x) { return 1.0f / (1.0f + exp(-x)); }

}  // namespace jadce::JADCE_ISA
