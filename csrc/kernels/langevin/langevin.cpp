#include "kernels/langevin/langevin.hpp"

#include "kernels/families.hpp"
#include "kernels/langevin/noise_simd.hpp"

namespace jadce::JADCE_ISA {

namespace {

struct Columns {
  vec re[kColumns], im[kColumns];
};

// out[c] += row of W lanes times `entries` [2, kColumns] of a packed matrix.
inline void multiply(Columns& out, const float* row, const float* entries) {
  const vec re = load(row), im = load(row + W);
  for (index_t c = 0; c < kColumns; ++c) {
    const float u = entries[c], w = entries[kColumns + c];
    out.re[c] += re * u;  // one fused operation each
    out.re[c] -= im * w;
    out.im[c] += re * w;
    out.im[c] += im * u;
  }
}

// Row k of a packed matrix at columns n ... n + kColumns - 1.
inline const float* entries(const ChainShape& v, const float* packed, index_t k, index_t n) {
  return packed + 2 * (n * v.devices + kColumns * k);
}

// Columns that enter the step's product, [rows, 2, W] of the lanes from b on.
index_t gather(const ChainShape& v, const LevelView& level, const DenoisedView& d, const float* x, index_t b,
               float* rows) {
  const index_t count = level.denoised ? d.count : v.devices;
  for (index_t k = 0; k < count; ++k) {
    const index_t n = level.denoised ? d.counting[k] : k;
    const bool given = level.denoised && d.mean;
    const float* column = (given ? d.mean : x) + 2 * n * v.lanes + b;
    const float gain = level.denoised && !given ? d.gain[n] : 1.0f;
    store(rows + 2 * k * W, gain * load(column));
    store(rows + (2 * k + 1) * W, gain * load(column + v.lanes));
  }
  return count;
}

void draw(const ChainShape& v, NoiseKey key, index_t b, float scale, float* rows) {
  vuint antenna;
  for (int i = 0; i < W; ++i) antenna[i] = static_cast<std::uint32_t>(b + i);
  const vec size = antenna < static_cast<std::uint32_t>(v.antennas) ? splat(scale) : vec{};
  for (index_t n = 0; n < v.devices; n += 2) {
    vec z[4];
    column_noise<SimdMath>(antenna, static_cast<std::uint32_t>(n / 2), key, z);
    for (index_t i = 0; i < 4 && n + i / 2 < v.devices; ++i) store(rows + (2 * n + i) * W, size * z[i]);
  }
}

// Tells whether the product of `count` columns goes by the unknown coordinates.
inline bool rotates(const ChainShape& v, const LevelView& level, index_t count) {
  return level.pull && (v.devices - level.known) * (count + v.devices) < count * v.devices;
}

// Unknown coordinates of the columns in `rows`, times their pull: [K - known, 2, W].
void rotate(const ChainShape& v, const LevelView& level, const std::int32_t* counting, index_t count, const float* rows,
            float* out) {
  for (index_t j = level.known / kColumns * kColumns; j < v.devices; j += kColumns) {
    Columns sum{};
    for (index_t k = 0; k < count; ++k) multiply(sum, rows + 2 * k * W, entries(v, level.forward, counting[k], j));
    for (index_t c = 0; c < kColumns; ++c) {
      if (j + c < level.known || j + c >= v.devices) continue;
      store(out + 2 * (j + c - level.known) * W, level.pull[j + c] * sum.re[c]);
      store(out + (2 * (j + c - level.known) + 1) * W, level.pull[j + c] * sum.im[c]);
    }
  }
}

void langevin_step(const ChainShape& v, const LevelView& level, NoiseKey key, const DenoisedView& d,
                   const ChainView& chain) {
  float* const x = chain.x;
  float* squares = chain.scratch;  // [K, W]
  float* rows = squares + v.devices * W;
  float* rotated = rows + 4 * v.devices * W;
  for (index_t b = 0; b < v.antennas; b += W) {
    const index_t count = gather(v, level, d, x, b, rows);
    const bool unknown = rotates(v, level, count);
    if (unknown) rotate(v, level, d.counting, count, rows, rotated);
    float* noise = rows + 2 * count * W;
    draw(v, key, b, level.factor ? 1.0f : level.noise, noise);
    for (index_t n = 0; n < v.devices; n += kColumns) {
      Columns sum{};
      if (unknown) {
        for (index_t j = level.known; j < v.devices; ++j)
          multiply(sum, rotated + 2 * (j - level.known) * W, entries(v, level.back, j, n));
      } else {
        for (index_t k = 0; k < count; ++k) {
          const index_t from = level.denoised ? d.counting[k] : k;
          multiply(sum, rows + 2 * k * W, entries(v, level.matrix, from, n));
        }
      }
      if (level.factor) {
        const index_t last = n + kColumns < v.devices ? n + kColumns : v.devices;
        for (index_t i = 0; i < last; ++i) multiply(sum, noise + 2 * i * W, entries(v, level.factor, i, n));
      }
      for (index_t c = 0; c < kColumns && n + c < v.devices; ++c) {
        const index_t at = n + c, to = 2 * at * v.lanes + b;
        vec re = sum.re[c] + level.keep * load(x + to) + load(level.force + to);
        vec im = sum.im[c] + level.keep * load(x + to + v.lanes) + load(level.force + to + v.lanes);
        if (level.shift != 0.0f) {
          const float gain = d.mean ? level.shift : level.shift * d.gain[at];
          const float* column = (d.mean ? d.mean : x) + to;
          re += gain * load(column);
          im += gain * load(column + v.lanes);
        }
        if (!level.factor) {
          re += load(noise + 2 * at * W);
          im += load(noise + (2 * at + 1) * W);
        }
        store(x + to, re);
        store(x + to + v.lanes, im);
        const vec square = re * re + im * im;
        store(squares + at * W, b ? load(squares + at * W) + square : square);
      }
    }
  }
  for (index_t n = 0; n < v.devices; ++n) chain.energy[n] = sum(load(squares + n * W));
}

void posteriors(const ChainShape& v, const MixtureView& m, const float* energy, float* gain, float* variance,
                float* probability) {
  for (index_t n = 0; n < v.devices; n += W) {
    const vec e = load(energy + n);
    const ColumnPosterior<vec> p = column_posterior<SimdMath>(m, e);
    store(gain + n, p.gain);
    store(variance + n, p.variance(m.noise_var, e / static_cast<float>(v.antennas)));
    store(probability + n, p.probability);
  }
}

index_t counting_columns(const ChainShape& v, const MixtureView& m, const float* energy, float* gain,
                         std::int32_t* counting) {
  const float least = least_energy(v.antennas, m.noise_var);
  const vec log_least = log(splat(least)), log_components = log(splat(static_cast<float>(m.components)));
  index_t candidates = 0;
  for (index_t n = 0; n < v.devices; n += W) {
    const vec e = load(energy + n);
    const vint chosen = may_count<SimdMath>(m, e, log_components, log_least) > 0.0f;
    store(gain + n, vec{});
    for (index_t i = 0; i < W && n + i < v.devices; ++i) {
      counting[candidates] = static_cast<std::int32_t>(n + i);
      candidates += chosen[i] ? 1 : 0;
    }
  }
  index_t count = 0;
  for (index_t first = 0; first < candidates; first += W) {
    const index_t here = candidates - first < W ? candidates - first : W;
    std::int32_t column[W];
    vec e{};
    for (index_t i = 0; i < here; ++i) {
      column[i] = counting[first + i];
      e[i] = energy[column[i]];
    }
    const vec g = column_posterior<SimdMath>(m, e).gain;
    for (index_t i = 0; i < here; ++i) {
      if (!(g[i] * g[i] * e[i] > least)) continue;
      gain[column[i]] = g[i];
      counting[count++] = column[i];
    }
  }
  return count;
}

}  // namespace

void fill_langevin(KernelTable& table) {
  table.langevin_step = langevin_step;
  table.column_posterior = posteriors;
  table.counting_columns = counting_columns;
}

}  // namespace jadce::JADCE_ISA
