#pragma once

#include <vector>

#include "kernels/beam_network.hpp"

namespace jadce {

// Packs one dense layer, weight [outputs, inputs] and bias [outputs], at the end of `packed`.
void pack_dense(index_t outputs, index_t inputs, const float* weight, const float* bias, std::vector<float>& packed);

// Packs one depthwise layer, weight [channels, taps] and bias [channels].
void pack_depthwise(index_t channels, index_t taps, const float* weight, const float* bias, std::vector<float>& packed);

}  // namespace jadce
