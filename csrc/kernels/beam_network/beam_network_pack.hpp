#pragma once

#include <cstdint>
#include <vector>

#include "kernels/beam_network/beam_network.hpp"

namespace jadce {

// Packs one dense layer, weight [outputs, inputs] and bias [outputs], at the end of `packed`.
void pack_dense(index_t outputs, index_t inputs, const float* weight, const float* bias, std::vector<float>& packed);

// Packs one depthwise layer, weight [channels, taps] and bias [channels].
void pack_depthwise(index_t channels, index_t taps, const float* weight, const float* bias, std::vector<float>& packed);

// The same for beam_network_bf16.cpp, words of two bfloat16 as floats.
void pack_dense_bf16(index_t outputs, index_t inputs, const float* weight, const float* bias,
                     std::vector<float>& packed);
void pack_depthwise_bf16(index_t channels, index_t taps, const float* weight, const float* bias,
                         std::vector<float>& packed);

// The same for beam_network_tensor.cu, in words of four bytes, with O, C and channels rounded up to 16 by zeros. Dense:
// bias [O] as floats, then bfloat16 pairs [O / 16, C / 16, 32, 4]: for lane l of a warp the inputs 2 (l % 4) + {0, 1}
// and those eight further of output l / 4, then the same of output l / 4 + 8. Depthwise: bias [channels], weight [taps,
// channels] as floats.
void pack_dense_tensor(index_t outputs, index_t inputs, const float* weight, const float* bias,
                       std::vector<std::uint32_t>& packed);
void pack_depthwise_tensor(index_t channels, index_t taps, const float* weight, const float* bias,
                           std::vector<std::uint32_t>& packed);

}  // namespace jadce
