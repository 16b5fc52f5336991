// Stockham passes of the transform of fft.hpp for one instruction set; one element is a row of W beams, [2, W].
#pragma once

#include "core/simd.hpp"
#include "kernels/fft/butterfly.hpp"
#include "kernels/fft/fft.hpp"

namespace jadce::JADCE_ISA {

struct cvec {
  vec re, im;
};

static inline cvec operator+(cvec a, cvec b) { return {a.re + b.re, a.im + b.im}; }
static inline cvec operator-(cvec a, cvec b) { return {a.re - b.re, a.im - b.im}; }
static inline cvec operator*(cvec a, float s) { return {a.re * s, a.im * s}; }
static inline cvec times_i(cvec a) { return {-a.im, a.re}; }
static inline cvec turn(cvec a, const float* w) { return {a.re * w[0] - a.im * w[1], a.re * w[1] + a.im * w[0]}; }

// `swap` exchanges real and imaginary rows at the ends, which turns the inverse transform into the forward one.
static inline cvec get(const float* p, bool swap) {
  return swap ? cvec{load(p + W), load(p)} : cvec{load(p), load(p + W)};
}
static inline void put(float* p, cvec a) {
  store(p, a.re);
  store(p + W, a.im);
}

// Where a pass reads and writes, and its twiddles: rows are `from` and `to` floats apart, twiddles of row p are those
// of `every` p + `first`.
struct PassView {
  const float* x;
  index_t from;
  float* y;
  index_t to;
  const float* twiddle;
  index_t every, first;
  bool swap;
};

// x viewed as [R, m, s] goes to y viewed as [m, R, s].
template <int R>
static void pass(PassView v, index_t m, index_t s) {
  for (index_t p = 0; p < m; ++p) {
    const index_t at = p * v.every + v.first;
    const float* w = v.twiddle + at * 2 * (R - 1);
    for (index_t q = 0; q < s; ++q) {
      cvec a[R];
      for (int j = 0; j < R; ++j) a[j] = get(v.x + ((j * m + p) * s + q) * v.from, v.swap);
      butterfly<R>(a);
      float* out = v.y + (p * R * s + q) * v.to;
      put(out, a[0]);
      if (at == 0) {
        for (int j = 1; j < R; ++j) put(out + j * s * v.to, a[j]);
      } else {
        for (int j = 1; j < R; ++j) put(out + j * s * v.to, turn(a[j], w + 2 * (j - 1)));
      }
    }
  }
}

// The same for any odd radix, O(R^2).
static void pass_any(int r, PassView v, const float* root, index_t m, index_t s) {
  for (index_t p = 0; p < m; ++p) {
    for (index_t q = 0; q < s; ++q) {
      cvec a[kLargestRadix];
      for (int j = 0; j < r; ++j) a[j] = get(v.x + ((j * m + p) * s + q) * v.from, v.swap);
      for (int j = 0; j < r; ++j) {
        cvec total = a[0];
        for (int i = 1; i < r; ++i) total = total + turn(a[i], root + 2 * (i * j % r));
        if (j > 0) total = turn(total, v.twiddle + 2 * ((p * v.every + v.first) * (r - 1) + j - 1));
        put(v.y + ((p * r + j) * s + q) * v.to, total);
      }
    }
  }
}

static void pass_of(int r, const PassView& v, const float* root, index_t m, index_t s) {
  switch (r) {
    case 2:
      return pass<2>(v, m, s);
    case 3:
      return pass<3>(v, m, s);
    case 4:
      return pass<4>(v, m, s);
    case 5:
      return pass<5>(v, m, s);
    default:
      return pass_any(r, v, root, m, s);
  }
}

// All passes; the result is in the buffer that is returned, x or y. `swap` as in get(), on the first pass only.
// A sweep makes several passes of a few rows at a time, which stay in the first-level cache between them.
static float* passes(const FftView& plan, float* x, float* y, bool swap) {
  constexpr index_t kRow = 2 * W;
  alignas(64) float local[2][kMostRows * kRow];
  const float* twiddle = plan.twiddle;
  const float* root = plan.root;
  index_t rest = plan.padded, s = 1;
  for (int sweep = 0, first = 0; sweep < plan.sweeps; first += plan.together[sweep++]) {
    const int last = first + plan.together[sweep];
    index_t size = 1;
    for (int i = first; i < last; ++i) size *= plan.radices[i];
    const index_t m = rest / size;
    for (index_t p = 0; p < m; ++p) {
      for (index_t q = 0; q < s; ++q) {
        const float* w = twiddle;
        const float* roots = root;
        index_t inner = size, done = 1;
        for (int i = first; i < last; ++i) {
          const int r = plan.radices[i];
          PassView v{.x = i == first ? x + (p * s + q) * kRow : local[(i - first) % 2],
                     .from = i == first ? m * s * kRow : kRow,
                     .y = i + 1 == last ? y + (p * size * s + q) * kRow : local[(i - first + 1) % 2],
                     .to = i + 1 == last ? s * kRow : kRow,
                     .twiddle = w,
                     .every = m,
                     .first = p,
                     .swap = swap && i == 0};
          inner /= r;
          pass_of(r, v, roots, inner, done);
          w += 2 * inner * m * (r - 1);
          roots += 2 * r;
          done *= r;
        }
      }
    }
    for (int i = first; i < last; ++i) {
      rest /= plan.radices[i];
      twiddle += 2 * rest * (plan.radices[i] - 1);
      root += 2 * plan.radices[i];
    }
    s *= size;
    float* t = x;
    x = y;
    y = t;
  }
  return x;
}

// Inverse DFT of x [K, 2, W]; x and y hold [padded, 2, W]. Returns the buffer with the result.
static float* transform(const FftView& plan, float* x, float* y) {
  if (plan.chirp == nullptr) return passes(plan, x, y, false);
  const float* chirp = plan.chirp;
  const float* kernel = plan.chirp_dft;
  for (index_t f = 0; f < plan.length; ++f) put(x + f * 2 * W, turn(get(x + f * 2 * W, false), chirp + 2 * f));
  for (index_t i = plan.length * 2 * W; i < plan.padded * 2 * W; i += W) store(x + i, vec{});
  float* a = passes(plan, x, y, false);
  float* b = a == x ? y : x;
  for (index_t f = 0; f < plan.padded; ++f) put(a + f * 2 * W, turn(get(a + f * 2 * W, false), kernel + 2 * f));
  float* c = passes(plan, a, b, true);  // forward transform, real and imaginary rows exchanged
  for (index_t k = 0; k < plan.length; ++k) put(c + k * 2 * W, turn(get(c + k * 2 * W, true), chirp + 2 * k));
  return c;
}

}  // namespace jadce::JADCE_ISA
