// The turbo receiver: a whole detection of one received block (Cai et al., Algorithm 2, in beamspace and in the prior's
// Karhunen-Loeve basis; docs/design.md). All memory is taken by the constructor.
#pragma once

#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <vector>

#include "core/aligned.hpp"
#include "core/shapes.hpp"
#include "kernels/activity/activity.hpp"
#include "loop/control.hpp"
#include "loop/rules.hpp"
#include "receiver/arrivals.hpp"
#include "receiver/colored_noise.hpp"
#include "receiver/sparse_part.hpp"
#include "receiver/tone.hpp"
#include "receiver/transform.hpp"

namespace jadce {

// Owner of the tables that an ActivityView shows.
struct ActivityPlan {
  std::vector<float> product, weight, log_power_weight, eigenvalue, multiplicity, power;
  std::vector<std::int32_t> index;

  ActivityView view() const;
};

// A receiver's knowledge before a block arrives.
struct StmpPlan {
  ActivityPlan activity;
  std::vector<float> gram;        // [N, T] eigenvalues of Q_n Q_n^H
  std::vector<cfloat> rotation;   // [N, T, T] its eigenvectors, or empty where the pilots are a partial DFT
  std::vector<double> amplitude;  // [K] of the pilots before they were scaled to unit power
  index_t capacity;               // most candidates of one iteration
  Rules rules;
  float log_odds;   // prior log odds of activity, or those to begin with
  bool learn_rate;  // they follow the tests
  double power;     // mean power of an active device at unit power, 0 if it is unknown
  double expected;  // active devices
};

// Candidates of one iteration, scaled to unit power, as a denoiser is given them.
struct DenoiserTask {
  const Shape& shape;
  index_t count;               // A
  const std::int32_t* device;  // [A]
  const float* z;              // [A, 2 P, Mp] noisy coefficients
  const float* noise;          // [A, Mp] variances
  float* mean;                 // [A, 2 P, Mp] posterior means, to be written
  float* var;                  // [A, Mp] error variances summed over coefficients / N, to be written
};

// Module B's channel denoiser: receiver/denoisers.hpp has those that need no callback.
using Denoiser = std::function<void(const DenoiserTask&)>;

class Stmp {
 public:
  Stmp(Transform& transform, StmpPlan plan);

  // Detects the active devices of y [T, N, M] and estimates their channels. Noise that is not white has covariances in
  // units of `noise_var`. Several denoisers are a cascade: each works until it does little more (loop/loop.hpp).
  // Results are valid until the next call.
  void detect(const cfloat* y, double noise_var, const NoiseCovariance& covariance,
              const std::vector<Denoiser>& denoisers);
  // The same of a block that arrived symbol by symbol, whose memory is exchanged. `deadline` microseconds after its
  // arrival the loop ends with the best state so far, but not before its first iteration.
  void detect(Arrived& block, double noise_var, const NoiseCovariance& covariance,
              const std::vector<Denoiser>& denoisers, float deadline);

  const Shape& shape() const { return transform_.shape(); }
  const std::vector<cfloat>& rotation() const { return plan_.rotation; }
  const Control& control() const { return control_; }
  index_t found() const { return control_.found; }
  const float* activity() const { return kept_posterior_.data(); }  // [K]
  const std::int32_t* active() const { return decided_.data(); }    // [found], ascending
  // Channels [found, N, M] of the active devices, and the variances [found] of their entries.
  void channels(cfloat* channel, float* var);
  // The channel [N, M] of the i-th of them, by one of the pool's threads, or by the caller's, which is thread 0.
  void channel(index_t i, int thread, cfloat* out);
  // Mean square of what remains of the block when they are subtracted.
  double remaining() const { return found() ? static_cast<double>(control_.residual) * power_ : received_; }

  // Error variance per channel entry and number of candidates of every iteration.
  struct Step {
    double error_var;
    index_t candidates;
  };
  const std::vector<Step>& history() const { return history_; }

  // Subcarrier on which a constant remains in a block that is explained otherwise, -1 if none does or noise is colored.
  index_t tone() const { return constant_on_; }

  // Parts of a detection, by which its time is told.
  enum Part { kStart, kModuleA, kActivity, kGather, kDenoise, kUpdate, kDecide, kChannels, kParts };
  static constexpr std::array<const char*, kParts> kPartNames{"start",   "module_a", "activity", "gather",
                                                              "denoise", "update",   "decide",   "channels"};
  const std::array<double, kParts>& seconds() const { return seconds_; }
  // Seconds from the block's arrival to the end of the loop.
  double looped() const { return std::accumulate(seconds_.begin(), seconds_.begin() + kDecide, 0.0); }

 private:
  // Candidates of a test of activity.
  struct Candidates {
    std::vector<std::int32_t> device;
    std::vector<float> posterior;
    index_t count = 0;
  };
  // One iteration's output for its candidates, in units of each device's power.
  struct Output : Candidates {
    std::vector<float> power;
    Floats mean, var;  // [capacity, 2 P, Mp], [capacity, Mp]
  };

  Output make_output() const;
  using Clock = std::chrono::steady_clock;
  // A block of which y_ and received_ are known.
  void run(Clock::time_point arrived, double noise_var, const NoiseCovariance& covariance,
           const std::vector<Denoiser>& denoisers, float deadline);
  void start(double noise_var, index_t members);
  float module_a();
  void test_activity();
  void select();
  void gather();
  void update();
  void keep();
  void decide();

  Transform& transform_;
  const Shape& shape_;
  StmpPlan plan_;
  const Rules& rules_;
  bool uniform_gram_, known_power_;
  float mean_gram_;

  Control control_{};
  std::optional<ColoredNoise> colored_;  // empty if the noise is white
  double received_ = 0, power_ = 1;      // mean square of the block; mean power of an active device
  std::vector<Step> history_;
  std::array<double, kParts> seconds_{};
  Floats y_, r_pri_, r_, residual_power_;  // [N, T, 2, Mp], residual_power_ [N, Mp]; r_ is a residual, then R~
  Floats r_old_;                           // [N, T, 2, Mp] R in colored noise
  Floats v_a_, v_b_, eta_, a_, b_, null_;  // [Mp], null_ [groups, Mp]
  Floats energy_, slope_, offset_;
  std::vector<float> llr_, posterior_, kept_posterior_;  // [K]
  std::vector<float> unknown_;                           // [M] variance of an active device's channel
  std::vector<unsigned char> idle_;                      // [K]
  std::vector<std::int32_t> order_;                      // [K]
  Floats z_, noise_;                                     // [capacity, 2 P, Mp], [capacity, Mp]
  Candidates tested_;                                    // candidates of the last test of activity
  Output now_, kept_;
  SparsePart s_;
  Tone tone_;
  index_t constant_on_ = -1;
  std::vector<std::int32_t> decided_, decided_at_;  // devices, and their places in kept_
  Floats decided_mean_;                             // [capacity, 2 P, Mp]
};

}  // namespace jadce
