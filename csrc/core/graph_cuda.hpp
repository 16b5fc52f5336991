// A CUDA graph recorded from launches, with a loop inside that the GPU ends by itself.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

namespace jadce::cuda {

// Throws std::runtime_error if a graph, a cudaGraph_t, cannot be part of another.
void check_child(void* child);

// Stands for the handle of a loop where there is none.
inline constexpr std::uint64_t kNoLoop = ~std::uint64_t{0};

// Errors are std::runtime_error. Between begin() and end() launch on the streams that they return: nothing runs.
class Graph {
 public:
  // `overlapping`: kernels start while the one before still runs (after_previous() waits for its end), except for the
  // first ones in and after the loop. Compute capability 9.0 and later; ignored on others.
  explicit Graph(bool overlapping);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void* begin();
  // Begins the graph's only loop: launches on the stream from here to close_loop() are repeated until a kernel among
  // them calls end_loop() with this handle.
  std::pair<void*, std::uint64_t> open_loop();
  // Between open_loop() and close_loop(): adds a copy of `child`, a cudaGraph_t, that is done in those passes of the
  // loop in which a kernel before it has given set_condition() the handle that is returned and not zero.
  std::uint64_t add_if(void* child);
  void close_loop();
  void end();

  // Enqueues the whole graph on `stream`.
  void launch(void* stream) const;

 private:
  struct Added {
    cudaGraphConditionalHandle handle;
    cudaGraph_t body;
  };
  // Adds a conditional node after all that `stream` has recorded.
  static Added add_conditional(cudaStream_t stream, cudaGraphConditionalNodeType type, unsigned initial);
  void overlap_from_next() const;

  bool overlapping_ = false, recording_ = false, inside_ = false;  // inside_: the loop
  cudaStream_t stream_ = nullptr, body_ = nullptr;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t exec_ = nullptr;
};

#if defined(__CUDACC__) || defined(__CUDA_ARCH__)
// One thread of a whole kernel may call these.
inline __device__ void end_loop(std::uint64_t handle) { cudaGraphSetConditional(handle, 0); }
inline __device__ void set_condition(std::uint64_t handle, bool value) { cudaGraphSetConditional(handle, value); }
#endif

}  // namespace jadce::cuda
