// Philox4x32-10 (Salmon et al. 2011): noise that is a function of a counter, so that it depends neither on the order
// nor on the thread in which it is drawn. `Math` says what a word, a number and the functions on them are: W lanes on
// the CPU (noise_simd.hpp), one number on a GPU (langevin.cu).
#pragma once

#include "core/shapes.hpp"

namespace jadce {

struct NoiseKey {
  std::uint64_t seed;
  std::uint32_t chain;
  std::uint32_t step;
};

// Four random words in place of a counter.
template <class Math, class Word>
JADCE_INLINE void philox(Word* x, std::uint64_t key) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    Word high0, low0, high1, low1;
    Math::multiply(x[0], 0xD2511F53u, high0, low0);
    Math::multiply(x[2], 0xCD9E8D57u, high1, low1);
    x[0] = high1 ^ x[1] ^ k0;
    x[1] = low1;
    x[2] = high0 ^ x[3] ^ k1;
    x[3] = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// CN(0, 1) by Box and Muller: radius from the first word, angle from the second. 24 bits each; |z|^2 ends at 17.3.
template <class Math, class Word, class Float>
JADCE_INLINE void complex_normal(Word first, Word second, Float& re, Float& im) {
  const Float u = Math::number(first >> 8) * 0x1p-24f + 0x1p-25f;
  const Float radius = Math::sqrt(-Math::log(u));
  const Float f = (Math::number(second >> 8) * 0x1p-24f - (0.5f - 0x1p-25f)) * 1.57079632679f;
  const Float f2 = f * f;  // sine and cosine of |f| <= pi / 4, the quadrant from two more bits
  const Float s = f + f * f2 * (-1.6666654611e-1f + f2 * (8.3321608736e-3f - 1.9515295891e-4f * f2));
  const Float c =
      1.0f - 0.5f * f2 + f2 * f2 * (4.166664568298827e-2f + f2 * (-1.388731625493765e-3f + 2.443315711809948e-5f * f2));
  const auto odd = (second & 1u) != 0u, half = (second & 2u) != 0u;
  const Float x = odd ? -s : c, y = odd ? c : s;
  re = radius * (half ? -x : x);
  im = radius * (half ? -y : y);
}

// Noise of columns 2 `pair` and 2 `pair` + 1 at an antenna: re, im of the first, re, im of the second.
template <class Math, class Word, class Float>
JADCE_INLINE void column_noise(Word antenna, std::uint32_t pair, NoiseKey key, Float* out) {
  Word x[4] = {antenna, Math::word(pair), Math::word(key.chain), Math::word(key.step)};
  philox<Math>(x, key.seed);
  complex_normal<Math>(x[0], x[1], out[0], out[1]);
  complex_normal<Math>(x[2], x[3], out[2], out[3]);
}

}  // namespace jadce
