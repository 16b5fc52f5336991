// Thread blocks that work together. Those of a cluster reach one another's shared memory, and have a barrier in two
// halves: whatever a thread wrote before it arrived, all threads see after their wait, here and in global memory. Those
// of a cooperative launch, which all run at the same time, have a barrier of the whole grid.
//
// Before compute capability 9.0 a cluster is one block.
#pragma once

#include <cooperative_groups.h>

#include "core/launch.hpp"

namespace jadce::cuda {

// Place of this block in its cluster, and blocks of a cluster.
__device__ __forceinline__ unsigned cluster_rank() {
#if __CUDA_ARCH__ >= 900
  return cooperative_groups::this_cluster().block_rank();
#else
  return 0;
#endif
}

__device__ __forceinline__ unsigned cluster_blocks() {
#if __CUDA_ARCH__ >= 900
  return cooperative_groups::this_cluster().num_blocks();
#else
  return 1;
#endif
}

// All threads of all blocks call both, in turns.
__device__ __forceinline__ void arrive_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}

__device__ __forceinline__ void wait_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
  __syncthreads();
#endif
}

// Where a block of the cluster has what this one has at `own`, an address in shared memory. A block may not end before
// the others have done with its memory.
template <class T>
__device__ T* of_block(T* own, unsigned rank) {
#if __CUDA_ARCH__ >= 900
  return cooperative_groups::this_cluster().map_shared_rank(own, rank);
#else
  return own;
#endif
}

// All threads of all blocks of a cooperative launch wait for one another.
__device__ __forceinline__ void grid_barrier() { cooperative_groups::this_grid().sync(); }

}  // namespace jadce::cuda
