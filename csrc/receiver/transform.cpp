#include "receiver/transform.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

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
  const index_t needed =
      std::max({rows ? 2 * fft_.padded() * 2 * kernels_.width : index_t{0},
                std::max({shape_.symbols, shape_.subcarriers, index_t{4}}) * shape_.point(), shape_.channel()});
  known_.reserve(static_cast<std::size_t>(kKnown));
  pilots_ = floats(measurements * kKnown * 2);
  points_ = floats(shape_.subcarriers * kTogether * shape_.point());
  bool identity = shape_.coefficients == shape_.subcarriers;
  for (index_t i = 0; identity && i < shape_.subcarriers * shape_.coefficients; ++i)
    identity = basis_[count(i)] == cfloat(i % (shape_.coefficients + 1) == 0 ? 1.0f : 0.0f);
  // A pair of symbols costs about as much as a point of a transform: of one, where there were `merge`.
  const index_t pairs = shape_.symbols * (shape_.symbols - 1) / 2;
  const bool lags = rows && identity && merge > 1 && pairs < (merge - 1) * shape_.devices;
  if (!rows || lags) statistics_ = floats(kTogether * shape_.channel());
  for (int i = 0; i < threads; ++i) scratch_.push_back(floats(needed));
  const auto raw = [](const std::vector<cfloat>& v) { return reinterpret_cast<const float*>(v.data()); };
  view_ = {.shape = shape_,
           .rows = rows ? rows_.data() : nullptr,
           .twiddle = raw(twiddle_),
           .amplitude = amplitude,
           .array = raw(array_),
           .basis = raw(basis_),
           .identity = identity,
           .lags = lags,
           .merge = merge,
           .fft = fft_.view()};
}

void Transform::beamspace(const cfloat* y, const cfloat* rotation, float* out) {
  pool_.each(shape_.subcarriers, [&](index_t n, int thread) {
    kernels_.beamspace({.shape = shape_,
                        .first = 0,
                        .count = shape_.symbols,
                        .y = reinterpret_cast<const float*>(y),
                        .dft = dft_.get(),
                        .rotation = reinterpret_cast<const float*>(rotation),
                        .scratch = scratch(thread),
                        .out = out},
                       n);
  });
}

void Transform::energy(const float* r, const Support& support, float* energy) {
  if (view_.rows) {
    const index_t groups = view_.groups(), blocks = shape_.lanes / kernels_.width;
    pool_.each(groups * blocks, [&](index_t i, int thread) {  // those of the same beams one after the other
      const index_t task = i % groups * blocks + i / groups;
      kernels_.spectral_energy(view_, task, r, support, scratch(thread), energy);
    });
  } else {
    for (index_t first = 0; first < shape_.devices; first += kTogether) {
      std::int32_t device[kTogether];
      const index_t count = std::min(kTogether, shape_.devices - first);
      std::iota(device, device + count, static_cast<std::int32_t>(first));
      in_parts(device, count, [&](index_t, index_t some, const float* pilots, index_t row) {
        correlate(r, some, pilots, row, statistics_.get());
        pool_.each(some, [&](index_t a, int) {
          kernels_.spread_energy(view_, first + a, statistics_.get() + a * shape_.channel(), energy);
        });
      });
    }
  }
  if ((view_.rows && !view_.lags) || support.count == 0) return;
  in_parts(support.device, support.count, [&](index_t first, index_t some, const float* pilots, index_t row) {
    correlate(r, some, pilots, row, statistics_.get());
    pool_.each(some, [&](index_t a, int) {
      float* const z = statistics_.get() + a * shape_.channel();
      const float* const s = support.coefficients + (first + a) * shape_.channel();
      for (index_t i = 0; i < shape_.channel(); ++i) z[i] += s[i];
      kernels_.spread_energy(view_, support.device[first + a], z, energy);
    });
  });
}

// Candidates seldom change from one iteration to the next: pilots are looked up once.
void Transform::know(const std::int32_t* device, index_t count) {
  if (std::equal(device, device + count, known_.begin(), known_.end())) return;
  known_.clear();  // until they are complete: a forked child may find them at any time
  pool_.each(shape_.subcarriers, [&](index_t n, int) {
    const double inverse = 1.0 / static_cast<double>(shape_.devices);
    float* q = pilots_.get() + n * count * shape_.symbols * 2;
    for (index_t a = 0; a < count; ++a) {
      const index_t k = device[a];
      for (index_t t = 0; t < shape_.symbols; ++t, q += 2) {
        const float* from = nullptr;
        if (!view_.rows) {
          from = view_.array + ((n * shape_.devices + k) * shape_.symbols + t) * 2;
        } else {  // row k modulo K
          const index_t turns = view_.rows[n * shape_.symbols + t] * k;
          index_t rest = turns - static_cast<index_t>(static_cast<double>(turns) * inverse) * shape_.devices;
          rest += rest < 0 ? shape_.devices : 0;  // the quotient may be one too large or too small
          rest -= rest >= shape_.devices ? shape_.devices : 0;
          from = view_.twiddle + 2 * rest;
        }
        q[0] = from[0];
        q[1] = view_.rows ? -from[1] : from[1];  // the table is of the conjugates
      }
    }
  });
  known_.assign(device, device + count);
}

// Calls f with the pilots of `some` devices from `first` on, which are at most kTogether.
template <class F>
void Transform::in_parts(const std::int32_t* device, index_t count, F f) {
  const bool all = count <= kKnown;
  if (all) know(device, count);
  index_t first = 0;
  do {
    const index_t some = std::min(kTogether, count - first);
    if (!all) know(device + first, some);
    const index_t at = all ? first : 0, row = (all ? count : some) * shape_.symbols * 2;
    f(first, some, pilots_.get() + at * shape_.symbols * 2, row);
    first += kTogether;
  } while (first < count);
}

// Statistics of at most kTogether devices with these pilots -> z [some, 2 P, Mp].
void Transform::correlate(const float* r, index_t some, const float* pilots, index_t row, float* z) {
  pool_.each(tasks(shape_, shape_.subcarriers), [&](index_t task, int) {
    kernels_.correlate(
        {.shape = shape_, .count = some, .pilots = pilots, .pilots_row = row, .r = r, .points = points_.get()}, task);
  });
  pool_.each(tasks(shape_, some), [&](index_t task, int) {
    kernels_.analyse(view_, {.count = some, .points = points_.get(), .z = z}, task);
  });
}

void Transform::gather(const float* r, const std::int32_t* device, index_t count, float* z) {
  in_parts(device, count, [&](index_t first, index_t some, const float* pilots, index_t row) {
    correlate(r, some, pilots, row, z + first * shape_.channel());
  });
}

void Transform::statistics(const float* r, float* z) {
  pool_.each(shape_.coefficients * shape_.lanes / kernels_.width,
             [&](index_t task, int thread) { kernels_.spectral_statistics(view_, task, r, scratch(thread), z); });
}

void Transform::residual(const float* y, const float* gram, const float* r_pri, const Support& support, float* r,
                         float* power) {
  in_parts(support.device, support.count, [&](index_t first, index_t some, const float* pilots, index_t row) {
    float* const z = support.coefficients + first * shape_.channel();
    pool_.each(tasks(shape_, some), [&](index_t task, int) {
      kernels_.synthesise(view_, {.count = some, .points = points_.get(), .z = z}, task);
    });
    pool_.each(tasks(shape_, shape_.subcarriers), [&](index_t task, int) {
      kernels_.residual({.shape = shape_,
                         .y = first == 0 ? y : r,
                         .gram = gram,
                         .r_pri = first == 0 ? r_pri : nullptr,
                         .count = some,
                         .pilots = pilots,
                         .pilots_row = row,
                         .points = points_.get(),
                         .r = r,
                         .power = power},
                        task);
    });
  });
}

}  // namespace jadce
