#pragma once

#include "core/complex_cuda.hpp"

namespace jadce::cuda {

// Tables of an FftPlan (fft.hpp) on a GPU.
struct FftTables {
  const Complex* twiddle;    // [padded - 1]
  const Complex* root;       // per pass: [radix]
  const Complex* chirp;      // [K], null unless Bluestein
  const Complex* chirp_dft;  // [padded], null unless Bluestein
};

}  // namespace jadce::cuda
