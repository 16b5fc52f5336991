#pragma once

#include <vector>

#include "kernels/beam_network.hpp"

namespace jadce {

// Packs one layer, weight [outputs, inputs, taps] and bias [outputs], at the end of `packed`.
void pack_layer(index_t outputs, index_t inputs, index_t taps, const float* weight, const float* bias,
                std::vector<float>& packed);

}  // namespace jadce
