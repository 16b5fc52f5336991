// The loop of a detection as a state machine: begin(), then plan() and ended() in every iteration, then conclude().
// Pure functions of single numbers, one statement for the CPU's receiver and for a GPU's kernels.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "loop/control.hpp"
#include "loop/rules.hpp"

namespace jadce {

// Mean received power of an active device: `known`, or with 0 what a block with mean square `received` has above the
// noise over `expected` active devices. Weaker ones than the least could not be told from noise in any case.
JADCE_INLINE double mean_power(const Rules& rules, double received, double noise, double known, double expected,
                               index_t symbols) {
  const double least = static_cast<double>(rules.smallest_mean_power) * noise / static_cast<double>(symbols);
  return known > 0 ? known : fmax((received - noise) / expected, least);
}

// Begins the loop of a block with this mean square and noise variance per entry, and so many denoisers. From here on
// everything is in units of `mean`, the mean power of an active device.
JADCE_INLINE Control begin(double received, double noise, double mean, double expected, index_t entries,
                           index_t members) {
  Control c{};
  c.noise = static_cast<float>(fmin(fmax(noise / mean, 1e-25), 1e25));  // its inverse is finite too
  c.received = static_cast<float>(received / mean);
  c.power = static_cast<float>(mean);
  c.scale = static_cast<float>(1 / sqrt(mean));
  c.previous = c.best = c.deadline = c.faintest = INFINITY;
  c.expected = c.awaited = static_cast<float>(expected);
  c.deviation = static_cast<float>(noise / mean / sqrt(static_cast<double>(entries)));
  c.going = 1;
  c.candidates = -1;
  c.members = static_cast<std::int32_t>(members);
  return c;
}

// Hands over to the next denoiser of a cascade when this one does little more, or no time is left for it. What the next
// one makes of about the least error is better than what was kept.
JADCE_INLINE void hand_over(Control& c, const Rules& rules, float error) {
  const bool ends = c.iteration + 1 >= rules.max_iterations;
  if (!ends && !(error > rules.handover * c.previous)) return;
  c.member = ends ? c.members - 1 : c.member + 1;
  if (error < rules.near_best * c.best) c.best = INFINITY;
}

// Tells whether no time is left for an iteration, which takes as long as the longest one so far. What comes after the
// loop takes less than the first one, which is always made.
JADCE_INLINE bool is_late(Control& c, float elapsed) {
  if (c.iteration > 0 && elapsed - c.elapsed > c.longest) c.longest = elapsed - c.elapsed;
  c.elapsed = elapsed;
  return c.iteration > 0 && elapsed + c.longest > c.deadline;
}

// Log odds against a device up to which another test could find otherwise.
inline constexpr float kDoubt = 15.0f;

JADCE_INLINE bool is_doubtful(const Rules& rules, float log_odds) {
  return !(log_odds <= -kDoubt || log_odds >= rules.faint);  // what is not a number is in doubt
}

// What a test of activity settles: whether its candidates are the `same` as before, each of them `certain`, and how
// many devices are `doubtful`. Of an unknown power the weakest levels are not looked for at first, so that nothing is
// beyond doubt.
JADCE_INLINE std::int32_t settled(const Control& c, bool same, bool certain, std::int32_t doubtful) {
  if (c.known && c.left_out == 0 && doubtful == 0) return kBeyondDoubt;
  if (!certain) return kOpen;
  return same ? kAgain : c.left_out == 0 ? kForNow : kOpen;
}

// Tells whether the devices need no test at this error. While it falls fast a later test sees more than one now: that
// waits if the last one looked for all powers that those that were found let expect.
JADCE_INLINE bool is_settled(const Control& c, const Rules& rules, float error) {
  const bool fast = !(error > rules.settled * c.previous);
  return c.settled == kBeyondDoubt || (c.settled == kAgain && !fast) ||
         (c.settled == kForNow && fast && c.sought <= c.faintest);
}

// Decides what an iteration does whose message to module B has this mean error variance, so many microseconds after the
// block's arrival.
JADCE_INLINE void plan(Control& c, const Rules& rules, float error, float elapsed) {
  c.error = error;
  c.run = std::isfinite(error);
  if (!c.run) {
    c.stopped = kDiverged;
    return;
  }
  if (is_late(c, elapsed)) {
    c.run = c.test = 0;
    c.stopped = kDeadline;
    return;
  }
  c.test = !(rules.screening && is_settled(c, rules, error));
  c.gamma = c.iteration < rules.damp_from ? 1.0f : rules.damping;
  const bool last_member = c.member + 1 >= c.members;
  if (!last_member) hand_over(c, rules, error);
  c.keep = error < c.best;
  if (c.keep) c.best = error;
  const float most = c.members > 1 ? rules.handover : rules.stalled;
  const bool stalled = last_member && error > most * c.previous;
  c.last = stalled || c.iteration + 1 >= rules.max_iterations;
  c.converged = stalled && error < rules.near_best * c.best;
  c.stopped = !stalled ? kIterations : c.converged ? kFixedPoint : kDiverged;
  c.previous = error;
}

// Least power that a test of activity looks for. Levels that only noise can reach would make ghosts of it: what cannot
// be told from noise is left out, but for devices as strong as those that the block's power proves to be there, or as
// weak as the powers of those that were found let expect.
JADCE_INLINE float least_power(const Control& c, const Rules& rules) {
  const float decodable = rules.decodable * c.error, excess = c.received - c.noise;
  if (!(excess > rules.evidence * c.deviation)) return decodable;
  const float mean = excess / at_least(c.expected, 1.0f);
  const float usual = fminf(rules.weakest * mean, at_least(c.faintest, rules.farthest * mean));
  return usual < decodable ? usual : decodable;
}

// Takes from the powers that were found how weak others may be. Given are sums over the candidates of their
// probabilities, and of these times the power's logarithm and its square.
JADCE_INLINE void learn_powers(Control& c, const Rules& rules, float count, float sum, float squares) {
  const float mean = sum / count;
  c.faintest =
      !(count > 1.0f) ? INFINITY : expf(mean - rules.reach * sqrtf(at_least(squares / count - mean * mean, 0.0f)));
}

// Log odds of activity before a test, from those of the plan. Where the block's power does not prove that devices are
// active, there are no more of them than could hide in it with the least power that is looked for, or `greatest`: a
// rate of 5 % would be believed of whoever has the luckiest noise in an idle slot, where few antennas tell devices from
// noise by few energies.
JADCE_INLINE float prior_log_odds(const Control& c, const Rules& rules, float log_odds, float greatest,
                                  index_t devices) {
  const float own = log_odds + c.shift, excess = c.received - c.noise, hidden = rules.evidence * c.deviation;
  if (excess > hidden) return own;
  const float all = static_cast<float>(devices) + 0.5f, few = 0.5f;
  const float most = (at_least(excess, 0.0f) + hidden) / fminf(least_power(c, rules), greatest);
  const float count = at_least(fminf(most, 0.5f * all), few);
  return fminf(own, logf(count / (all - count)));
}

// Log odds of activity for the next test, if the rate is not known: one step of expectation maximisation. Nobody is as
// little to be believed as everybody.
JADCE_INLINE float learned_log_odds(float expected, index_t devices) {
  const float all = static_cast<float>(devices), least = 0.5f;
  const float active = fminf(at_least(expected, least), at_least(0.5f * all, least));
  return logf(active / (all + least - active));
}

// Takes the rate from the last test of activity; nobody is missing then.
JADCE_INLINE void learn_rate(Control& c, float log_odds, index_t devices) {
  c.shift = learned_log_odds(c.expected, devices) - log_odds;
  c.awaited = c.expected;
}

// Counts the iteration, and returns whether it was the last one.
JADCE_INLINE bool ended(Control& c) {
  if (c.run) ++c.iteration;
  c.going = c.run && !c.last;
  return !c.going;
}

// Tells whether nobody is to be declared active: what was decided leaves more of the block, `residual`, than there was.
JADCE_INLINE bool is_silent(const Control& c, float residual) {
  return !std::isfinite(c.received) || (c.decided > 0 && !(residual <= c.received));
}

// Active devices that are too weak to be seen: so many are missing, and some were barely seen.
JADCE_INLINE float missing(const Control& c, const Rules& rules) {
  const float all = at_least(c.awaited - c.expected, 0.0f), most = rules.unseen * static_cast<float>(c.faint);
  return all < most ? all : most;
}

// Weight with which a device of this probability is one of them. Whoever cannot be seen at all may be anybody; of a
// power below the least one that is looked for, log-likelihood ratios are about half as great as those of the least. If
// the powers that were found do not differ, or are known, nobody is only a little weaker.
JADCE_INLINE float unseen_weight(const Control& c, const Rules& rules, float p) {
  const float seen = !(c.faintest < 1.0f) ? 0.0f : p < 0.5f ? sqrtf(p / (1.0f - p)) : 1.0f;
  return rules.invisible + seen;
}

// Spreads the missing devices over all; given is the sum of weights, times the probability of being inactive.
JADCE_INLINE void spread_missing(Control& c, const Rules& rules, double weights) {
  c.unseen = weights > 0 ? static_cast<float>(static_cast<double>(missing(c, rules)) / weights) : 0.0f;
}

// Probability that a device is active, seen with this one or too weak to be seen.
// Who was not declared active stays unlikely.
JADCE_INLINE float with_unseen(const Control& c, const Rules& rules, float p) {
  const float value = p + (1.0f - p) * fminf(c.unseen * unseen_weight(c, rules, p), 1.0f), unlikely = 0.499f;
  return p < 0.5f && value > unlikely ? at_least(p, unlikely) : value;
}

// What remains of a block that the model explains, in units of the noise. Estimates fit some of the noise, but not more
// than they have degrees of freedom, a part `taken` of the block's; their `errors`, the sum of their variances, and
// what a Karhunen-Loeve basis leaves out of the `excess` are added to it; both in units of the noise. Where more is to
// be estimated than was measured, loops converge slowly and end farther from their fixed point than variances say.
struct Remainder {
  float least, most;
};
JADCE_INLINE Remainder explained_remainder(const Rules& rules, float taken, float errors, float excess) {
  const float power = at_least(excess, 0.0f), most = rules.most_left + rules.left_out * power;
  const float all = errors * at_least(taken, 1.0f), limit = at_least(rules.error_share * power, rules.most_errors);
  const float top = most + (all < limit ? all : limit);  // finite, so that it is no excuse for what overflows
  return {rules.least_left * at_least(1.0f - taken, 0.0f), top > FLT_MAX ? FLT_MAX : top};
}

// Part of the noise variance by which it may be told wrongly, or chance in as many standard deviations, and of a
// block's degrees of freedom up to which loops converge to what the next function says.
inline constexpr float kTold = 0.03f, kChance = 4.0f, kFew = 0.85f;

// The same at a fixed point of few unknowns, where the effective noise is V = noise + errors: estimates take a part
// errors / V of it, and noise^2 / V remains. Devices that were missed are in V, but add to what remains. Where nobody
// was found, more than the noise was received because somebody is too weak to be told from it. Errors beside noise that
// is not white are not weighted by it here: they may take nothing.
JADCE_INLINE Remainder converged_remainder(const Control& c, const Rules& rules, float errors, float excess) {
  const float chance = at_least(kChance * c.deviation / c.noise, kTold),
              leaves = rules.left_out * at_least(excess, 0.0f);
  const float least = at_least(rules.least_left - chance, 0.0f);
  const float most = (c.found > 0 ? rules.most_left : 1.0f) + leaves + chance;
  return {least * least / at_least(least + errors, 1e-6f), most * most / (most + (c.colored ? 0.0f : errors))};
}

// Ends a detection with the mean square of what remains of the block after the decided devices. `share` is the part of
// the block's degrees of freedom that a device takes.
JADCE_INLINE void conclude(Control& c, const Rules& rules, float residual, float share) {
  const bool silent = is_silent(c, residual);
  c.found = silent ? 0 : c.decided;
  c.residual = silent ? c.received : residual;
  c.converged = c.converged && !silent;
  if (silent) c.stopped = kSilence;
  const float taken = static_cast<float>(c.found) * share, errors = c.found ? c.fitted / c.noise : 0.0f;
  const float excess = (c.received - c.noise) / c.noise;
  Remainder range = explained_remainder(rules, taken, errors, excess);
  if (c.stopped == kFixedPoint && taken < kFew) {
    const Remainder tight = converged_remainder(c, rules, errors, excess);
    range = {tight.least, fminf(tight.most, range.most)};
  }
  c.least = range.least;
  c.most = range.most;
  const float left = c.residual / c.noise;
  c.converged = c.converged && left <= c.most;
  const bool ended_well = c.stopped == kIterations || c.stopped == kFixedPoint || c.stopped == kDeadline;
  c.trusted = ended_well && c.kept_left_out == 0 && left <= c.most && left >= c.least;  // detection.py has the words
}

}  // namespace jadce
