// The receiver's rules for single numbers, one statement for the CPU's loop and for a GPU's kernels.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/shapes.hpp"

namespace jadce {

// Constants of the loop (docs/design.md says why they are what they are). The defaults here are the library's:
// jadce_fast.Rules reads them.
struct Rules {
  // Constants by which the loop ends, damps and tests activity.
  std::int32_t max_iterations = 24;
  std::int32_t screening = 1;  // only plausible devices are candidates; 0: all
  std::int32_t predicted = 0;  // messages predict module A's variance, Cai (41), (58); 0: the residual tells it
  std::int32_t damp_from = 2;  // iteration from which messages are damped
  float damping = 0.7f;        // gamma of Cai (57)
  float settled = 0.4f;        // fall of the error variance up to which a settled activity is tested again
  float stalled = 0.97f;       // fall of the error variance above which the loop ends
  float handover = 0.95f;      // the same of a denoiser of a cascade, after which the next one takes over
  float near_best = 1.5f;      // error over the least one up to which a stalled loop is at a fixed point
  float caution = 1.3f;        // extrinsic ratio in units of what a learned denoiser's variance says

  // Activity.
  float threshold = 2e-2f;        // posterior probability above which a device is a candidate
  float certain = 0.999f;         // probability above which a device is not looked at again
  float active = 0.5f;            // probability from which a device is declared active
  float idle = -3.0f;             // log odds below which a device serves as noise reference
  std::int32_t enough_idle = 50;  // noise references that are too few to be believed
  float decodable = 0.25f;        // least power that can be told from noise, in units of the error variance
  float weakest = 0.25f;    // least power that is searched for if it can not, in units of the active devices' mean,
  float reach = 2.5f;       // or so far below what was found, in standard deviations of the powers' logarithms,
  float farthest = 0.08f;   // but no less than this of the mean
  float faint = 50.0f;      // log odds up to which a device that was found shows that there are weaker ones,
  float unseen = 3.0f;      // so many at most,
  float invisible = 5e-3f;  // who may be anybody with this weight, beside one of even odds
  float evidence = 5.0f;    // power above the noise that shows that devices are active, in standard deviations

  // What remains of a block that the model explains, in units of the noise.
  float least_left = 0.8f;    // of the degrees of freedom that the estimates leave
  float most_left = 1.2f;     // but for errors of the estimates,
  float most_errors = 2.0f;   // which add their variances up to this,
  float error_share = 1e-2f;  // or up to this part of the devices' power
  float left_out = 3e-4f;     // part of the devices' power outside the prior's basis

  // Least values that are believed.
  float smallest_variance = 1e-3f;   // v_A, in units of the noise
  float rounding = 1e-6f;            // v_A, in units of the received power: single precision tells no less
  float smallest_power = 2e-2f;      // power of a device, in units of the error variance
  float smallest_mean_power = 0.1f;  // mean power of active devices, in units of the noise over T
  float smallest_null = 1e-3f;       // mean energy of an idle device, in units of the tracked variance
  float smallest_alpha = 1e-9f;      // extrinsic ratio
  float largest_alpha = 0.95f;       // extrinsic ratio: the greatest one
  float negligible = 1e-4f;          // energy of a part of S that is dropped, in units of the error variance

  // Posterior probability above which a device is a candidate, and above which one is not looked at again.
  JADCE_INLINE float candidate_above() const { return screening ? threshold : -1.0f; }
  JADCE_INLINE float certain_above() const { return screening ? certain : -1.0f; }
};

// Returns `least` for smaller numbers. As with std::max, NaN in the first argument is handed on, so that the loop
// notices it.
JADCE_INLINE float at_least(float x, float least) { return x < least ? least : x; }

JADCE_INLINE float sigmoid(float x) { return x >= 0 ? 1 / (1 + expf(-x)) : expf(x) / (1 + expf(x)); }

// Whether a device of these log odds was found, but barely.
JADCE_INLINE bool is_faint(const Rules& rules, float log_odds) { return log_odds > 0 && log_odds < rules.faint; }

// Least variance of module A's prior mean that is believed.
JADCE_INLINE float variance_floor(const Rules& rules, float noise, float received, float mean_gram) {
  return at_least(rules.smallest_variance * noise, rules.rounding * received) / mean_gram;
}

// Variance of module A's prior mean from the mean square of the residual, docs/math.md (6).
JADCE_INLINE float measured_variance(float residual, float noise, float mean_gram, float floor) {
  return at_least((residual - noise) / mean_gram, floor);
}

// v (1 / eta - 1), Cai (10); with as many symbols as devices and little noise eta rounds to one.
JADCE_INLINE float message_variance(float v, double eta, float least) {
  return at_least(static_cast<float>(v * (1 / eta - 1)), least);
}

// Mean energy of an idle device's coefficient from that of those that serve as noise reference.
JADCE_INLINE float believed_null(const Rules& rules, float mean, float v) {
  return at_least(mean, rules.smallest_null * v);
}

// Received power of a device from its energy, docs/math.md (9); `noise` is the part per dimension.
JADCE_INLINE float device_power(const Rules& rules, double energy, float dimensions, float noise, float mean_v) {
  return at_least(static_cast<float>(energy) / dimensions - noise, rules.smallest_power * mean_v);
}

// Variance of what is not known of an active device's channel in a beam where candidates' error variances, times their
// probabilities, add up to `errors`, of `expected` active ones: all of an error may lie in one direction, and the
// strongest beams have a few times the mean power.
JADCE_INLINE float unknown_channel(double errors, double expected, int antennas) {
  return static_cast<float>(fmin(antennas * errors / expected, 8.0));
}

JADCE_INLINE float believed_alpha(const Rules& rules, double alpha) {
  const float value = at_least(static_cast<float>(alpha), rules.smallest_alpha);
  return value > rules.largest_alpha ? rules.largest_alpha : value;
}

}  // namespace jadce
