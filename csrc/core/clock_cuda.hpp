// The time on a GPU, the same for all of its multiprocessors.
#pragma once

#include <cstdint>

namespace jadce::cuda {

// Nanoseconds since some time in the past, as fine as the GPU tells them: about one microsecond.
inline __device__ std::uint64_t nanoseconds() {
  std::uint64_t now = 0;
#ifdef __CUDA_ARCH__
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
#endif
  return now;
}

}  // namespace jadce::cuda
