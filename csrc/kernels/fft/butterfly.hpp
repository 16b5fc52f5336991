// Butterflies of the inverse DFT, for any complex type with +, -, * float and times_i: rows of beams on the CPU
// (fft_simd.hpp), one number on a GPU (fft_cuda.hpp).
#pragma once

#include "core/shapes.hpp"

namespace jadce {

// a[k] = sum_j a[j] exp(+2 pi i j k / R), in place; R is 2, 3, 4 or 5.
template <int R, class C>
JADCE_INLINE void butterfly(C* a) {
  static_assert(R >= 2 && R <= 5);
  if constexpr (R == 2) {
    const C b = a[1];
    a[1] = a[0] - b;
    a[0] = a[0] + b;
  } else if constexpr (R == 3) {
    const C s = a[1] + a[2], d = times_i((a[1] - a[2]) * 0.86602540378443865f), c = a[0] - s * 0.5f;
    a[0] = a[0] + s;
    a[1] = c + d;
    a[2] = c - d;
  } else if constexpr (R == 4) {
    const C s = a[0] + a[2], d = a[0] - a[2], t = a[1] + a[3], u = times_i(a[1] - a[3]);
    a[0] = s + t;
    a[1] = d + u;
    a[2] = s - t;
    a[3] = d - u;
  } else {
    constexpr float c1 = 0.30901699437494742f, c2 = -0.80901699437494742f;
    constexpr float s1 = 0.95105651629515357f, s2 = 0.58778525229247313f;
    const C p = a[1] + a[4], q = a[2] + a[3], m = a[1] - a[4], n = a[2] - a[3];
    const C x = a[0] + p * c1 + q * c2, y = a[0] + p * c2 + q * c1;
    const C u = times_i(m * s1 + n * s2), v = times_i(m * s2 - n * s1);
    a[0] = a[0] + p + q;
    a[1] = x + u;
    a[2] = y + v;
    a[3] = y - v;
    a[4] = x - u;
  }
}

}  // namespace jadce
