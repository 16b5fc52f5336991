// The part of CUDA's runtime that the kernels use, for the host's C++ compiler: the .cu files compile unchanged and run
// on host pointers, block after block (fibers.hpp). In the include path of test builds only.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>

#include "emulator/fibers.hpp"
#include "emulator/graph.hpp"

#define __CUDA_ARCH__ 900
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
// Static storage that one block after another uses; legal after `extern` too, where constinit spares a call.
#define __shared__ constinit thread_local

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

extern constinit thread_local uint3 threadIdx, blockIdx;
extern constinit thread_local dim3 blockDim, gridDim;

// Barriers of two source lines never match: threads that wait at different ones are an error.
inline void __syncthreads(jadce::emulator::Where where = jadce::emulator::Where::current()) {
  jadce::emulator::block_barrier(where);
}
inline void cudaGridDependencySynchronize() { jadce::emulator::note_after_previous(); }
inline void cudaTriggerProgrammaticLaunchCompletion() {}
inline void __syncwarp(unsigned mask = ~0u, jadce::emulator::Where where = jadce::emulator::Where::current()) {
  jadce::emulator::exchange(mask, 0, where);
}

namespace jadce::emulator {

template <class T>
std::uint64_t bits(T value) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t raw = 0;
  std::memcpy(&raw, &value, sizeof(T));
  return raw;
}

// Value that lane `from` gave; lanes outside the mask give a pattern that is not a number.
template <class T>
T of_lane(const Exchange& lanes, unsigned from) {
  const std::uint64_t raw = lanes.mask >> from & 1u ? lanes.value[from] : ~std::uint64_t{0};
  T value;
  std::memcpy(&value, &raw, sizeof(T));
  return value;
}

template <class T, class Operation>
T reduce(unsigned mask, T value, Operation operation, Where where) {
  const Exchange lanes = exchange(mask, bits(value), where);
  bool first = true;
  T total{};
  for (unsigned i = 0; i < 32; ++i) {
    if (!(lanes.mask >> i & 1u)) continue;
    total = first ? of_lane<T>(lanes, i) : operation(total, of_lane<T>(lanes, i));
    first = false;
  }
  return total;
}

}  // namespace jadce::emulator

#define JADCE_EMULATED_WHERE jadce::emulator::Where where = jadce::emulator::Where::current()

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, JADCE_EMULATED_WHERE) {
  const auto w = static_cast<unsigned>(width), base = jadce::emulator::lane() / w * w;
  return jadce::emulator::of_lane<T>(jadce::emulator::exchange(mask, jadce::emulator::bits(value), where),
                                     base + static_cast<unsigned>(from) % w);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, JADCE_EMULATED_WHERE) {
  const unsigned lane = jadce::emulator::lane(), within = lane % static_cast<unsigned>(width);
  return jadce::emulator::of_lane<T>(jadce::emulator::exchange(mask, jadce::emulator::bits(value), where),
                                     within < delta ? lane : lane - delta);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, JADCE_EMULATED_WHERE) {
  const auto w = static_cast<unsigned>(width);
  const unsigned lane = jadce::emulator::lane();
  return jadce::emulator::of_lane<T>(jadce::emulator::exchange(mask, jadce::emulator::bits(value), where),
                                     lane % w + delta < w ? lane + delta : lane);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32, JADCE_EMULATED_WHERE) {
  const auto w = static_cast<unsigned>(width);
  const unsigned lane = jadce::emulator::lane(), from = lane ^ static_cast<unsigned>(with);
  return jadce::emulator::of_lane<T>(jadce::emulator::exchange(mask, jadce::emulator::bits(value), where),
                                     from / w == lane / w ? from : lane);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, JADCE_EMULATED_WHERE) {
  const unsigned mine = predicate ? 1u << jadce::emulator::lane() : 0u;
  return jadce::emulator::reduce(mask, mine, [](unsigned a, unsigned b) { return a | b; }, where);
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value, JADCE_EMULATED_WHERE) {
  return jadce::emulator::reduce(mask, value, [](unsigned a, unsigned b) { return a + b; }, where);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value, JADCE_EMULATED_WHERE) {
  return jadce::emulator::reduce(mask, value, [](unsigned a, unsigned b) { return a > b ? a : b; }, where);
}

// All threads of a block share one processor thread and switch only at barriers: plain updates are atomic.
template <class T>
T atomicAdd(T* at, T value) {
  return std::exchange(*at, static_cast<T>(*at + value));
}
template <class T>
T atomicMax(T* at, T value) {
  return std::exchange(*at, *at > value ? *at : value);
}

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline std::uint64_t __umul64hi(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(static_cast<Wide>(a) * b >> 64);
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
using std::isfinite;
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline unsigned __float_as_uint(float x) { return static_cast<unsigned>(jadce::emulator::bits(x)); }

enum cudaError_t {
  cudaSuccess,
  cudaErrorInvalidValue,
  cudaErrorNoDevice,
  cudaErrorLaunchFailure,
  cudaErrorMemoryAllocation
};
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
  cudaDevAttrComputeCapabilityMajor
};
enum cudaLaunchAttributeID {
  cudaLaunchAttributeProgrammaticStreamSerialization,
  cudaLaunchAttributeClusterDimension,
  cudaLaunchAttributeCooperative
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    int programmaticStreamSerializationAllowed, cooperative;
    struct {
      unsigned x, y, z;
    } clusterDim;
  } val;
};

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetDeviceCount(int* count);
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
// Few multiprocessors, so that the blocks of a kernel that counts them have several pieces of work each.
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr what, int) {
  *value = what == cudaDevAttrMultiProcessorCount      ? jadce::emulator::kProcessors
           : what == cudaDevAttrComputeCapabilityMajor ? 9
                                                       : jadce::emulator::kMostShared;
  return cudaSuccess;
}

struct cudaFuncAttributes {
  int maxDynamicSharedSizeBytes;
};
template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel*) {
  *attributes = {48 * 1024};
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int bytes) {
  return bytes <= jadce::emulator::kMostShared ? cudaSuccess : cudaErrorInvalidValue;
}

// Runs the whole grid before it returns, unless the stream captures.
template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... arguments) {
  auto thread = [kernel, values = std::tuple<P...>(std::forward<A>(arguments)...)] { std::apply(kernel, values); };
  const auto axes = [](dim3 d) { return jadce::emulator::Axes{d.x, d.y, d.z}; };
  jadce::emulator::Grid grid{axes(config->gridDim), axes(config->blockDim), config->dynamicSmemBytes};
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config->attrs[i];
    if (attribute.id == cudaLaunchAttributeClusterDimension) grid.cluster = attribute.val.clusterDim.x;
    if (attribute.id == cudaLaunchAttributeCooperative) grid.together = attribute.val.cooperative != 0;
  }
  auto work = [thread, grid]() mutable {
    const auto run = [](void* body) { (*static_cast<decltype(thread)*>(body))(); };
    return jadce::emulator::run_grid(grid, run, &thread);
  };
  return jadce::emulator::submit(config->stream, work) ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                                          const cudaGraphEdgeData* edges, std::size_t count,
                                          cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t* graph, const cudaGraphNode_t** dependencies,
                                     const cudaGraphEdgeData** edges, std::size_t* count);
cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t stream, cudaGraphNode_t* dependencies,
                                                const cudaGraphEdgeData* edges, std::size_t count, unsigned flags);
cudaError_t cudaGraphConditionalHandleCreate(cudaGraphConditionalHandle* handle, cudaGraph_t graph, unsigned initial,
                                             unsigned flags);
void cudaGraphSetConditional(cudaGraphConditionalHandle handle, unsigned value);
cudaError_t cudaGraphAddNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                             const cudaGraphEdgeData* edges, std::size_t count, cudaGraphNodeParams* parameters);
cudaError_t cudaGraphAddChildGraphNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                                       std::size_t count, cudaGraph_t child);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);

// Work is done when it is enqueued: there is nothing to wait for.
struct EmulatedEvent {};
using cudaEvent_t = EmulatedEvent*;
inline constexpr unsigned cudaEventDisableTiming = 2;
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }

// Memory of the device is the host's.
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
inline cudaError_t cudaMalloc(void** at, std::size_t bytes) {
  constexpr std::size_t kWhole = 256;
  *at = std::aligned_alloc(kWhole, (bytes + kWhole - 1) / kWhole * kWhole);
  return *at ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFree(void* at) {
  std::free(at);
  return cudaSuccess;
}
inline cudaError_t cudaMemset(void* at, int value, std::size_t bytes) {
  std::memset(at, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  return cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice);
}
