// Received blocks on their way: symbols go over beams as they arrive, so that a detection begins with the last one.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "core/aligned.hpp"
#include "receiver/transform.hpp"

namespace jadce {

// A received block over beams.
struct Arrived {
  Floats y;                                  // [N, T, 2, Mp]
  double energy = 0;                         // sum of |y|^2
  std::int64_t number = 0;                   // of the blocks that arrived, dropped ones included
  std::chrono::steady_clock::time_point at;  // when the last symbol came
};

// `total` and the sum of |y|^2.
double add_energy(const cfloat* y, index_t count, double total);

// Memory for three blocks: one that arrives, one that waits, and one that is detected. One thread brings symbols
// and does the work on them, another one takes blocks.
class Arrivals {
 public:
  // rotation [N, T, T] of the pilots, or empty.
  Arrivals(Transform& transform, std::vector<cfloat> rotation);

  // Takes symbols [count, N, M]. A block that is complete while another one still waits is dropped, or with `wait`
  // waits.
  void push(const cfloat* y, index_t count, bool wait);
  // Waits for a complete block, which is `taken` until the next call. False when there will be none.
  bool next();
  Arrived& taken() { return taken_; }
  // Microseconds that a result takes after its loop, by the longest of those so far, which is slowly forgotten; half of
  // the deadline at most, lest one that waited for others take the time of all that follow.
  float after(float deadline) const { return std::min(after_, deadline / 2); }
  void took_after(float time) { after_ = std::max(time, kRemembered * after_); }
  // Lets nobody wait any more.
  void close();

  struct Counts {
    std::int64_t complete, dropped, waited;  // blocks
  };
  Counts counts();

 private:
  static constexpr float kRemembered = 0.9f;

  Arrived make_block() const;
  void complete(std::chrono::steady_clock::time_point at, bool wait);

  Transform& transform_;
  const std::vector<cfloat> rotation_;
  Floats scratch_;
  index_t have_ = 0;  // symbols of the block that arrives
  Arrived coming_, taken_;
  float after_ = 0;

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  Arrived waiting_;
  bool full_ = false, closed_ = false;
  Counts counts_{};
};

}  // namespace jadce
