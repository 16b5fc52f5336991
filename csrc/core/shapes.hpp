// Sizes and layouts shared by the kernels.
//
// Inside the library complex arrays are split, and beams are padded with zero lanes to a multiple of kLanes:
//   measurement space  [N, T, 2, Mp]   real row, imaginary row
//   KLT coefficients   [A, 2 P, Mp]    P real rows, then P imaginary rows
#pragma once

#include <complex>
#include <cstdint>

// Marks functions for the host, with a copy in every instruction set's code instead of one that the linker picks for
// all, and for a GPU.
#if defined(__CUDACC__)
#define JADCE_INLINE __host__ __device__ __forceinline__
#else
#define JADCE_INLINE __attribute__((always_inline)) inline
#endif

namespace jadce {

using cfloat = std::complex<float>;
using index_t = std::int64_t;

inline constexpr index_t kLanes = 16;  // beams are padded to a multiple of this

struct Shape {
  index_t devices;       // K
  index_t subcarriers;   // N
  index_t symbols;       // T
  index_t antennas;      // M
  index_t coefficients;  // P
  index_t lanes;         // Mp

  JADCE_INLINE index_t point() const { return 2 * lanes; }  // floats of one (n, t)
  JADCE_INLINE index_t measurements() const { return subcarriers * symbols; }
  JADCE_INLINE index_t together() const { return lanes % 32 == 0 ? 32 : kLanes; }  // beams of a task
  JADCE_INLINE index_t channel() const { return 2 * coefficients * lanes; }        // floats of one device
};

}  // namespace jadce
