// Operations that the threads of a block do together.
#pragma once

#include "core/launch.hpp"

namespace jadce::cuda {

// Sum over the block's threads, a power of two; every thread gets it. `part` holds a number per thread. The order of
// additions is fixed.
template <class T>
__device__ T block_sum(T value, T* part) {
  const unsigned thread = threadIdx.x;
  __syncthreads();
  part[thread] = value;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) part[thread] += part[thread + half];
  }
  __syncthreads();
  return part[0];
}

inline constexpr int kInFlight = 4;  // loads of a thread that do not wait for one another

// Copies `count` numbers to shared memory by all threads of the block, without a barrier.
template <class T>
__device__ void copy_together(const T* __restrict__ from, int count, T* to) {
  const int step = static_cast<int>(blockDim.x);
  for (int first = static_cast<int>(threadIdx.x); first < count; first += kInFlight * step) {
    T held[kInFlight];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) held[j] = first + j * step < count ? from[first + j * step] : T{};
#pragma unroll
    for (int j = 0; j < kInFlight; ++j)
      if (first + j * step < count) to[first + j * step] = held[j];
  }
}

// Number of earlier threads of the block that have the flag, and `total` of all; whole warps. `part` holds 32 numbers.
inline __device__ int count_before(bool flag, int* part, int& total) {
  const unsigned lane = threadIdx.x % 32, mask = __ballot_sync(~0u, flag);
  __syncthreads();
  if (lane == 0) part[threadIdx.x / 32] = __popc(mask);
  __syncthreads();
  int before = __popc(mask & ((1u << lane) - 1u));
  total = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) {
    if (w < threadIdx.x / 32) before += part[w];
    total += part[w];
  }
  return before;
}

}  // namespace jadce::cuda
