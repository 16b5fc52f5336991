// Messages between modules A and B on a GPU. Conventions as in pilot_transform_cuda.hpp; rules in loop/rules.hpp.
#pragma once

#include <cstdint>

#include "core/complex_cuda.hpp"
#include "kernels/sizes.hpp"
#include "loop/control.hpp"
#include "loop/rules.hpp"

namespace jadce::cuda {

// Begins an iteration: module A's message to module B, r_b = r_pri + gain r with gain = v_a / ((v_a gram + noise) eta),
// and what the iteration will do (loop/loop.hpp).
struct ModuleAArgs {
  Control* control;      // [B]
  const float* power;    // [B, N, M] sum over t of |r|^2
  const float* gram;     // [N, T]
  const Complex* r_pri;  // [B, T, N, M]
  const Complex* r;      // [B, T, N, M]
  float mean_gram;
  bool uniform;  // all of gram are equal
  Rules rules;
  Sizes sizes;
  float* v_a;    // [B, M] variance of module A's prior mean; with rules.predicted only measured in the first iteration
  float* eta;    // [B, M]
  float* v_b;    // [B, M] variance of the message
  Complex* r_b;  // [B, T, N, M]
  float* history;  // [B, max_iterations, 2] mean of v_b of this iteration; the second number is for update()
};
void module_a(const ModuleAArgs&, void* stream);

// Module B's answer about the candidates, [capacity] places a block; the Control says how many are used.
struct Candidates {
  const float* posterior;      // [B, capacity] probability to be active
  const float* power;          // [B, capacity]
  const Complex* mean;         // [B, capacity, P, M] for a device of unit power
  const float* var;            // [B, capacity, M] for a device of unit power
  const std::int32_t* device;  // [B, capacity]
};

// The output of the best iteration so far, in units of the block.
struct KeptOutput {
  std::int32_t* device;  // [B, capacity]
  float* posterior;      // [B, capacity]
  float* var;            // [B, capacity] per entry
  Complex* mean;         // [B, capacity, P, M]
};

// Ends an iteration, with extrinsic weights per beam a = 1 / (1 - alpha) and b = alpha / (1 - alpha),
// docs/math.md (11):
// - S = (1 - gamma - gamma b) S + gamma a posterior sqrt(power) mean. With rules.screening negligible devices lose
//   their slot, whose S is then zero, as that of every free slot.
// - r_pri = (1 - gamma) r_pri - gamma b r_b.
// - With rules.predicted it writes the variance v_a of the next prior mean, Cai (41), (58).
// - The powers that were found tell the next test how weak others may be.
// - Of the best iteration so far it keeps the output and the activity of all devices.
struct UpdateArgs {
  Control* control;  // [B]
  Candidates candidates;
  const float* v_b;           // [B, M]
  const float* posterior;     // [B, K] of all devices
  const Complex* r_b;         // [B, T, N, M]
  const std::int32_t* place;  // [B, slots] candidate of a slot, or -1
  Rules rules;
  int capacity, slots;
  Sizes sizes;
  float* v_a;             // [B, M]
  std::int32_t* slot;     // [B, K]
  std::int32_t* support;  // [B, slots]
  Complex* s;             // [B, slots, P, M]
  Complex* r_pri;         // [B, T, N, M]
  KeptOutput kept;
  float* activity;  // [B, K]
  float* history;   // [B, max_iterations, 2] the second number gets the number of candidates
};
void update(const UpdateArgs&, void* stream);

}  // namespace jadce::cuda
