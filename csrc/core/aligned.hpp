// Zeroed, cache-line aligned arrays of floats: all workspace is of this kind and is taken when a plan is made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace jadce {

struct Free {
  void operator()(float* p) const { std::free(reinterpret_cast<void**>(p)[-1]); }
};

using Floats = std::unique_ptr<float[], Free>;

inline thread_local std::int64_t floats_taken = 0;  // by this thread, by which a plan's size is told

// calloc leaves the pages of a large array untouched until they are used: a generous capacity costs no memory.
inline Floats floats(std::int64_t count) {
  constexpr std::size_t kLine = 64;
  if (count < 0 || static_cast<std::size_t>(count) > PTRDIFF_MAX / sizeof(float) - 2 * kLine) throw std::bad_alloc();
  void* base = std::calloc(static_cast<std::size_t>(count) * sizeof(float) + 2 * kLine, 1);
  if (base == nullptr) throw std::bad_alloc();
  const auto start = (reinterpret_cast<std::uintptr_t>(base) + kLine + kLine - 1) / kLine * kLine;
  floats_taken += count;
  auto* p = reinterpret_cast<float*>(start);
  reinterpret_cast<void**>(p)[-1] = base;
  return Floats(p);
}

}  // namespace jadce
