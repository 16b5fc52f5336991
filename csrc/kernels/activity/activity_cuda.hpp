// Activity of all devices on a GPU; the model is activity.hpp's. Conventions as in pilot_transform_cuda.hpp.
#pragma once

#include <cstdint>

#include "kernels/activity/activity.hpp"
#include "loop/control.hpp"
#include "loop/rules.hpp"

namespace jadce::cuda {

// Energies |z|^2 of all devices; those of `merge` neighbouring rows (coefficients, or sums of some) are one group's.
struct Energies {
  const float* energy;  // [B, rows, M, K]
  int rows, merge;
  int devices, antennas, batch;  // K, M, B

  JADCE_INLINE int groups() const { return (rows + merge - 1) / merge; }
};

// Noise reference and coefficients of the likelihood ratio per beam. The reference is the mean energy of the idle
// devices, if there are more than rules.enough_idle of them, and the variance v otherwise. U' is U / 4 rounded up.
struct ActivityTableArgs {
  Energies energies;
  const float* sums;               // [B, rows, M] sums of the idle devices' energies, or null: they are added up here
  const std::uint8_t* idle;        // [B, K], null with `idle_count`
  const std::int32_t* idle_count;  // word of the Control, or null: `sums` are the noise reference itself, merge is one
  const float* v;                  // [B, M], null with `idle_count`
  ActivityView mixture;            // device pointers
  const std::int32_t* enabled;     // word of the Control, or null
  Rules rules;
  float* null;    // [B, groups, M] noise reference
  float* slope;   // [B, M, U', groups, 4]
  float* offset;  // [B, M, U', 4]
};
void activity_table(const ActivityTableArgs&, void* stream);

// Log-likelihood ratios with the prior's log odds, posterior probabilities, and who is idle.
struct ActivityArgs {
  Energies energies;
  const float* slope;           // [B, M, U', groups, 4]
  const float* offset;          // [B, M, U', 4]
  ActivityView mixture;         // device pointers
  const std::int32_t* enabled;  // word of the Control, or null
  const Control* control;       // [B], or null: all powers are looked for
  float log_odds;
  Rules rules;
  float* llr;          // [B, K]
  float* posterior;    // [B, K]
  std::uint8_t* idle;  // [B, K]
};
void activity(const ActivityArgs&, void* stream);

// Ends the test of an iteration: candidates and their places in S, and whether another iteration follows.
//
// If the block tests its devices: those with a posterior above the threshold become candidates in rising order. If
// there are more than `capacity`, those of largest llr; among equal ones the first. New candidates take the first free
// slots of S. The last block to end also ends the loop.
struct SelectCandidatesArgs {
  Control* control;          // [B]
  const float* llr;          // [B, K]
  const float* posterior;    // [B, K]
  const std::uint8_t* idle;  // [B, K]
  Rules rules;
  int devices, capacity, slots, batch;  // K, capacity, slots, B
  std::int32_t* device;                 // [B, capacity] candidates, -1 beyond the last
  float* chosen;                        // [B, capacity] their posteriors, 0 beyond the last
  std::int32_t* free;                   // [B, slots] scratch
  std::int32_t* slot;                   // [B, K] slot of a device, or -1
  std::int32_t* support;                // [B, slots] device of a slot, or -1
  std::int32_t* place;                  // [B, slots] candidate of a slot, or -1
  std::int32_t* remaining;              // [1] blocks that go on
  std::uint64_t loop;                   // handle of core/graph_cuda.hpp, or kNoLoop
  int learn_rate;                       // the log odds follow the tests, from those that activity() takes
  float log_odds;
};
void select_candidates(const SelectCandidatesArgs&, void* stream);

}  // namespace jadce::cuda
