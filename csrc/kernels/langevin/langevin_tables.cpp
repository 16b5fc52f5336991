// Matrices of the levels of a Langevin sampler.
#include "kernels/families.hpp"

namespace jadce::JADCE_ISA {

namespace {

void add_outer(const ChainShape& v, float weight, const float* column, float* matrix) {
  for (index_t r = 0; r < v.devices; ++r) {
    const float a = weight * column[r], c = weight * column[v.padded + r];
    float* row = matrix + 2 * r * v.padded;
    for (index_t n = 0; n < v.padded; n += W) {
      const vec re = load(column + n), im = load(column + v.padded + n);
      store(row + n, load(row + n) + a * re + c * im);
      store(row + v.padded + n, load(row + v.padded + n) + c * re - a * im);
    }
  }
}

constexpr index_t kRows = 4, kVectors = 2;  // rows and vectors of a product at a time: sixteen accumulators

// Rows i ... i + rows - 1 of `count` vectors from column n on, less what the rows above say.
template <index_t count>
inline void reduce(const ChainShape& v, float* matrix, index_t i, index_t rows, index_t n) {
  vec re[kRows][count]{}, im[kRows][count]{};
  for (index_t k = 0; k < i; ++k) {
    const float* above = matrix + 2 * k * v.padded;
    vec u[count], w[count];
    for (index_t c = 0; c < count; ++c) {
      u[c] = load(above + n + c * W);
      w[c] = load(above + v.padded + n + c * W);
    }
    for (index_t r = 0; r < kRows; ++r) {
      const float a = above[i + r], b = above[v.padded + i + r];
      for (index_t c = 0; c < count; ++c) {
        re[r][c] += a * u[c];
        re[r][c] += b * w[c];
        im[r][c] += a * w[c];
        im[r][c] -= b * u[c];
      }
    }
  }
  for (index_t r = 0; r < rows; ++r) {
    float* row = matrix + 2 * (i + r) * v.padded + n;
    for (index_t c = 0; c < count; ++c) {
      store(row + c * W, load(row + c * W) - re[r][c]);
      store(row + v.padded + c * W, load(row + v.padded + c * W) - im[r][c]);
    }
  }
}

void cholesky(const ChainShape& v, float* matrix) {
  for (index_t i = 0; i < v.devices; i += kRows) {
    const index_t rows = v.devices - i < kRows ? v.devices - i : kRows, first = i / W * W;
    index_t n = first;
    for (; n + kVectors * W <= v.padded; n += kVectors * W) reduce<kVectors>(v, matrix, i, rows, n);
    for (; n < v.padded; n += W) reduce<1>(v, matrix, i, rows, n);
    for (index_t r = 0; r < rows; ++r) {
      float* row = matrix + 2 * (i + r) * v.padded;
      for (index_t q = 0; q < r; ++q) {
        const float* above = matrix + 2 * (i + q) * v.padded;
        const float a = above[i + r], b = above[v.padded + i + r];
        for (n = first; n < v.padded; n += W) {
          const vec u = load(above + n), w = load(above + v.padded + n);
          store(row + n, load(row + n) - a * u - b * w);
          store(row + v.padded + n, load(row + v.padded + n) - a * w + b * u);
        }
      }
      const float pivot = row[i + r];
      const vec scale = 1.0f / sqrt(splat(pivot > 0.0f ? pivot : 1e-30f));
      for (n = first; n < v.padded; n += W) {
        store(row + n, scale * load(row + n));
        store(row + v.padded + n, scale * load(row + v.padded + n));
      }
      for (index_t k = 0; k < i + r; ++k) row[k] = row[v.padded + k] = 0.0f;
      row[v.padded + i + r] = 0.0f;
    }
  }
}

void pack(const ChainShape& v, const float* matrix, float* packed) {
  for (index_t k = 0; k < v.devices; ++k)
    for (index_t n = 0; n < v.padded; n += kColumns)
      for (index_t part = 0; part < 2; ++part) {
        const float* from = matrix + (2 * k + part) * v.padded + n;
        float* to = packed + (n * v.devices + kColumns * k) * 2 + kColumns * part;
        for (index_t c = 0; c < kColumns; ++c) to[c] = from[c];
      }
}

}  // namespace

void fill_langevin_tables(KernelTable& table) {
  table.add_outer = add_outer;
  table.cholesky = cholesky;
  table.pack = pack;
}

}  // namespace jadce::JADCE_ISA
