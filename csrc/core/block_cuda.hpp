// Operations that the threads of a block do together.
#pragma once

#include "core/launch.hpp"

namespace jadce::cuda {

// Sum over the block's threads, whole warps; every thread gets it. `part` holds a number per warp. The order of
// additions is fixed.
template <class T>
__device__ T block_sum(T value, T* part) {
  for (int other = 16; other > 0; other /= 2) value += __shfl_xor_sync(~0u, value, other);
  __syncthreads();
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = value;
  __syncthreads();
  T total{};
  for (unsigned w = 0; w < blockDim.x / 32; ++w) total += part[w];
  return total;
}

inline constexpr int kInFlight = 4;  // loads of a thread that do not wait for one another

// Copies `count` numbers to shared memory by all threads of the block, without a barrier.
template <class T>
__device__ void copy_together(const T* from, int count, T* to) {
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

// Sum over the block's threads, whole warps, of what is not negative, and `before` of earlier warps. `part` holds 32
// numbers.
inline __device__ int total_of(int value, int* part, int& before) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned sum = __reduce_add_sync(~0u, static_cast<unsigned>(value));
  __syncthreads();
  if (lane == 0) part[warp] = static_cast<int>(sum);
  __syncthreads();
  const unsigned of_lane = lane < blockDim.x / 32 ? static_cast<unsigned>(part[lane]) : 0u;
  before = static_cast<int>(__reduce_add_sync(~0u, lane < warp ? of_lane : 0u));
  return static_cast<int>(__reduce_add_sync(~0u, of_lane));
}

// Number of earlier threads of the block that have the flag, and `total` of all.
inline __device__ int count_before(bool flag, int* part, int& total) {
  const unsigned mask = __ballot_sync(~0u, flag);
  int before = 0;
  total = total_of(flag ? 1 : 0, part, before);
  return before + __popc(mask & ((1u << threadIdx.x % 32) - 1u));
}

}  // namespace jadce::cuda
