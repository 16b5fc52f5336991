#include "receiver/plan.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <numeric>
#include <stdexcept>

#include "core/thread_pool.hpp"
#include "receiver/eigen.hpp"

namespace jadce {

namespace {

constexpr index_t kAntennas = 32;  // that Rules::decodable is for
constexpr double kSame = 1e-3;     // difference of amplitudes, over the largest one, up to which they are one

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

bool is_flat(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [&](float x) { return x == values.front(); });
}

// Sum over k of x conj(y), eight terms side by side.
std::complex<double> product(SplitMatrix& m, index_t one, index_t other) {
  constexpr index_t kSide = 8;
  const double *ar = m.real_row(one), *ai = m.imag_row(one), *br = m.real_row(other), *bi = m.imag_row(other);
  double real[kSide] = {}, imag[kSide] = {};
  index_t k = 0;
  for (; k + kSide <= m.columns; k += kSide)
    for (index_t j = 0; j < kSide; ++j) {
      real[j] += ar[k + j] * br[k + j] + ai[k + j] * bi[k + j];
      imag[j] += ai[k + j] * br[k + j] - ar[k + j] * bi[k + j];
    }
  for (; k < m.columns; ++k) {
    real[0] += ar[k] * br[k] + ai[k] * bi[k];
    imag[0] += ai[k] * br[k] - ar[k] * bi[k];
  }
  return {std::accumulate(real, real + kSide, 0.0), std::accumulate(imag, imag + kSide, 0.0)};
}

// The pilots `wide` [T, K] of one subcarrier; gram [T], rotation [T, T], array [K, T].
void rotate(SplitMatrix& wide, float* gram, cfloat* rotation, cfloat* array) {
  const index_t t = wide.rows, k = wide.columns;
  SplitMatrix square(t, t);
  for (index_t i = 0; i < t; ++i)
    for (index_t j = 0; j <= i; ++j) {
      const std::complex<double> value = product(wide, i, j);
      square.real_row(i)[j] = square.real_row(j)[i] = value.real();
      square.imag_row(i)[j] = i == j ? 0 : value.imag();
      square.imag_row(j)[i] = i == j ? 0 : -value.imag();
    }
  SplitMatrix turned = diagonalise(square);
  std::vector<index_t> order(at(t));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](index_t i, index_t j) { return square.real_row(i)[i] < square.real_row(j)[j]; });
  std::vector<double> real(at(k)), imag(at(k));
  for (index_t i = 0; i < t; ++i) {
    const index_t from = order[at(i)];
    gram[i] = static_cast<float>(std::max(square.real_row(from)[from], 0.0));
    std::fill(real.begin(), real.end(), 0);
    std::fill(imag.begin(), imag.end(), 0);
    for (index_t j = 0; j < t; ++j) {
      const double ur = turned.real_row(from)[j], ui = turned.imag_row(from)[j];
      rotation[i * t + j] = {static_cast<float>(ur), static_cast<float>(ui)};
      const double *const qr = wide.real_row(j), *const qi = wide.imag_row(j);
      for (index_t d = 0; d < k; ++d) {
        real[at(d)] += ur * qr[d] - ui * qi[d];
        imag[at(d)] += ur * qi[d] + ui * qr[d];
      }
    }
    for (index_t d = 0; d < k; ++d)
      array[d * t + i] = {static_cast<float>(real[at(d)]), static_cast<float>(imag[at(d)])};
  }
}

}  // namespace

std::vector<double> amplitudes(const cfloat* pilots, index_t measurements, index_t devices) {
  std::vector<double> energy(at(devices));
  for (index_t i = 0; i < measurements; ++i)
    for (index_t k = 0; k < devices; ++k) energy[at(k)] += std::norm(std::complex<double>(pilots[i * devices + k]));
  for (double& e : energy) e = std::sqrt(e / static_cast<double>(measurements));
  return energy;
}

RotatedPilots rotated_pilots(const cfloat* pilots, const Shape& shape, const std::vector<double>& over, int threads) {
  const index_t n = shape.subcarriers, t = shape.symbols, k = shape.devices;
  RotatedPilots out{std::vector<float>(at(n * t)), std::vector<cfloat>(at(n * t * t)),
                    std::vector<cfloat>(at(n * k * t))};
  ThreadPool pool(threads);
  pool.each(n, [&](index_t i, int) {
    SplitMatrix wide(t, k);
    for (index_t j = 0; j < t; ++j)
      for (index_t d = 0; d < k; ++d) {
        const cfloat q = pilots[(j * n + i) * k + d];
        const double scale = over.empty() ? 1 : 1 / over[at(d)];  // in single precision, as plain pilots are
        wide.real_row(j)[d] = static_cast<float>(static_cast<double>(q.real()) * scale);
        wide.imag_row(j)[d] = static_cast<float>(static_cast<double>(q.imag()) * scale);
      }
    rotate(wide, out.gram.data() + i * t, out.rotation.data() + i * t * t, out.array.data() + i * k * t);
  });
  return out;
}

ActivityPlan activity_plan(const Mixture& mixture) {
  ActivityPlan plan;
  std::map<std::int64_t, float> first;  // Gains and powers on one logarithmic grid share products,
  std::vector<std::int64_t> keys;       // and a thousandth of a decibel tells products apart.
  for (float power : mixture.power)
    for (float gain : mixture.gain) {
      const float product = power * gain;
      const double decades = std::clamp(std::log10(static_cast<double>(product)), -100.0, 100.0);
      keys.push_back(static_cast<std::int64_t>(std::nearbyint(1e4 * decades)));
      first.emplace(keys.back(), product);
    }
  if (static_cast<index_t>(first.size()) > ActivityView::kMostProducts ||
      static_cast<index_t>(mixture.power.size()) > ActivityView::kMostPowers)
    throw std::invalid_argument("activity mixture: too many components");
  for (const auto& [key, product] : first) plan.product.push_back(product);
  for (std::int64_t key : keys)
    plan.index.push_back(static_cast<std::int32_t>(std::distance(first.begin(), first.find(key))));
  for (float share : mixture.share)
    plan.log_power_weight.push_back(static_cast<float>(std::log(static_cast<double>(share))));
  plan.weight = mixture.weight;
  plan.eigenvalue = mixture.eigenvalue;
  plan.multiplicity = mixture.multiplicity;
  plan.power = mixture.power;
  return plan;
}

ActivityView ActivityPlan::view() const {
  return {.gains = static_cast<index_t>(weight.size()),
          .powers = static_cast<index_t>(power.size()),
          .products = static_cast<index_t>(product.size()),
          .product = product.data(),
          .weight = weight.data(),
          .log_power_weight = log_power_weight.data(),
          .power = power.data(),
          .index = index.data(),
          .eigenvalue = eigenvalue.data(),
          .multiplicity = multiplicity.data(),
          .least_power = 0.0f};
}

index_t merged(const std::vector<float>& eigenvalue) {
  return is_flat(eigenvalue) ? (static_cast<index_t>(eigenvalue.size()) + 3) / 4 : 1;
}

std::vector<float> power_levels(bool flat, index_t antennas) {
  std::vector<float> levels;
  for (int level = flat ? -3 : antennas < 4 ? -9 : -18; level <= 9; level += 3)
    levels.push_back(static_cast<float>(std::pow(10.0, level / 10.0)));
  return levels;
}

ActivityPlan receiver_activity(Mixture beams, const std::vector<double>& amplitude, index_t antennas,
                               bool known_power) {
  const auto [least, most] = std::minmax_element(amplitude.begin(), amplitude.end());
  const bool same = *most - *least <= kSame * *most;
  beams.power = known_power && same ? std::vector<float>{1} : power_levels(is_flat(beams.eigenvalue), antennas);
  beams.share.assign(beams.power.size(), static_cast<float>(1.0 / static_cast<double>(beams.power.size())));
  const index_t merge = merged(beams.eigenvalue), count = static_cast<index_t>(beams.eigenvalue.size());
  std::vector<float> kept;
  for (index_t p = 0; p < count; p += merge) {
    kept.push_back(beams.eigenvalue[at(p)]);
    beams.multiplicity.push_back(static_cast<float>(std::min(merge, count - p)));
  }
  beams.eigenvalue = kept;
  return activity_plan(beams);
}

Rules rules_of(Rules rules, index_t antennas, const Mixture& beams) {
  if (antennas >= kAntennas || rules.decodable <= 0) return rules;
  const auto information = [&](double power) {
    double sum = 0;
    for (std::size_t g = 0; g < beams.gain.size(); ++g)
      for (const float e : beams.eigenvalue) {
        const double strength = power * static_cast<double>(beams.gain[g]) * static_cast<double>(e);
        sum += static_cast<double>(beams.weight[g]) * (strength - std::log1p(strength));
      }
    return sum;
  };
  const double wanted = static_cast<double>(kAntennas) / static_cast<double>(antennas) *
                        information(static_cast<double>(rules.decodable));
  double least = 1, most = 1e4;
  for (int i = 0; i < 60; ++i) {
    const double middle = std::sqrt(least * most);
    (information(static_cast<double>(rules.decodable) * middle) < wanted ? least : most) = middle;
  }
  rules.decodable *= static_cast<float>(most);
  rules.smallest_mean_power *= static_cast<float>(most);
  return rules;
}

index_t most_candidates(const Rules& rules, double rate, index_t devices, index_t asked) {
  const index_t usual =
      std::max<index_t>(256, static_cast<index_t>(std::ceil(4 * rate * static_cast<double>(devices))));
  return rules.screening ? std::min(devices, asked > 0 ? asked : usual) : devices;
}

Assumed assumed(double rate, double power, const std::vector<double>& amplitude) {
  double square = 0;
  for (double a : amplitude) square += a * a;
  const double devices = static_cast<double>(amplitude.size());
  return {std::log(rate / (1 - rate)), power * square / devices, std::max(rate * devices, 1.0)};
}

}  // namespace jadce
