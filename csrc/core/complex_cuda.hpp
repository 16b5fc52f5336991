// One complex number of a GPU thread, interleaved in memory.
#pragma once

#include "core/shapes.hpp"

namespace jadce::cuda {

struct alignas(8) Complex {
  float re, im;
};

JADCE_INLINE Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
JADCE_INLINE Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
JADCE_INLINE Complex operator*(Complex a, float s) { return {a.re * s, a.im * s}; }
JADCE_INLINE Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
// total + a b and total - a b with four instructions, where a product by itself and a sum take six.
JADCE_INLINE Complex add_product(Complex total, Complex a, Complex b) {
  return {total.re + a.re * b.re - a.im * b.im, total.im + a.re * b.im + a.im * b.re};
}
JADCE_INLINE Complex subtract_product(Complex total, Complex a, Complex b) {
  return {total.re - a.re * b.re + a.im * b.im, total.im - a.re * b.im - a.im * b.re};
}
JADCE_INLINE Complex times_i(Complex a) { return {-a.im, a.re}; }
JADCE_INLINE Complex conjugate(Complex a) { return {a.re, -a.im}; }
JADCE_INLINE Complex exchange(Complex a) { return {a.im, a.re}; }
JADCE_INLINE float norm(Complex a) { return a.re * a.re + a.im * a.im; }

inline const Complex* complex(const float* p) { return reinterpret_cast<const Complex*>(p); }
inline Complex* complex(float* p) { return reinterpret_cast<Complex*>(p); }

}  // namespace jadce::cuda
