// A CUDA graph recorded from launches, with a loop inside that the GPU ends by itself.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <optional>
#include <utility>

namespace jadce::cuda {

// Throws std::runtime_error if a graph, a cudaGraph_t, cannot be part of another.
void check_child(void* child);

// Stands for the handle of a loop where there is none.
inline constexpr std::uint64_t kNoLoop = ~std::uint64_t{0};

// Lets kernels that are launched by this thread meanwhile start while the one before still runs (after_previous() waits
// for its end), except for the first one.
class Overlapping {
 public:
  explicit Overlapping(bool wanted);
  ~Overlapping();
  Overlapping(const Overlapping&) = delete;
  Overlapping& operator=(const Overlapping&) = delete;
};

// A loop in what a stream records, whoever began to record. Errors are std::runtime_error.
class Loop {
 public:
  // `overlapping`: as for Graph.
  explicit Loop(bool overlapping);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Launches on the stream that is returned, from here to close(), are repeated until a kernel among them calls
  // end_loop() with the handle. The loop follows upon what `stream` has recorded.
  std::pair<void*, std::uint64_t> open(void* stream);
  // Between open() and close(): adds a copy of `child`, a cudaGraph_t, that is done in those passes of the loop in
  // which a kernel before it has given set_condition() the handle that is returned and not zero.
  std::uint64_t add_if(void* child);
  void close();

 private:
  bool overlapping_ = false, inside_ = false;
  cudaStream_t body_ = nullptr;
};

// Errors are std::runtime_error. Between begin() and end() launch on the streams that they return: nothing runs.
class Graph {
 public:
  // `overlapping`: kernels start while the one before still runs, except for the first ones in and after the loop.
  // Compute capability 9.0 and later; ignored on others.
  explicit Graph(bool overlapping);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void* begin();
  // Begins the graph's only loop.
  std::pair<void*, std::uint64_t> open_loop() { return loop_->open(stream_); }
  std::uint64_t add_if(void* child) { return loop_->add_if(child); }
  void close_loop() { loop_->close(); }
  void end();

  // Records f(stream, loop), which opens and closes the loop.
  template <class F>
  void record(F f) {
    void* const stream = begin();
    f(stream, *loop_);
    end();
  }
  // Enqueues the whole graph on `stream`.
  void launch(void* stream) const;

 private:
  bool overlapping_, recording_ = false;
  std::optional<Loop> loop_;
  cudaStream_t stream_ = nullptr;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t exec_ = nullptr;
};

#if defined(__CUDACC__) || defined(__CUDA_ARCH__)
// One thread of a whole kernel may call these.
inline __device__ void end_loop(std::uint64_t handle) { cudaGraphSetConditional(handle, 0); }
inline __device__ void set_condition(std::uint64_t handle, bool value) { cudaGraphSetConditional(handle, value); }
#endif

}  // namespace jadce::cuda
