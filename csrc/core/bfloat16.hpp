// bfloat16: the upper half of a float.
#pragma once

#include <cstdint>
#include <cstring>

namespace jadce {

// Rounds to nearest, ties to even; not a number stays one.
inline std::uint32_t to_bfloat16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return bits >> 16 | 0x40u;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

// Two bfloat16 in a word, `low` in its lower half.
inline std::uint32_t bfloat16_pair(float low, float high) { return to_bfloat16(high) << 16 | to_bfloat16(low); }

inline float from_bfloat16(std::uint32_t half) {
  const std::uint32_t bits = half << 16;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace jadce
