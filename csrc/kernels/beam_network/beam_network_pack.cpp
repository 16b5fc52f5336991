#include "kernels/beam_network/beam_network_pack.hpp"

#include <bit>

#include "core/bfloat16.hpp"

namespace jadce {

namespace {

void pack_floats(index_t count, index_t stride, const float* x, std::vector<std::uint32_t>& packed) {
  for (index_t i = 0; i < tiled(count); ++i)
    packed.push_back(std::bit_cast<std::uint32_t>(i < count ? x[i * stride] : 0.0f));
}

}  // namespace

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

void pack_dense_bf16(index_t outputs, index_t inputs, const float* weight, const float* bias,
                     std::vector<float>& packed) {
  const auto at = [&](index_t o, index_t c) { return o < outputs && c < inputs ? weight[o * inputs + c] : 0.0f; };
  for (index_t o = 0; o < tiled(outputs); ++o) packed.push_back(o < outputs ? bias[o] : 0.0f);
  for (index_t tile = 0; tile < tiled(outputs); tile += kTile)
    for (index_t c = 0; c < operand(inputs); c += 2)
      for (index_t o = tile; o < tile + kTile; ++o)
        packed.push_back(std::bit_cast<float>(bfloat16_pair(at(o, c), at(o, c + 1))));
}

void pack_depthwise_bf16(index_t channels, index_t taps, const float* weight, const float* bias,
                         std::vector<float>& packed) {
  for (index_t t = -1; t < taps; ++t)
    for (index_t c = 0; c < tiled(channels); ++c)
      packed.push_back(c >= channels ? 0.0f : t < 0 ? bias[c] : weight[c * taps + t]);
}

void pack_dense_tensor(index_t outputs, index_t inputs, const float* weight, const float* bias,
                       std::vector<std::uint32_t>& packed) {
  const auto at = [&](index_t o, index_t c) { return o < outputs && c < inputs ? weight[o * inputs + c] : 0.0f; };
  pack_floats(outputs, 1, bias, packed);
  for (index_t o = 0; o < tiled(outputs); o += kTile)
    for (index_t c = 0; c < tiled(inputs); c += kTile)
      for (index_t lane = 0; lane < 32; ++lane)
        for (index_t word = 0; word < 4; ++word) {
          const index_t output = o + lane / 4 + word / 2 * 8, input = c + lane % 4 * 2 + word % 2 * 8;
          packed.push_back(bfloat16_pair(at(output, input), at(output, input + 1)));
        }
}

void pack_depthwise_tensor(index_t channels, index_t taps, const float* weight, const float* bias,
                           std::vector<std::uint32_t>& packed) {
  pack_floats(channels, 1, bias, packed);
  for (index_t t = 0; t < taps; ++t) pack_floats(channels, taps, weight + t, packed);
}

}  // namespace jadce
