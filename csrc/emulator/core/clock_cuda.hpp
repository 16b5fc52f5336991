// Takes the place of csrc/core/clock_cuda.hpp, which says what the function does.
#pragma once

#include <chrono>
#include <cstdint>

namespace jadce::cuda {

inline std::uint64_t nanoseconds() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

}  // namespace jadce::cuda
