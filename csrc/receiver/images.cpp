#include "receiver/images.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace jadce {

namespace {

using cdouble = std::complex<double>;

constexpr double kWeaker = 0.1;      // power of a mirror image over its device's: 10 dB of rejection are poor
constexpr double kAlike = 0.5;       // squared coherence of what is a copy of the other; 1 / M by chance
constexpr double kEverybody = 0.5;   // part of the devices as strong of which there are images; of pairs with one gain
constexpr double kFlat = 0.98;       // part of an offset's energy in the mean; only the purest line of sight is as flat
constexpr double kWhite = 0.35;      // squared mean over mean square of beams' power: one half of white offsets
constexpr double kSamePilot = 0.8;   // squared coherence of pilots that are one
constexpr index_t kCompared = 128;   // entries of pilots that are compared,
constexpr index_t kFirst = 8;        // of which these come first,
constexpr double kHopeless = 0.5;    // and with less coherence of them the others are not looked at
constexpr double kNothing = 1e-300;  // instead of zero in a quotient

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

double energy(const cfloat* h, index_t count) {
  constexpr index_t kSide = 4;
  double part[kSide] = {};
  index_t i = 0;
  for (; i + kSide <= count; i += kSide)
    for (index_t j = 0; j < kSide; ++j) part[j] += std::norm(cdouble(h[i + j]));
  for (; i < count; ++i) part[0] += std::norm(cdouble(h[i]));
  return part[0] + part[1] + part[2] + part[3];
}

// Some entries of all devices' pilots, of which kFirst in a row are spread over symbols and subcarriers like all.
struct Samples {
  std::vector<index_t> point;  // of [T, N]

  Samples(index_t points) {
    const index_t step = std::max<index_t>(1, points / kCompared), count = (points + step - 1) / step;
    const index_t stride = std::max<index_t>(1, count / kFirst);
    for (index_t i = 0; i < stride; ++i)
      for (index_t j = i; j < count; j += stride) point.push_back(j * step);
  }
};

}  // namespace

Images::Images(const std::int32_t* rows, const Shape& shape, index_t most) : shape_(shape) {
  const index_t k = shape.devices, n = shape.subcarriers;
  bool mirrors = true;  // the rows are the same on mirrored subcarriers
  for (index_t i = 0; i < shape.measurements(); ++i) mirrors = mirrors && rows[i] == rows[i - i % n + n - 1 - i % n];
  for (std::size_t flip = 0; flip < (mirrors ? 2 : 1); ++flip)
    for (index_t d = 0; d < k; ++d) {
      const index_t other = (k - d) % k;
      partner_[flip].push_back(other == d ? -1 : static_cast<std::int32_t>(other));
    }
  is_constant_.assign(at(k), 0);
  is_constant_[0] = 1;
  take_memory(most);
}

Images::Images(const cfloat* pilots, const Shape& shape, index_t most) : shape_(shape) {
  const index_t k = shape.devices, n = shape.subcarriers;
  const Samples samples(shape.measurements());
  const index_t count = static_cast<index_t>(samples.point.size()), first = std::min(kFirst, count);
  const auto entry = [&](index_t i, bool flip) {
    const index_t p = samples.point[at(i)];
    return pilots + (flip ? p - p % n + n - 1 - p % n : p) * k;
  };
  // Energies [K] of all samples and of the first ones.
  const auto energies = [&](bool flip, index_t of) {
    std::vector<double> total(at(k));
    for (index_t i = 0; i < of; ++i)
      for (index_t d = 0; d < k; ++d) total[at(d)] += std::norm(cdouble(entry(i, flip)[d]));
    return total;
  };
  const std::vector<double> own_all = energies(false, count), own_first = energies(false, first);
  std::vector<float> real(at(k)), imag(at(k));
  for (const bool flip : {false, true}) {
    const std::vector<double> all = energies(flip, count), some = energies(flip, first);
    std::vector<std::int32_t>& partner = partner_[flip ? 1 : 0];
    partner.assign(at(k), -1);
    for (index_t d = 0; d < k; ++d) {
      std::fill(real.begin(), real.end(), 0.0f);
      std::fill(imag.begin(), imag.end(), 0.0f);
      for (index_t i = 0; i < first; ++i) {
        const auto* const q = reinterpret_cast<const float*>(entry(i, flip));
        const float a = entry(i, false)[d].real(), b = entry(i, false)[d].imag();
        for (index_t e = 0; e < k; ++e) {
          real[at(e)] += a * q[2 * e] - b * q[2 * e + 1];
          imag[at(e)] += a * q[2 * e + 1] + b * q[2 * e];
        }
      }
      double best = kSamePilot;
      for (index_t e = 0; e < k; ++e) {
        if (e == d || std::norm(cdouble(real[at(e)], imag[at(e)])) <= kHopeless * own_first[at(d)] * some[at(e)])
          continue;
        cdouble product = 0;
        for (index_t i = 0; i < count; ++i) product += cdouble(entry(i, false)[d]) * cdouble(entry(i, flip)[e]);
        const double alike = std::norm(product) / std::max(own_all[at(d)] * all[at(e)], kNothing);
        if (alike > best) {
          best = alike;
          partner[at(d)] = static_cast<std::int32_t>(e);
        }
      }
    }
  }
  for (index_t d = 0; d < k; ++d) {
    cdouble sum = 0;
    for (index_t i = 0; i < count; ++i) sum += cdouble(entry(i, false)[d]);
    is_constant_.push_back(std::norm(sum) > kSamePilot * static_cast<double>(count) * own_all[at(d)]);
  }
  take_memory(most);
}

void Images::take_memory(index_t most) {
  pairs_.reserve(at(most));
  power_.reserve(at(most * shape_.antennas));
  gains_.reserve(at(std::max<index_t>(most, 1) * shape_.antennas));
  seen_.reserve(at(2 * most));
  for (auto* devices : {&mirrored_, &constant_}) devices->reserve(at(most));
}

// The pairs of active devices of which one's pilot is the other one's image.
void Images::pair(bool flip, const std::int32_t* active, index_t count) {
  pairs_.clear();
  const std::vector<std::int32_t>& partner = partner_[flip ? 1 : 0];
  for (index_t a = 0; a < count && !partner.empty(); ++a) {
    const std::int32_t other = partner[at(active[a])];
    const std::int32_t* const found = std::lower_bound(active, active + count, other);
    if (other >= 0 && found != active + count && *found == other)
      pairs_.push_back({a, static_cast<index_t>(found - active), 0, 0, false, false});
  }
}

std::vector<index_t> Images::suspects(const std::int32_t* active, index_t count) {
  std::vector<index_t> rows;
  for (index_t a = 0; a < count; ++a)
    if (is_constant_[at(active[a])] != 0) rows.push_back(a);
  for (const bool flip : {false, true}) {
    pair(flip, active, count);
    for (const Pair& p : pairs_) rows.insert(rows.end(), {p.own, p.other});
  }
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

// Compares the channels of a pair, and keeps the powers and gains at all antennas.
void Images::compare(Pair& pair, bool flip, index_t place, const Channel& channel) {
  const index_t n = shape_.subcarriers, m = shape_.antennas;
  const cfloat *const weak = channel(pair.own, 0), *const strong = channel(pair.other, 1);
  double* const power = power_.data() + place * m;
  cdouble* const gain = gains_.data() + place * m;
  std::fill_n(power, m, 0.0);
  std::fill_n(gain, m, 0.0);
  for (index_t i = 0; i < n; ++i) {
    const cfloat *const w = weak + i * m, *const s = strong + (flip ? n - 1 - i : i) * m;
    for (index_t j = 0; j < m; ++j) {
      gain[j] += cdouble(w[j]) * cdouble(s[j]);  // the image's channel is the conjugate one
      power[j] += std::norm(cdouble(s[j]));
    }
  }
  cdouble sum = 0;
  double explained = 0;
  for (index_t j = 0; j < m; ++j) {
    sum += gain[j];
    explained += std::norm(gain[j]) / std::max(power[j], kNothing);
    gain[j] /= std::max(power[j], kNothing);
  }
  pair.one_gain = std::norm(sum) > kAlike * pair.weak * pair.strong;
  pair.gains = explained > kAlike * pair.weak;
}

// Whether enough other pairs have the gains of this one.
bool Images::is_like_others(index_t place) const {
  const index_t m = shape_.antennas, count = static_cast<index_t>(pairs_.size());
  index_t alike = 0;
  for (index_t other = 0; other < count; ++other) {
    if (other == place || !pairs_[at(other)].gains) continue;
    cdouble product = 0;
    for (index_t j = 0; j < m; ++j) product += std::conj(gains_[at(place * m + j)]) * gains_[at(other * m + j)];
    alike += std::norm(product) > kAlike;
  }
  return static_cast<double>(alike) >= std::max(1.0, kEverybody * static_cast<double>(count - 1));
}

bool Images::find(const std::int32_t* active, index_t count, const Channel& channel) {
  const index_t m = shape_.antennas, size = shape_.subcarriers * m;
  seen_.clear();
  mirrored_.clear();
  constant_.clear();
  for (const bool flip : {false, true}) {
    pair(flip, active, count);
    for (Pair& p : pairs_) {
      p.weak = energy(channel(p.own, 0), size);
      p.strong = energy(channel(p.other, 1), size);
    }
    std::erase_if(pairs_, [](const Pair& p) { return !(p.weak < kWeaker * p.strong); });
    const index_t pairs = static_cast<index_t>(pairs_.size());
    power_.resize(at(pairs * m));
    gains_.resize(at(pairs * m));
    for (index_t i = 0; i < pairs; ++i) compare(pairs_[at(i)], flip, i, channel);
    for (index_t j = 0; j < m; ++j) {  // gains of antennas count by the power that is seen there
      double power = 0;
      for (index_t i = 0; i < pairs; ++i) power += power_[at(i * m + j)];
      for (index_t i = 0; i < pairs; ++i) gains_[at(i * m + j)] *= std::sqrt(power / static_cast<double>(pairs));
    }
    for (index_t i = 0; i < pairs; ++i) {
      cdouble* const gain = gains_.data() + i * m;
      double norm = 0;
      for (index_t j = 0; j < m; ++j) norm += std::norm(gain[j]);
      for (index_t j = 0; j < m; ++j) gain[j] /= std::max(std::sqrt(norm), kNothing);
    }
    for (index_t i = 0; i < pairs; ++i) {
      const Pair& p = pairs_[at(i)];
      if (!p.one_gain && !(p.gains && is_like_others(i))) continue;
      const Seen found{active[p.own], p.strong / static_cast<double>(size)};
      std::erase_if(seen_, [&](const Seen& s) { return s.device == found.device; });
      seen_.push_back(found);
    }
  }
  // A radio makes images of all devices that are as strong; two channels may be alike by chance.
  if (!seen_.empty()) {
    double least = seen_[0].power;
    for (const Seen& s : seen_) least = std::min(least, s.power);
    index_t as_strong = 0;
    for (index_t a = 0; a < count; ++a)
      as_strong += energy(channel(a, 0), size) >= least * static_cast<double>(size) * (1 - 1e-12);
    if (static_cast<double>(seen_.size()) >= kEverybody * static_cast<double>(as_strong))
      for (const Seen& s : seen_) mirrored_.push_back(s.device);
    std::sort(mirrored_.begin(), mirrored_.end());
  }
  for (index_t a = 0; a < count; ++a)
    if (is_constant_[at(active[a])] && is_offset(channel(a, 0))) constant_.push_back(active[a]);
  return !mirrored_.empty() || !constant_.empty();
}

// Whether a channel is flat over subcarriers, and the same at all antennas or white over them.
bool Images::is_offset(const cfloat* h) {
  const index_t n = shape_.subcarriers, m = shape_.antennas;
  std::vector<cdouble>& mean = gains_;  // [M], where gains are not needed any more
  mean.assign(at(m), 0);
  for (index_t i = 0; i < n * m; ++i) mean[at(i % m)] += cdouble(h[i]) / static_cast<double>(n);
  cdouble sum = 0;
  double power = 0;
  for (const cdouble& x : mean) {
    sum += x;
    power += std::norm(x);
  }
  const double least = kFlat * energy(h, n * m) / static_cast<double>(n);
  if (!(power > least)) return false;
  if (std::norm(sum) / static_cast<double>(m) > least) return true;
  double square = 0;  // of the beams' powers
  for (index_t b = 0; b < m; ++b) {
    const double turn = -2 * std::numbers::pi * static_cast<double>(b) / static_cast<double>(m);
    cdouble beam = 0;
    for (index_t j = 0; j < m; ++j) beam += mean[at(j)] * std::polar(1.0, turn * static_cast<double>(j));
    square += std::norm(beam) * std::norm(beam);
  }
  return power * power > kWhite * square / static_cast<double>(m);
}

}  // namespace jadce
