// The beam network with bfloat16 operands of its matrix products (docs/design.md, "sixteen bits"). Channels are the
// SIMD lanes: of a product's rows, which are beams, every layer's result is already the next one's operand.
#include "kernels/beam_network/beam_network_ends.hpp"
#include "kernels/beam_network/bfloat16_simd.hpp"
#include "kernels/families.hpp"

namespace jadce::JADCE_ISA {

namespace {

// x / (1 + exp(-x)) for activations, which are rounded to bfloat16 next.
#if defined(__AVX512F__)
// c[0] + c[1] x + c[2] x^2 on 32 segments around -8.5, -8 ... 7: through three Chebyshev nodes of each, zero on the
// first one and x on the last. Absolute error below 2.1e-4 from -8.25 to 6.75, 2.2e-3 below that; 0.12 % above it. Two
// thirds of the time that an exponential function and a division take.
alignas(64) constexpr float kSegments[3][32] = {
    {0.0f,         -0.086034402f, -0.11676346f,   -0.15627177f, -0.20576346f,   -0.26572537f,  -0.33518583f,
     -0.41064546f, -0.48473477f,  -0.54495096f,   -0.57347584f, -0.55014002f,   -0.46138993f,  -0.31577826f,
     -0.15604405f, -0.043070301f, -0.0029021464f, 0.0f,         -0.0029021464f, -0.043070301f, -0.15604405f,
     -0.31577826f, -0.46138993f,  -0.55014002f,   -0.57347584f, -0.54495096f,   -0.48473477f,  -0.41064546f,
     -0.33518583f, -0.26572537f,  -0.20576346f,   0.0f},
    {0.0f,         -0.018478272f, -0.026421241f, -0.037338238f, -0.05202717f, -0.071247026f, -0.09544526f, -0.12422951f,
     -0.15544491f, -0.18374464f,  -0.19878642f,  -0.18399273f,  -0.11859746f, 0.01214351f,   0.19605352f,  0.37701765f,
     0.48171934f,  0.5f,          0.51828068f,   0.62298238f,   0.8039465f,   0.98785651f,   1.1185975f,   1.1839927f,
     1.1987864f,   1.1837447f,    1.1554449f,    1.1242296f,    1.0954453f,   1.071247f,     1.0520272f,   1.0f},
    {0.0f,           -0.0010074154f, -0.0015207411f, -0.002274964f, -0.0033649902f, -0.0049053482f, -0.0070131849f,
     -0.0097586531f, -0.013047336f,  -0.016373277f,  -0.01835669f,  -0.016012862f,  -0.0039598686f, 0.025414858f,
     0.078438245f,   0.15114652f,    0.2199659f,     0.249028f,     0.2199659f,     0.15114652f,    0.078438245f,
     0.025414858f,   -0.0039598686f, -0.016012862f,  -0.01835669f,  -0.016373277f,  -0.013047336f,  -0.0097586531f,
     -0.0070131849f, -0.0049053482f, -0.0033649902f, 0.0f}};

vec silu(vec x) {
  // Adding 1.5 * 2^23 rounds to an integer; its last five bits are the segment's number.
  const vec place = min(max(x * 2.0f + 12582929.0f, splat(12582912.0f)), splat(12582943.0f));
  const auto coefficient = [&](int i) {
    return (vec)_mm512_permutex2var_ps(_mm512_load_ps(kSegments[i]), (__m512i)place, _mm512_load_ps(kSegments[i] + 16));
  };
  return (coefficient(2) * x + coefficient(1)) * x + coefficient(0);
}
#else
vec silu(vec x) { return x * sigmoid(x); }
#endif

enum class Then { kStore, kSilu, kAdd };

// A number that a layer writes.
template <Then then>
struct Number {
  using type = float;
};
template <>
struct Number<Then::kSilu> {
  using type = half;
};
template <Then then>
using number = typename Number<then>::type;

// What becomes of sums [16 R, 32] in `out`, a corner of [lanes, stride]. Meanwhile the weights of the next product come
// from the second-level cache.
template <Then then, int R, int C>
void finish(const float* sums, number<then>* out, index_t stride, const float* next, index_t lines) {
  const index_t each = (lines + R * kTile - 1) / (R * kTile);
  for (index_t r = 0; r < R * kTile; ++r, sums += 2 * kTile, next += each * kTile) {
    for (index_t i = 0; i < each; ++i) __builtin_prefetch(next + i * kTile);
    for (index_t c = 0; c < C * kTile; c += W) {
      if constexpr (then == Then::kSilu) {
        store_bfloat16(out + r * stride + c, silu(load(sums + c)));
      } else {
        float* const to = out + r * stride + c;
        store(to, load(to) + load(sums + c));
      }
    }
  }
}

template <Then then, int R, int C>
void dense_block(const half* x, index_t inputs, const float* bias, const float* weight, number<then>* out,
                 index_t stride) {
  if constexpr (then == Then::kStore) {
    product<R, C>(x, inputs, bias, weight, out, stride);
  } else {
    alignas(64) float sums[2 * kTile * 2 * kTile];
    product<R, C>(x, inputs, bias, weight, sums, 2 * kTile);
    finish<then, R, C>(sums, out, stride, weight + C * inputs / 2 * kTile, C * inputs / 2);
  }
}

// One dense layer on 16 R beams, x [16 R, operand(inputs)], out [16 R, operand(outputs)].
template <Then then, int R>
void dense_rows(const half* x, index_t inputs, index_t outputs, const float* layer, number<then>* out) {
  const index_t from = operand(inputs), to = operand(outputs), columns = tiled(outputs);
  const float* const weight = layer + columns;
  index_t c = 0;
  for (; c + 2 * kTile <= columns; c += 2 * kTile)
    dense_block<then, R, 2>(x, from, layer + c, weight + c * from / 2, out + c, to);
  if (c < columns) dense_block<then, R, 1>(x, from, layer + c, weight + c * from / 2, out + c, to);
}

// One dense layer. Returns the next layer's weights.
template <Then then>
const float* dense(index_t lanes, const half* x, index_t inputs, index_t outputs, const float* layer,
                   number<then>* out) {
  const index_t from = operand(inputs), to = operand(outputs);
  for (index_t b = 0; b < lanes; b += 2 * kTile)
    (b + kTile < lanes ? dense_rows<then, 2> : dense_rows<then, 1>)(x + b * from, inputs, outputs, layer, out + b * to);
  return layer + tiled(outputs) * (1 + from / 2);
}

// One short convolution over beams per channel: x [lanes + 2 halo, operand(width)] from beam 0 on.
const float* depthwise(const BeamNetworkView& v, const float* x, index_t dilation, const float* layer, half* out) {
  constexpr index_t kBeams = 8;  // together, so that weights are read less often
  const index_t row = operand(v.width), channels = tiled(v.width), step = dilation * row;
  for (index_t c = 0; c < channels; c += W) {
    const float* const weight = layer + channels + c;
    const float* const in = x + c - v.taps / 2 * step;
    for (index_t b = 0; b < v.antennas; b += kBeams) {  // rows beyond the antennas are written and not read
      vec total[kBeams];
      for (index_t i = 0; i < kBeams; ++i) total[i] = load(layer + c);
      for (index_t t = 0; t < v.taps; ++t) {
        const vec w = load(weight + t * channels);
        for (index_t i = 0; i < kBeams; ++i) total[i] += w * load(in + (b + i) * row + t * step);
      }
      for (index_t i = 0; i < kBeams; ++i) store_bfloat16(out + (b + i) * row + c, total[i]);
    }
  }
  return layer + (1 + v.taps) * channels;
}

// Beams are periodic: repeats rows before the first and after the last.
void wrap(const BeamNetworkView& v, index_t reach, float* x) {
  const index_t m = v.antennas, row = operand(v.width);
  for (index_t i = 0; i < reach; ++i) {
    const float* const last = x + (m - 1 - i % m) * row;
    const float* const first = x + i % m * row;
    for (index_t c = 0; c < row; c += W) {
      store(x - (1 + i) * row + c, load(last + c));
      store(x + (m + i) * row + c, load(first + c));
    }
  }
}

// Features [.., lanes] to rows of the first operand, and rows of the last layer to outputs [.., lanes].
void to_rows(const BeamNetworkView& v, const float* x, half* out) {
  const index_t row = operand(v.features());
  for (index_t c = 0; c < tiled(v.features()); c += W) {
    for (index_t b = 0; b < v.lanes; b += W) {
      vec block[W];
      for (index_t i = 0; i < W; ++i) block[i] = load(x + (c + i) * v.lanes + b);
      transpose(block);
      for (index_t i = 0; i < W; ++i) store_bfloat16(out + (b + i) * row + c, block[i]);
    }
  }
}

void to_beams(const BeamNetworkView& v, const float* x, float* out) {
  const index_t row = operand(v.outputs());
  for (index_t c = 0; c < v.outputs(); c += W) {
    for (index_t b = 0; b < v.lanes; b += W) {
      vec block[W];
      for (index_t i = 0; i < W; ++i) block[i] = load(x + (b + i) * row + c);
      transpose(block);
      for (index_t i = 0; i < W && c + i < v.outputs(); ++i) store(out + (c + i) * v.lanes + b, block[i]);
    }
  }
}

void network(const BeamNetworkView& v, const float* z, const float* noise, float* scratch, float* h, float* var) {
  const Tiles tiles;
  const index_t lanes = v.lanes, wide = operand(v.width), first = operand(v.features()), last = operand(v.outputs());
  float* const trunk = scratch + v.halo * wide;                          // [lanes, wide] and halo rows on either side
  float* const ends = trunk + (lanes + v.halo) * wide;                   // [first or last, lanes]
  float* const outputs = ends + first * lanes;                           // [lanes, last]
  half* const inputs = reinterpret_cast<half*>(outputs + last * lanes);  // [lanes, first]
  half* const mixed = inputs + first * lanes;                            // [lanes, wide]
  half* const hidden = mixed + wide * lanes;                             // [lanes, operand(hidden)]
  features(v, z, noise, ends, lanes);
  to_rows(v, ends, inputs);
  const float* layer = dense<Then::kStore>(lanes, inputs, v.features(), v.width, v.weights, trunk);
  for (index_t i = 0; i < v.blocks; ++i) {
    wrap(v, v.taps / 2 * v.dilation[i], trunk);
    layer = depthwise(v, trunk, v.dilation[i], layer, mixed);
    layer = dense<Then::kSilu>(lanes, mixed, v.width, v.hidden, layer, hidden);
    layer = dense<Then::kAdd>(lanes, hidden, v.hidden, v.width, layer, trunk);
  }
  for (index_t i = 0; i < lanes * wide; i += W) store_bfloat16(mixed + i, load(trunk + i));
  dense<Then::kStore>(lanes, mixed, v.width, v.outputs(), layer, outputs);
  to_beams(v, outputs, ends);
  combined(v, z, noise, ends, lanes, h, var);
}

}  // namespace

void fill_beam_network_bf16(KernelTable& table) { table.network_bf16 = network; }

}  // namespace jadce::JADCE_ISA
