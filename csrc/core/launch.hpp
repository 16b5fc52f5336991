// Launches of CUDA kernels.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/shared_cuda.hpp"

namespace jadce::cuda {

inline constexpr std::size_t kMostShared = 227 * 1024;     // bytes a block can have, compute capability 9.0
inline constexpr std::size_t kSharedAnywhere = 99 * 1024;  // the same from 8.0 to 12.0
inline constexpr int kProcessors = 132;                    // multiprocessors of the GPU that launches are sized for

inline unsigned blocks(std::int64_t count, std::int64_t each) {
  return static_cast<unsigned>((count + each - 1) / each);
}

// Tells whether a kernel of a graph may be started while the one before it still runs (Graph, core/graph_cuda.hpp).
enum class Overlap { kNever, kFromNext, kNow };
inline thread_local Overlap overlap = Overlap::kNever;

// Waits for the kernel before to end, and lets the one after it be started. Every thread of every kernel calls this
// before it reads or writes what another kernel writes or reads; until then it may only read what never changes.
// Nothing else may come through `const __restrict__` pointers: the compiler moves such loads up, beyond the wait.
// Planned tables are parameters of their own beside a kernel's struct, whose members could not be `const __restrict__`.
inline __device__ void after_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
#endif
}

// Size of a launch, with its bytes of dynamic shared memory. Blocks that follow each other in x are a cluster of
// `cluster`, or all are together (together_cuda.hpp).
struct Shape {
  dim3 grid, block;
  std::size_t shared;
  unsigned cluster = 1;
  bool together = false;
};

// Runs kernel(arguments...) on `stream` (a cudaStream_t). Throws std::runtime_error with the kernel's name if it cannot
// be launched.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), const Shape& shape, void* stream, A... arguments) {
  const std::size_t shared = shape.shared;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shared;
  config.stream = static_cast<cudaStream_t>(stream);
  cudaLaunchAttribute attributes[3]{};
  config.attrs = attributes;
  if (overlap == Overlap::kNow) {
    cudaLaunchAttribute& early = attributes[config.numAttrs++];
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 1) {
    cudaLaunchAttribute& cluster = attributes[config.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = shape.cluster;
    cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  }
  if (shape.together) {
    cudaLaunchAttribute& together = attributes[config.numAttrs++];
    together.id = cudaLaunchAttributeCooperative;
    together.val.cooperative = 1;
  }
  if (overlap == Overlap::kFromNext) overlap = Overlap::kNow;
  cudaError_t error = cudaSuccess;
  if (shared > 48 * 1024) {  // more must be asked for, and never less than a recorded launch of the kernel needs
    cudaFuncAttributes now{};
    error = cudaFuncGetAttributes(&now, kernel);
    if (error == cudaSuccess && now.maxDynamicSharedSizeBytes < static_cast<int>(shared))
      error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
  }
  if (error == cudaSuccess) error = cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...);
  if (error != cudaSuccess) throw std::runtime_error(std::string(name) + ": " + cudaGetErrorString(error));
}

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared, void* stream,
            A... arguments) {
  launch(name, kernel, Shape{grid, block, shared}, stream, arguments...);
}

}  // namespace jadce::cuda
