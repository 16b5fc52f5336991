// Activity of all devices on a GPU; the model is activity.hpp's. Conventions as in pilot_transform_cuda.hpp.
#pragma once

#include <cstdint>

namespace jadce::cuda {

// Noise reference and coefficients of the likelihood ratio per beam.
// null [groups, M]: mean energy of the devices with quiet[k] != 0, if there are more than kEnoughQuiet (*quiet_count of
// them), and the variance v [M] otherwise. slope [M, U', groups, 4] and offset [M, U', 4] with U' = U / 4 rounded up.
// energy [groups, M, K], multiplicity and eigenvalue [groups], product [U].
void activity_table(const float* energy, const unsigned char* quiet, const std::int32_t* quiet_count, const float* v,
                    const float* multiplicity, const float* eigenvalue, const float* product, int devices, int antennas,
                    int groups, int products, float* null, float* slope, float* offset, void* stream);

// llr [K] with the prior's log odds, posterior [K], quiet [K] from energies. weight [G], log_power_weight [J],
// index [J, G] into the products. U at most ActivityView::kMostProducts, J at most kMostPowers.
void activity(const float* energy, const float* slope, const float* offset, const float* weight,
              const float* log_power_weight, const std::int32_t* index, float log_odds, int devices, int antennas,
              int groups, int products, int gains, int powers, float* llr, float* posterior, unsigned char* quiet,
              void* stream);

// Devices with a posterior above `threshold` in rising order -> device [capacity] (-1 beyond the last) and chosen
// [capacity], their posteriors (0 beyond). If there are more, those of largest llr; among equal ones the first.
// counts [3]: chosen, left out for want of space, quiet.
void select_candidates(const float* llr, const float* posterior, const unsigned char* quiet, float threshold,
                       int devices, int capacity, std::int32_t* device, float* chosen, std::int32_t* counts,
                       void* stream);

}  // namespace jadce::cuda
