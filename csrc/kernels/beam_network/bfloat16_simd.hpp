// bfloat16 in vectors of W, and the matrix products of a network over it: by AMX tiles, by AVX512-BF16, or in single
// precision on numbers that are rounded likewise.
#pragma once

#include <cstdint>

#include "core/simd.hpp"
#include "kernels/beam_network/beam_network.hpp"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace jadce::JADCE_ISA {

typedef std::uint16_t half __attribute__((may_alias));
typedef std::uint16_t halves __attribute__((vector_size(2 * W), aligned(2), may_alias));
typedef std::uint32_t word __attribute__((may_alias));
typedef std::int32_t words __attribute__((vector_size(4 * W), aligned(4), may_alias));

// Rounds to nearest, ties to even.
static inline void store_bfloat16(half* p, vec x) {
#if defined(__AVX512BF16__)
  *reinterpret_cast<__m256i_u*>(p) = (__m256i)_mm512_cvtneps_pbh((__m512)x);
#else
  typedef std::uint32_t uvec __attribute__((vector_size(4 * W)));
  const uvec bits = (uvec)x, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  *reinterpret_cast<halves*>(p) =
      __builtin_convertvector(x == x ? rounded : bits >> 16 | 0x40, std::uint16_t __attribute__((vector_size(2 * W))));
#endif
}

// Numbers of a and b in turn: those of their lower halves, those of their upper ones.
static inline vec zip_low(vec a, vec b) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}
static inline vec zip_high(vec a, vec b) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

// x [W, W] with rows and columns exchanged: log2(W) perfect shuffles of its rows.
static inline void transpose(vec* x) {
  for (int stage = 1; stage < W; stage *= 2) {
    vec y[W];
    for (int i = 0; i < W / 2; ++i) {
      y[2 * i] = zip_low(x[i], x[i + W / 2]);
      y[2 * i + 1] = zip_high(x[i], x[i + W / 2]);
    }
    for (int i = 0; i < W; ++i) x[i] = y[i];
  }
}

// out [16 R, stride] = bias [16 C] + x [16 R, inputs] weight, with `inputs` a multiple of 32 and weight [C, inputs / 2,
// 16] pairs of inputs.
template <int R, int C>
static inline void product(const half* x, index_t inputs, const float* bias, const float* weight, float* out,
                           index_t stride);

#if defined(__AMX_BF16__)

// Eight tiles of 16 rows of 64 bytes while it lives: 0 to 3 sums, 4 and 5 inputs, 6 and 7 weights.
class Tiles {
 public:
  Tiles() {
    Config config;
    for (int i = 0; i < 8; ++i) {
      config.bytes[i] = 64;
      config.rows[i] = 16;
    }
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

 private:
  struct alignas(64) Config {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t bytes[16] = {};
    std::uint8_t rows[16] = {};
  };
};

template <int R, int C>
static inline void product(const half* x, index_t inputs, const float* bias, const float* weight, float* out,
                           index_t stride) {
  __asm__ volatile("" ::: "memory");  // what compilers know of the tile instructions does not include what they read
  const float* const beside = weight + inputs / 2 * kTile;
  _tile_loadd(0, bias, 0);  // the same in every row
  if constexpr (C == 2) _tile_loadd(1, bias + kTile, 0);
  if constexpr (R == 2) _tile_loadd(2, bias, 0);
  if constexpr (R == 2 && C == 2) _tile_loadd(3, bias + kTile, 0);
  for (index_t c = 0; c < inputs; c += 2 * kTile) {
    _tile_loadd(4, x + c, 2 * inputs);
    _tile_loadd(6, weight + c / 2 * kTile, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (C == 2) {
      _tile_loadd(7, beside + c / 2 * kTile, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (R == 2) {
      _tile_loadd(5, x + kTile * inputs + c, 2 * inputs);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (R == 2 && C == 2) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, out, 4 * stride);
  if constexpr (C == 2) _tile_stored(1, out + kTile, 4 * stride);
  if constexpr (R == 2) _tile_stored(2, out + kTile * stride, 4 * stride);
  if constexpr (R == 2 && C == 2) _tile_stored(3, out + kTile * stride + kTile, 4 * stride);
  __asm__ volatile("" ::: "memory");
}

#else

struct Tiles {
  Tiles() {}  // not trivial, so that it counts as used
};

// acc += x weight of both numbers of a pair.
static inline vec add_pair(vec acc, word x, words weight) {
#if defined(__AVX512BF16__)
  return (vec)_mm512_dpbf16_ps((__m512)acc, (__m512bh)_mm512_set1_epi32(static_cast<int>(x)), (__m512bh)weight);
#else
  const auto number = [](std::uint32_t bits) { return __builtin_bit_cast(float, bits); };
  acc += number(x & 0xffff0000u) * (vec)(weight & -0x10000);
  return acc + number(x << 16) * (vec)(weight << 16);
#endif
}

template <int R, int C>
static inline void product(const half* x, index_t inputs, const float* bias, const float* weight, float* out,
                           index_t stride) {
  constexpr index_t kRows = W == 16 ? 8 : 4, kTogether = W == 16 ? C : 1;  // sums that the registers hold
  const index_t pairs = inputs / 2;
  const word* const in = reinterpret_cast<const word*>(x);
  for (index_t c = 0; c < C * kTile; c += kTogether * W) {
    const float* const w = weight + c / kTile * pairs * kTile + c % kTile;
    for (index_t r = 0; r < R * kTile; r += kRows) {
      vec acc[kRows][kTogether];
      for (index_t i = 0; i < kRows; ++i)
        for (index_t j = 0; j < kTogether; ++j) acc[i][j] = load(bias + c + j * W);
      for (index_t p = 0; p < pairs; ++p) {
        words column[kTogether];
        for (index_t j = 0; j < kTogether; ++j)
          column[j] = *reinterpret_cast<const words*>(w + (j * pairs + p) * kTile);
        for (index_t i = 0; i < kRows; ++i)
          for (index_t j = 0; j < kTogether; ++j) acc[i][j] = add_pair(acc[i][j], in[(r + i) * pairs + p], column[j]);
      }
      for (index_t i = 0; i < kRows; ++i)
        for (index_t j = 0; j < kTogether; ++j) store(out + (r + i) * stride + c + j * W, acc[i][j]);
    }
  }
}

#endif

}  // namespace jadce::JADCE_ISA
