// A warp's work on tensor cores, and copies to shared memory that run by themselves: PTX of compute capability 8.0 and
// later. A pair is two bfloat16 in a word, the first in its lower half.
//
// Of a 16 x 16 matrix, row by row, lane l holds the pairs of columns 2 (l % 4) + {0, 1} and of those eight further, of
// rows l / 4 and l / 4 + 8: the order is (row, column), (row + 8, column), (row, column + 8), (row + 8, column + 8).
#pragma once

#include "core/launch.hpp"

namespace jadce::cuda {

// A pair of two numbers, both rounded to nearest.
__device__ __forceinline__ unsigned round_pair(float first, float second) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}

// Loads a 16 x 16 matrix from shared memory: lane l gives the address of eight numbers, 16 bytes aligned, of row l % 16
// from column l / 16 * 8.
__device__ __forceinline__ void load_matrix(unsigned (&a)[4], const unsigned* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
}

// c [16, 8] += a [16, 16] b [16, 8]. Lane l holds c of rows l / 4 (two numbers) and l / 4 + 8 (two more), columns
// 2 (l % 4) + {0, 1}, and of column l / 4 of b the rows 2 (l % 4) + {0, 1} (b0) and those eight further (b1).
__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Copies 16 bytes to shared memory; they may come as late as wait_copies().
__device__ __forceinline__ void copy_async(uint4* shared, const uint4* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
               :
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(shared))), "l"(global)
               : "memory");
}

// Ends a group of this thread's copies.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most the last kPending groups of this thread's copies are under way.
template <int kPending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace jadce::cuda
