// State and steps of the turbo receiver; the order of the steps is the Python layer's, and so is the denoiser between
// gather() and update(). All memory is taken by the constructor.
//
// Module A's prior mean is never stored for all devices: it is S + Q^H R with S the devices that were candidates and R
// in measurement space (docs/design.md, "state").
#pragma once

#include <vector>

#include "receiver/transform.hpp"

namespace jadce {

struct ActivityPlan {
  std::vector<float> product, weight, log_power_weight, eigenvalue, multiplicity;
  std::vector<std::int32_t> index;

  ActivityView view() const;
};

class Stmp {
 public:
  // gram [N, T]: eigenvalues of Q_n Q_n^H; rotation [N, T, T] or null; capacity: most candidates of one iteration.
  Stmp(Transform& transform, ActivityPlan activity, std::vector<float> gram, std::vector<cfloat> rotation,
       index_t capacity);

  // Received block y [T, N, M] times `scale`, noise variance after scaling. With `predicted`, module A's variance is
  // the one that the messages predict, Cai (41) and (58), instead of the one that the residual shows.
  void start(const cfloat* y, float scale, float noise, bool predicted);
  // Residual, tracked variances, matched-filter input: module A, Cai (7)-(11). Returns the mean variance to module B.
  float observe();
  // Posterior activity of all devices and the candidates, those above `threshold`; all devices with `everyone`.
  index_t screen(float log_odds, float threshold, bool everyone);
  // Whether the last two screenings found the same devices and left no doubt about any.
  bool settled() const { return settled_; }
  // In place of screen(): the candidates and probabilities of the last screening again.
  index_t hold();
  // Candidates' coefficients scaled to unit power, z() and noise().
  void gather();
  // Extrinsic message to module A from mean() and var(), with damping `gamma`; Cai (35)-(42), (57). The extrinsic ratio
  // is `caution` times what var() says (docs/design.md).
  void update(float gamma, float caution);
  // The i.i.d. Gaussian denoiser, BG-TMP.
  void gaussian();
  // Keeps this iteration's output as the result.
  void keep();
  // Decides on the kept output: number of devices with probability >= 1/2. If subtracting them leaves more power than
  // they explain, nobody is declared active. residual_var() is then valid.
  index_t decide();
  // Channels [A, N, M] of the decided devices in the units of y, and variances [A] in those of the scaled y.
  void channels(cfloat* channel, float* var);

  Transform& transform() { return transform_; }
  index_t candidates() const { return now_.count; }
  const float* kept_posterior() const { return kept_posterior_.data(); }
  const std::int32_t* device() const { return now_.device.data(); }
  const std::int32_t* decided() const { return decided_.data(); }
  float* z() { return z_.get(); }
  float* noise() { return noise_.get(); }
  float* mean() { return now_.mean.get(); }
  float* var() { return now_.var.get(); }
  float residual_var() const { return residual_var_; }
  // Plausible devices for which the kept output had no place.
  index_t overflow() const { return kept_.left_out; }

 private:
  // One iteration's output for its candidates, in units of each device's power.
  struct Candidates {
    index_t count = 0, left_out = 0;  // without a place
    std::vector<std::int32_t> device;
    std::vector<float> posterior;
  };
  struct Output : Candidates {
    std::vector<float> power;
    Floats mean, var;  // [capacity, 2 P, Mp], [capacity, Mp]
  };

  Output make_output() const;
  void select(float threshold, bool everyone);
  void prune();
  void resize(Candidates& list) const;

  Transform& transform_;
  const Shape& shape_;
  ActivityPlan activity_;
  std::vector<float> gram_;
  std::vector<cfloat> rotation_;
  index_t capacity_, support_limit_;
  bool uniform_gram_, known_power_;
  float mean_gram_;

  float scale_ = 1, noise_var_ = 1, y_power_ = 0, residual_var_ = 0, mean_v_ = 0;
  bool first_ = true, predicted_ = false, everyone_ = false;
  index_t quiet_count_ = 0;
  Floats y_, big_, old_, r_, power_;       // [N, T, 2, Mp], power_ [N, Mp]
  Floats v_a_, v_b_, eta_, a_, b_, null_;  // [Mp], null_ [groups, Mp]
  Floats energy_, slope_, offset_;
  std::vector<float> llr_, posterior_, kept_posterior_;
  std::vector<unsigned char> quiet_;
  std::vector<std::int32_t> order_;
  Candidates screened_;  // of the last screening
  bool settled_ = false;
  Floats z_, noise_;  // [capacity, 2 P, Mp], [capacity, Mp]
  Output now_, kept_;
  index_t support_count_ = 0, decided_count_ = 0;
  std::vector<std::int32_t> support_device_, slot_;  // slot_ [K], -1 where not in the support
  Floats support_;                                   // [support_limit, 2 P, Mp]
  std::vector<std::int32_t> decided_, decided_at_;
  Floats decided_mean_;
};

}  // namespace jadce
