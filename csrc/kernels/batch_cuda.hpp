// Independent received blocks are the third axis of a grid. Numbers of a block that kernels share lie in its Control
// (control.hpp): pointers to them point into that of the first block, and steps are kControlWords.
#pragma once

#include <cstdint>

#include "core/block_cuda.hpp"
#include "core/launch.hpp"
#include "loop/control.hpp"

namespace jadce::cuda {

inline __device__ std::int64_t batch() { return static_cast<std::int64_t>(blockIdx.z); }

// Tells whether the kernel has anything to do for its block; null: always.
inline __device__ bool has_work(const std::int32_t* enabled) {
  return enabled == nullptr || enabled[batch() * kControlWords] != 0;
}

// Number of places in use, of `capacity`; null: all.
inline __device__ int limited(const std::int32_t* count, int capacity) {
  if (count == nullptr) return capacity;
  const int value = count[batch() * kControlWords];
  return value > capacity ? capacity : value;
}

// Thread blocks of a received block for `tasks` of which any number may have work: each takes every so many. All have
// one of their own where few blocks are received, and where many are no more are started than fill the GPU twice, of
// which `resident` fit a multiprocessor: those without work would take longer than the others.
inline unsigned sharing(int tasks, int batch, int resident) {
  const unsigned most = blocks(2 * kProcessors * resident, batch), all = static_cast<unsigned>(tasks);
  return all < most ? all : most;
}

// Sum over i < count of f(i) for the beam of this thread's lane, by a block of kBeamWarps warps; every thread gets it.
// Warps take turns at i, and their parts are added in order. `part` holds [kBeamWarps, 32].
inline constexpr int kBeamWarps = 8;
template <class F>
__device__ double beam_sum(int count, double* part, F f) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  double total = 0;
  for (int first = warp; first < count; first += kInFlight * kBeamWarps) {
    float value[kInFlight];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) value[j] = f(min(first + j * kBeamWarps, count - 1));
#pragma unroll
    for (int j = 0; j < kInFlight; ++j)
      if (first + j * kBeamWarps < count) total += static_cast<double>(value[j]);
  }
  __syncthreads();
  part[warp * 32 + lane] = total;
  __syncthreads();
  total = 0;
  for (int w = 0; w < kBeamWarps; ++w) total += part[w * 32 + lane];
  return total;
}

}  // namespace jadce::cuda
