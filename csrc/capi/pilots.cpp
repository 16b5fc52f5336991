#include "capi/pilots.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <numbers>
#include <numeric>
#include <random>
#include <vector>

namespace jadce {

namespace {

using cdouble = std::complex<double>;

constexpr double kNegligible = 1e-12;  // energy of a pilot, over the greatest one's, below which it is none
constexpr double kSounded = 1e-6;  // energy of a subcarrier, over the mean of its device's, from which it is sounded
constexpr double kAlike = 1e-5;    // distance of invariants of normalised pilots below which they are compared
constexpr double kProportional = 1e-5;  // what two normalised pilots may lack in their product to be proportional
constexpr double kSame = 1e-6;          // energy of the difference of two sequences, over their own: they are one
constexpr double kUnimodular = 1e-3;    // deviation of a scrambling's magnitude from one
constexpr index_t kSampled = 32;        // devices whose pilots are compared from subcarrier to subcarrier
constexpr index_t kEnough = 2000;       // products of pilots that tell chance from repetition
constexpr double kRepeats = 0.6;        // correlation of neighbouring products

const std::string kRepeated = "sequences that differ from subcarrier to subcarrier, found ones that repeat";

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

std::string shared(index_t one, index_t other) {
  return "a pilot of its own for every device, found that of device " + std::to_string(one) + " with device " +
         std::to_string(other);
}

struct Pilots {
  const cfloat* q;  // [T, N, K]
  const Shape& s;

  cdouble operator()(index_t t, index_t n, index_t k) const {
    return cdouble(q[(t * s.subcarriers + n) * s.devices + k]);
  }

  // Energies [N, K].
  std::vector<double> energies() const {
    std::vector<double> energy(at(s.subcarriers * s.devices));
    for (index_t t = 0; t < s.symbols; ++t)
      for (index_t i = 0; i < s.subcarriers * s.devices; ++i)
        energy[at(i)] += std::norm(cdouble(q[t * s.subcarriers * s.devices + i]));
    return energy;
  }

  // Two devices with proportional pilots, of energies [K], or the same one twice. Products of random projections are
  // the same whatever a pilot is multiplied by: only devices whose first one is alike are compared.
  std::pair<index_t, index_t> proportional(const std::vector<double>& energy) const {
    std::mt19937_64 random(0);
    std::uniform_real_distribution<double> turns(0, 2 * std::numbers::pi);
    const index_t points = s.measurements(), k = s.devices;
    std::vector<cdouble> one(at(k)), other(at(k));
    for (index_t i = 0; i < points; ++i) {
      const cdouble a = std::polar(1.0, turns(random)), b = std::polar(1.0, turns(random));
      for (index_t d = 0; d < k; ++d) {
        one[at(d)] += a * cdouble(q[i * k + d]);
        other[at(d)] += b * cdouble(q[i * k + d]);
      }
    }
    std::vector<index_t> order(at(k));
    for (index_t d = 0; d < k; ++d) one[at(d)] *= std::conj(other[at(d)]) / energy[at(d)];
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](index_t i, index_t j) { return one[at(i)].real() < one[at(j)].real(); });
    for (index_t i = 0; i < k; ++i)
      for (index_t j = i + 1; j < k; ++j) {
        const index_t first = order[at(i)], second = order[at(j)];
        const cdouble apart = one[at(second)] - one[at(first)];
        if (apart.real() > kAlike) break;
        if (std::abs(apart.imag()) > kAlike) continue;
        cdouble product = 0;
        for (index_t p = 0; p < points; ++p)
          product += std::conj(cdouble(q[p * k + first])) * cdouble(q[p * k + second]);
        if (std::norm(product) >= (1 - kProportional) * energy[at(first)] * energy[at(second)])
          return std::minmax(first, second);
      }
    return {0, 0};
  }

  // Whether every subcarrier has the first one's sequences, but for a scrambling that all devices share.
  bool is_repeated() const {
    if (s.subcarriers < 2 || s.devices < 2) return false;
    for (index_t n = 1; n < s.subcarriers; ++n) {
      double apart = 0, energy = 0;
      for (index_t t = 0; t < s.symbols; ++t) {
        cdouble product = 0;
        double own = 0;
        for (index_t k = 0; k < s.devices; ++k) {
          product += (*this)(t, n, k) * std::conj((*this)(t, 0, k));
          own += std::norm((*this)(t, 0, k));
        }
        energy += own;
        const cdouble scrambling = own > 0 ? product / own : 0;
        const double size = std::abs(scrambling);
        if (size > 0 && std::abs(size - 1) > kUnimodular) return false;
        for (index_t k = 0; k < s.devices; ++k)
          apart += std::norm((*this)(t, n, k) - (size > 0 ? scrambling : cdouble(1)) * (*this)(t, 0, k));
      }
      if (apart > kSame * energy) return false;
    }
    return true;
  }

  // Correlation over neighbouring subcarriers of the products of some devices' pilots; zero if they are too few.
  double likeness() const {
    const index_t some = std::min(kSampled, s.devices);
    if ((s.subcarriers - 1) * some * some < kEnough) return 0;
    std::vector<index_t> device(at(some));
    for (index_t i = 0; i < some; ++i) device[at(i)] = i * (s.devices - 1) / std::max<index_t>(some - 1, 1);
    std::vector<cdouble> before(at(some * some)), now = before;
    double alike = 0, energy = 0;
    for (index_t n = 0; n < s.subcarriers; ++n) {
      std::swap(before, now);
      for (index_t i = 0; i < some; ++i)
        for (index_t j = 0; j < some; ++j) {
          cdouble& product = now[at(i * some + j)];
          product = 0;
          for (index_t t = 0; t < s.symbols && i != j; ++t)
            product += std::conj((*this)(t, n, device[at(i)])) * (*this)(t, n, device[at(j)]);
          if (n == 0) continue;
          alike += (std::conj(before[at(i * some + j)]) * product).real();
          energy += std::norm(product);
        }
    }
    return energy > 0 ? alike / energy : 0;
  }
};

}  // namespace

std::string hindrance(const std::int32_t* rows, const Shape& s) {
  index_t step = s.devices;
  bool differs = false;
  for (index_t i = 0; i < s.measurements(); ++i) {
    step = std::gcd(step, static_cast<index_t>(rows[i]) - rows[0]);
    differs = differs || rows[i] != rows[i - i % s.subcarriers];
  }
  const index_t period = s.devices / step;  // of pilots over devices, but for a factor
  if (period < s.devices) return shared(0, period);
  return s.subcarriers > 1 && s.devices > 1 && !differs ? kRepeated : "";
}

std::string hindrance(const cfloat* pilots, const Shape& s) {
  const Pilots q{pilots, s};
  const std::vector<double> part = q.energies();
  std::vector<double> energy(at(s.devices));
  for (index_t i = 0; i < s.subcarriers * s.devices; ++i) energy[at(i % s.devices)] += part[at(i)];
  const double most = *std::max_element(energy.begin(), energy.end());
  for (index_t k = 0; k < s.devices; ++k)
    if (energy[at(k)] <= kNegligible * most)
      return "a pilot for every device, found none of device " + std::to_string(k);
  if (const auto [one, other] = q.proportional(energy); one != other) return shared(one, other);
  for (index_t i = 0; i < s.subcarriers * s.devices; ++i)
    if (const index_t k = i % s.devices; !(part[at(i)] > kSounded * energy[at(k)] / static_cast<double>(s.subcarriers)))
      return "devices that sound all subcarriers, found device " + std::to_string(k) + " without " +
             std::to_string(i / s.devices);
  return q.is_repeated() || q.likeness() > kRepeats ? kRepeated : "";
}

}  // namespace jadce
