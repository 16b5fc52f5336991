// The part of a plan that detects on a GPU: gpu.cpp in builds with nvcc, no_gpu.cpp in others.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include "capi/prior.hpp"
#include "core/shapes.hpp"
#include "loop/control.hpp"
#include "loop/rules.hpp"
#include "receiver/plan.hpp"
#include "receiver/stmp.hpp"

namespace jadce {

// What the driver, or a kernel, had to say against a call.
struct GpuError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What a detection on a GPU is planned with, in the host's memory.
struct GpuPlan {
  const Shape& shape;
  const std::int32_t* rows;      // [N, T] of a partial DFT of unit power, or null:
  const RotatedPilots& rotated;  // gram of either kind, and others' rotation and array
  const Prior& prior;
  const StmpPlan& loop;
  index_t merge;
  bool bf16;  // networks on tensor cores
};

// One detection at a time, in the order in which they are enqueued. An interface, as nothing is behind it in builds
// without CUDA.
class Gpu {
 public:
  // Of the calling thread's current device.
  static std::unique_ptr<Gpu> plan(const GpuPlan& plan);
  virtual ~Gpu() = default;

  virtual index_t memory() const = 0;  // bytes on the device
  // Enqueues the detection of y [T, N, M] in device memory on a stream, or records it if the stream captures.
  virtual void enqueue(const cfloat* y, double noise_var, void* stream) = 0;
  // The same of a block of the host, on a stream of the plan's own.
  virtual void enqueue_copy(const cfloat* y, double noise_var) = 0;
  // Waits for the last detection, and returns the state that it ended with. Null before the first.
  virtual const Control* wait() = 0;

  // Where results lie, in device memory.
  struct Results {
    const std::int64_t* active;  // [capacity] -1 beyond the last
    const cfloat* channels;      // [capacity, N, M]
    const float* channel_var;    // [capacity]
    const float* activity;       // [K]
    const Control* control;      // [1]
  };
  virtual const Results& results() const = 0;
  // Copies so many bytes of them to the host.
  virtual void copy(void* to, const void* from, index_t bytes) = 0;
};

}  // namespace jadce
