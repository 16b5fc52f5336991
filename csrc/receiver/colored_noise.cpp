#include "receiver/colored_noise.hpp"

#include <algorithm>
#include <complex>
#include <cstddef>
#include <numeric>

#include "loop/rules.hpp"

namespace jadce {

namespace {

using cdouble = std::complex<double>;

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

// Inverts a Hermitian positive definite matrix [m, m] in place, by Gauss-Jordan steps, which need no pivots there.
void invert(std::vector<cdouble>& a, index_t m) {
  for (index_t k = 0; k < m; ++k) {
    cdouble* const row = a.data() + k * m;
    const cdouble pivot = 1.0 / row[k];
    row[k] = 1;
    for (index_t j = 0; j < m; ++j) row[j] *= pivot;
    for (index_t i = 0; i < m; ++i) {
      if (i == k) continue;
      cdouble* const other = a.data() + i * m;
      const cdouble factor = other[k];
      other[k] = 0;
      for (index_t j = 0; j < m; ++j) {  // std::complex multiplies slowly: it looks for infinities
        const double re = factor.real() * row[j].real() - factor.imag() * row[j].imag();
        const double im = factor.real() * row[j].imag() + factor.imag() * row[j].real();
        other[j] -= cdouble(re, im);
      }
    }
  }
}

// out = H r for a Hermitian matrix H [m, m] and one (n, t) of measurement space [2, lanes]; sums over columns of H,
// which are rows conjugated.
void multiply(const cfloat* h, index_t m, index_t lanes, const float* r, float* out) {
  std::fill_n(out, 2 * lanes, 0.0f);
  for (index_t c = 0; c < m; ++c) {
    const float re = r[c], im = r[lanes + c];
    const float* const row = reinterpret_cast<const float*>(h + c * m);
    for (index_t b = 0; b < m; ++b) {
      out[b] += row[2 * b] * re + row[2 * b + 1] * im;
      out[lanes + b] += row[2 * b] * im - row[2 * b + 1] * re;
    }
  }
}

}  // namespace

ColoredNoise::ColoredNoise(Transform& transform, const NoiseCovariance& noise, const std::vector<float>& gram,
                           float mean_gram)
    : transform_(transform), shape_(transform.shape()), noise_(noise), gram_(gram), mean_gram_(mean_gram) {
  filtered_.resize(at(shape_.subcarriers * shape_.antennas));
  weighted_.resize(at(shape_.subcarriers));
  weight_.resize(at(shape_.measurements() * shape_.antennas));
  mixing_.resize(at(shape_.antennas * shape_.antennas));
}

const cfloat* ColoredNoise::of(const std::vector<cfloat>& matrices, index_t n) const {
  const index_t size = shape_.antennas * shape_.antennas;
  return matrices.data() + (matrices.size() == at(size) ? 0 : n * size);
}

double ColoredNoise::mean_square(const float* r) {
  const index_t m = shape_.antennas, lanes = shape_.lanes;
  transform_.pool().each(shape_.subcarriers, [&](index_t n, int thread) {
    float* const u = transform_.scratch(thread);
    double* const power = filtered_.data() + n * m;
    std::fill_n(power, m, 0.0);
    double total = 0;
    for (index_t t = 0; t < shape_.symbols; ++t) {
      const float* const x = r + (n * shape_.symbols + t) * shape_.point();
      multiply(of(noise_.inverse, n), m, lanes, x, u);
      for (index_t b = 0; b < m; ++b) {
        power[b] += static_cast<double>(u[b] * u[b] + u[lanes + b] * u[lanes + b]);
        total += static_cast<double>(x[b] * u[b] + x[lanes + b] * u[lanes + b]);
      }
    }
    weighted_[at(n)] = total;
  });
  const double total = std::accumulate(weighted_.begin(), weighted_.end(), 0.0);
  return total / static_cast<double>(shape_.measurements() * m);
}

void ColoredNoise::variances(float noise, float floor, float* v) const {
  const index_t m = shape_.antennas;
  std::vector<double> excess(at(m));
  for (index_t b = 0; b < m; ++b) {
    double total = 0;
    for (index_t n = 0; n < shape_.subcarriers; ++n) total += filtered_[at(n * m + b)];
    excess[at(b)] =
        total / static_cast<double>(shape_.measurements()) - static_cast<double>(noise * noise_.level[at(b)]);
  }
  for (index_t b = 0; b < m; ++b) {
    double total = 0;
    for (index_t c = 0; c < m; ++c) total += static_cast<double>(noise_.unmix[at(b * m + c)]) * excess[at(c)];
    v[b] = at_least(static_cast<float>(total) / mean_gram_, floor);
  }
}

void ColoredNoise::correct(const Variances& known, float floor, const float* r, float* message, float* v_b) {
  const index_t m = shape_.antennas, lanes = shape_.lanes, symbols = shape_.symbols;
  const double noise = static_cast<double>(known.noise);
  // Gains of beams alone: weight w [N, T, M], which is LMMSE over its mean diagonal gain.
  std::vector<double> eta(at(m), 0.0);
  for (index_t n = 0; n < shape_.subcarriers; ++n) {
    const cfloat* const c = of(noise_.covariance, n);
    for (index_t t = 0; t < symbols; ++t) {
      const double gram = static_cast<double>(gram_[at(n * symbols + t)]);
      double* const w = weight_.data() + (n * symbols + t) * m;
      for (index_t b = 0; b < m; ++b) {
        const double v = static_cast<double>(known.v[b]);
        w[b] = v / (v * gram + noise * static_cast<double>(c[b * m + b].real()));
        eta[at(b)] += gram * w[b];
      }
    }
  }
  for (index_t i = 0; i < shape_.measurements(); ++i)
    for (index_t b = 0; b < m; ++b)
      weight_[at(i * m + b)] *= static_cast<double>(shape_.subcarriers * shape_.devices) / eta[at(b)];
  // Covariance of a device's error then, and with what is not known of its channel.
  transform_.pool().each(m, [&](index_t b, int) {
    for (index_t d = 0; d < m; ++d) {
      cdouble total = 0;
      for (index_t n = 0; n < shape_.subcarriers; ++n) {
        double share = 0, own = 0;
        for (index_t t = 0; t < symbols; ++t) {
          const double gram = static_cast<double>(gram_[at(n * symbols + t)]);
          const double* const w = weight_.data() + (n * symbols + t) * m;
          share += gram * w[b] * w[d];
          own += gram * gram * w[b] * w[d];
        }
        total += noise * share * cdouble(of(noise_.covariance, n)[b * m + d]);
        if (b == d) total += own * static_cast<double>(known.v[b]);
      }
      mixing_[at(b * m + d)] = total / static_cast<double>(shape_.subcarriers * shape_.devices);
    }
    mixing_[at(b * m + b)] += static_cast<double>(known.channel[b] - known.v[b]);
  });
  invert(mixing_, m);
  std::vector<float> gain(at(m));
  for (index_t b = 0; b < m; ++b) {
    const double alone = 1 / mixing_[at(b * m + b)].real();
    gain[at(b)] = static_cast<float>(alone);
    v_b[b] = at_least(static_cast<float>(alone - static_cast<double>(known.channel[b])), floor);
  }
  const std::vector<cfloat> mix(mixing_.begin(), mixing_.end());
  transform_.pool().each(shape_.measurements(), [&](index_t i, int thread) {
    float* const weighted = transform_.scratch(thread);
    float* const mixed = weighted + shape_.point();
    const float* const x = r + i * shape_.point();
    float* const out = message + i * shape_.point();
    for (index_t b = 0; b < m; ++b) {
      const auto w = static_cast<float>(weight_[at(i * m + b)]);
      weighted[b] = w * x[b];
      weighted[lanes + b] = w * x[lanes + b];
    }
    multiply(mix.data(), m, lanes, weighted, mixed);
    for (index_t b = 0; b < m; ++b) {
      out[b] += gain[at(b)] * mixed[b];
      out[lanes + b] += gain[at(b)] * mixed[lanes + b];
    }
  });
}

}  // namespace jadce
