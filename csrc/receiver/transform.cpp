#include "receiver/transform.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace jadce {

namespace {

cfloat unit(double turns) {
  return {static_cast<float>(std::cos(2 * std::numbers::pi * turns)),
          static_cast<float>(std::sin(2 * std::numbers::pi * turns))};
}

}  // namespace

Transform::Transform(Shape shape, const std::int32_t* rows, float amplitude, const cfloat* array, const cfloat* basis,
                     index_t merge, bool beamspace, int threads, const char* isa)
    : shape_(shape), kernels_(table(isa)), pool_(threads), fft_(rows ? shape.devices : 1) {
  const auto count = [](index_t n) { return static_cast<std::size_t>(n); };
  const index_t measurements = shape_.measurements();
  if (rows) {
    rows_.assign(rows, rows + measurements);
    for (index_t k = 0; k < shape_.devices; ++k)
      twiddle_.push_back(amplitude * unit(static_cast<double>(k) / static_cast<double>(shape_.devices)));
  } else {
    array_.assign(array, array + measurements * shape_.devices);
  }
  basis_.assign(basis, basis + shape_.subcarriers * shape_.coefficients);
  dft_ = floats(shape_.antennas * shape_.point());
  const float norm = 1 / std::sqrt(static_cast<float>(shape_.antennas));
  for (index_t m = 0; m < shape_.antennas; ++m) {
    for (index_t b = 0; b < shape_.antennas; ++b) {
      const cfloat w = !beamspace ? cfloat(m == b ? 1.0f : 0.0f)
                                  : norm * std::conj(unit(static_cast<double>(m * b % shape_.antennas) /
                                                          static_cast<double>(shape_.antennas)));
      dft_[count(m * shape_.point() + b)] = w.real();
      dft_[count(m * shape_.point() + shape_.lanes + b)] = w.imag();
    }
  }
  const index_t needed = std::max({rows ? 2 * fft_.padded() * 2 * kernels_.width : index_t{0},
                                   std::max(shape_.symbols, kDevices) * shape_.point(), shape_.channel()});
  for (int i = 0; i < threads; ++i) scratch_.push_back(floats(needed));
  const auto raw = [](const std::vector<cfloat>& v) { return reinterpret_cast<const float*>(v.data()); };
  view_ = {shape_,     rows ? rows_.data() : nullptr, raw(twiddle_), amplitude, raw(array_), raw(basis_), merge,
           fft_.view()};
}

void Transform::beamspace(const cfloat* y, const cfloat* rotation, float* out) {
  pool_.each(shape_.subcarriers, [&](index_t n, int thread) {
    kernels_.beamspace({.shape = shape_,
                        .y = reinterpret_cast<const float*>(y),
                        .dft = dft_.get(),
                        .rotation = reinterpret_cast<const float*>(rotation),
                        .scratch = scratch(thread),
                        .out = out},
                       n);
  });
}

void Transform::energy(const float* r, const Support& support, const std::int32_t* slot, float* energy) {
  if (view_.rows) {
    pool_.each(view_.groups() * shape_.lanes / kernels_.width, [&](index_t task, int thread) {
      kernels_.spectral_energy(view_, task, r, support, scratch(thread), energy);
    });
    return;
  }
  pool_.each(shape_.devices, [&](index_t k, int thread) {
    float* z = scratch(thread);
    kernels_.gather(view_, k, r, z);
    if (slot && slot[k] >= 0) {
      const float* s = support.coefficients + slot[k] * shape_.channel();
      for (index_t i = 0; i < shape_.channel(); ++i) z[i] += s[i];
    }
    kernels_.spread_energy(view_, k, z, energy);
  });
}

void Transform::statistics(const float* r, float* z) {
  pool_.each(shape_.coefficients * shape_.lanes / kernels_.width,
             [&](index_t task, int thread) { kernels_.spectral_statistics(view_, task, r, scratch(thread), z); });
}

void Transform::residual(const float* y, const float* gram, const float* r_pri, const Support& support, float* r,
                         float* power) {
  pool_.each(shape_.subcarriers, [&](index_t n, int thread) {
    kernels_.residual({.transform = view_,
                       .y = y,
                       .gram = gram,
                       .r_pri = r_pri,
                       .support = support,
                       .scratch = scratch(thread),
                       .r = r,
                       .power = power},
                      n);
  });
}

}  // namespace jadce
