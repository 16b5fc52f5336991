// Messages between modules A and B on a GPU. Conventions as in pilot_transform_cuda.hpp; rules in loop/rules.hpp.
#pragma once

#include <cstdint>

#include "loop/control.hpp"
#include "loop/rules.hpp"

namespace jadce::cuda {

// Begins an iteration: module A's message to module B, and what the iteration will do (loop/loop.hpp).
//
// Variances per beam [M] from power [N, M], the sum over t of |r|^2: v_a of module A's prior mean (measured; if
// `rules.predicted`, only in the first iteration), eta, and v_b of its message. gram [N, T]; uniform: all equal.
// seen = big + gain r with gain = v_a / ((v_a gram + noise) eta), all [T, N, M, 2]. history [max_iterations, 2] gets
// the mean of v_b of this iteration; the second number is for update().
void observe(Control* control, const float* power, const float* gram, const float* big, const float* r, float mean_gram,
             int uniform, const Rules& rules, int devices, int subcarriers, int symbols, int antennas, int batch,
             float* v_a, float* eta, float* v_b, float* seen, float* history, void* stream);

// What an iteration leaves behind, from candidates' posterior and power [capacity], mean [capacity, P, M, 2], var
// [capacity, M]:
// - Extrinsic weights per beam a = 1 / (1 - alpha), b = alpha / (1 - alpha), docs/math.md (11), and with
// `rules.predicted`
//   the variance v_a of the next prior mean, Cai (41), (58).
// - S = (1 - gamma - gamma b) S + gamma a posterior sqrt(power) mean, s [slots, P, M, 2]. With `rules.screening`,
// negligible
//   devices lose their slot, whose S is then zero, as that of every free slot.
// - big = (1 - gamma) big - gamma b seen, [measurements, M, 2].
// - If this is the best iteration so far, its output: kept_device, kept_posterior and kept_var (per entry) [capacity],
//   kept_mean [capacity, P, M, 2], all in units of the block, and activity [K] of all devices.
// - The number of candidates in history.
void update(Control* control, const float* posterior, const float* power, const float* mean, const float* var,
            const float* v_b, const std::int32_t* device, const float* all_posterior, const float* seen,
            const std::int32_t* place, const Rules& rules, int capacity, int slots, int devices, int measurements,
            int antennas, int coefficients, int batch, float* v_a, std::int32_t* slot, std::int32_t* support, float* s,
            float* big, std::int32_t* kept_device, float* kept_posterior, float* kept_var, float* kept_mean,
            float* activity, float* history, void* stream);

}  // namespace jadce::cuda
