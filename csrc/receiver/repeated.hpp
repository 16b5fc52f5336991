// A detection of a block whose pilots repeat one sequence over all subcarriers (reference/repeated.py), in the prior's
// basis over subcarriers and in beams. What it means for the block is told in Python (repeated.py).
#pragma once

#include <cstdint>
#include <vector>

#include "core/aligned.hpp"
#include "core/fork_mutex.hpp"
#include "core/shapes.hpp"
#include "core/thread_pool.hpp"
#include "kernels/repeated/repeated.hpp"
#include "kernels/table.hpp"
#include "loop/control.hpp"
#include "loop/rules.hpp"
#include "receiver/stmp.hpp"

namespace jadce {

struct RepeatedPlan {
  Shape shape;  // N = P
  ActivityPlan activity;
  std::vector<double> pilots;  // [K, T, 2], unit power
  index_t capacity;            // most candidates of one iteration
  Rules rules;
  double rate;  // prior probability of "active"
};

class Repeated {
 public:
  Repeated(RepeatedPlan plan, int threads, const char* isa);

  // Detects in y [T, P, M] with this noise variance, in units of the mean active device. `received` is the mean square
  // of the whole block and `entries` its size.
  void detect(const cfloat* y, double noise, double received, index_t entries);

  const Shape& shape() const { return plan_.shape; }
  ForkMutex& mutex() { return mutex_; }
  int threads() const { return pool_.size(); }
  const std::vector<float>& posterior() const { return posterior_; }          // [K]
  const std::vector<std::int32_t>& candidates() const { return candidate_; }  // [A], ascending
  const float* mean() const { return mean_.get(); }                           // [A, 2 P, Mp]
  const float* var() const { return var_.get(); }                             // [A, P, Mp]
  bool settled() const { return settled_; }
  index_t left_out() const { return left_out_; }

  struct Step {
    double error_var;
    index_t candidates;
  };
  const std::vector<Step>& history() const { return history_; }

 private:
  void factor();
  void see(index_t first, index_t count, int thread);
  void test();
  void select();
  void posteriors();
  void renew();

  RepeatedPlan plan_;
  const KernelTable& kernels_;
  ThreadPool pool_;
  ForkMutex mutex_;
  std::vector<double> gram_;
  RepeatedView view_;
  Control control_{};
  float background_ = 0, least_ = 0;
  bool sharp_ = false, settled_ = false;
  index_t left_out_ = 0;
  Floats y_;                                 // [P, T, 2, Mp]
  std::vector<double> factor_, solved_;      // as in RepeatedFactorArgs
  std::vector<std::vector<double>> column_;  // a thread: as in CavityArgs
  struct Scratch {
    Floats z, v, energy, slope, offset;
  };
  std::vector<Scratch> scratch_;  // a thread
  std::vector<float> llr_, posterior_;
  std::vector<double> error_;  // of some devices
  std::vector<std::int32_t> candidate_;
  Floats mean_, var_, target_;          // [capacity, 2 P, Mp], [capacity, P, Mp], [capacity, P, Mp]
  std::vector<std::int32_t> raised_;    // devices with a variance above the background
  std::vector<std::int32_t> place_;     // [K] in raised_, or -1
  std::vector<float> above_;            // [raised, P, Mp]
  std::vector<unsigned char> decided_;  // [K]
  std::vector<Step> history_;
};

}  // namespace jadce
