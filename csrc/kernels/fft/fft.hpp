// Inverse DFT of any length over rows of W beams: X[k] = sum_f x[f] exp(+2 pi i f k / K).
#pragma once

#include <vector>

#include "core/shapes.hpp"

namespace jadce {

// Tables that the passes read: plain pointers, since kernel files must not instantiate the standard library.
struct FftView {
  index_t length;  // K
  index_t padded;  // length of the passes: K, or the chirp's convolution length
  int passes;
  const int* radices;  // [passes], product is `padded`
  int sweeps;
  const int* together;     // [sweeps] passes that are made in one sweep over the rows
  const float* twiddle;    // per pass: [m, radix - 1, 2]
  const float* root;       // per pass: [radix, 2]
  const float* chirp;      // [K, 2] exp(i pi n^2 / K), null unless Bluestein
  const float* chirp_dft;  // [padded, 2] transform of the conjugate chirp / padded
};

inline constexpr int kLargestRadix = 31;
inline constexpr index_t kMostRows = 128;  // rows that a sweep holds at a time: twice as many fit the first-level cache

// Radices of the passes, and their product: `length`, or the length of the chirp's convolution.
std::vector<int> fft_radices(index_t length, index_t& padded);

// The largest divisor of `length` up to its square root whose transform, and that of the other factor, needs no chirp;
// 1 if there is none.
index_t fft_split(index_t length);

// Radices and twiddles, planned once. Lengths with a prime factor above kLargestRadix go through Bluestein's chirp.
struct FftPlan {
  explicit FftPlan(index_t length);

  FftView view() const;
  index_t padded() const { return padded_; }
  const std::vector<cfloat>& twiddle() const { return twiddle_; }
  const std::vector<cfloat>& root() const { return root_; }
  const std::vector<cfloat>& chirp() const { return chirp_; }
  const std::vector<cfloat>& chirp_dft() const { return chirp_dft_; }

 private:
  index_t length_, padded_;
  std::vector<int> radices_, together_;
  std::vector<cfloat> twiddle_, root_, chirp_, chirp_dft_;
};

}  // namespace jadce
