// Zeroed, cache-line aligned arrays of floats: all workspace is of this kind and is taken when a plan is made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace jadce {

struct Free {
  void operator()(void* p) const { std::free(p); }
};

using Floats = std::unique_ptr<float[], Free>;

inline Floats floats(std::int64_t count) {
  const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(float) + 63) / 64 * 64 + 64;
  void* p = std::aligned_alloc(64, bytes);
  if (p == nullptr) throw std::bad_alloc();
  std::memset(p, 0, bytes);
  return Floats(static_cast<float*>(p));
}

}  // namespace jadce
