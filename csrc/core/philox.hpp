// Philox4x32-10 (Salmon et al. 2011), W streams at a time: noise that is a function of a counter, so that it does not
// depend on the order or the thread in which it is drawn.
#pragma once

#include "core/simd.hpp"

namespace jadce::JADCE_ISA {

typedef std::uint32_t vuint __attribute__((vector_size(4 * W)));
typedef std::uint64_t vwide __attribute__((vector_size(8 * W)));

struct Philox {
  vuint word[4];
};

static inline vuint high(vuint a, std::uint32_t b) {
  return __builtin_convertvector((__builtin_convertvector(a, vwide) * std::uint64_t{b}) >> 32, vuint);
}

// Four random words for every counter (c[0], c[1], c[2], c[3]); only the first differs between lanes.
static inline Philox philox(vuint c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3, std::uint64_t key) {
  vuint x0 = c0, x1 = c1 - vuint{}, x2 = c2 - vuint{}, x3 = c3 - vuint{};
  auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const vuint high0 = high(x0, 0xD2511F53u), low0 = x0 * 0xD2511F53u;
    const vuint high1 = high(x2, 0xCD9E8D57u), low1 = x2 * 0xCD9E8D57u;
    x0 = high1 ^ x1 ^ k0;
    x1 = low1;
    x2 = high0 ^ x3 ^ k1;
    x3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{x0, x1, x2, x3}};
}

// CN(0, 1) by Box and Muller: radius from the first word, angle from the second. 24 bits each; |z|^2 ends at 17.3.
static inline void complex_normal(vuint first, vuint second, vec& re, vec& im) {
  const vec u = __builtin_convertvector((vint)(first >> 8), vec) * 0x1p-24f + 0x1p-25f;
  const vec radius = sqrt(-log(u));
  const vec f = (__builtin_convertvector((vint)(second >> 8), vec) * 0x1p-24f - (0.5f - 0x1p-25f)) * 1.57079632679f;
  const vec f2 = f * f;  // sine and cosine of |f| <= pi / 4, the quadrant from two more bits
  const vec s = f + f * f2 * (-1.6666654611e-1f + f2 * (8.3321608736e-3f - 1.9515295891e-4f * f2));
  const vec c =
      1.0f - 0.5f * f2 + f2 * f2 * (4.166664568298827e-2f + f2 * (-1.388731625493765e-3f + 2.443315711809948e-5f * f2));
  const vint odd = (vint)(second & 1u) != 0, half = (vint)(second & 2u) != 0;
  const vec x = odd ? -s : c, y = odd ? c : s;
  re = radius * (half ? -x : x);
  im = radius * (half ? -y : y);
}

}  // namespace jadce::JADCE_ISA
