#include "kernels/beam_network_pack.hpp"

namespace jadce {

void pack_dense(index_t outputs, index_t inputs, const float* weight, const float* bias, std::vector<float>& packed) {
  const index_t rounded = (outputs + kOutputs - 1) / kOutputs * kOutputs;
  for (index_t o = 0; o < rounded; ++o) packed.push_back(o < outputs ? bias[o] : 0.0f);
  for (index_t block = 0; block < rounded; block += kOutputs)
    for (index_t c = 0; c < inputs; ++c)
      for (index_t o = block; o < block + kOutputs; ++o) packed.push_back(o < outputs ? weight[o * inputs + c] : 0.0f);
}

void pack_depthwise(index_t channels, index_t taps, const float* weight, const float* bias,
                    std::vector<float>& packed) {
  packed.insert(packed.end(), bias, bias + channels);
  packed.insert(packed.end(), weight, weight + channels * taps);
}

}  // namespace jadce
