// Shared memory of a thread block.
#pragma once

#include <cuda_runtime.h>

namespace jadce::cuda {

extern __shared__ __align__(16) unsigned char shared_bytes[];

// A block's dynamic shared memory; its size is the launch's.
template <class T>
__device__ T* dynamic_shared() {
  return reinterpret_cast<T*>(shared_bytes);
}

}  // namespace jadce::cuda
