#include "kernels/langevin.hpp"

#include "core/philox.hpp"
#include "kernels/families.hpp"

namespace jadce::JADCE_ISA {

namespace {

constexpr index_t kBlock = 4;  // outputs of a product at a time: eight accumulators

// out[j] = sum_i in[i] table[i, j] of W lanes, for kBlock columns from j on.
struct Columns {
  vec re[kBlock], im[kBlock];
};

inline Columns product(const RotationView& v, const float* table, const float* in, index_t b, index_t j) {
  Columns out{};
  for (index_t i = 0; i < v.devices; ++i) {
    const float* entry = table + 2 * i * v.padded + j;
    const vec re = load(in + 2 * i * v.lanes + b), im = load(in + (2 * i + 1) * v.lanes + b);
    for (index_t c = 0; c < kBlock; ++c) {
      const float u = entry[c], w = entry[v.padded + c];
      out.re[c] += re * u;  // one fused operation each
      out.re[c] -= im * w;
      out.im[c] += re * w;
      out.im[c] += im * u;
    }
  }
  return out;
}

void langevin_step(const RotationView& v, const LevelView& level, NoiseKey key, const float* y, const float* mean,
                   float* a, float* x) {
  vuint lane;
  for (int i = 0; i < W; ++i) lane[i] = static_cast<std::uint32_t>(i);
  for (index_t b = 0; b < v.antennas; b += W) {
    const vuint antenna = lane + static_cast<std::uint32_t>(b);
    const vint present = antenna < static_cast<std::uint32_t>(v.antennas);
    for (index_t j = 0; j < v.devices; j += kBlock) {
      const Columns d = product(v, v.forward, mean, b, j);
      for (index_t c = 0; c < kBlock && j + c < v.devices; c += 2) {
        const Philox random = philox(antenna, static_cast<std::uint32_t>((j + c) / 2), key.chain, key.step, key.seed);
        for (index_t e = c; e < c + 2 && j + e < v.devices; ++e) {
          vec re, im;
          complex_normal(random.word[2 * (e - c)], random.word[2 * (e - c) + 1], re, im);
          const index_t n = j + e, at = 2 * n * v.lanes + b;
          const float keep = 1.0f - level.pull[n] - level.decay[n];
          re = keep * load(a + at) + level.pull[n] * d.re[e] + level.force[n] * load(y + at) + level.noise[n] * re;
          im = keep * load(a + at + v.lanes) + level.pull[n] * d.im[e] + level.force[n] * load(y + at + v.lanes) +
               level.noise[n] * im;
          store(a + at, present ? re : vec{});
          store(a + at + v.lanes, present ? im : vec{});
        }
      }
    }
    for (index_t n = 0; n < v.devices; n += kBlock) {
      const Columns out = product(v, v.backward, a, b, n);
      for (index_t c = 0; c < kBlock && n + c < v.devices; ++c) {
        store(x + 2 * (n + c) * v.lanes + b, out.re[c]);
        store(x + (2 * (n + c) + 1) * v.lanes + b, out.im[c]);
      }
    }
  }
}

inline float largest(vec v) {
  float top = v[0];
  for (int i = 1; i < W; ++i) top = v[i] > top ? v[i] : top;
  return top;
}

void cell_denoise(const RotationView& v, const MixtureView& m, const float* x, const PosteriorView& out) {
  for (index_t n = 0; n < v.devices; ++n) {
    const float* column = x + 2 * n * v.lanes;
    vec squares{};
    for (index_t i = 0; i < 2 * v.lanes; i += W) squares += load(column + i) * load(column + i);
    const float energy = sum(squares), zero = -energy / m.noise_var;
    vec peak = splat(zero);
    for (index_t g = 0; g < m.components; g += W) peak = max(peak, load(m.offset + g) - energy * load(m.rate + g));
    const float top = largest(peak);
    vec active{}, first{}, lost{}, second{};
    for (index_t g = 0; g < m.components; g += W) {
      const vec rate = load(m.rate + g), weight = exp(load(m.offset + g) - energy * rate - top);
      const vec rest = m.noise_var * rate;  // 1 - gain: its spread is that of the gain, without cancellation
      active += weight;
      first += weight * load(m.gain + g);
      lost += weight * rest;
      second += weight * rest * rest;
    }
    const float inactive = exp(splat(zero - top))[0], sum_active = sum(active);
    const float scale = 1.0f / (sum_active + inactive), gain = scale * sum(first);
    const float rest = scale * (sum(lost) + inactive), spread = scale * (sum(second) + inactive) - rest * rest;
    const float power = energy / static_cast<float>(v.antennas);
    for (index_t i = 0; i < 2 * v.lanes; i += W) store(out.mean + 2 * n * v.lanes + i, gain * load(column + i));
    out.variance[n] = m.noise_var * gain + power * (spread > 0.0f ? spread : 0.0f);
    out.probability[n] = scale * sum_active;
  }
}

}  // namespace

void fill_langevin(KernelTable& table) {
  table.langevin_step = langevin_step;
  table.cell_denoise = cell_denoise;
}

}  // namespace jadce::JADCE_ISA
