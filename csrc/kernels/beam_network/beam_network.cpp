#include "kernels/beam_network/beam_network.hpp"

#include "kernels/beam_network/beam_network_ends.hpp"
#include "kernels/families.hpp"

namespace jadce::JADCE_ISA {

namespace {

enum class Then { kStore, kSilu, kAdd };

// B vectors of beams by kOutputs channels in registers.
template <int B, Then then>
void dense_block(const float* x, index_t row, index_t inputs, const float* bias, const float* weight, float* out) {
  vec acc[kOutputs][B];
  for (index_t o = 0; o < kOutputs; ++o)
    for (int i = 0; i < B; ++i) acc[o][i] = splat(bias[o]);
  for (index_t c = 0; c < inputs; ++c, x += row, weight += kOutputs) {
    vec beams[B];
    for (int i = 0; i < B; ++i) beams[i] = load(x + i * W);
    for (index_t o = 0; o < kOutputs; ++o)
      for (int i = 0; i < B; ++i) acc[o][i] += weight[o] * beams[i];
  }
  for (index_t o = 0; o < kOutputs; ++o) {
    for (int i = 0; i < B; ++i) {
      float* to = out + o * row + i * W;
      vec value = acc[o][i];
      if constexpr (then == Then::kSilu) value = value * sigmoid(value);
      if constexpr (then == Then::kAdd) value += load(to);
      store(to, value);
    }
  }
}

// One dense layer; x and out point at beam 0 of their first row. Returns the next layer's weights.
template <Then then>
const float* dense(const BeamNetworkView& v, const float* x, index_t inputs, index_t outputs, const float* layer,
                   float* out) {
  const index_t blocks = (outputs + kOutputs - 1) / kOutputs;
  const float* weight = layer + blocks * kOutputs;
  for (index_t block = 0; block < blocks; ++block, weight += inputs * kOutputs) {
    const float* bias = layer + block * kOutputs;
    float* to = out + block * kOutputs * v.row();
    constexpr int kTogether = W == 16 ? 2 : 1;  // vectors that the registers of this instruction set hold
    index_t b = 0;
    for (; b + kTogether * W <= v.lanes; b += kTogether * W)
      dense_block<kTogether, then>(x + b, v.row(), inputs, bias, weight, to + b);
    for (; b < v.lanes; b += W) dense_block<1, then>(x + b, v.row(), inputs, bias, weight, to + b);
  }
  return weight;
}

// One short convolution over beams per channel.
const float* depthwise(const BeamNetworkView& v, const float* x, index_t dilation, const float* layer, float* out) {
  const float* weight = layer + v.width;
  for (index_t c = 0; c < v.width; ++c, weight += v.taps, x += v.row(), out += v.row()) {
    for (index_t b = 0; b < v.lanes; b += W) {
      vec total = splat(layer[c]);
      for (index_t t = 0; t < v.taps; ++t) total += weight[t] * load(x + b + (t - v.taps / 2) * dilation);
      store(out + b, total);
    }
  }
  return weight;
}

// Beams are periodic: repeats the ends of every row beyond it.
void wrap(const BeamNetworkView& v, index_t reach, float* x) {
  const index_t m = v.antennas;
  for (index_t c = 0; c < v.width; ++c, x += v.row()) {
    for (index_t i = 0; i < reach; ++i) {
      x[-1 - i] = x[m - 1 - i % m];
      x[m + i] = x[i % m];
    }
  }
}

void network(const BeamNetworkView& v, const float* z, const float* noise, float* scratch, float* h, float* var) {
  const index_t row = v.row();
  float* const inputs = scratch + v.halo;  // and outputs
  float* const trunk = inputs + (v.features() + kOutputs) * row;
  float* const mixed = trunk + (v.width + kOutputs) * row;
  float* const hidden = mixed + v.width * row;
  features(v, z, noise, inputs, row);
  const float* layer = dense<Then::kStore>(v, inputs, v.features(), v.width, v.weights, trunk);
  for (index_t i = 0; i < v.blocks; ++i) {
    wrap(v, v.taps / 2 * v.dilation[i], trunk);
    layer = depthwise(v, trunk, v.dilation[i], layer, mixed);
    layer = dense<Then::kSilu>(v, mixed, v.width, v.hidden, layer, hidden);
    layer = dense<Then::kAdd>(v, hidden, v.hidden, v.width, layer, trunk);
  }
  dense<Then::kStore>(v, trunk, v.width, v.outputs(), layer, inputs);
  combined(v, z, noise, inputs, row, h, var);
}

}  // namespace

void fill_beam_network(KernelTable& table) { table.network = network; }

}  // namespace jadce::JADCE_ISA
