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

// x viewed as [R, m, s] goes to y viewed as [m, R, s].
template <int R>
static void pass(const float* x, float* y, index_t m, index_t s, const float* twiddle, bool swap) {
  for (index_t p = 0; p < m; ++p) {
    const float* w = twiddle + p * 2 * (R - 1);
    for (index_t q = 0; q < s; ++q) {
      cvec a[R];
      for (int j = 0; j < R; ++j) a[j] = get(x + ((j * m + p) * s + q) * 2 * W, swap);
      butterfly<R>(a);
      float* out = y + (p * R * s + q) * 2 * W;
      put(out, a[0]);
      if (p == 0) {
        for (int j = 1; j < R; ++j) put(out + j * s * 2 * W, a[j]);
      } else {
        for (int j = 1; j < R; ++j) put(out + j * s * 2 * W, turn(a[j], w + 2 * (j - 1)));
      }
    }
  }
}

// The same for any odd radix, O(R^2).
static void pass_any(int r, const float* x, float* y, index_t m, index_t s, const float* twiddle, const float* root,
                     bool swap) {
  for (index_t p = 0; p < m; ++p) {
    for (index_t q = 0; q < s; ++q) {
      cvec a[kLargestRadix];
      for (int j = 0; j < r; ++j) a[j] = get(x + ((j * m + p) * s + q) * 2 * W, swap);
      for (int j = 0; j < r; ++j) {
        cvec total = a[0];
        for (int i = 1; i < r; ++i) total = total + turn(a[i], root + 2 * (i * j % r));
        if (j > 0) total = turn(total, twiddle + 2 * (p * (r - 1) + j - 1));
        put(y + ((p * r + j) * s + q) * 2 * W, total);
      }
    }
  }
}

// All passes; the result is in the buffer that is returned, x or y. `swap` as in get(), on the first pass only.
static float* passes(const FftView& plan, float* x, float* y, bool swap) {
  const float* twiddle = plan.twiddle;
  const float* root = plan.root;
  index_t rest = plan.padded, s = 1;
  for (int i = 0; i < plan.passes; ++i) {
    const int r = plan.radices[i];
    const index_t m = rest / r;
    const bool first = swap && i == 0;
    switch (r) {
      case 2:
        pass<2>(x, y, m, s, twiddle, first);
        break;
      case 3:
        pass<3>(x, y, m, s, twiddle, first);
        break;
      case 4:
        pass<4>(x, y, m, s, twiddle, first);
        break;
      case 5:
        pass<5>(x, y, m, s, twiddle, first);
        break;
      default:
        pass_any(r, x, y, m, s, twiddle, root, first);
    }
    twiddle += 2 * m * (r - 1);
    root += 2 * r;
    rest = m;
    s *= r;
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
