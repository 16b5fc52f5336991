// What a boundary between dependent steps costs on this GPU: from kernel to kernel in a graph, a turn of a graph's
// loop, a barrier of all blocks of a cooperative kernel, and reading what all blocks wrote. On a machine with a GPU:
// nvcc -O3 -std=c++17 -arch=sm_90 benchmarks/gpu_boundaries.cu -o /tmp/gpu_boundaries && /tmp/gpu_boundaries
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::printf("%s\n", cudaGetErrorString(error));
  std::exit(1);
}

__global__ void empty_kernel(int* p) {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  if (threadIdx.x == 0 && p[0] == 12345) p[1] = 1;
}

__global__ void set_kernel(int* p, int turns) { p[2] = turns; }

__global__ void turn_kernel(int* p, cudaGraphConditionalHandle loop) {
  if (threadIdx.x == 0) cudaGraphSetConditional(loop, --p[2] > 0);
}

__device__ void barrier(unsigned* count, unsigned goal) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(count, 1u);
    unsigned now = 0;
    do {
      asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(now) : "l"(count));
    } while (now < goal);
  }
  __syncthreads();
}

__global__ void barrier_kernel(unsigned* count, int rounds) {
  for (int i = 1; i <= rounds; ++i) barrier(count, gridDim.x * i);
}

// All blocks write their share of `words`, a barrier, every block reads them all, four loads of a thread in flight, a
// barrier.
__global__ void exchange_kernel(unsigned* count, float2* data, int words, int rounds) {
  const int each = (words + gridDim.x - 1) / gridDim.x, from = blockIdx.x * each, to = min(words, from + each);
  float sum = 0;
  for (int round = 0; round < rounds; ++round) {
    for (int i = from + threadIdx.x; i < to; i += blockDim.x) data[i] = make_float2(round, i);
    barrier(count, gridDim.x * (2 * round + 1));
    for (int first = threadIdx.x; first < words; first += 4 * blockDim.x) {
      float2 value[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) value[j] = __ldcg(data + min(first + j * static_cast<int>(blockDim.x), words - 1));
#pragma unroll
      for (int j = 0; j < 4; ++j) sum += value[j].x + value[j].y;
    }
    barrier(count, gridDim.x * (2 * round + 2));
  }
  if (sum == -1.0f) data[0].x = sum;
}

// Median microseconds of f(), by events.
template <class F>
double median_us(F f) {
  cudaEvent_t start, end;
  check(cudaEventCreate(&start));
  check(cudaEventCreate(&end));
  std::vector<float> times(35);
  for (float& ms : times) {
    check(cudaEventRecord(start));
    f();
    check(cudaEventRecord(end));
    check(cudaEventSynchronize(end));
    check(cudaEventElapsedTime(&ms, start, end));
  }
  std::sort(times.begin(), times.end());
  return 1e3 * times[times.size() / 2];
}

void launch_empty(cudaStream_t stream, bool overlapping, int blocks, int* p) {
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = 256;
  config.stream = stream;
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &early;
  config.numAttrs = overlapping;
  check(cudaLaunchKernelEx(&config, empty_kernel, p));
}

double graph_us(cudaGraph_t graph, cudaStream_t stream) {
  cudaGraphExec_t exec;
  check(cudaGraphInstantiate(&exec, graph, 0));
  const double us = median_us([&] {
    check(cudaGraphLaunch(exec, stream));
    check(cudaStreamSynchronize(stream));
  });
  check(cudaGraphExecDestroy(exec));
  check(cudaGraphDestroy(graph));
  return us;
}

double straight_us(cudaStream_t stream, bool overlapping, int blocks, int kernels, int* p) {
  cudaGraph_t graph;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < kernels; ++i) launch_empty(stream, overlapping, blocks, p);
  check(cudaStreamEndCapture(stream, &graph));
  return graph_us(graph, stream);
}

double loop_us(cudaStream_t stream, bool overlapping, int kernels, int turns, int* p) {
  cudaGraph_t graph;
  cudaGraphNode_t first, loop;
  cudaGraphConditionalHandle handle;
  check(cudaGraphCreate(&graph, 0));
  check(cudaGraphConditionalHandleCreate(&handle, graph, 1, cudaGraphCondAssignDefault));
  void* arguments[] = {&p, &turns};
  cudaKernelNodeParams set{};
  set.func = reinterpret_cast<void*>(set_kernel);
  set.gridDim = set.blockDim = 1;
  set.kernelParams = arguments;
  check(cudaGraphAddKernelNode(&first, graph, nullptr, 0, &set));
  cudaGraphNodeParams parameters{};
  parameters.type = cudaGraphNodeTypeConditional;
  parameters.conditional.handle = handle;
  parameters.conditional.type = cudaGraphCondTypeWhile;
  parameters.conditional.size = 1;
#if CUDART_VERSION >= 13000
  check(cudaGraphAddNode(&loop, graph, &first, nullptr, 1, &parameters));
#else
  check(cudaGraphAddNode(&loop, graph, &first, 1, &parameters));
#endif
  cudaGraph_t body = parameters.conditional.phGraph_out[0];
  check(cudaStreamBeginCaptureToGraph(stream, body, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal));
  for (int i = 1; i < kernels; ++i) launch_empty(stream, overlapping, 48, p);
  turn_kernel<<<1, 32, 0, stream>>>(p, handle);
  check(cudaStreamEndCapture(stream, nullptr));
  return graph_us(graph, stream);
}

}  // namespace

int main() {
  cudaStream_t stream;
  int* p;
  unsigned* count;
  float2* data;
  check(cudaStreamCreate(&stream));
  check(cudaMalloc(&p, 1024));
  check(cudaMemset(p, 0, 1024));
  check(cudaMalloc(&count, sizeof(unsigned)));
  check(cudaMalloc(&data, 1 << 20));
  for (bool overlapping : {false, true}) {
    const double nine = straight_us(stream, overlapping, 132, 9, p);
    std::printf("kernel to kernel, overlapping %d: %.2f us; a graph of nine %.1f us\n", overlapping,
                (straight_us(stream, overlapping, 132, 90, p) - nine) / 81, nine);
    for (int kernels : {1, 3, 9})
      std::printf("a turn of a loop of %d kernels, overlapping %d: %.2f us\n", kernels, overlapping,
                  (loop_us(stream, overlapping, kernels, 34, p) - loop_us(stream, overlapping, kernels, 2, p)) / 32);
  }
  const auto cooperative = [&](void* kernel, void** arguments) {
    return median_us([&] {
      check(cudaMemsetAsync(count, 0, sizeof(unsigned), nullptr));
      check(cudaLaunchCooperativeKernel(kernel, 132, 256, arguments, 0, nullptr));
    });
  };
  const auto barriers = [&](int rounds) {
    void* arguments[] = {&count, &rounds};
    return cooperative(reinterpret_cast<void*>(barrier_kernel), arguments);
  };
  std::printf("barrier of 132 blocks: %.2f us\n", (barriers(110) - barriers(10)) / 100);
  for (int kb : {16, 64, 245, 512}) {
    const auto exchanges = [&](int rounds) {
      int words = kb * 128;
      void* arguments[] = {&count, &data, &words, &rounds};
      return cooperative(reinterpret_cast<void*>(exchange_kernel), arguments);
    };
    std::printf("all write %d KB, barrier, all read them, barrier: %.2f us\n", kb, (exchanges(25) - exchanges(5)) / 20);
  }
}
