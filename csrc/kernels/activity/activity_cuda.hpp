// Activity of all devices on a GPU; the model is activity.hpp's. Conventions as in pilot_transform_cuda.hpp.
#pragma once

#include <cstdint>

#include "loop/control.hpp"
#include "loop/rules.hpp"

namespace jadce::cuda {

// Noise reference and coefficients of the likelihood ratio per beam, from energies [P, M, K] of which those of `merge`
// neighbouring coefficients make one of `groups`.
// null [groups, M]: mean energy of the devices with quiet[k] != 0, if there are more than rules.enough_idle
// (*quiet_count of them, a word of the Control), and the variance v [M] otherwise. Their energies' sums [P, M] are
// taken from `sums` where it is not null; with quiet_count null these are the levels themselves, merge one. slope [M,
// U', groups, 4] and offset [M, U', 4] with U' = U / 4 rounded up. multiplicity [groups]: coefficients in an energy of
// the group; eigenvalue [groups], product [U] (at most kMostProducts).
void activity_table(const float* energy, const float* sums, const unsigned char* quiet, const std::int32_t* quiet_count,
                    const float* v, const float* multiplicity, const float* eigenvalue, const float* product,
                    const std::int32_t* go, int devices, int antennas, int coefficients, int merge, int products,
                    const Rules& rules, int batch, float* null, float* slope, float* offset, void* stream);

// llr [K] with the prior's log odds, posterior [K], quiet [K] from energies. weight [G], log_power_weight [J],
// index [J, G] into the products. U at most ActivityView::kMostProducts, J at most kMostPowers.
void activity(const float* energy, const float* slope, const float* offset, const float* weight,
              const float* log_power_weight, const std::int32_t* index, const std::int32_t* go, float log_odds,
              const Rules& rules, int devices, int antennas, int coefficients, int merge, int products, int gains,
              int powers, int batch, float* llr, float* posterior, unsigned char* quiet, void* stream);

// Ends the screening of an iteration: candidates and their places in S, and whether another iteration follows.
//
// If the block screens: devices with a posterior above the threshold in rising order -> device [capacity] (-1 beyond
// the last) and chosen [capacity], their posteriors (0 beyond). If there are more, those of largest llr; among equal
// ones the first. The activity is settled if the candidates are those of the last screening, each of them certain, if
// screening is on. place [slots] gets the candidate of each slot of S or -1; new ones take the first free slots. slot
// [K] and support [slots] (device or -1) change; free [slots] is scratch. remaining [1] counts the blocks that go on;
// the last one to end also ends the loop, a handle of core/graph_cuda.hpp, or kNoLoop.
void select_candidates(Control* control, const float* llr, const float* posterior, const unsigned char* quiet,
                       const Rules& rules, int devices, int capacity, int slots, int batch, std::int32_t* device,
                       float* chosen, std::int32_t* free, std::int32_t* slot, std::int32_t* support,
                       std::int32_t* place, std::int32_t* remaining, std::uint64_t loop, void* stream);

}  // namespace jadce::cuda
