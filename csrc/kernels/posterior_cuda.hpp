// Messages between modules A and B on a GPU. Conventions as in pilot_transform_cuda.hpp; rules in receiver/rules.hpp.
//
// level [2]: noise variance and mean square of the received block, per entry. Arrays over candidates have `capacity`
// places of which *count are used.
#pragma once

#include <cstdint>

namespace jadce::cuda {

// Module A's variances per beam [M] from power [N, M], the sum over t of |r|^2: v_a of its prior mean (measured, or
// with measure = 0 taken as it is), eta, and v_b of its message to module B. gram [N, T]; uniform: all equal.
void track(const float* power, const float* gram, const float* level, float mean_gram, int uniform, int measure,
           int devices, int subcarriers, int symbols, int antennas, float* v_a, float* eta, float* v_b, void* stream);

// seen = big + gain r with gain = v_a / ((v_a gram + noise) eta), all [T, N, M, 2]; big null is zero. mean_v [1] gets
// the mean of v_b.
void observe(const float* big, const float* r, const float* gram, const float* level, const float* v_a,
             const float* eta, const float* v_b, int subcarriers, int symbols, int antennas, float* seen, float* mean_v,
             void* stream);

// Candidates' statistics z [capacity, P, M, 2] scaled to unit power in place; power [capacity] is one if `known`;
// noise [capacity, M].
void normalise(const float* v_b, const float* mean_v, const std::int32_t* count, int capacity, int known,
               int subcarriers, int antennas, int coefficients, float* z, float* power, float* noise, void* stream);

// Module B under an i.i.d. Gaussian channel of unit power per coefficient: mean as z, var [capacity, M].
void gaussian(const float* z, const float* noise, const std::int32_t* count, int capacity, int subcarriers,
              int antennas, int coefficients, float* mean, float* var, void* stream);

// Extrinsic weights per beam a = 1 / (1 - alpha), b = alpha / (1 - alpha), docs/math.md (11); with `predicted` also the
// variance v_a of the next prior mean, Cai (41), (58).
void extrinsic(const float* posterior, const float* power, const float* var, const float* v_b,
               const std::int32_t* count, float caution, float gamma, int predicted, int devices, int antennas,
               float* a, float* b, float* v_a, void* stream);

// Places of the candidates in the support of S: place [slots] gets the candidate of each slot or -1, new ones take the
// first free slots. slot [K] and support [slots] (device or -1) change. counts [2]: slots up to the last one in use,
// candidates without a slot.
void assign(const std::int32_t* device, const std::int32_t* count, int slots, std::int32_t* slot, std::int32_t* support,
            std::int32_t* place, std::int32_t* counts, void* stream);

// S = (1 - gamma - gamma b) S + gamma a posterior sqrt(power) mean, s [slots, P, M, 2]. With `prune`, negligible
// devices lose their slot, whose S is then zero, as that of every free slot.
void combine(const float* posterior, const float* power, const float* mean, const float* a, const float* b,
             const float* mean_v, const std::int32_t* place, int slots, float gamma, int prune, int antennas,
             int coefficients, std::int32_t* slot, std::int32_t* support, float* s, void* stream);

// big = (1 - gamma) big - gamma b seen, [measurements, M, 2]; with gamma = 1 what big holds is not read.
void damp(const float* seen, const float* b, float gamma, int measurements, int antennas, float* big, void* stream);

}  // namespace jadce::cuda
