// Takes the place of csrc/core/tensor_cuda.hpp, which says what the functions do. Copies come as late as they may.
#pragma once

#include <cstdint>

#include "core/bfloat16.hpp"
#include "core/launch.hpp"

namespace jadce::cuda {

inline unsigned round_pair(float first, float second) { return bfloat16_pair(first, second); }

inline void load_matrix(unsigned (&a)[4], const unsigned* row, JADCE_EMULATED_WHERE) {
  const emulator::Exchange lanes = emulator::exchange(~0u, reinterpret_cast<std::uintptr_t>(row), where);
  const unsigned lane = emulator::lane();
  for (unsigned i = 0; i < 4; ++i) a[i] = reinterpret_cast<const unsigned*>(lanes.value[8 * i + lane / 4])[lane % 4];
}

inline void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, JADCE_EMULATED_WHERE) {
  const auto both = [](std::uint64_t low, std::uint64_t high) { return high << 32 | low; };
  const emulator::Exchange left = emulator::exchange(~0u, both(a[0], a[1]), where);
  const emulator::Exchange right = emulator::exchange(~0u, both(a[2], a[3]), where);
  const emulator::Exchange columns = emulator::exchange(~0u, both(b0, b1), where);
  const auto element = [](std::uint64_t words, unsigned upper, unsigned half) {
    return static_cast<double>(from_bfloat16(static_cast<unsigned>(words >> (32 * upper + 16 * half)) & 0xffffu));
  };
  const unsigned lane = emulator::lane();
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned lower = i / 2, row = lane / 4, column = 2 * (lane % 4) + i % 2;
    double total = static_cast<double>(c[i]);
    for (unsigned k = 0; k < 8; ++k) {
      const unsigned of_row = 4 * row + k / 2, of_column = 4 * column + k / 2;
      total += element(left.value[of_row], lower, k % 2) * element(columns.value[of_column], 0, k % 2);
      total += element(right.value[of_row], lower, k % 2) * element(columns.value[of_column], 1, k % 2);
    }
    c[i] = static_cast<float>(total);
  }
}

inline void copy_async(uint4* shared, const uint4* global) { emulator::copy_later(shared, global, sizeof(uint4)); }
inline void commit_copies() { emulator::end_copies(); }
template <int kPending>
void wait_copies() {
  emulator::finish_copies(kPending);
}

}  // namespace jadce::cuda
