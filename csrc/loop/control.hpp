// State of the loop of one received block, in numbers that loop.hpp changes: on the CPU a variable, on a GPU a record
// in device memory that kernels read and write, so that a detection needs no word from the host.
#pragma once

#include <cstdint>

namespace jadce {

// Why a loop ended (jadce_fast.detection.Reason has the names).
enum Stopped : std::int32_t {
  kIterations,  // all iterations that were planned are done
  kFixedPoint,  // nothing improved any more
  kDiverged,    // errors grew or are not finite
  kSilence,     // what was found explains the block worse than that nobody is active
  kDeadline,    // no time was left for another iteration
};

// What the last test of activity leaves to the next ones.
enum Settled : std::int32_t {
  kOpen,         // a candidate is not certain
  kAgain,        // the candidates are those of the test before, and certain
  kForNow,       // they are certain: the next test can wait until it sees as much as any
  kBeyondDoubt,  // no device is in doubt: of a known power another test finds no more
};

inline constexpr int kControlWords = 48;

struct Control {
  // Set when the block begins. In units of the mean active device: noise variance and mean square of the block, per
  // entry.
  float noise, received;
  float power, scale;  // mean power of an active device, and 1 / sqrt of it

  // Set by plan() of an iteration.
  float error, previous, best, gamma;  // mean error variance: now, before, least; damping
  std::int32_t run;                    // this iteration has work to do,
  std::int32_t test;                   // tests the activity of all devices,
  std::int32_t keep;                   // gives the best output so far,
  std::int32_t last;                   // is the last one

  // Set when activity was tested, and by ended().
  std::int32_t going;       // more iterations will come
  std::int32_t iteration;   // iterations done
  std::int32_t converged;   // the loop ended at a fixed point
  std::int32_t settled;     // a Settled
  std::int32_t candidates;  // candidates of the last test, -1 before the first
  std::int32_t left_out;    // candidates for which there was no place
  std::int32_t idle;        // devices that serve as noise reference
  std::int32_t slots;       // slots of S up to the last one in use
  std::int32_t unplaced;    // candidates without a slot

  // Set by update() in iterations that are kept, and by the decision.
  std::int32_t kept, kept_left_out;
  std::int32_t decided;  // active devices, before the result is compared with silence

  // Set by conclude().
  std::int32_t found;  // active devices
  float residual;      // mean square of what remains of the block, scaled

  std::int32_t stopped;  // a Stopped: reason for the end
  float expected;        // active devices: a priori, then by the last test of activity
  float awaited;         // active devices a priori
  std::int32_t faint;    // devices that the last test of activity found, but barely
  float deviation;       // standard deviation of the block's mean square if nobody is active
  float fitted;          // sum of the decided devices' variances
  float least, most;     // what remains of a block that the model explains, in units of the noise
  std::int32_t trusted;  // nothing speaks against the result

  // Set by begin(), and by plan() of an iteration.
  std::int32_t colored;  // noise is not white; set in the first iteration
  std::int32_t members;  // denoisers of the prior, one unless it is a cascade
  std::int32_t member;   // the one whose turn it is

  float shift;  // learned log odds of activity, less those of the plan; set when activity was tested

  // Time in microseconds: until the result is wanted, infinite without a deadline; from the block's arrival to plan()
  // of this iteration; the longest from there to the next one.
  float deadline, elapsed, longest;
  float unseen;         // missing devices for each weight of unseen_weight(); set by spread_missing()
  std::int32_t known;   // the power of active devices is known
  float sought;         // least power that the last test of activity looked for
  float faintest;       // power down to which devices are expected by those that were found; infinite at first
  std::uint64_t began;  // on a GPU: its clock when the detection began, in nanoseconds
};
static_assert(sizeof(Control) == 4 * kControlWords);

}  // namespace jadce
